//! What every path was seen to take while other VMs drive it, beside its bound.
//!
//! `paths=MS` makes this the guest's only task: it loads, attaches and reads probes itself, so that their paths are driven as well, waits
//! until MS milliseconds of virtual time are over, and reads the hypervisor's own counts. No probe is attached to
//! anything that happens meanwhile: what is seen is the paths' own time.
//!
//! `watch` leaves the driving out: others drive. `probe` only puts counting probes on every entry and exit for the second half of the time.

use hyp_abi::call::CURSOR_END;
use hyp_abi::record::{MapInfo, PathRecord};
use hyp_abi::{Call, PathId, Status};
use rt::buffer::{Buffer, Shared};
use rt::hvc::{self, Refused};
use rt::programs::{self, Program};
use rt::{exit, platform, println, timer};

use crate::storm;

/// Exits that the run should see at least.
const EXITS_GOAL: u64 = 1_000_000;
/// Goal for bound over observation (hundredths).
const RATIO_GOAL: u64 = 150;

/// How often a probe's call is made again while another CPU is in the way, a millisecond apart.
const TRIES: u32 = 1000;

static OUTPUT: Buffer<8192> = Buffer::new();

/// Drives, waits, reads, prints.
pub fn run(milliseconds: u64) {
    let mut output = OUTPUT.take();
    rt::gic::enable(timer::INTID);
    let end = timer::now() + timer::frequency() / 1000 * milliseconds;
    let mut rounds = 0;
    if platform::get().option("probe").is_some() {
        return probe(end);
    }
    if platform::get().option("watch").is_some() {
        sleep_until(end);
        return report(&output);
    }
    while timer::now() < end {
        if let Err(refused) = drive(&mut output, rounds) {
            exit::fail("paths", format_args!("round {rounds}: {refused:x?}"));
        }
        storm::round();
        rounds += 1;
        timer::sleep_until((timer::now() + timer::frequency() / 100).min(end));
    }
    report(&output);
}

/// Probes on `vm_exit` and `vm_entry` for the second half of the time.
fn probe(end: u64) {
    sleep_until(timer::now() + (end - timer::now()) / 2);
    for name in ["vm_exit", "vm_entry"] {
        let point = programs::point(name);
        let attached =
            Program::load(programs::COUNTING[point]).and_then(|program| patiently(|| program.attach(point, None)));
        if let Err(refused) = attached {
            exit::fail("paths", format_args!("a probe on {name}: {refused:x?}"));
        }
    }
    println!("@probes {{\"from_ns\":{}}}", timer::now_ns());
    sleep_until(end);
}

/// Asks again, a millisecond later, while another CPU is in the way.
fn patiently<T>(ask: impl Fn() -> Result<T, Refused>) -> Result<T, Refused> {
    for _ in 0..TRIES {
        match ask() {
            Err(refused) if refused.status == Status::Again => {}
            other => return other,
        }
        timer::sleep_until(timer::now() + timer::frequency() / 1000);
    }
    ask()
}

/// Sleeps in steps: nothing of what EL2 does for this VM gets longer with the time.
fn sleep_until(due: u64) {
    while timer::now() < due {
        timer::sleep_until(due.min(timer::now() + timer::frequency()));
    }
}

/// One life of a probe on a point that nothing here fires, and one of every call that reads.
fn drive(output: &mut Shared, round: usize) -> Result<(), Refused> {
    let point = round % programs::POINT_NAMES.len();
    let quiet = programs::point("stage2_fault");
    for images in [programs::EMPTY, programs::COUNTING, programs::RECORDING] {
        let program = Program::load(images[point])?;
        program.unload()?;
    }
    let program = Program::load(programs::RECORDING[quiet])?;
    let attachment = program.attach(quiet, None)?;
    hvc::call(Call::MapInfo, [program.handle, 0, output.ipa(), MapInfo::SIZE as u64])?;
    program.read(0, output)?;
    hvc::call(Call::MapClear, [program.handle, 0, 0])?;
    attachment.detach()?;
    program.unload()?;
    for call in [Call::PoolRead, Call::VmRead] {
        hvc::call(call, [0, output.ipa(), output.len() as u64])?;
    }
    // Refusals are on these paths, too; what they say is for other tests.
    for image in [programs::ENDLESS, programs::WILD] {
        let _ = Program::load(image);
    }
    Ok(())
}

fn report(output: &Shared) {
    let read = match hvc::call(Call::PathRead, [0, output.ipa(), output.len() as u64]) {
        Ok(x) if x[1] == CURSOR_END && x[2] as usize == PathId::COUNT => x,
        other => exit::fail("paths", format_args!("PathRead: {other:x?}")),
    };
    let (mut exits, mut above, mut driven, mut proven) = (0, 0, 0, 0);
    for index in 0..read[2] as usize {
        let record = output
            .bytes()
            .get(index * PathRecord::SIZE..)
            .and_then(PathRecord::read);
        if let Some(record) = record.filter(|record| record.count > 0) {
            exits += record.count;
            driven += 1;
            proven += u64::from(record.basis == 1);
            above += u64::from(print(&record));
        }
    }
    println!(
        "@row {{\"name\":\"paths.exits\",\"value\":{exits},\"unit\":\"exits\",\"goal\":{EXITS_GOAL},\"better\":\"higher\"}}"
    );
    // Without proven bounds the next row says nothing; this one says so.
    println!(
        "@row {{\"name\":\"paths.proven\",\"value\":{proven},\"unit\":\"paths\",\"goal\":{driven},\"better\":\"higher\"}}"
    );
    println!("@row {{\"name\":\"paths.above_bound\",\"value\":{above},\"unit\":\"paths\",\"goal\":0}}");
    if above > 0 {
        exit::fail("paths", format_args!("{above} paths took longer than their bound"));
    }
}

/// Prints a path's rows; whether it took longer than its bound. A path without a proven bound has only its observation.
fn print(record: &PathRecord) -> bool {
    let name = PathId::from_number(record.path).map_or("unknown", PathId::name);
    println!(
        "@row {{\"name\":\"paths.{name}.observed\",\"value\":{},\"unit\":\"insns\"}}",
        record.max
    );
    if record.basis == 0 {
        return false;
    }
    println!(
        "@row {{\"name\":\"paths.{name}.bound\",\"value\":{},\"unit\":\"insns\"}}",
        record.own
    );
    let ratio = record.own * 100 / record.max.max(1);
    println!(
        "@row {{\"name\":\"paths.{name}.ratio\",\"value\":{}.{:02},\"unit\":\"bound/observed\",\"goal\":{}.{:02}}}",
        ratio / 100,
        ratio % 100,
        RATIO_GOAL / 100,
        RATIO_GOAL % 100
    );
    record.max > record.own
}

/// Milliseconds to run, if this is what the boot arguments ask for.
pub fn asked() -> Option<u64> {
    platform::get().number("paths")
}
