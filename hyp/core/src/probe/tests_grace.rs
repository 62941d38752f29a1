//! Several CPUs: nothing changes under one that may be inside a probe.

use hyp_abi::Status;
use hyp_abi::call::FILTER_ANY;
use hyp_abi::record::Pool;
use probe_vm::points::PointId;

use super::tests::{SELF, Sys, program, refused};
use super::{Disarmed, Refused};

/// Another CPU may be inside what is taken away, until it passes.
#[test]
fn nothing_is_taken_from_under_another_cpu() {
    let mut s = Sys::new();
    let grace = s.probes.platform.grace;
    grace.start(2);
    let again = |r: Result<(), Refused>| refused(r, Status::Again, &[0b10]);
    let (a, b) = (s.load(SELF, &program(1)).unwrap(), s.load(SELF, &program(1)).unwrap());
    let first = s.attach(SELF, a, FILTER_ANY).unwrap();
    grace.period();
    again(s.attach(SELF, b, FILTER_ANY).map(drop));
    again(s.probes.detach(SELF, first.id, &mut s.admission).map(drop));
    again(s.probes.replace(SELF, first.id, b, &mut s.admission, &[]).map(drop));
    grace.pass(1, grace.last());
    let second = s.probes.replace(SELF, first.id, b, &mut s.admission, &[]).unwrap();
    grace.period();
    again(s.probes.unload(SELF, a));
    refused(s.probes.unload(SELF, b), Status::Busy, &[]);
    grace.pass(1, grace.last());
    s.probes.unload(SELF, a).unwrap();
    s.probes.detach(SELF, second.id, &mut s.admission).unwrap();
    grace.pass(1, grace.last());
    again(s.probes.unload(SELF, b));
    grace.period();
    again(s.probes.unload(SELF, b));
    grace.pass(1, grace.last());
    s.probes.unload(SELF, b).unwrap();
}

#[test]
fn a_stopped_vm_is_cleared_away_when_the_others_have_passed() {
    let mut s = Sys::new();
    let grace = s.probes.platform.grace;
    grace.start(2);
    let a = s.load(SELF, &program(1)).unwrap();
    s.attach(SELF, a, FILTER_ANY).unwrap();
    grace.period();
    let mmio = 1 << PointId::Mmio as u32;
    let none = Disarmed::default();
    assert_eq!(s.probes.vm_stopped(0, SELF.vm, &mut s.admission), none);
    grace.pass(1, grace.last());
    let disarmed = Disarmed {
        changed: mmio,
        off: mmio,
        done: false,
    };
    assert_eq!(s.probes.vm_stopped(0, SELF.vm, &mut s.admission), disarmed);
    grace.period();
    assert_eq!(s.probes.vm_stopped(0, SELF.vm, &mut s.admission), none);
    assert_eq!(s.probes.pool(Pool::Programs).unwrap().0, 1);
    grace.pass(1, grace.last());
    let gone = Disarmed { done: true, ..none };
    assert_eq!(s.probes.vm_stopped(0, SELF.vm, &mut s.admission), gone);
    assert_eq!(s.probes.pool(Pool::Programs).unwrap().0, 0);
}
