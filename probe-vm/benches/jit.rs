//! Words the compiler's code executes over the public suites, against what uBPF's arm64 compiler would.
//!
//! Rows: `jit.<groups>.executed` A64 words executed by all programs of the groups, the goal being uBPF's model;
//! `jit.code.words_per_insn` words emitted for each eBPF instruction of the suite; `jit.bound.ratio` stated
//! cost of the executed paths over words executed; `jit.random.disagreements` among a million random programs
//! (`GNOMON_PROGRAMS` of them); `jit.compile.ns_per_insn` host time.

#[path = "../tests/support/mod.rs"]
mod support;

use probe_vm::conformance::{TEXT_BASE, compile};
use std::collections::BTreeMap;
use std::time::Instant;
use support::engines::{Both, emu_links, run_both};
use support::random::{self, Rng};
use support::ubpf;

fn row(name: &str, value: f64, unit: &str, goal: f64) {
    println!("@row {{\"name\": \"{name}\", \"value\": {value}, \"unit\": \"{unit}\", \"goal\": {goal}}}");
}

#[derive(Default)]
struct Group {
    programs: u64,
    ours: u64,
    theirs: u64,
    cost: u64,
}

fn groups(cases: &[support::Case]) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for case in cases {
        let both = run_both(&case.slots, &case.mem, case.len, true, 0);
        assert_eq!(both.r0[1] & case.mask, case.want & case.mask, "{}", case.name);
        let group = groups.entry(case.groups.join("+")).or_default();
        group.programs += 1;
        group.ours += both.executed;
        group.theirs += ubpf::executed(case);
        // Register calls have no stated cost: no verified program has one.
        group.cost += both.cost.unwrap_or(both.executed);
    }
    groups
}

fn random_disagreements() {
    let programs = std::env::var("GNOMON_PROGRAMS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000u64);
    let seed = std::env::var("GNOMON_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x6e6f_6d6f_6e00_0004);
    println!("random: {programs} programs, seed {seed}");
    let mut rng = Rng(seed);
    let (mut wrong, mut above) = (0u64, 0u64);
    for n in 0..programs {
        let slots = random::program(&mut rng);
        let mem = random::memory(&mut rng);
        let Both {
            r0,
            mem,
            cost,
            executed,
            ..
        } = run_both(&slots, &mem, 0, n % 8 != 0, 0);
        wrong += (r0[0] != r0[1] || mem[0] != mem[1]) as u64;
        above += cost.is_none_or(|cost| executed > cost) as u64;
    }
    row("jit.random.programs", programs as f64, "programs", programs as f64);
    row("jit.random.disagreements", wrong as f64, "programs", 0.0);
    row("jit.random.above_bound", above as f64, "programs", 0.0);
}

fn compile_time(cases: &[support::Case]) {
    let links = emu_links(true);
    let (mut insns, mut words) = (0, 0);
    let start = Instant::now();
    for case in cases {
        let code = compile(&case.slots, &links, TEXT_BASE).unwrap();
        words += code.len();
        insns += case.slots.len();
    }
    let ns = start.elapsed().as_nanos() as f64;
    row("jit.compile.ns_per_insn", (ns / insns as f64).round(), "ns", 1000.0);
    row(
        "jit.code.words_per_insn",
        (1000.0 * words as f64 / insns as f64).round() / 1000.0,
        "words",
        1.5,
    );
}

fn main() {
    let (Some(suite), Some(linux)) = (support::conformance(), support::linux()) else {
        return;
    };
    let (mut cost, mut executed) = (0, 0);
    println!("group                       programs     ours     uBPF");
    for (name, g) in groups(&suite).into_iter().chain(groups(&linux)) {
        println!("{name:26} {:9} {:8} {:8}", g.programs, g.ours, g.theirs);
        row(&format!("jit.{name}.executed"), g.ours as f64, "insns", g.theirs as f64);
        cost += g.cost;
        executed += g.ours;
    }
    row(
        "jit.bound.ratio",
        (1000.0 * cost as f64 / executed as f64).round() / 1000.0,
        "ratio",
        1.0,
    );
    compile_time(&suite);
    random_disagreements();
}
