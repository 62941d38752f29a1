//! The whole life of programs on fake code memory, and what guests can try.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use core::sync::atomic::{AtomicU64, Ordering};

use hyp_abi::bounds::{Bounds, POINTS};
use hyp_abi::call::FILTER_ANY;
use hyp_abi::record::Pool;
use hyp_abi::{PathId, Rights, Status};
use probe_vm::image::{MapSpec, Name, ProgramSpec, encode, limits};
use probe_vm::jit::chain::Only;
use probe_vm::jit::{ContextLink, CpuLink, Scale, TimeLink, Work, a64};
use probe_vm::maps::{Geometry, MapDef, MapKind, UpdateFlag};
use probe_vm::points::PointId;
use verifier::CoreModel;

use super::*;
use crate::admit::Admission;

const MAP_WORDS: usize = 4096;
const CODE_WORDS: usize = 65536;

#[derive(Clone, Copy, Debug)]
pub(super) struct FakeCode;

impl ProbeCode for FakeCode {}

pub(super) struct FakeMemory {
    words: Vec<u32>,
    published: Vec<(u32, u32)>,
    named: Vec<(u64, Geometry)>,
}

impl CodeMemory for FakeMemory {
    type Code = FakeCode;
    fn writable(&mut self, at: u32, words: u32) -> Option<&mut [u32]> {
        self.words.get_mut(at as usize..(at + words) as usize)
    }
    fn name_map(&mut self, handle: u64, map: &MapSlot) {
        self.named.push((handle, map.geometry));
    }
    fn publish(&mut self, at: u32, words: u32) -> Option<FakeCode> {
        assert!(words > 0 && self.words[at as usize..(at + words) as usize].iter().all(|w| *w != 0));
        self.published.push((at, words));
        Some(FakeCode)
    }
}

/// A system with probes and nothing else. What is leaked is the statics of a real one.
pub(super) struct Sys {
    pub(super) probes: Probes<'static, FakeCode>,
    pub(super) code: FakeMemory,
    pub(super) admission: Admission,
    pub(super) now: u64,
}

/// The verifier's pool is built on the stack before it is boxed, and is larger than a test thread's.
const BUILD_STACK: usize = 64 << 20;

fn workshop() -> Workshop<'static> {
    let build = || {
        let work: &'static mut Work<{ limits::INSNS_MAX + 1 }> = Box::leak(Box::new(Work::new()));
        let (flags, offsets) = work.split();
        let pool: &'static mut verifier::Pool<{ limits::INSNS_MAX }> = Box::leak(Box::new(verifier::Pool::new()));
        Workshop {
            image: vec![0; limits::IMAGE_BYTES_MAX].leak(),
            text: vec![0; limits::INSNS_MAX].leak(),
            desk: Desk {
                flags,
                offsets,
                memory: pool.memory(),
                shelf: Box::leak(Box::new(Shelf::new())),
            },
        }
    };
    std::thread::Builder::new()
        .stack_size(BUILD_STACK)
        .spawn(build)
        .unwrap()
        .join()
        .unwrap()
}

impl Sys {
    pub(super) fn new() -> Self {
        let map_words: Vec<AtomicU64> = (0..MAP_WORDS).map(|_| AtomicU64::new(!0)).collect();
        let platform: &'static Platform<'static> = Box::leak(Box::new(Platform {
            helpers: &[],
            helper_times: &[],
            core: &CoreModel::INSNS,
            cpu: CpuLink::Single,
            context: ContextLink {
                base: a64::flow::Sys::TpidrEl2,
                offset: 4096,
            },
            time: TimeLink {
                counter: a64::flow::Sys::CntvctEl0,
                scale: Scale::Shift(4),
                ordered: false,
            },
            lse: true,
            map_words: map_words.leak(),
            map_base: 0x4000_0000,
            code_words: CODE_WORDS as u32,
            code_base: 0x5000_0000,
            cpus: 1,
            grace: Box::leak(Box::new(Grace::new())),
        }));
        let mut table = Bounds {
            model: [0; 16],
            own: [100; PathId::COUNT],
            fire: [10; POINTS],
            firings: [[1; POINTS]; PathId::COUNT],
        };
        table.own[PathId::Wfi as usize] = 200;
        let mut admission = Admission::new(Some(&table));
        admission.set_budget(PathId::Wfi, 400);
        let mut probes = Probes::new(platform);
        for vm in 0..4 {
            probes.set_quota(
                vm,
                Quota {
                    map_bytes: 16384,
                    programs: 3,
                },
            );
        }
        Self {
            probes,
            code: FakeMemory {
                words: vec![0; CODE_WORDS],
                published: vec![],
                named: vec![],
            },
            admission,
            now: 0,
        }
    }

    pub(super) fn stage(&mut self, caller: Caller, image: &[u8]) -> Result<u64, Refused> {
        let copy = |to: &mut [u8]| {
            to.copy_from_slice(image);
            Ok(())
        };
        self.probes.stage(caller, image.len() as u64, self.now, workshop, copy)
    }

    fn verify(&mut self, caller: Caller, handle: u64) -> Result<Verification, Refused> {
        for _ in 0..10_000 {
            let v = self.probes.verify(caller, handle, 7, self.now)?;
            if v.done {
                return Ok(v);
            }
        }
        panic!("verification does not end");
    }

    pub(super) fn load(&mut self, caller: Caller, image: &[u8]) -> Result<u64, Refused> {
        let handle = self.stage(caller, image)?;
        self.verify(caller, handle)?;
        for _ in 0..10_000 {
            if self.probes.compile(caller, handle, self.now, &mut self.code)?.done {
                return Ok(handle);
            }
        }
        panic!("compilation does not end");
    }

    pub(super) fn attach(&mut self, caller: Caller, handle: u64, filter: u64) -> Result<Attached, Refused> {
        self.probes
            .attach(caller, handle, PointId::Mmio as u64, filter, &mut self.admission, &[])
    }
}

pub(super) const SYSTEM: Caller = Caller {
    cpu: 0,
    vm: 0,
    rights: Rights::PROBE_SYSTEM,
};
pub(super) const SELF: Caller = Caller {
    cpu: 0,
    vm: 1,
    rights: Rights::PROBE_SELF,
};
pub(super) const OTHER: Caller = Caller {
    cpu: 0,
    vm: 2,
    rights: Rights::PROBE_SELF,
};
pub(super) const NOBODY: Caller = Caller {
    cpu: 0,
    vm: 3,
    rights: Rights::empty(),
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn image(insns: &[[u8; 8]], maps: &[MapSpec<'_>]) -> Vec<u8> {
    let spec = ProgramSpec {
        name: name("test"),
        point: name("mmio"),
        maps,
        funcs: &[0],
        insns,
    };
    let mut out = vec![0; spec.image_bytes()];
    encode(&spec, &mut out).unwrap();
    out
}

/// r0 = 0, `extra` times r0 += 1, exit.
pub(super) fn program(extra: usize) -> Vec<u8> {
    let mut insns = vec![[0xb7, 0, 0, 0, 0, 0, 0, 0]];
    insns.extend(vec![[0x07, 0, 0, 0, 1, 0, 0, 0]; extra]);
    insns.push([0x95, 0, 0, 0, 0, 0, 0, 0]);
    image(&insns, &[])
}

pub(super) fn array(entries: u32, share: u32, data: &'static [u8]) -> MapSpec<'static> {
    let def = MapDef {
        kind: MapKind::Array,
        key_bytes: 4,
        value_bytes: 8,
        entries,
        flags: 0,
    };
    MapSpec {
        def,
        share,
        data,
        name: name("counts"),
    }
}

pub(super) fn with_map(map: MapSpec<'_>) -> Vec<u8> {
    image(&[[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]], &[map])
}

#[track_caller]
pub(super) fn refused<T: core::fmt::Debug>(r: Result<T, Refused>, status: Status, details: &[u64]) {
    let e = r.unwrap_err();
    assert_eq!((e.status, &e.x[..details.len()]), (status, details));
}

#[test]
fn a_program_lives_from_stage_to_unload() {
    let mut s = Sys::new();
    let h = s.stage(SYSTEM, &program(40)).unwrap();
    refused(s.probes.compile(SYSTEM, h, 0, &mut s.code), Status::BadState, &[0]);
    refused(s.attach(SYSTEM, h, FILTER_ANY), Status::BadState, &[0]);
    let v = s.verify(SYSTEM, h).unwrap();
    assert_eq!(v.insn_bound, 42);
    // The last instruction but one makes a result that nobody reads.
    assert!(v.time_bound >= 41);
    assert_eq!(s.probes.info(SYSTEM, h).unwrap().state, 1);
    while !s.probes.compile(SYSTEM, h, 0, &mut s.code).unwrap().done {}
    assert_eq!(s.code.published.len(), 1);
    let a = s.attach(SYSTEM, h, FILTER_ANY).unwrap();
    assert!(a.switch, "the first probe of a point switches it on");
    let info = s.probes.info(SYSTEM, h).unwrap();
    assert_eq!(
        (info.state, info.attachments, info.insns, info.time_bound),
        (4, 1, 42, v.time_bound)
    );
    assert_eq!(s.admission.row(PathId::MmioUart).probes, 10 + v.time_bound);
    let seen: Vec<_> = s.probes.arms(PointId::Mmio).unwrap().iter().map(|a| a.only()).collect();
    assert_eq!(seen, [None]);
    refused(s.probes.unload(SYSTEM, h), Status::Busy, &[]);
    assert!(s.probes.detach(SYSTEM, a.id, &mut s.admission).unwrap().switch);
    refused(s.probes.detach(SYSTEM, a.id, &mut s.admission), Status::NotFound, &[]);
    assert!(s.admission.is_unloaded());
    s.probes.unload(SYSTEM, h).unwrap();
    refused(s.probes.info(SYSTEM, h), Status::NotFound, &[]);
    assert_eq!(s.probes.pool(Pool::Code).unwrap().0, 0);
    assert_eq!(s.probes.pool(Pool::Programs).unwrap(), (0, 1, 32));
}

#[test]
fn budgets_decide_and_a_replacement_counts_as_a_difference() {
    let mut s = Sys::new();
    let small = s.load(SYSTEM, &program(100)).unwrap();
    let large = s.load(SYSTEM, &program(150)).unwrap();
    let room = 400 - 200 - 10;
    let a = s.attach(SYSTEM, small, FILTER_ANY).unwrap();
    let w = s.probes.info(SYSTEM, small).unwrap().time_bound;
    let w_large = s.probes.info(SYSTEM, large).unwrap().time_bound;
    assert!(w <= room && w_large <= room && w + w_large > room);
    let short = 10 + w_large - (room - w);
    refused(
        s.attach(SYSTEM, large, FILTER_ANY),
        Status::OverBudget,
        &[PathId::Wfi as u64, short, room - w - 10],
    );
    let b = s.probes.replace(SYSTEM, a.id, large, &mut s.admission, &[]).unwrap();
    assert_eq!(s.admission.row(PathId::Wfi).probes, 10 + w_large);
    assert_eq!(s.probes.arms(PointId::Mmio).unwrap().count(), 1);
    s.probes.unload(SYSTEM, small).unwrap();
    refused(s.probes.detach(SYSTEM, a.id, &mut s.admission), Status::NotFound, &[]);
    s.probes.detach(SYSTEM, b.id, &mut s.admission).unwrap();
}

#[test]
fn rights_and_filters() {
    let mut s = Sys::new();
    refused(s.stage(NOBODY, &program(1)), Status::Denied, &[1]);
    let mine = s.load(SELF, &program(1)).unwrap();
    refused(s.probes.info(OTHER, mine), Status::NotFound, &[]);
    refused(s.probes.unload(OTHER, mine), Status::NotFound, &[]);
    assert!(s.probes.info(SYSTEM, mine).is_ok());
    refused(s.attach(SELF, mine, 2), Status::Denied, &[2]);
    refused(s.attach(SELF, mine, 99), Status::InvalidArg, &[3]);
    let a = s.attach(SELF, mine, FILTER_ANY).unwrap();
    refused(s.probes.detach(OTHER, a.id, &mut s.admission), Status::NotFound, &[]);
    let seen: Vec<_> = s.probes.arms(PointId::Mmio).unwrap().iter().map(|a| a.only()).collect();
    let own = |vcpu| Some(Only { vm: SELF.vm, vcpu });
    assert_eq!(seen, [own(None)], "only its own VM's events");
    let b = s.attach(SELF, mine, u64::from(SELF.vm) | 4 << 32).unwrap();
    let last = s.probes.arms(PointId::Mmio).unwrap().iter().last().unwrap().only();
    assert_eq!(last, own(Some(3)), "one vCPU's");
    refused(
        s.attach(SELF, mine, u64::from(SELF.vm) | 34 << 32),
        Status::InvalidArg,
        &[3],
    );
    s.probes.detach(SELF, b.id, &mut s.admission).unwrap();
    let r = s
        .probes
        .attach(SELF, mine, PointId::VcpuBlock as u64, 1, &mut s.admission, &[]);
    refused(r, Status::InvalidArg, &[2]);
}

#[test]
fn pools_name_themselves_and_their_size() {
    let mut s = Sys::new();
    for _ in 0..3 {
        s.load(SELF, &program(1)).unwrap();
    }
    refused(s.stage(SELF, &program(1)), Status::NoSpace, &[Pool::Programs as u64, 3]);
    refused(
        s.stage(OTHER, &with_map(array(4096, 0, &[]))),
        Status::NoSpace,
        &[Pool::MapMemory as u64, 16384],
    );
    assert_eq!(s.probes.pool(Pool::Maps).unwrap().0, 0, "nothing is left behind");
    refused(
        s.stage(OTHER, &vec![0; limits::IMAGE_BYTES_MAX + 1]),
        Status::TooBig,
        &[limits::IMAGE_BYTES_MAX as u64],
    );
    refused(
        s.stage(OTHER, &[]),
        Status::BadImage,
        &[probe_vm::image::HEADER_BYTES as u64, 0],
    );
    let h = s.load(OTHER, &program(1)).unwrap();
    for _ in 0..ATTACHMENTS_MAX {
        s.attach(OTHER, h, FILTER_ANY).unwrap();
    }
    refused(
        s.attach(OTHER, h, FILTER_ANY),
        Status::NoSpace,
        &[Pool::Attachments as u64, ATTACHMENTS_MAX as u64],
    );
}

#[test]
fn one_job_at_a_time_unless_it_is_left_alone() {
    let mut s = Sys::new();
    let first = s.stage(SELF, &program(1)).unwrap();
    refused(
        s.stage(OTHER, &program(1)),
        Status::NoSpace,
        &[Pool::Verifier as u64, 1],
    );
    let second = s.stage(SELF, &program(1)).unwrap();
    refused(s.probes.info(SELF, first), Status::NotFound, &[]);
    s.now = JOB_IDLE_NS;
    let third = s.stage(OTHER, &program(1)).unwrap();
    refused(s.verify(SELF, second), Status::NotFound, &[]);
    assert!(s.verify(OTHER, third).unwrap().done);
}

#[test]
fn maps_are_cleared_filled_shared_and_given_back() {
    let mut s = Sys::new();
    let one = s
        .stage(SELF, &with_map(array(300, 0, &[7, 0, 0, 0, 0, 0, 0, 1])))
        .unwrap();
    refused(s.probes.map(SELF, one, 0), Status::BadState, &[0]);
    s.verify(SELF, one).unwrap();
    while !s.probes.compile(SELF, one, 0, &mut s.code).unwrap().done {}
    let memory = s.probes.platform.map_words;
    let value = |s: &Sys, h, key: u32| {
        let slot = s.probes.map(SELF, h, 0).unwrap();
        let at = slot.map(memory).unwrap().lookup(0, &key.to_le_bytes()[..]).unwrap();
        slot.words(memory)[at as usize / 8].load(Ordering::Relaxed)
    };
    assert_eq!(value(&s, one, 0), 0x0100_0000_0000_0007);
    assert!(
        (1..300).all(|k| value(&s, one, k) == 0),
        "memory is cleared before a program sees it"
    );
    let share = s.probes.map_info(SELF, one, 0).unwrap().handle;
    refused(s.stage(OTHER, &with_map(array(300, share, &[]))), Status::NotFound, &[]);
    refused(
        s.stage(SELF, &with_map(array(299, share, &[]))),
        Status::InvalidArg,
        &[1],
    );
    let two = s.load(SELF, &with_map(array(300, share, &[]))).unwrap();
    assert_eq!(
        value(&s, two, 0),
        0x0100_0000_0000_0007,
        "a shared map is not cleared again"
    );
    let geometry = s.probes.map(SELF, two, 0).unwrap().geometry;
    assert_eq!(
        s.code.named,
        [(u64::from(share), geometry)],
        "named once, by who brought it"
    );
    s.probes
        .map(SELF, two, 0)
        .unwrap()
        .map(memory)
        .unwrap()
        .update(0, &9u32.to_le_bytes()[..], &5u64.to_le_bytes()[..], UpdateFlag::Any)
        .unwrap();
    s.probes.unload(SELF, one).unwrap();
    assert_eq!(value(&s, two, 9), 5, "the map lives while a program uses it");
    refused(s.probes.map(SELF, two, 1), Status::InvalidArg, &[2]);
    s.probes.unload(SELF, two).unwrap();
    assert_eq!(s.probes.pool(Pool::MapMemory).unwrap().0, 0);
}

#[test]
fn rejected_programs_leave_nothing() {
    let mut s = Sys::new();
    let endless = image(
        &[[0x05, 0, 0xff, 0xff, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]],
        &[array(1, 0, &[])],
    );
    let h = s.stage(SELF, &endless).unwrap();
    assert_eq!(s.verify(SELF, h).unwrap_err().status, Status::Rejected);
    refused(s.verify(SELF, h), Status::NotFound, &[]);
    assert_eq!(s.probes.pool(Pool::Maps).unwrap().0, 0);
    assert_eq!(s.probes.pool(Pool::Verifier).unwrap().0, 0);
    assert!(s.load(SELF, &program(3)).is_ok());
}

#[test]
fn a_stopped_vm_takes_its_probes_along() {
    let mut s = Sys::new();
    let (a, b) = (s.load(SELF, &program(1)).unwrap(), s.load(OTHER, &program(1)).unwrap());
    s.attach(SELF, a, FILTER_ANY).unwrap();
    s.attach(OTHER, b, FILTER_ANY).unwrap();
    s.stage(SELF, &program(1)).unwrap();
    let mmio = 1 << PointId::Mmio as u32;
    assert_eq!(
        s.probes.vm_stopped(0, 1, &mut s.admission),
        Disarmed {
            changed: mmio,
            off: 0,
            done: true
        },
        "the point still has a probe"
    );
    assert_eq!(s.probes.pool(Pool::Verifier).unwrap().0, 0);
    let both = Disarmed {
        changed: mmio,
        off: mmio,
        done: true,
    };
    assert_eq!(s.probes.vm_stopped(0, 2, &mut s.admission), both);
    assert!(s.admission.is_unloaded());
    assert_eq!(s.probes.pool(Pool::Programs).unwrap().0, 0);
}
