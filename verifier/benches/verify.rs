//! Time and memory to verify.
//!
//! | rows | programs |
//! |---|---|
//! | `verify.linux.*` | self-tests of Linux 6.1's verifier, by the rules for those without privileges (shared data) |
//! | `verify.suites.*` | bpf_conformance and half of Linux's lib/test_bpf.c, accepted or not (shared data) |
//! | `verify.loops.*` | the loop programs of `tests/loops`, by clang |
//! | `verify.million.*` | programs whose worst case is about a million instructions |
//! | `verify.large.*` | generated, 1k to 50k slots: how cost grows |
//! | `verify.check.*` | the same through `gnomon check --batch`, and the project's probes (where `GNOMON_DIST` says) |
//! | `verify.memory.*` | what the hypervisor gives |

#[path = "verify/check.rs"]
mod check;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/compiled.rs"]
mod compiled;
#[path = "verify/generated.rs"]
mod generated;
#[path = "../tests/common/random.rs"]
mod random;

use common::{HELPERS, linux_env, linux_program, rows, shared, slots};
use generated::{large, millions};
use std::time::{Duration, Instant};
use verifier::env::{Field, FieldKind, Limits, ObjectLayout, Rules};
use verifier::{Env, MapDesc, Pool, Program, Step, UnitCost, Verifier, heap_memory};

/// The shortest of this many runs counts: the machine is shared.
const RUNS: usize = 5;
/// A program that takes longer is measured once more only: that it is slow is clear.
const SLOW: Duration = Duration::from_millis(100);
/// Median by instruction over a set of programs of others.
const MEDIAN_US: f64 = 1.0;
/// Longest for any program.
const SLOWEST_MS: f64 = 50.0;
/// PREVAIL 0.2.6 over 583 programs of real objects, on this kind of machine.
const PREVAIL_INSN: &str = "PREVAIL 86";
const PREVAIL_SLOWEST: &str = "PREVAIL 7,500";
const PREVAIL_MEMORY: &str = "PREVAIL 269";

/// One measured number; `peer` is what another has of it.
struct Row<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    goal: Option<f64>,
    peer: Option<&'a str>,
}

impl Row<'_> {
    fn print(&self) {
        let goal = self.goal.map_or("null".into(), |g| g.to_string());
        let peer = self.peer.map_or(String::new(), |p| format!(",\"peer\":\"{p}\""));
        let (name, value, unit) = (self.name, self.value, self.unit);
        println!("@row {{\"name\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\",\"goal\":{goal}{peer}}}");
    }
}

fn row(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    Row {
        name,
        value,
        unit,
        goal,
        peer: None,
    }
    .print();
}

/// One program's verification.
struct Measured {
    name: String,
    slots: usize,
    took: Duration,
    visits: u64,
    /// Its instruction bound, if it was accepted.
    bound: Option<u64>,
}

/// Shortest time of one verification, the memory being there already.
fn measure(name: String, text: &[u64], maps: &[MapDesc], env: Env<'_>) -> Measured {
    let mut m = Measured {
        name,
        slots: text.len(),
        took: Duration::MAX,
        visits: 0,
        bound: None,
    };
    for _ in 0..RUNS {
        heap_memory!(let memory = text.len());
        let start = Instant::now();
        let mut v = Verifier::start(memory, &Program { text, maps }, env, UnitCost);
        m.bound = loop {
            match v.step(4096) {
                Step::More => {}
                Step::Done(d) => break Some(d.insn_bound()),
                Step::Rejected(_) => break None,
            }
        };
        let took = start.elapsed();
        m.took = m.took.min(took);
        m.visits = v.visits();
        if took > SLOW {
            break;
        }
    }
    m
}

/// Rows of a set: median and 90th percentile of time by instruction, the slowest program, with its name in the text.
fn set(name: &str, all: &[Measured], median_us: Option<f64>) {
    let Some(slowest) = all.iter().max_by_key(|m| m.took) else {
        return;
    };
    let mut per_insn: Vec<f64> = all
        .iter()
        .map(|m| m.took.as_nanos() as f64 / m.slots.max(1) as f64 / 1000.0)
        .collect();
    per_insn.sort_by(f64::total_cmp);
    let accepted = all.iter().filter(|m| m.bound.is_some()).count();
    let ms = slowest.took.as_secs_f64() * 1000.0;
    println!(
        "{name}: {} programs, {accepted} accepted; slowest {} ({} slots, {ms:.3} ms)",
        all.len(),
        slowest.name,
        slowest.slots
    );
    Row {
        name: &format!("verify.{name}.median"),
        value: per_insn[per_insn.len() / 2],
        unit: "us/insn",
        goal: median_us,
        peer: Some(PREVAIL_INSN),
    }
    .print();
    row(
        &format!("verify.{name}.p90"),
        per_insn[per_insn.len() * 9 / 10],
        "us/insn",
        None,
    );
    Row {
        name: &format!("verify.{name}.slowest"),
        value: ms,
        unit: "ms",
        goal: Some(SLOWEST_MS),
        peer: Some(PREVAIL_SLOWEST),
    }
    .print();
}

/// A context of 4 KiB that may be read and written at any width: what the suites run on.
const MEMORY: &[ObjectLayout<'static>] = &[ObjectLayout {
    name: "memory",
    bytes: 4096,
    fields: &[Field {
        offset: 0,
        bytes: 4096,
        read: 15,
        write: 15,
        kind: FieldKind::Scalar,
    }],
}];

fn suites() -> Vec<Measured> {
    let Some(dir) = shared() else { return Vec::new() };
    let env = Env {
        helpers: HELPERS,
        objects: MEMORY,
        rules: Rules {
            no_unreachable: false,
            ..Rules::GNOMON
        },
        limits: Limits::GNOMON,
    };
    let mut all = Vec::new();
    for (file, name) in [
        ("bpf_conformance.jsonl", "name"),
        ("linux612_test_bpf_odd.jsonl", "descr"),
    ] {
        let text = std::fs::read_to_string(dir.join(file)).expect("readable data");
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            let insns = slots(row["insns"].as_str().expect("hex"));
            all.push(measure(row[name].to_string().replace('"', ""), &insns, &[], env));
        }
    }
    all
}

fn main() {
    let mut linux = Vec::new();
    for file in ["linux61_verifier_pure.jsonl", "linux61_verifier_map.jsonl"] {
        for r in rows(file) {
            let (text, maps) = linux_program(&r);
            linux.push(measure(r.descr.clone(), &text, &maps, linux_env(&r)));
        }
    }
    set("linux", &linux, Some(MEDIAN_US));
    set("suites", &suites(), Some(MEDIAN_US));
    let gnomon = Env {
        rules: Rules::GNOMON,
        limits: Limits::GNOMON,
        ..random::env()
    };
    let loops = compiled::programs("v3").unwrap_or_default();
    let loops = loops.into_iter().map(|(name, text)| measure(name, &text, &[], gnomon));
    // A few instructions that are followed many times.
    set("loops", &loops.collect::<Vec<_>>(), None);
    for (name, text) in millions() {
        let m = measure(name.into(), &text, &random::maps(), gnomon);
        let bound = m.bound.unwrap_or_else(|| panic!("{name} is refused"));
        println!("{name}: at most {bound} instructions, {} visits", m.visits);
        assert!(bound >= 900_000, "{name}: {bound}");
        let ms = m.took.as_secs_f64() * 1000.0;
        row(&format!("verify.million.{name}"), ms, "ms", Some(SLOWEST_MS));
    }
    for slots in [1_000, 10_000, 50_000] {
        let text = large(slots);
        let mut env = random::env();
        env.limits.insns_max = 1 << 17;
        env.limits.visits_max = 10_000_000;
        let m = measure(slots.to_string(), &text, &[], env);
        let n = text.len() as f64;
        let us = m.took.as_nanos() as f64 / n / 1000.0;
        row(&format!("verify.large.{slots}"), us, "us/insn", None);
        row(
            &format!("verify.large.{slots}.visits"),
            m.visits as f64 / n,
            "visits/insn",
            None,
        );
    }
    check::run();
    Row {
        name: "verify.memory.4096",
        value: size_of::<Pool<4096>>() as f64 / 1048576.0,
        unit: "MiB",
        goal: Some(1.0),
        peer: Some(PREVAIL_MEMORY),
    }
    .print();
}
