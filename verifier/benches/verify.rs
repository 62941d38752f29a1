//! Time and memory to verify. Rows: `verify.linux.*` over the Linux self-tests (where the shared data is),
//! `verify.large.*` over generated programs of 1k to 50k slots, to show how cost grows.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/random.rs"]
mod random;

use common::{linux_env, linux_program, rows};
use random::{Rng, slot};
use std::time::{Duration, Instant};
use verifier::env::MapDesc;
use verifier::{Env, Pool, Program, Step, UnitCost, Verifier, heap_memory};

/// The shortest of this many runs counts: the machine is shared.
const RUNS: usize = 5;

fn row(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or("null".into(), |g| g.to_string());
    println!("@row {{\"name\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\",\"goal\":{goal},\"better\":\"lower\"}}");
}

/// Shortest time of one verification, the memory being there already, and its visits.
fn time(text: &[u64], maps: &[MapDesc], env: Env<'_>) -> (Duration, u64) {
    let mut best = Duration::MAX;
    let mut visits = 0;
    for _ in 0..RUNS {
        heap_memory!(let memory = text.len());
        let start = Instant::now();
        let mut v = Verifier::start(memory, &Program { text, maps }, env, UnitCost);
        while matches!(v.step(4096), Step::More) {}
        best = best.min(start.elapsed());
        visits = v.visits();
    }
    (best, visits)
}

/// Arithmetic, branches, stack accesses and counted loops, joined as compilers do; `slots` long, always accepted.
fn large(slots: usize) -> Vec<u64> {
    let mut rng = Rng(42);
    let mut text = vec![slot(0x79, 6, 1, 0, 0), slot(0xb7, 0, 0, 0, 0), slot(0x7b, 10, 6, -8, 0)];
    while text.len() + 16 < slots {
        let k = rng.below(100) as i32;
        match rng.below(5) {
            0 => text.extend([
                slot(0x25, 6, 0, 2, k),
                slot(0x07, 0, 0, 0, 1),
                slot(0x05, 0, 0, 1, 0),
                slot(0x07, 0, 0, 0, 3),
            ]),
            1 => text.extend([
                slot(0x79, 3, 10, -8, 0),
                slot(0x57, 3, 0, 0, 63),
                slot(0x0f, 0, 3, 0, 0),
            ]),
            2 => text.extend([
                slot(0xb7, 2, 0, 0, 0),
                slot(0x07, 0, 0, 0, 5),
                slot(0x07, 2, 0, 0, 1),
                slot(0xa5, 2, 0, -3, 10 + k),
            ]),
            3 => text.extend([slot(0x61, 4, 1, 16, 0), slot(0x15, 4, 0, 1, k), slot(0x0f, 0, 4, 0, 0)]),
            _ => text.extend([
                slot(0x7b, 10, 0, -16, 0),
                slot(0x79, 5, 10, -16, 0),
                slot(0x67, 5, 0, 0, 2),
            ]),
        }
    }
    text.extend([slot(0xb7, 0, 0, 0, 0), slot(0x95, 0, 0, 0, 0)]);
    text
}

fn main() {
    let mut per_insn = Vec::new();
    let mut slowest = Duration::ZERO;
    for file in ["linux61_verifier_pure.jsonl", "linux61_verifier_map.jsonl"] {
        for r in rows(file) {
            let (text, maps) = linux_program(&r);
            let (took, _) = time(&text, &maps, linux_env(&r));
            per_insn.push(took.as_nanos() as f64 / text.len() as f64);
            slowest = slowest.max(took);
        }
    }
    if !per_insn.is_empty() {
        per_insn.sort_by(f64::total_cmp);
        row(
            "verify.linux.median",
            per_insn[per_insn.len() / 2] / 1000.0,
            "us/insn",
            Some(1.0),
        );
        row(
            "verify.linux.p90",
            per_insn[per_insn.len() * 9 / 10] / 1000.0,
            "us/insn",
            None,
        );
        row("verify.linux.slowest", slowest.as_secs_f64() * 1000.0, "ms", Some(50.0));
    }
    for slots in [1_000, 10_000, 50_000] {
        let text = large(slots);
        let mut env = random::env();
        env.limits.insns_max = 1 << 17;
        env.limits.visits_max = 10_000_000;
        let (took, visits) = time(&text, &[], env);
        let n = text.len() as f64;
        row(
            &format!("verify.large.{slots}"),
            took.as_nanos() as f64 / n / 1000.0,
            "us/insn",
            None,
        );
        row(
            &format!("verify.large.{slots}.visits"),
            visits as f64 / n,
            "visits/insn",
            None,
        );
    }
    let bytes = size_of::<Pool<4096>>() as f64;
    row("verify.memory.4096", bytes / 1048576.0, "MiB", Some(1.0));
}
