//! Every state a run passes through lies inside the abstract state there; no run exceeds the bound. Over the Linux
//! programs that need no maps, and over random well-formed programs.

mod common;
#[path = "common/embed.rs"]
mod embed;
#[path = "common/random.rs"]
mod random;

use common::*;
use embed::embed;
use random::{Rng, program};

fn inputs(rng: &mut Rng, n: usize) -> Vec<Vec<u8>> {
    (0..n)
        .map(|i| {
            (0..192)
                .map(|_| match i {
                    0 => 0,
                    1 => 0xff,
                    _ => rng.below(256) as u8,
                })
                .collect()
        })
        .collect()
}

#[test]
fn linux_programs_stay_inside() {
    let mut rng = Rng(1);
    let (mut programs, mut steps) = (0, 0);
    for row in rows("linux61_verifier_pure.jsonl") {
        let (text, maps) = linux_program(&row);
        let mut env = linux_env(&row);
        env.rules.no_local_calls = false;
        if row.descr.contains("prandom") || text.iter().any(|s| *s as u8 == 0x20 || *s as u8 == 0x30) {
            continue;
        }
        if let Some((_, _, n)) = embed(&text, &maps, env, &inputs(&mut rng, 3), &row.descr) {
            programs += 1;
            steps += n;
        }
    }
    println!("{programs} programs, {steps} steps");
}

/// A program stands for this many of the steps that `GNOMON_STEPS` asks for.
const STEPS_PER_PROGRAM: u64 = 500;

/// Seeds of a normal run; `GNOMON_SEED` and `GNOMON_STEPS`, as `cargo xtask fuzz` sets them, for others.
#[test]
fn random_programs_stay_inside() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, count) = (
        number("GNOMON_SEED", 1),
        number("GNOMON_STEPS", 1_500_000) / STEPS_PER_PROGRAM,
    );
    let (mut accepted, mut steps, mut exact) = (0u64, 0, 0);
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1));
        let text = program(&mut rng);
        let maps = random::maps();
        let what = format!("seed {seed}");
        if let Some((bound, most, n)) = embed(&text, &maps, random::env(), &inputs(&mut rng, 4), &what) {
            accepted += 1;
            steps += n;
            exact += u64::from(bound == most);
        }
    }
    println!(
        "seeds {first}..{}: {accepted} accepted, {steps} steps inside, {exact} bounds reached",
        first + count
    );
    assert!(
        accepted * 10 > count * 4,
        "the generator's programs should mostly be good: {accepted} of {count}"
    );
}
