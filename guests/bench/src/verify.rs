//! What a proof costs: every verify step of every program there is, those that are hard included.

use hyp_abi::Call;
use rt::measure::SWEEP;
use rt::{exit, hvc, println, programs, timer};

/// Steps after which a proof has no end.
const STEPS_MAX: u64 = 1 << 20;
/// Units asked for per step: the hypervisor takes fewer.
const UNITS_MAX: u64 = 1024;

/// Instructions of one proof.
struct Proof {
    instructions: u64,
    longest: u64,
    steps: u64,
}

/// Steps of as many units as the hypervisor takes, then of one unit each.
pub fn run() {
    all("step", UNITS_MAX);
    all("unit", 1);
}

fn all(what: &str, units: u64) {
    let small = [programs::EMPTY, programs::COUNTING, programs::RECORDING]
        .into_iter()
        .flatten();
    let bench = [programs::BENCH_COUNT, programs::BENCH_HIST, programs::BENCH_RING];
    let random = programs::RANDOM.iter().map(|(image, _)| *image);
    let mut longest = 0;
    for image in small.copied().chain(bench) {
        longest = longest.max(measure("small", image, units).longest);
    }
    let mut instructions = 0;
    for image in random {
        let proof = measure("random", image, units);
        longest = longest.max(proof.longest);
        instructions += proof.instructions;
    }
    if units > 1 {
        let per_slot = instructions / programs::RANDOM_SLOTS as u64;
        row(format_args!("verify.target.per_slot.random"), per_slot, "insns");
    }
    row(format_args!("verify.target.longest_{what}.small"), longest, "insns");
    for (name, image, slots) in programs::HARD {
        let proof = measure(name, image, units);
        row(
            format_args!("verify.target.longest_{what}.{name}"),
            proof.longest,
            "insns",
        );
        if units > 1 {
            let per_slot = proof.instructions / *slots as u64;
            row(format_args!("verify.target.per_slot.{name}"), per_slot, "insns");
            row(format_args!("verify.target.steps.{name}"), proof.steps, "steps");
        }
        longest = longest.max(proof.longest);
    }
    row(format_args!("verify.target.longest_{what}"), longest, "insns");
}

fn row(name: core::fmt::Arguments<'_>, value: u64, unit: &str) {
    println!("@row {{\"name\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\"}}");
}

fn measure(name: &str, image: &[u8], units: u64) -> Proof {
    let stage = [image.as_ptr() as u64, image.len() as u64];
    let handle = match hvc::call(Call::ProbeStage, stage) {
        Ok(x) => x[1],
        Err(refused) => exit::fail("bench", format_args!("{name}: stage: {:?}", refused.status)),
    };
    let mut proof = Proof {
        instructions: 0,
        longest: 0,
        steps: 0,
    };
    loop {
        if proof.steps == STEPS_MAX {
            exit::fail("bench", format_args!("{name}: not proven after {STEPS_MAX} steps"));
        }
        let begin = timer::now();
        let answer = hvc::call(Call::ProbeVerify, [handle, units]);
        let instructions = (timer::now() - begin) * SWEEP;
        proof.instructions += instructions;
        proof.longest = proof.longest.max(instructions);
        proof.steps += 1;
        match answer {
            Ok(x) if x[1] == 0 => {}
            Ok(_) => break,
            Err(refused) => exit::fail(
                "bench",
                format_args!("{name}: verify: {:?} {:?}", refused.status, refused.x),
            ),
        }
    }
    if let Err(refused) = hvc::call(Call::ProbeUnload, [handle]) {
        exit::fail("bench", format_args!("{name}: unload: {:?}", refused.status));
    }
    proof
}
