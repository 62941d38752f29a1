//! The world switch: EL1 state of one vCPU out, that of another in.

use core::arch::asm;

use hyp_core::cpu::Cpu;
use hyp_core::vcpu::{El1, Fp, Vcpu};
use hyp_core::vgic::{Lr, LrFile, SavedLrs};

use crate::board::GICR;
use crate::machine::{Board, ELR, ICH_HCR, ICH_VMCR, LIST_REGISTERS, SPSR, USABLE};
use crate::mmio::{read32, write32};
use crate::reg::{isb, sysreg};

sysreg! {
    SCTLR = "sctlr_el1", rw;
    TTBR0 = "ttbr0_el1", rw;
    TTBR1 = "ttbr1_el1", rw;
    TCR = "tcr_el1", rw;
    MAIR = "mair_el1", rw;
    AMAIR = "amair_el1", rw;
    VBAR = "vbar_el1", rw;
    CONTEXTIDR = "contextidr_el1", rw;
    TPIDR_EL0 = "tpidr_el0", rw;
    TPIDRRO_EL0 = "tpidrro_el0", rw;
    TPIDR_EL1 = "tpidr_el1", rw;
    SP_EL0 = "sp_el0", rw;
    SP_EL1 = "sp_el1", rw;
    ELR_EL1 = "elr_el1", rw;
    SPSR_EL1 = "spsr_el1", rw;
    ESR_EL1 = "esr_el1", rw;
    FAR_EL1 = "far_el1", rw;
    AFSR0 = "afsr0_el1", rw;
    AFSR1 = "afsr1_el1", rw;
    PAR = "par_el1", rw;
    CPACR = "cpacr_el1", rw;
    CSSELR = "csselr_el1", rw;
    CNTKCTL = "cntkctl_el1", rw;
    CNTV_CTL = "cntv_ctl_el0", rw;
    CNTV_CVAL = "cntv_cval_el0", rw;
    CNTP_CTL = "cntp_ctl_el0", rw;
    CNTP_CVAL = "cntp_cval_el0", rw;
    ICH_AP1R0 = "s3_4_c12_c9_0", rw;
    ICH_AP0R0 = "s3_4_c12_c8_0", rw;
    VTTBR = "vttbr_el2", rw;
    CPTR = "cptr_el2", rw;
}

// CPTR_EL2 with E2H = 0 (Arm ARM D17.2.30): RES1 bits, TTA (no trace for guests), TFP.
const CPTR_BASE: u64 = 0x33ff | 1 << 20;
const CPTR_FP: u64 = 1 << 10;
/// PPIs of the two EL1 timers in GICR_ISACTIVER0.
const TIMER_PPIS: u32 = 1 << 27 | 1 << 30;
const ISACTIVER0: u64 = GICR + 0x1_0300;
const ICACTIVER0: u64 = GICR + 0x1_0380;

/// Counter value at which the loaded vCPU's timer that interrupts was due: the earlier of those that are.
pub fn timer_due() -> u64 {
    let due = |ctl: u64, cval: u64| if ctl & 0b111 == 0b101 { cval } else { u64::MAX };
    due(CNTV_CTL::read(), CNTV_CVAL::read()).min(due(CNTP_CTL::read(), CNTP_CVAL::read()))
}

/// Whether the loaded vCPU's timer of PPI `intid` (27 virtual, 30 physical) holds its interrupt line high.
pub fn timer_line(intid: u32) -> bool {
    // ENABLE and ISTATUS, not IMASK (Arm ARM D17.11).
    let ctl = if intid == 30 {
        CNTP_CTL::read()
    } else {
        CNTV_CTL::read()
    };
    ctl & 0b111 == 0b101
}

/// FP accesses of EL1 and EL0 trap, or not.
#[inline]
pub fn trap_fp(on: bool) {
    CPTR::write(if on { CPTR_BASE | CPTR_FP } else { CPTR_BASE & !CPTR_FP });
}

macro_rules! save {
    ($to:expr; $($field:ident <- $reg:ident;)*) => { $($to.$field = $reg::read();)* };
}
macro_rules! load {
    ($from:expr; $($field:ident -> $reg:ident;)*) => { $($reg::write($from.$field);)* };
}

#[inline(always)]
fn save_el1(to: &mut El1) {
    save! { to;
        elr_el2 <- ELR; spsr_el2 <- SPSR;
        cntv_ctl <- CNTV_CTL; cntv_cval <- CNTV_CVAL; cntp_ctl <- CNTP_CTL; cntp_cval <- CNTP_CVAL;
        sctlr <- SCTLR; ttbr0 <- TTBR0; ttbr1 <- TTBR1; tcr <- TCR; mair <- MAIR; amair <- AMAIR; vbar <- VBAR;
        contextidr <- CONTEXTIDR; tpidr_el0 <- TPIDR_EL0; tpidrro_el0 <- TPIDRRO_EL0; tpidr_el1 <- TPIDR_EL1;
        sp_el0 <- SP_EL0; sp_el1 <- SP_EL1; elr <- ELR_EL1; spsr <- SPSR_EL1; esr <- ESR_EL1; far <- FAR_EL1;
        afsr0 <- AFSR0; afsr1 <- AFSR1; par <- PAR; cpacr <- CPACR; csselr <- CSSELR; cntkctl <- CNTKCTL;
        vmcr <- ICH_VMCR; ap1r0 <- ICH_AP1R0; ap0r0 <- ICH_AP0R0;
    }
    // The interrupt state follows the vCPU: what it has active must not keep the next one's timer from interrupting.
    CNTV_CTL::write(0);
    CNTP_CTL::write(0);
    let active = read32(ISACTIVER0) & TIMER_PPIS;
    to.ppis_active = active.into();
    if active != 0 {
        write32(ICACTIVER0, active);
    }
}

#[inline(always)]
fn load_el1(from: &El1) {
    load! { from;
        elr_el2 -> ELR; spsr_el2 -> SPSR;
        sctlr -> SCTLR; ttbr0 -> TTBR0; ttbr1 -> TTBR1; tcr -> TCR; mair -> MAIR; amair -> AMAIR; vbar -> VBAR;
        contextidr -> CONTEXTIDR; tpidr_el0 -> TPIDR_EL0; tpidrro_el0 -> TPIDRRO_EL0; tpidr_el1 -> TPIDR_EL1;
        sp_el0 -> SP_EL0; sp_el1 -> SP_EL1; elr -> ELR_EL1; spsr -> SPSR_EL1; esr -> ESR_EL1; far -> FAR_EL1;
        afsr0 -> AFSR0; afsr1 -> AFSR1; par -> PAR; cpacr -> CPACR; csselr -> CSSELR; cntkctl -> CNTKCTL;
        vmcr -> ICH_VMCR; ap1r0 -> ICH_AP1R0; ap0r0 -> ICH_AP0R0;
    }
    if from.ppis_active != 0 {
        write32(ISACTIVER0, from.ppis_active as u32);
    }
    load! { from; cntv_cval -> CNTV_CVAL; cntp_cval -> CNTP_CVAL; cntv_ctl -> CNTV_CTL; cntp_ctl -> CNTP_CTL; }
}

/// The list registers one by one, so that each access is one instruction.
macro_rules! each_list_register {
    ($n:ident => $body:block) => {{
        const $n: usize = 0;
        $body
    }
    {
        const $n: usize = 1;
        $body
    }
    {
        const $n: usize = 2;
        $body
    }
    {
        const $n: usize = 3;
        $body
    }};
}
const _: () = assert!(LIST_REGISTERS == 4);

/// Saves the list registers in `used`, which may hold something; what the guest has not taken waits there.
#[inline(always)]
fn save_interrupts(saved: &mut SavedLrs, board: &Board, used: u32) {
    saved.hcr = ICH_HCR::read() as u32;
    if used != 0 {
        each_list_register!(N => {
            if used >> N & 1 != 0 {
                saved.lr[N] = board.read(N);
            }
        });
    }
}

/// Loads the list registers in `used` and empties those in `stale`.
#[inline(always)]
fn load_interrupts(saved: &mut SavedLrs, board: &mut Board, used: u32, stale: u32) {
    if used | stale != 0 {
        each_list_register!(N => {
            if used >> N & 1 != 0 {
                board.write(N, saved.lr[N]);
            } else if stale >> N & 1 != 0 {
                board.write(N, Lr(0));
            }
        });
    }
    ICH_HCR::write(saved.hcr.into());
    if saved.deactivate.iter().fold(0, |all, word| all | word) != 0 {
        deactivate(&mut saved.deactivate);
    }
}

/// Switches registers from the loaded vCPU to slot `to`, which [`Cpu::loaded`] names afterwards.
#[inline(always)]
pub fn switch(cpu: &mut Cpu, board: &mut Board, to: usize) {
    let mut stale = USABLE;
    if let Some((vcpu, vm)) = cpu.running() {
        save_el1(&mut vcpu.el1);
        stale = vm.vgic.used(0);
        if let Some(saved) = vm.vgic.saved(0) {
            save_interrupts(saved, board, stale);
        }
    }
    cpu.loaded = to as u32;
    trap_fp(cpu.fp_owner != to as u32);
    if let Some((vcpu, vm)) = cpu.running() {
        crate::percpu::context().set_running(vcpu.vm, vcpu.index);
        VTTBR::write(vm.vttbr);
        isb();
        load_el1(&vcpu.el1);
        let used = vm.vgic.used(0);
        if let Some(saved) = vm.vgic.saved(0) {
            load_interrupts(saved, board, used, stale & !used);
        }
    }
}

/// Ends physical interrupts that were given up while the vCPU was away.
#[cold]
fn deactivate(pending: &mut [u64]) {
    for (base, word) in (0u32..).step_by(64).zip(pending.iter_mut()) {
        // At most 64 turns for each of five words, and none when nothing was given up, as is usual.
        while *word != 0 {
            crate::gic::deactivate(base + word.trailing_zeros());
            *word &= *word - 1;
        }
    }
}

/// Saves the FP/SIMD registers.
pub fn save_fp(to: &mut Fp) {
    let at = core::ptr::from_mut(to);
    // SAFETY: 1. `Fp` is 16-byte aligned and holds 32 quadwords, then FPCR and FPSR. 2. The trap is off. Rust code here
    // uses no FP register (softfloat target).
    unsafe {
        asm!(".arch_extension fp", ".arch_extension simd",
            "stp q0, q1, [{a}, #0]", "stp q2, q3, [{a}, #32]", "stp q4, q5, [{a}, #64]", "stp q6, q7, [{a}, #96]",
            "stp q8, q9, [{a}, #128]", "stp q10, q11, [{a}, #160]", "stp q12, q13, [{a}, #192]", "stp q14, q15, [{a}, #224]",
            "stp q16, q17, [{a}, #256]", "stp q18, q19, [{a}, #288]", "stp q20, q21, [{a}, #320]", "stp q22, q23, [{a}, #352]",
            "stp q24, q25, [{a}, #384]", "stp q26, q27, [{a}, #416]", "stp q28, q29, [{a}, #448]", "stp q30, q31, [{a}, #480]",
            "mrs {t}, fpcr", "mrs {u}, fpsr", "stp {t}, {u}, [{b}]",
            a = in(reg) at, b = in(reg) at.cast::<u8>().wrapping_add(512), t = out(reg) _, u = out(reg) _, options(nostack, preserves_flags));
    }
}

/// Loads the FP/SIMD registers.
pub fn load_fp(from: &Fp) {
    let at = core::ptr::from_ref(from);
    // SAFETY: 1. and 2. As above; guest values only ever reach FP registers, which EL2 does not use.
    unsafe {
        asm!(".arch_extension fp", ".arch_extension simd",
            "ldp q0, q1, [{a}, #0]", "ldp q2, q3, [{a}, #32]", "ldp q4, q5, [{a}, #64]", "ldp q6, q7, [{a}, #96]",
            "ldp q8, q9, [{a}, #128]", "ldp q10, q11, [{a}, #160]", "ldp q12, q13, [{a}, #192]", "ldp q14, q15, [{a}, #224]",
            "ldp q16, q17, [{a}, #256]", "ldp q18, q19, [{a}, #288]", "ldp q20, q21, [{a}, #320]", "ldp q22, q23, [{a}, #352]",
            "ldp q24, q25, [{a}, #384]", "ldp q26, q27, [{a}, #416]", "ldp q28, q29, [{a}, #448]", "ldp q30, q31, [{a}, #480]",
            "ldp {t}, {u}, [{b}]", "msr fpcr, {t}", "msr fpsr, {u}",
            a = in(reg) at, b = in(reg) at.cast::<u8>().wrapping_add(512), t = out(reg) _, u = out(reg) _, options(nostack, preserves_flags));
    }
}

const _: () = assert!(core::mem::offset_of!(Vcpu, frame) == 0);
