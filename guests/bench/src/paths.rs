//! What every path was seen to take while other VMs drive it, beside its bound.
//!
//! `paths=MS` makes this the guest's only task: it loads, attaches and reads probes itself, so that their paths are driven as well, waits
//! until MS milliseconds of virtual time are over, and reads the hypervisor's own counts. No probe is attached to
//! anything that happens meanwhile: what is seen is the paths' own time.

use hyp_abi::call::CURSOR_END;
use hyp_abi::record::{MapInfo, PathRecord};
use hyp_abi::{Call, PathId};
use rt::buffer::{Buffer, Shared};
use rt::hvc::{self, Refused};
use rt::programs::{self, Program};
use rt::{exit, platform, println, timer};

/// Exits that the run should see at least.
const EXITS_GOAL: u64 = 1_000_000;
/// Goal for bound over observation (hundredths).
const RATIO_GOAL: u64 = 150;

static OUTPUT: Buffer<8192> = Buffer::new();

/// Drives, waits, reads, prints.
pub fn run(milliseconds: u64) {
    let mut output = OUTPUT.take();
    rt::gic::enable(timer::INTID);
    let end = timer::now() + timer::frequency() / 1000 * milliseconds;
    let mut rounds = 0;
    while timer::now() < end {
        if let Err(refused) = drive(&mut output, rounds) {
            exit::fail("paths", format_args!("round {rounds}: {refused:x?}"));
        }
        rounds += 1;
        timer::sleep_until((timer::now() + timer::frequency() / 100).min(end));
    }
    report(&output);
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
