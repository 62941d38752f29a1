//! What the path analyser takes for granted when a stay begins. A fact that does not hold would make a bound wrong, so each
//! says why it does.

use core::mem::offset_of;

use hyp_abi::PathId;
use hyp_abi::facts::{COUNTERS, FRAMES, Fact, LOADED, RUNNING, STATE, VCPU, VCPU_RUNNING};
use hyp_core::cpu::{Cpu, PathStat, VCPU_SLOTS};
use hyp_core::sched::Sched;
use hyp_core::vcpu::{Run, Vcpu};

use crate::state::State;

const fn cpu(kind: u32, size: u32, field: usize, lo: u64, hi: u64) -> Fact {
    Fact {
        kind,
        size,
        offset: (offset_of!(State, cpu) + field) as u64,
        lo,
        hi,
    }
}

/// Read from the image by the host; the hypervisor itself never looks.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".gnomon.facts")]
static GNOMON_PATH_FACTS: [Fact; 8] = [
    cpu(
        COUNTERS,
        8,
        offset_of!(Cpu, paths) + offset_of!(PathStat, count),
        size_of::<PathStat>() as u64,
        PathId::COUNT as u64,
    ),
    cpu(
        FRAMES,
        8,
        offset_of!(Cpu, vcpus),
        size_of::<Vcpu>() as u64,
        VCPU_SLOTS as u64,
    ),
    // A guest runs, so a vCPU is loaded: `world::switch` sets both.
    cpu(LOADED, 4, offset_of!(Cpu, loaded), 0, VCPU_SLOTS as u64 - 1),
    // Taken by `schedule` at the end of every stay that may set it; boot enters the first guest that way, too.
    cpu(STATE, 1, offset_of!(Cpu, sched) + offset_of!(Sched, changed), 0, 0),
    // Set in the stay that ends the system.
    cpu(STATE, 1, offset_of!(Cpu, off), 0, 0),
    // Nobody idles while a guest runs: `schedule` clears it when it finds one.
    cpu(RUNNING, 1, offset_of!(Cpu, idle), 0, 0),
    // Set at boot from the checked configuration, never changed.
    Fact {
        kind: VCPU,
        size: 1,
        offset: offset_of!(Vcpu, vm) as u64,
        lo: 0,
        hi: VCPU_SLOTS as u64 - 1,
    },
    // Who runs is ready: whoever wakes a vCPU says so, and only those that are awake are chosen.
    Fact {
        kind: VCPU_RUNNING,
        size: 1,
        offset: offset_of!(Vcpu, run) as u64,
        lo: Run::Ready as u64,
        hi: Run::Ready as u64,
    },
];
