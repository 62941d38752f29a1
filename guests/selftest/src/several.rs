//! Probes while several CPUs run: VM 0 observes from CPU 0, a worker on each other CPU has the exits (`role=worker`).
//!
//! The counter is the same for all VMs, so they agree on a time at which the workers begin.

use hyp_abi::record::PathRecord;
use hyp_abi::{Call, PathId, Status};
use rt::buffer::{Buffer, Shared};
use rt::hvc::{self, Refused};
use rt::programs::{self, Attachment, Program};
use rt::{cpu, gic, platform, psci, timer};

use crate::probe::{OUTPUT, word};
use crate::{expect, failed, need};

/// The observer has attached its probes by then, and the workers make their counted calls.
const BEGIN_NS: u64 = 400_000_000;
/// They are done by then.
const COUNTED_NS: u64 = 800_000_000;
/// The counts are read; from here on the workers make calls without end.
const STORM_NS: u64 = 1_200_000_000;
/// Calls each worker makes that are counted.
const CALLS: u64 = 500;
/// Programs that come and go in the storm.
const ROUNDS: usize = 24;
/// Tries, a millisecond apart, after which something is stuck.
const TRIES: u32 = 2000;

static KEY: Buffer<4096> = Buffer::new();

fn sleep_until(ns: u64) {
    timer::sleep_until(ns / timer::tick_ns());
}

/// Sleeps until `ns`, which is later by `late=N` times where the clock is the host's, and the host busy.
fn phase(ns: u64) {
    sleep_until(at(ns));
}

fn at(ns: u64) -> u64 {
    ns * platform::get().number("late").unwrap_or(1)
}

/// Asks until no other CPU is in the way; adds to `again` how often one was.
fn patiently<T>(what: &str, again: &mut u32, mut ask: impl FnMut() -> Result<T, Refused>) -> T {
    for _ in 0..TRIES {
        match ask() {
            Err(refused) if refused.status == Status::Again => *again += 1,
            other => return need(what, other),
        }
        sleep_until(timer::now_ns() + 1_000_000);
    }
    failed(format_args!("{what}: another CPU is in the way for ever"))
}

fn wake_by_timer() {
    gic::init();
    gic::enable(timer::INTID);
}

pub fn worker() {
    wake_by_timer();
    phase(BEGIN_NS);
    for _ in 0..CALLS {
        psci::version();
    }
    phase(STORM_NS);
    loop {
        psci::version();
        cpu::relax();
    }
}

pub fn observer() {
    wake_by_timer();
    let cpus = platform::get().number("cpus").unwrap_or(2);
    let mut output = OUTPUT.take();
    let mut key = KEY.take();
    key.bytes_mut()[..4].copy_from_slice(&(PathId::Psci as u32).to_le_bytes());
    let point = programs::point("vm_entry");
    let mut again = 0;
    let count = need("load", Program::load(programs::BENCH_COUNT));
    let ring = need("load", Program::load(programs::BENCH_RING));
    let attach = |program: &Program, again: &mut u32| patiently("attach", again, || program.attach(point, None));
    let attached = [attach(&count, &mut again), attach(&ring, &mut again)];
    expect!(timer::now_ns() < at(BEGIN_NS), "the observer is late");
    phase(COUNTED_NS);
    for attachment in attached {
        patiently("detach", &mut again, || attachment.detach());
    }
    expect!(timer::now_ns() < at(STORM_NS), "the observer is late");
    counts(&count, &output, &key, cpus, |n| n == CALLS);
    records(&ring, &mut output, cpus);
    paths(&output, cpus, &mut again);
    patiently("unload", &mut again, || ring.unload());
    phase(STORM_NS);
    storm(&mut again);
    expect!(again > 0, "no CPU was ever in the way");
    let attached = attach(&count, &mut again);
    sleep_until(timer::now_ns() + 300_000_000);
    patiently("detach", &mut again, || attached.detach());
    counts(&count, &output, &key, cpus, |n| n > CALLS);
    patiently("unload", &mut again, || count.unload());
}

/// The calls counted on each CPU, one by one and folded.
fn counts(program: &Program, output: &Shared, key: &Shared, cpus: u64, good: impl Fn(u64) -> bool) {
    let size = 8 * cpus;
    need(
        "MapLookup",
        hvc::call(Call::MapLookup, [program.handle, 0, key.ipa(), output.ipa(), size]),
    );
    let of = |cpu: u64| word(output.bytes(), 8 * cpu as usize);
    expect!(of(0) == 0, "{} PSCI calls on CPU 0", of(0));
    for cpu in 1..cpus {
        expect!(good(of(cpu)), "{} PSCI calls on CPU {cpu}", of(cpu));
    }
    let all: u64 = (0..cpus).map(of).sum();
    need(
        "MapRead",
        hvc::call(
            Call::MapRead,
            [
                program.handle,
                0,
                PathId::Psci as u64,
                output.ipa(),
                output.len() as u64,
            ],
        ),
    );
    let folded = word(output.bytes(), 8);
    expect!(folded == all, "{folded} folded, {all} one by one");
}

/// The counts of the paths: of each CPU, of all together, and after a reset.
fn paths(output: &Shared, cpus: u64, again: &mut u32) {
    let psci = |of: u64, again: &mut u32| {
        let len = output.len() as u64;
        patiently("PathRead", again, || {
            hvc::call(Call::PathRead, [of << 32, output.ipa(), len])
        });
        let at = PathId::Psci as usize * PathRecord::SIZE;
        output
            .bytes()
            .get(at..)
            .and_then(PathRecord::read)
            .unwrap_or_default()
            .count
    };
    for cpu in 1..cpus {
        let count = psci(cpu + 1, again);
        expect!(count >= CALLS, "{count} PSCI calls on CPU {cpu}");
    }
    let all = psci(0, again);
    expect!(all >= CALLS * (cpus - 1), "{all} PSCI calls on all CPUs");
    patiently("PathReset", again, || hvc::call(Call::PathReset, []));
    let left = psci(0, again);
    expect!(left == 0, "{left} PSCI calls after a reset");
}

/// Each CPU has its own ring, with records of its own VM only.
fn records(program: &Program, output: &mut Shared, cpus: u64) {
    for cpu in 1..cpus {
        let x = need(
            "RingRead",
            hvc::call(
                Call::RingRead,
                [program.handle, cpu << 32, output.ipa(), output.len() as u64],
            ),
        );
        let records = x[1] / 40;
        expect!(
            records > 0 && x[2] == 0,
            "{records} records of CPU {cpu}, {} lost",
            x[2]
        );
        for record in 0..records as usize {
            let field = |n: usize| word(output.bytes(), record * 40 + 8 + 8 * n);
            expect!(
                field(1) == cpu && field(2) == cpu,
                "VM {} on CPU {} in the ring of CPU {cpu}",
                field(1),
                field(2)
            );
        }
    }
}

/// Programs are attached, replaced, detached and unloaded while all other CPUs fire them.
fn storm(again: &mut u32) {
    let points = ["vm_exit", "psci", "hypercall", "vm_entry"].map(programs::point);
    for round in 0..ROUNDS {
        let point = points[round % points.len()];
        let one = need("load", Program::load(programs::COUNTING[point]));
        let first = patiently("attach", again, || one.attach(point, None));
        let two = need("load", Program::load(programs::RECORDING[point]));
        let replaced = patiently("replace", again, || {
            hvc::call(Call::ProbeReplace, [first.0, two.handle]).map(|x| Attachment(x[1]))
        });
        patiently("unload", again, || one.unload());
        patiently("detach", again, || replaced.detach());
        patiently("unload", again, || two.unload());
    }
}
