//! The world switch: EL1 state of one vCPU out, that of another in.

use core::arch::asm;
use core::mem::offset_of;

use hyp_core::cpu::{Cpu, Vm, rare};
use hyp_core::vcpu::{El1, Fp, Vcpu};
use hyp_core::vgic::{Leaving, Lr, LrFile, SavedLrs};

use crate::machine::{Board, ICH_HCR, LIST_REGISTERS};
use crate::reg::{isb, sysreg};
use crate::{gic, pmu};

sysreg! {
    AMAIR = "amair_el1", rw;
    AFSR0 = "afsr0_el1", rw;
    AFSR1 = "afsr1_el1", rw;
    CNTV_CTL = "cntv_ctl_el0", r;
    CNTV_CVAL = "cntv_cval_el0", r;
    CNTP_CTL = "cntp_ctl_el0", r;
    CNTP_CVAL = "cntp_cval_el0", r;
    VTTBR = "vttbr_el2", rw;
    VMPIDR = "vmpidr_el2", rw;
    CPTR = "cptr_el2", rw;
}

// CPTR_EL2 with E2H = 0 (Arm ARM D17.2.30): RES1 bits, TTA (no trace for guests), TFP.
const CPTR_BASE: u64 = 0x33ff | 1 << 20;
const CPTR_FP: u64 = 1 << 10;
/// PPIs of the two EL1 timers and of the event counters in GICR_ISACTIVER0.
const LINKED_PPIS: u32 = 1 << 27 | 1 << 30 | 1 << hyp_core::pmu::INTID;
// Of a redistributor.
const ISACTIVER0: u64 = 0x1_0300;
const ICACTIVER0: u64 = 0x1_0380;

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

/// Calls `$one` with each two registers that are neighbours in [`El1`]. All that a guest can change without a trap, and where it
/// goes on. What follows a vCPU into the timers and the virtual CPU interface is here too: the compare value is loaded before the
/// control that arms it.
macro_rules! each_pair {
    ($one:ident, $el1:expr) => {
        $one!($el1, elr_el2 "elr_el2", spsr_el2 "spsr_el2");
        $one!($el1, sctlr "sctlr_el1", tcr "tcr_el1");
        $one!($el1, ttbr0 "ttbr0_el1", ttbr1 "ttbr1_el1");
        $one!($el1, mair "mair_el1", vbar "vbar_el1");
        $one!($el1, contextidr "contextidr_el1", cpacr "cpacr_el1");
        $one!($el1, tpidr_el0 "tpidr_el0", tpidrro_el0 "tpidrro_el0");
        $one!($el1, tpidr_el1 "tpidr_el1", sp_el1 "sp_el1");
        $one!($el1, sp_el0 "sp_el0", elr "elr_el1");
        $one!($el1, spsr "spsr_el1", esr "esr_el1");
        $one!($el1, far "far_el1", par "par_el1");
        $one!($el1, csselr "csselr_el1", cntkctl "cntkctl_el1");
        $one!($el1, cntv_ctl "cntv_ctl_el0", cntv_cval "cntv_cval_el0");
        $one!($el1, cntp_ctl "cntp_ctl_el0", cntp_cval "cntp_cval_el0");
        $one!($el1, vmcr "s3_4_c12_c11_7", ap1r0 "s3_4_c12_c9_0"); // ICH_VMCR_EL2, ICH_AP1R0_EL2
    };
}

macro_rules! save_pair {
    ($el1:expr, $a:ident $ra:literal, $b:ident $rb:literal) => {
        const { assert!(offset_of!(El1, $b) == offset_of!(El1, $a) + 8) };
        // SAFETY: 1. MRS of registers that EL2 may read; the store is to the two fields of the `El1` behind the reference.
        unsafe {
            asm!(
                concat!("mrs {a}, ", $ra), concat!("mrs {b}, ", $rb), "stp {a}, {b}, [{el1}, #{at}]",
                a = out(reg) _, b = out(reg) _, el1 = in(reg) core::ptr::from_mut($el1), at = const offset_of!(El1, $a),
                options(nostack, preserves_flags)
            )
        };
    };
}

macro_rules! load_pair {
    ($el1:expr, $a:ident $ra:literal, $b:ident $rb:literal) => {
        // SAFETY: 1. The load is of two fields of the `El1` behind the reference. 2. MSR of registers of EL1 and EL0, of the
        // virtual CPU interface, and of where the guest goes on: none changes what EL2's own code or memory means.
        unsafe {
            asm!(
                "ldp {a}, {b}, [{el1}, #{at}]", concat!("msr ", $rb, ", {b}"), concat!("msr ", $ra, ", {a}"),
                a = out(reg) _, b = out(reg) _, el1 = in(reg) core::ptr::from_ref($el1), at = const offset_of!(El1, $a),
                options(nostack, preserves_flags)
            )
        };
    };
}

sysreg! {
    ICH_AP0R0 = "s3_4_c12_c8_0", rw;
}

/// True if the core has any of AMAIR_EL1, AFSR0_EL1, AFSR1_EL1, which may all be RES0. Asked once, before the first guest.
pub fn has_auxiliary() -> bool {
    AMAIR::write(u64::MAX);
    AFSR0::write(u64::MAX);
    AFSR1::write(u64::MAX);
    isb();
    let kept = AMAIR::read() | AFSR0::read() | AFSR1::read();
    AMAIR::write(0);
    AFSR0::write(0);
    AFSR1::write(0);
    kept != 0
}

/// Saves what [`rare`] names.
#[cold]
#[inline(never)]
fn save_rare(vcpu: &mut Vcpu, which: u32) {
    if which & rare::AUXILIARY != 0 {
        let to = &mut vcpu.el1;
        to.amair = AMAIR::read();
        to.afsr0 = AFSR0::read();
        to.afsr1 = AFSR1::read();
    }
    if which & rare::PMU != 0 && vcpu.pmu.is_active() {
        pmu::take(&mut vcpu.pmu);
        pmu::rest();
    }
}

/// Loads what [`rare`] names.
#[cold]
#[inline(never)]
fn load_rare(vcpu: &Vcpu, which: u32) {
    if which & rare::AUXILIARY != 0 {
        let from = &vcpu.el1;
        AMAIR::write(from.amair);
        AFSR0::write(from.afsr0);
        AFSR1::write(from.afsr1);
    }
    if which & rare::PMU != 0 && vcpu.pmu.is_active() {
        pmu::give(&vcpu.pmu);
    }
    if which & rare::SHIELD != 0 {
        gic::shield(vcpu.shielded);
    }
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

/// Saves what `leaving` names, and takes the timers' active state off the CPU: what this vCPU has active must not keep the
/// next one's timer from interrupting.
#[inline(never)]
fn save_interrupts(leaving: Leaving, saved: &mut SavedLrs, board: &Board) {
    let hcr = if leaving.control != 0 {
        ICH_HCR::read() as u32
    } else {
        0
    };
    let active = board.redistributor.read32(ISACTIVER0) & LINKED_PPIS;
    saved.save(leaving.full, hcr, active);
    each_list_register!(N => {
        if leaving.full >> N & 1 != 0 {
            saved.put(N, board.read(N));
        }
    });
    if active != 0 {
        board.redistributor.write32(ICACTIVER0, active);
    }
}

/// The timers' physical interrupts on this CPU are active no more.
pub fn end_timers(board: &Board) {
    board.redistributor.write32(ICACTIVER0, LINKED_PPIS);
}

/// Loads what is saved; `stale` list registers hold something of the vCPU that left.
#[inline(never)]
fn load_interrupts(saved: &mut SavedLrs, board: &mut Board, stale: u32) {
    let full = saved.full();
    each_list_register!(N => {
        if full >> N & 1 != 0 {
            board.write(N, saved.get(N));
        } else if stale >> N & 1 != 0 {
            board.write(N, Lr(0));
        }
    });
    ICH_HCR::write(saved.hcr().into());
    let active = saved.take_active();
    if active != 0 {
        board.redistributor.write32(ISACTIVER0, active);
    }
    saved.loaded();
}

/// Saves the loaded vCPU's registers. Returns the list registers that hold something of it, and a bit beside them if
/// ICH_HCR_EL2 does.
#[inline(always)]
fn leave(vcpu: &mut Vcpu, vm: &mut Vm, board: &mut Board, rare: u32) -> u32 {
    each_pair!(save_pair, &mut vcpu.el1);
    vcpu.el1.ap0r0 = ICH_AP0R0::read();
    if rare != 0 {
        save_rare(vcpu, rare);
    }
    let leaving = vm.vgic.leave(board.empty());
    let rest = leaving.full | leaving.control << LIST_REGISTERS;
    if rest | leaving.linked != 0 {
        save_interrupts(leaving, vm.vgic.saved(), board);
    }
    rest
}

/// List registers and ICH_HCR_EL2 hold nobody knows what.
const ALL: u32 = u32::MAX;

/// Switches registers from the loaded vCPU to slot `to`, which [`Cpu::loaded`] names afterwards.
///
/// No barrier: nothing here is used at EL2, and the `eret` is a context synchronisation event (Arm ARM D1.4.2).
#[inline(always)]
pub fn switch(cpu: &mut Cpu, board: &mut Board, to: usize) {
    let rare = cpu.rare;
    cpu.account(crate::time::now());
    let stale = match cpu.running() {
        Some((vcpu, vm)) => leave(vcpu, vm, board, rare),
        None => ALL,
    };
    let fp = cpu.fp_owner;
    if fp == cpu.loaded || fp == to as u32 {
        trap_fp(fp != to as u32);
    }
    cpu.loaded = to as u32;
    let Some((vcpu, vm)) = cpu.running() else { return };
    crate::percpu::context().set_running(vcpu.id, vcpu.index);
    VMPIDR::write(vcpu.mpidr);
    VTTBR::write(vm.vttbr);
    each_pair!(load_pair, &vcpu.el1);
    ICH_AP0R0::write(vcpu.el1.ap0r0);
    if rare != 0 {
        load_rare(vcpu, rare);
    }
    let saved = vm.vgic.saved();
    if stale != 0 || !saved.is_quiet() {
        load_interrupts(saved, board, stale);
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

const _: () = assert!(offset_of!(Vcpu, frame) == 0);
