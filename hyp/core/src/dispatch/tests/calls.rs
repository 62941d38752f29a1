//! Hypercalls: which are known, who may, what they read, write and change.

use hyp_abi::call::{CURSOR_END, FID_BASE};
use hyp_abi::record::{PathPeak, PathRecord, StreamKind, VmRecord};

use super::*;
use crate::dispatch::hypercall::path_of;
use crate::dispatch::peak;
use crate::vcpu::Run;

#[test]
fn every_number_is_a_call_or_not_supported() {
    for number in (0..0x200).chain([0x1000, 0xf00f]) {
        let mut s = System::with_rights(Rights::all());
        let path = s.hvc(u64::from(FID_BASE) | number, &[0; 6]);
        match Call::from_number(number as u16) {
            None => {
                assert_eq!(Status::from_x0(s.x(0, 0)), Some(Status::NotSupported), "{number:#x}");
                assert_eq!(path, PathId::HypercallInfo);
            }
            Some(call) => {
                assert_eq!(path, path_of(call), "{}", call.name());
                assert_ne!(
                    Status::from_x0(s.x(0, 0)),
                    Some(Status::NotSupported),
                    "{}",
                    call.name()
                );
            }
        }
        assert_eq!(s.board.exits, [path], "a path is told once");
        assert_eq!(s.board.pc, PC, "HVC returns behind itself by itself");
        assert!(s.cpu.vms[1].alive, "nobody else is touched");
    }
}

#[test]
fn the_upper_half_of_x0_is_no_part_of_the_number() {
    let mut s = System::new();
    s.hvc(0xdead_beef << 32 | Call::Version.fid(), &[]);
    assert_eq!((s.x(0, 0), s.x(0, 1)), (0, hyp_abi::ABI_VERSION.into()));
}

#[test]
fn what_concerns_all_vms_needs_the_right() {
    let reads = [Call::PathRead, Call::PathPeak, Call::VmRead, Call::PathReset];
    for (rights, call, needed) in reads
        .map(|call| {
            (
                Rights::all().difference(Rights::PROBE_SYSTEM),
                call,
                Rights::PROBE_SYSTEM,
            )
        })
        .into_iter()
        .chain([(Rights::all().difference(Rights::LOG), Call::LogRead, Rights::LOG)])
    {
        let mut s = System::with_rights(rights);
        assert_eq!(s.call(call, &[0, RAM, 4096]), Some(Status::Denied), "{}", call.name());
        assert_eq!(s.x(0, 1), needed.bits().into());
        assert!(s.board.written.is_empty());
    }
}

#[test]
fn records_go_to_the_callers_ram_or_nowhere() {
    let mut s = System::with_rights(Rights::all());
    for (ipa, bad) in [
        (RAM - 8, RAM - 8),
        (RAM + RAM_BYTES - 8, RAM + RAM_BYTES),
        (u64::MAX - 7, u64::MAX - 7),
    ] {
        assert_eq!(
            s.call(Call::PathRead, &[0, ipa, 4096]),
            Some(Status::BadAddress),
            "{ipa:#x}"
        );
        assert_eq!(s.x(0, 1), bad);
    }
    assert!(s.board.written.is_empty());
    let size = PathRecord::SIZE as u64;
    assert_eq!(s.call(Call::PathRead, &[3, RAM + 64, 2 * size + 1]), Some(Status::Ok));
    assert_eq!((s.x(0, 1), s.x(0, 2)), (5, 2));
    let at: Vec<u64> = s.board.written.iter().map(|(pa, _)| *pa).collect();
    assert_eq!(at, [0x5000_0040, 0x5000_0040 + size]);
    assert_eq!(PathRecord::read(&s.board.written[1].1).unwrap().own, 5);
    let last = PathId::COUNT as u64 - 1;
    assert_eq!(s.call(Call::PathRead, &[last, RAM, 4096]), Some(Status::Ok));
    assert_eq!((s.x(0, 1), s.x(0, 2)), (CURSOR_END, 1));
}

#[test]
fn vm_records_tell_exits_and_time() {
    let mut s = System::with_rights(Rights::all());
    s.cpu.vcpus[0].exits = 12;
    s.cpu.vcpus[0].run_ns = 5;
    (s.cpu.since, s.board.now) = (Instant::from_ticks(100), 120);
    assert_eq!(s.call(Call::VmRead, &[0, RAM, 4096]), Some(Status::Ok));
    assert_eq!((s.x(0, 1), s.x(0, 2)), (CURSOR_END, 2));
    let record = VmRecord::read(&s.board.written[0].1).unwrap();
    assert_eq!((record.vm, record.state, record.exits, record.run_ns), (0, 0, 12, 25));
}

#[test]
fn the_longest_exit_is_remembered_with_what_was_there() {
    let mut s = System::with_rights(Rights::all());
    (s.board.esr, s.board.now) = (0x5a00_0000, 9);
    s.frame(0).set(3, 33);
    for (spent, kept) in [(70, 70), (60, 70), (50, 70), (80, 80)] {
        if s.cpu.note(PathId::Sysreg, spent) {
            peak::extreme(&mut s.cpu, &s.board, PathId::Sysreg, spent, 0);
        }
        assert_eq!(
            s.call(Call::PathPeak, &[PathId::Sysreg as u64, RAM, 4096]),
            Some(Status::Ok)
        );
        let (_, bytes) = s.board.written.pop().unwrap();
        let read = PathPeak::read(&bytes).unwrap();
        assert_eq!((read.length, read.path), (kept, PathId::Sysreg as u32));
        assert_eq!(
            (read.vm, read.points, read.x[3]),
            (0, 0b101, if spent == 80 { 4096 } else { 33 })
        );
        assert_eq!((read.time_ns, read.pc), (9, PC));
    }
    assert_eq!(
        s.call(Call::PathPeak, &[PathId::COUNT as u64, RAM, 4096]),
        Some(Status::NotFound)
    );
    assert_eq!(s.call(Call::PathPeak, &[0, RAM, 8]), Some(Status::TooBig));
    assert_eq!(s.call(Call::PathPeak, &[0, RAM - 1, 4096]), Some(Status::BadAddress));
    s.call(Call::PathReset, &[]);
    assert!(s.cpu.peaks.iter().all(|peak| peak.length == 0));
}

#[test]
fn the_log_is_read_in_chunks() {
    let mut s = System::with_rights(Rights::all());
    s.board.log = std::vec![1; 1000];
    assert_eq!(s.call(Call::LogRead, &[RAM, 5000]), Some(Status::Ok));
    assert_eq!((s.x(0, 1), s.x(0, 2)), (256, 7));
    assert_eq!(s.call(Call::LogRead, &[RAM, 10]), Some(Status::Ok));
    assert_eq!(s.board.written[1].1.len(), 10);
}

#[test]
fn counts_are_cleared_on_request() {
    let mut s = System::with_rights(Rights::all());
    assert!(s.cpu.note(PathId::Wfi, 50));
    assert_eq!(s.call(Call::PathReset, &[]), Some(Status::Ok));
    assert!(s.cpu.paths.iter().all(|stat| *stat == crate::cpu::PathStat::new()));
}

#[test]
fn probe_calls_get_five_arguments_and_give_six_results() {
    let mut s = System::new();
    s.frame(0).set(8, 88);
    assert_eq!(s.hvc(Call::MapRead.fid(), &[1, 2, 3, 4, 5, 6]), PathId::MapRead);
    assert_eq!(s.probes.served, [(Call::MapRead, [1, 2, 3, 4, 5, 6])]);
    assert_eq!([1, 2, 3, 4, 5, 6].map(|n| s.x(0, n)), [101, 102, 103, 104, 105, 106]);
    assert_eq!(s.x(0, 8), 88);
}

#[test]
fn a_vm_that_exits_stops_alone() {
    for (code, faulted) in [(0, false), (3, true)] {
        let mut s = System::new();
        s.cpu.fp_owner = 0;
        s.cpu.give_spi(37, 0);
        s.hvc(Call::VmExit.fid(), &[code]);
        assert_eq!(s.cpu.vcpus[0].run, Run::Stopped);
        assert_eq!((s.cpu.vms[0].alive, s.cpu.vms[0].faulted), (false, faulted));
        assert_eq!(s.cpu.hazard, 1);
        assert_eq!(s.board.disabled, [37]);
        assert_eq!((s.cpu.fp_owner, s.board.fp_released), (crate::cpu::NO_SLOT, 1));
        assert_eq!(s.board.reports.len(), 1);
        assert_eq!(s.board.reports[0].0, StreamKind::VmStopped);
        assert!(s.cpu.vms[1].alive && !s.cpu.off);
        assert_eq!(s.cpu.sched.next(), Some(1));
    }
}

#[test]
fn the_last_vm_ends_the_system() {
    let mut s = System::new();
    s.hvc(Call::VmExit.fid(), &[0]);
    s.give_cpu(1);
    s.hvc(Call::VmExit.fid(), &[0]);
    assert!(s.cpu.off);
    let next = crate::dispatch::schedule(&mut s.cpu, &mut s.board, PathId::PsciPower);
    assert_eq!(next, crate::dispatch::Next::Off);
}

#[test]
fn yield_gives_way_only_to_equals() {
    let mut s = System::new();
    let _ = s.cpu.sched.block(1);
    assert_eq!(s.hvc(Call::Yield.fid(), &[]), PathId::HypercallYield);
    assert_eq!((s.x(0, 0), s.cpu.sched.next()), (0, Some(0)));
}

#[test]
fn psci_by_hvc_and_smc() {
    const VERSION: u64 = 0x8400_0000;
    let mut s = System::new();
    assert_eq!(s.hvc(VERSION, &[]), PathId::Psci);
    assert_eq!((s.x(0, 0), s.board.pc), (0x1_0001, PC));
    s.frame(0).set(0, VERSION);
    assert_eq!(s.exit(0x17 << 26 | 1 << 25), PathId::Psci);
    assert_eq!((s.x(0, 0), s.board.pc), (0x1_0001, PC + 4), "an SMC is stepped over");
    assert_eq!(s.hvc(0x8400_00ff, &[]), PathId::Psci);
    assert_eq!(s.x(0, 0), crate::psci::error::NOT_SUPPORTED);
    // SYSTEM_OFF without the right stops the VM alone, with it the system.
    assert_eq!(s.hvc(0x8400_0008, &[]), PathId::PsciPower);
    assert!(!s.cpu.vms[0].alive && !s.cpu.vms[0].faulted && s.cpu.vms[1].alive && !s.cpu.off);
    let mut s = System::with_rights(Rights::SYSTEM_OFF);
    s.hvc(0x8400_0008, &[]);
    assert!(s.cpu.off);
}
