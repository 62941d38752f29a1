//! Bounds against true worst cases: programs compiled from C, every input executed.

mod common;
#[path = "common/compiled.rs"]
mod compiled;
#[path = "common/embed.rs"]
mod embed;
#[path = "common/random.rs"]
mod random;

use common::*;
use compiled::programs;

/// Contexts of random bytes, besides.
const RANDOM_INPUTS: usize = 6;

/// All contexts: random ones, then in[0] and in[1] over 0..=15, the rest fixed.
fn inputs() -> Vec<Vec<u8>> {
    let mut rng = random::Rng(77);
    let random = (0..RANDOM_INPUTS).map(|_| (0..192).map(|_| rng.below(256) as u8).collect());
    let mut all: Vec<Vec<u8>> = random.collect();
    for a in 0..16u32 {
        for b in [0u32, 7, 15] {
            let mut bytes = vec![0u8; 192];
            for i in 2..16u32 {
                bytes[4 * i as usize..][..4].copy_from_slice(&(i * 37 % 64).to_le_bytes());
            }
            bytes[..4].copy_from_slice(&a.to_le_bytes());
            bytes[4..8].copy_from_slice(&b.to_le_bytes());
            all.push(bytes);
        }
    }
    all
}

fn compare(version: &str) {
    let Some(programs) = programs(version) else { return };
    assert!(programs.len() >= 60, "{} programs", programs.len());
    let rules = verifier::env::Rules::GNOMON;
    let env = verifier::Env {
        helpers: HELPERS,
        objects: OBJECTS,
        rules,
        limits: verifier::env::Limits::GNOMON,
    };
    let (mut exact, mut log_sum, mut refused) = (0, 0.0, Vec::new());
    let (mut runs, mut steps) = (0, 0);
    let count = programs.len();
    for (name, text) in programs {
        let start = std::time::Instant::now();
        // `embed` panics if any run exceeds the bound.
        // Long loops take the same way for every input.
        let all = inputs();
        let all = if name.starts_with("count_") && name != "count_matches" {
            &all[RANDOM_INPUTS..=RANDOM_INPUTS]
        } else {
            &all[..]
        };
        let Some((bound, most, n)) = embed::embed(&text, &[], env, all, &name) else {
            let why = verify(&text, &[], env).unwrap_err();
            println!("{name}: refused at {} {:?}", why.pc, why.why);
            refused.push(name);
            continue;
        };
        let took = start.elapsed();
        (runs, steps) = (runs + all.len(), steps + n);
        if bound == most {
            exact += 1;
        } else {
            println!(
                "{name}: bound {bound}, true {most}, ratio {:.3} ({took:?})",
                bound as f64 / most as f64
            );
        }
        log_sum += (bound as f64 / most as f64).ln();
    }
    let mean = (log_sum / (count - refused.len()) as f64).exp();
    println!("{version}: {runs} runs, {steps} steps inside");
    println!("{version}: {count} programs, {exact} exact, geometric mean ratio {mean:.4}, refused {refused:?}");
    assert!(refused.is_empty());
    assert!(exact * 100 >= count * 80, "{exact} of {count} exact");
    assert!(mean <= 1.05, "{mean}");
}

#[test]
fn bounds_meet_true_worst_cases_v3() {
    compare("v3");
}

#[test]
fn bounds_meet_true_worst_cases_v2() {
    compare("v2");
}
