//! The hardware behind `hyp_core::dispatch::Machine`: one register or one device action each.

use embassy_time::Instant;
use hyp_abi::console::Stream;
use hyp_core::config::Config;
use hyp_core::cpu::BOARD_SPIS;
use hyp_core::dispatch::irq::{CONSOLE as CONSOLE_SPI, CROSS_CPU, SWEEP};
use hyp_core::dispatch::{Machine, Report};
use hyp_core::pmu::{Identity, Pmu};
use hyp_core::vcpu::Vcpu;
use hyp_core::vgic::{LRS_MAX, Lr, LrFile, hcr};

use crate::board::{self, Redistributor};
use crate::reg::{isb, sysreg};
use crate::uart::{CONSOLE, Uart};
use crate::{gic, memory, pmu, time, world};

sysreg! {
    pub ESR = "esr_el2", r;
    FAR = "far_el2", r;
    HPFAR = "hpfar_el2", r;
    pub ELR = "elr_el2", rw;
    pub SPSR = "spsr_el2", rw;
    SP_EL1 = "sp_el1", r;
    ELR_EL1 = "elr_el1", w;
    SPSR_EL1 = "spsr_el1", w;
    ESR_EL1 = "esr_el1", w;
    VBAR_EL1 = "vbar_el1", r;
    pub ICH_VMCR = "s3_4_c12_c11_7", rw;
    pub ICH_HCR = "s3_4_c12_c11_0", rw;
    ICH_VTR = "s3_4_c12_c11_1", r;
    ICH_ELRSR = "s3_4_c12_c11_5", r;
    LR0 = "s3_4_c12_c12_0", rw;
    LR1 = "s3_4_c12_c12_1", rw;
    LR2 = "s3_4_c12_c12_2", rw;
    LR3 = "s3_4_c12_c12_3", rw;
    PFR0 = "id_aa64pfr0_el1", r;
    PFR1 = "id_aa64pfr1_el1", r;
    DFR0 = "id_aa64dfr0_el1", r;
    ISAR0 = "id_aa64isar0_el1", r;
    ISAR1 = "id_aa64isar1_el1", r;
    MMFR0 = "id_aa64mmfr0_el1", r;
    MMFR1 = "id_aa64mmfr1_el1", r;
    MMFR2 = "id_aa64mmfr2_el1", r;
}

/// List registers used.
pub const LIST_REGISTERS: u32 = LRS_MAX as u32;
/// The bits of [`LIST_REGISTERS`].
pub const USABLE: u32 = (1 << LIST_REGISTERS) - 1;

/// Devices of this CPU that the dispatcher reaches.
pub struct Board {
    /// Redistributor of this CPU.
    pub redistributor: Redistributor,
    /// The boot configuration, from which VMs start again.
    pub config: Option<Config<'static>>,
}

impl Board {
    /// Before boot.
    pub const fn new() -> Self {
        Self {
            redistributor: board::redistributor(0),
            config: None,
        }
    }
}

/// Number of list registers the CPU has.
pub fn list_registers() -> u32 {
    (ICH_VTR::read() as u32 & 0x1f) + 1
}

/// FEAT_LSE: ID_AA64ISAR0_EL1.Atomic.
pub fn has_lse() -> bool {
    ISAR0::read() >> 20 & 0xf != 0
}

impl LrFile for Board {
    #[inline(always)]
    fn usable(&self) -> u32 {
        USABLE
    }

    #[inline(always)]
    fn empty(&self) -> u32 {
        ICH_ELRSR::read() as u32
    }

    #[inline(always)]
    fn read(&self, n: usize) -> Lr {
        Lr(match n {
            0 => LR0::read(),
            1 => LR1::read(),
            2 => LR2::read(),
            3 => LR3::read(),
            _ => 0,
        })
    }

    #[inline(always)]
    fn write(&mut self, n: usize, lr: Lr) {
        match n {
            0 => LR0::write(lr.0),
            1 => LR1::write(lr.0),
            2 => LR2::write(lr.0),
            3 => LR3::write(lr.0),
            _ => {}
        }
    }

    fn control(&mut self, bits: u32) {
        let kept = ICH_HCR::read() & !u64::from(hcr::MANAGED);
        ICH_HCR::write(kept | u64::from(bits & hcr::MANAGED));
    }

    fn take_eoi(&mut self) -> bool {
        let value = ICH_HCR::read();
        let some = value >> hcr::EOI_COUNT_SHIFT & 0x1f != 0;
        if some {
            ICH_HCR::write(value - (1 << hcr::EOI_COUNT_SHIFT));
        }
        some
    }

    fn forget_eois(&mut self) {
        ICH_HCR::write(ICH_HCR::read() & !(0x1f << hcr::EOI_COUNT_SHIFT));
    }

    #[inline]
    fn deactivate(&mut self, pintid: u32) {
        gic::deactivate(pintid);
    }
}

// PSTATE fields of SPSR (Arm ARM C5.2.19).
const MODE: u64 = 0b1111;
const EL1H: u64 = 0b0101;
const EL1T: u64 = 0b0100;
const MASKED: u64 = 0b1111 << 6;
const NZCV: u64 = 0b1111 << 28;
/// ESR of an Unknown exception: EC 0, IL.
const UNKNOWN: u64 = 1 << 25;

impl Machine for Board {
    #[inline(always)]
    fn esr(&self) -> u64 {
        ESR::read()
    }

    #[inline(always)]
    fn far(&self) -> u64 {
        FAR::read()
    }

    #[inline(always)]
    fn hpfar(&self) -> u64 {
        HPFAR::read()
    }

    #[inline(always)]
    fn pc(&self) -> u64 {
        ELR::read()
    }

    #[inline(always)]
    fn set_pc(&mut self, pc: u64) {
        ELR::write(pc);
    }

    fn spsr(&self) -> u64 {
        SPSR::read()
    }

    fn sp_el1(&self) -> u64 {
        SP_EL1::read()
    }

    fn inject_undefined(&mut self) {
        let spsr = SPSR::read();
        let offset = match spsr & MODE {
            EL1H => 0x200,
            EL1T => 0,
            _ => 0x400,
        };
        ELR_EL1::write(ELR::read());
        SPSR_EL1::write(spsr);
        ESR_EL1::write(UNKNOWN);
        ELR::write(VBAR_EL1::read().wrapping_add(offset));
        SPSR::write(spsr & NZCV | MASKED | EL1H);
    }

    #[inline(always)]
    fn vmcr(&self) -> u64 {
        ICH_VMCR::read()
    }

    #[inline(always)]
    fn now(&self) -> Instant {
        time::now()
    }

    fn armed_points(&self) -> u32 {
        crate::sites::armed()
    }

    fn instant(&self, count: u64) -> Instant {
        time::instant(count)
    }

    #[inline]
    fn set_alarm(&mut self, at: Instant) {
        time::set_alarm(at);
    }

    #[inline(always)]
    fn acknowledge(&mut self) -> u32 {
        gic::acknowledge()
    }

    #[inline(always)]
    fn drop_priority(&mut self, intid: u32) {
        gic::drop_priority(intid);
    }

    fn timer_line(&self, intid: u32) -> bool {
        world::timer_line(intid)
    }

    fn disable_spi(&mut self, intid: u32) {
        gic::disable_spi(intid);
    }

    fn disable_spis(&mut self, spis: &[u32; BOARD_SPIS / 32]) {
        gic::disable_spis(spis);
    }

    fn end_spis(&mut self, spis: &[u32; BOARD_SPIS / 32]) {
        gic::end_spis(spis);
    }

    fn id_register(&self, index: u32) -> u64 {
        match index {
            32 => PFR0::read(),
            33 => PFR1::read(),
            40 => DFR0::read(),
            48 => ISAR0::read(),
            49 => ISAR1::read(),
            56 => MMFR0::read(),
            57 => MMFR1::read(),
            58 => MMFR2::read(),
            _ => 0,
        }
    }

    fn pmu_identity(&self) -> Identity {
        pmu::identity()
    }

    fn pmu_take(&self, to: &mut Pmu) {
        pmu::take(to);
    }

    fn pmu_give(&mut self, from: &Pmu) {
        pmu::give(from);
    }

    #[inline]
    fn console_room(&self) -> bool {
        CONSOLE.has_room()
    }

    fn console_put(&mut self, vm: u8, byte: u8) {
        CONSOLE.with(|uart| uart.put(Stream::Vm(vm), byte));
    }

    fn console_interrupt(&mut self) -> Option<(u8, u8)> {
        CONSOLE.with(Uart::interrupt)
    }

    fn report(&mut self, report: &Report) {
        CONSOLE.with(|uart| uart.report(report));
        // The transmitter interrupts when it has sent something: here it has not yet.
        gic::pend_spi(CONSOLE_SPI);
    }

    fn write_guest(&mut self, pa: u64, bytes: &[u8]) {
        memory::write_guest(pa, bytes);
    }

    fn read_guest(&self, pa: u64, bytes: &mut [u8]) {
        memory::read_guest(pa, bytes);
    }

    fn switch_fp(&mut self, vcpus: &mut [Vcpu], from: u32, to: u32) {
        world::trap_fp(false);
        isb();
        if let Some(vcpu) = vcpus.get_mut(from as usize) {
            world::save_fp(&mut vcpu.fp);
        }
        if let Some(vcpu) = vcpus.get(to as usize) {
            world::load_fp(&vcpu.fp);
        }
    }

    fn release_fp(&mut self) {
        world::trap_fp(true);
    }

    fn abandon(&mut self) {
        world::end_timers(self);
        pmu::rest();
    }

    fn restore(&mut self, vm: u8, at: u64) -> Option<u64> {
        crate::setup::restore(self.config.as_ref()?, vm, at)
    }

    fn kick(&mut self, cpu: u32) {
        crate::reg::dsb_ishst();
        gic::send(CROSS_CPU, cpu);
    }

    fn sweep_soon(&mut self, cpu: u32) {
        gic::send(SWEEP, cpu);
    }

    fn synchronise(&self) {
        isb();
    }

    fn power_off(&mut self) {
        crate::power::off();
    }

    fn log_read(&mut self, out: &mut [u8]) -> (usize, u64) {
        crate::log::read(out)
    }
}
