//! Traps: emulated devices, system registers, WFI, FP, and what nothing answers.

use hyp_abi::record::{StopCause, VmStopped};

use super::*;
use crate::cpu::rare;
use crate::dispatch::fast;
use crate::dispatch::{id_register_mask, id_register_value};
use crate::exit::{Esr, sysreg, sysreg_key};
use crate::testrng::{Rng, steps};
use crate::vcpu::Run;

/// A data abort of an access that the syndrome describes: translation fault at level 3.
fn abort(size_log2: u64, write: bool, register: u64) -> u64 {
    0x24 << 26 | 1 << 25 | 1 << 24 | size_log2 << 22 | register << 16 | 1 << 15 | u64::from(write) << 6 | 7
}

impl System {
    /// An access of the running VM as `hyp-el2` serves it; the path, or `None` if no device answers.
    fn access(&mut self, ipa: u64, esr: u64) -> Option<PathId> {
        let Self { cpu, board, .. } = self;
        (board.hpfar, board.far, board.esr) = (ipa >> 12 << 4, 0xffff_0000_0000_0000 | ipa & 0xfff, esr);
        let at = fast::device_access(board, Esr(esr))?;
        assert_eq!(at.ipa, ipa);
        let slot = cpu.loaded as usize;
        let first = cpu.vms.first_chunk_mut().unwrap();
        let vcpu = &mut cpu.vcpus[slot];
        if ipa >> 12 == fast::GICD_IPA >> 12 && fast::gicd_common(vcpu, first, board, &at) {
            return Some(PathId::MmioGicd);
        }
        let vm = &mut first[usize::from(vcpu.vm)];
        let device = fast::device_of(ipa, vm.has_uart)?;
        match device {
            PathId::MmioGicd => fast::gic(vcpu, vm, board, &at, false),
            PathId::MmioGicr => fast::gic(vcpu, vm, board, &at, true),
            _ => fast::uart(vcpu, vm, board, &at),
        }
        Some(device)
    }

    fn read(&mut self, ipa: u64, size_log2: u64, register: u32) -> u64 {
        self.frame(0).set(register, 0x5555_5555_5555_5555);
        let before = self.board.pc;
        assert!(
            self.access(ipa, abort(size_log2, false, register.into())).is_some(),
            "{ipa:#x}"
        );
        assert_eq!(self.board.pc, before + 4);
        self.x(0, register)
    }

    fn write(&mut self, ipa: u64, size_log2: u64, value: u64) {
        self.frame(0).set(25, value);
        let before = self.board.pc;
        assert!(self.access(ipa, abort(size_log2, true, 25)).is_some(), "{ipa:#x}");
        assert_eq!(self.board.pc, before + 4);
    }
}

const GICD: u64 = fast::GICD_IPA;
const GICR: u64 = fast::GICR_IPA;

#[test]
fn the_distributor_by_word_byte_and_any_register() {
    let mut s = System::new();
    for register in [0, 18, 19, 20, 29, 30] {
        assert_eq!(s.read(GICD + 4, 2, register) & 0x1f, 8, "GICD_TYPER into x{register}");
    }
    s.write(GICD + 0x104, 2, 0x8000_0001);
    assert_eq!(s.read(GICD + 0x104, 2, 3), 0x8000_0001);
    s.write(GICD + 0x104, 2, 2);
    assert_eq!(s.read(GICD + 0x184, 2, 3), 0x8000_0003, "ISENABLER only sets");
    s.write(GICD + 0x184, 2, 1);
    assert_eq!(s.read(GICD + 0x104, 2, 3), 0x8000_0002);
    s.write(GICD + 0x421, 0, 0x1ff);
    assert_eq!(
        s.read(GICD + 0x420, 2, 3),
        0xf8 << 8,
        "one byte of four, five bits of it"
    );
    assert_eq!(s.read(GICD + 0x6100, 3, 3), 0, "GICD_IROUTER32, 64 bits");
    assert_eq!(
        s.read(GICD + 0x104, 1, 3),
        0,
        "an access of undefined size reads as zero"
    );
    assert!(s.board.exits.iter().all(|path| *path == PathId::MmioGicd));
}

#[test]
fn redistributor_and_console() {
    let mut s = System::new();
    assert_eq!(s.read(GICR + 8, 3, 1), 1 << 4, "GICR_TYPER: the last one");
    s.write(GICR + 0x1_0100, 2, 1 << 27);
    assert_eq!(s.read(GICR + 0x1_0100, 2, 1), 1 << 27);
    s.write(UART, 2, u64::from(b'x'));
    assert_eq!(s.board.printed, [(0, b'x')]);
    assert_eq!(s.read(UART + 0x18, 2, 2) >> 5 & 1, 0, "the transmitter has room");
    s.board.full = true;
    assert_eq!(
        s.read(UART + 0x18, 2, 2) >> 5 & 1,
        1,
        "and has none when the board's has none"
    );
}

/// Any access of any size anywhere in a device is answered: nothing but the guest's own state changes, and it goes on behind it.
#[test]
fn random_accesses_are_answered() {
    let mut rng = Rng::new("accesses", 32);
    let mut s = System::new();
    for _ in 0..steps(100_000) {
        let device = rng.pick(&[GICD, GICR, GICR + 0x1_0000, UART]);
        let reach = if device == UART { 0x1000 } else { 0x1_0000 };
        let offset = if rng.chance(60) {
            rng.below(0x1000)
        } else {
            rng.below(reach)
        };
        let size = rng.below(4);
        s.frame(0).set(9, rng.next());
        let before = s.board.pc;
        let esr = abort(size, rng.chance(50), 9);
        assert!(s.access(device + offset, esr).is_some());
        assert_eq!(s.board.pc, before + 4);
    }
    assert!(s.cpu.vms[0].alive && s.cpu.vcpus[1].frame.get(9) == 0);
}

#[test]
fn loads_extend_as_the_instruction_says() {
    let mut s = System::new();
    s.write(GICD + 0x104, 2, 0x8000_0000);
    let esr = abort(2, false, 3) | 1 << 21;
    assert!(s.access(GICD + 0x104, esr).is_some());
    assert_eq!(s.x(0, 3), 0xffff_ffff_8000_0000, "ldrsw");
    let before = s.x(0, 7);
    assert!(s.access(GICD + 4, abort(2, false, 31)).is_some());
    assert_eq!(s.x(0, 7), before, "xzr takes it");
}

#[test]
fn an_abort_that_nothing_answers_stops_the_vm() {
    let unknown = 0x0a00_0000;
    for esr in [
        abort(2, true, 1),
        abort(2, false, 1) & !(1 << 24),
        abort(2, false, 1) | 1 << 7,
        abort(2, false, 1) & !7 | 0xf,
        0x20 << 26 | 1 << 25 | 7,
    ] {
        let mut s = System::new();
        assert!(esr & 1 << 24 == 0 || s.access(unknown, esr).is_none() || esr >> 26 == 0x20);
        (s.board.hpfar, s.board.far) = (unknown >> 12 << 4, 0x123);
        assert_eq!(s.exit(esr), PathId::Stage2Fault);
        let stopped = VmStopped::read(&s.board.reports[0].1).unwrap();
        assert_eq!((stopped.vm, stopped.cause), (0, StopCause::MemoryFault as u32));
        assert_eq!((stopped.esr, stopped.ipa, stopped.elr), (esr, unknown + 0x123, PC));
        assert_eq!((s.cpu.vcpus[0].run, s.cpu.vms[1].alive), (Run::Stopped, true));
        assert!(s.cpu.vms[0].faulted);
    }
}

#[test]
fn serror_stops_the_vm() {
    let mut s = System::new();
    s.cpu.deferred = Deferred::SError;
    let path = crate::dispatch::slow::serve(&mut s.cpu, &mut s.board, &mut s.probes);
    s.sweep();
    assert_eq!((path, s.cpu.vms[0].alive), (PathId::GuestFault, false));
}

/// MSR or MRS of a register by its key.
fn sysreg_trap(key: u32, write: bool, register: u64) -> u64 {
    0x18 << 26 | 1 << 25 | u64::from(key) | register << 5 | u64::from(!write)
}

#[test]
fn system_registers_by_class() {
    let mut s = System::new();
    let pfr0 = sysreg_key(3, 0, 0, 4, 0);
    assert_eq!(s.exit(sysreg_trap(pfr0, false, 22)), PathId::Sysreg);
    assert_eq!((s.x(0, 22), s.board.pc), (id_register_mask(32), PC + 4));
    // ERRIDR_EL1, of the RAS extension: reads as zero, writes are ignored.
    let erridr = sysreg_key(3, 0, 5, 3, 0);
    s.frame(0).set(5, 77);
    assert_eq!(s.exit(sysreg_trap(erridr, true, 5)), PathId::Sysreg);
    assert_eq!(s.x(0, 5), 77);
    assert_eq!(s.exit(sysreg_trap(erridr, false, 5)), PathId::Sysreg);
    assert_eq!((s.x(0, 5), s.board.pc, s.board.undefined), (0, PC + 12, 0));
    // SGI registers are write-only.
    assert_eq!(s.exit(sysreg_trap(sysreg::SGI1R, false, 5)), PathId::SysregSgi);
    assert_eq!((s.board.undefined, s.board.pc), (1, PC + 12));
}

#[test]
fn an_sgi_to_itself_goes_straight_to_a_list_register() {
    let mut s = System::new();
    s.write(GICD, 2, 0b10);
    s.write(GICR + 0x1_0080, 2, u64::MAX);
    s.write(GICR + 0x1_0100, 2, 1 << 5);
    let before = s.board.pc;
    s.frame(0).set(20, 5 << 24 | 1);
    let trap = Esr(sysreg_trap(sysreg::SGI1R, true, 20));
    let Cpu { vcpus, vms, .. } = &mut *s.cpu;
    assert!(fast::sgi(&mut vcpus[0], &mut vms[0], &mut s.board, trap));
    assert_eq!(s.board.pc, before + 4);
    let lr = s
        .board
        .lrs
        .iter()
        .find(|lr| lr.is_pending())
        .expect("a list register holds it");
    assert_eq!((lr.intid(), lr.is_group1()), (5, true));
    let other = Esr(sysreg_trap(sysreg::SGI0R, true, 20));
    assert!(
        !fast::sgi(&mut vcpus[0], &mut vms[0], &mut s.board, other),
        "the slow part's"
    );
}

#[test]
fn what_does_not_exist_is_undefined_in_the_guest() {
    for class in [0x00, 0x03, 0x05, 0x0c, 0x11, 0x1f, 0x3c] {
        let mut s = System::new();
        s.exit(class << 26 | 1 << 25);
        assert_eq!((s.board.undefined, s.board.pc), (1, PC), "class {class:#x}");
        assert!(s.cpu.vms[0].alive);
    }
}

#[test]
fn wfi_waits_unless_something_is_pending() {
    const WFI: u64 = 1 << 26 | 1 << 25;
    let mut s = System::new();
    assert_eq!(s.exit(WFI | 1), PathId::Wfi, "WFE");
    assert_eq!((s.cpu.vcpus[0].run, s.board.pc), (Run::Ready, PC + 4));
    s.board.lrs[0] = Lr::pending(3, 0, true, false, false);
    s.write(GICD, 2, 0b10);
    s.write(GICR + 0x1_0080, 2, u64::MAX);
    s.write(GICR + 0x1_0100, 2, 1 << 3);
    s.frame(0).set(1, 3 << 24 | 1);
    let trap = Esr(sysreg_trap(sysreg::SGI1R, true, 1));
    s.board.lrs[0] = Lr(0);
    let Cpu { vcpus, vms, .. } = &mut *s.cpu;
    assert!(fast::sgi(&mut vcpus[0], &mut vms[0], &mut s.board, trap));
    s.board.vmcr = 0xf8 << 24 | 0b10;
    s.exit(WFI);
    assert_eq!(s.cpu.vcpus[0].run, Run::Ready, "an interrupt is there");
    s.board.lrs = [Lr(0); LRS_MAX];
    s.exit(WFI);
    assert_eq!(s.cpu.vcpus[0].run, Run::Wfi);
    assert_eq!(s.cpu.sched.next(), Some(1));
}

#[test]
fn the_fp_unit_moves_to_who_uses_it() {
    let mut s = System::new();
    assert_eq!(s.exit(7 << 26 | 1 << 25), PathId::Fpsimd);
    assert_eq!((s.cpu.fp_owner, s.board.pc), (0, PC), "the instruction is tried again");
    s.give_cpu(1);
    s.exit(7 << 26 | 1 << 25);
    assert_eq!(s.board.fp, [(crate::cpu::NO_SLOT, 0), (0, 1)]);
}

impl System {
    fn msr(&mut self, key: u32, value: u64) {
        self.frame(0).set(7, value);
        let path = self.exit(sysreg_trap(key, true, 7));
        assert_eq!(path, PathId::Sysreg);
    }

    fn mrs(&mut self, key: u32) -> u64 {
        let path = self.exit(sysreg_trap(key, false, 7));
        assert_eq!(path, PathId::Sysreg);
        self.x(0, 7)
    }
}

#[test]
fn counters_are_the_hardwares_while_they_count() {
    let mut s = System::new();
    let (pmcr, enable, cycles) = (
        sysreg_key(3, 3, 9, 12, 0),
        sysreg_key(3, 3, 9, 12, 1),
        sysreg_key(3, 3, 9, 13, 0),
    );
    s.board.counted = 100;
    s.msr(enable, 1 << 31);
    assert_eq!((s.mrs(cycles), s.board.given.len(), s.cpu.rare & rare::PMU), (0, 0, 0));
    s.msr(pmcr, 1);
    assert_eq!(
        (s.board.given.as_slice(), s.cpu.rare & rare::PMU),
        (&[1 << 31][..], rare::PMU)
    );
    assert_eq!(
        (s.mrs(cycles), s.mrs(cycles)),
        (100, 200),
        "taken from the hardware each time"
    );
    s.msr(pmcr, 0);
    assert_eq!(s.board.given.last(), Some(&0), "the hardware is told to stop");
    assert_eq!((s.mrs(cycles), s.mrs(cycles)), (300, 300));
}

#[test]
fn a_guest_is_told_of_no_later_pmu() {
    let version = |raw: u64| id_register_value(40, raw << 8) >> 8 & 0xf;
    assert_eq!([0, 1, 4, 5, 8, 15].map(version), [0, 1, 4, 4, 4, 0]);
}
