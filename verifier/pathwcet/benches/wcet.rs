//! Bounds of the suite beside what was seen, and the analyser's own time.
//!
//! Rows: `wcet.suite.<program>.<compiler><level>` bound over observation; `wcet.suite.median`, `.worst`, `.derived` (percent
//! bounded without annotations), `.below` (observations above a bound: none); `wcet.time.*` the analyser's host time:
//! per instruction followed, over a program and over one ten times as long, and to decode the hypervisor's whole image.

#[path = "../tests/suite/mod.rs"]
mod suite;

use pathwcet::decode::decode;
use pathwcet::elf::Image;
use std::path::PathBuf;
use std::time::Instant;
use suite::{BUILDS, RECURSIVE, Row};

fn row(name: &str, value: f64, unit: &str, goal: Option<(f64, &str)>) {
    let goal = goal.map_or(String::new(), |(g, better)| {
        format!(", \"goal\": {g}, \"better\": \"{better}\"")
    });
    println!("@row {{\"name\": \"{name}\", \"value\": {value:.3}, \"unit\": \"{unit}\"{goal}}}");
}

fn main() {
    if !suite::is_possible() {
        return;
    }
    let begin = Instant::now();
    let rows: Vec<Row> = BUILDS
        .into_iter()
        .map(suite::link)
        .flat_map(|linked| suite::rows(&linked))
        .collect();
    let mut ratios = Vec::new();
    let (mut derived, mut below, mut steps, mut time) = (0, 0, 0, 0.0);
    let rows: Vec<&Row> = rows.iter().filter(|r| r.program != RECURSIVE).collect();
    for r in &rows {
        let Ok(outcome) = &r.outcome else { continue };
        let ratio = outcome.bound as f64 / r.observed as f64;
        let name = format!("wcet.suite.{}.{}{}", r.program, r.build.compiler, r.build.level);
        row(&name, ratio, "bound/observed", None);
        ratios.push(ratio);
        derived += usize::from(r.derived().is_some());
        below += usize::from(outcome.bound < r.observed);
        steps += outcome.steps;
        time += r.time.as_secs_f64();
    }
    ratios.sort_by(f64::total_cmp);
    row("wcet.suite.programs", rows.len() as f64, "programs", None);
    row(
        "wcet.suite.median",
        ratios[ratios.len() / 2],
        "bound/observed",
        Some((1.1, "lower")),
    );
    row(
        "wcet.suite.worst",
        ratios[ratios.len() - 1],
        "bound/observed",
        Some((1.5, "lower")),
    );
    row(
        "wcet.suite.derived",
        derived as f64 * 100.0 / rows.len() as f64,
        "percent",
        Some((90.0, "higher")),
    );
    row("wcet.suite.below", below as f64, "bounds below", Some((0.0, "lower")));
    row("wcet.time.per_step", time * 1e9 / steps as f64, "ns", None);
    growth();
    image();
    row("wcet.time.all", begin.elapsed().as_secs_f64(), "s", None);
}

/// Time per instruction followed as the path grows: a triangle of 20 and loops of 100, then matrices.
fn growth() {
    let linked = suite::link(BUILDS[0]);
    for program in ["early", "triangle", "bubble", "matrix"] {
        let begin = Instant::now();
        let outcome = suite::bound(&linked.image, program, &|_| 1).expect("bounded");
        let name = format!("wcet.time.{program}.{}_insns", outcome.bound);
        row(
            &name,
            begin.elapsed().as_secs_f64() * 1e9 / outcome.steps as f64,
            "ns per step",
            None,
        );
    }
}

/// Decodes every word of the hypervisor's image, if it was built.
fn image() {
    let Some(dist) = std::env::var_os("GNOMON_DIST").map(PathBuf::from) else {
        return;
    };
    let Ok(bytes) = std::fs::read(dist.join("hyp-el2")) else {
        return;
    };
    let image = Image::parse(&bytes).expect("the hypervisor is an AArch64 ELF");
    let begin = Instant::now();
    let mut words = 0u64;
    for (pc, word) in image.words() {
        words += u64::from(decode(pc, word).is_ok());
    }
    row(
        "wcet.time.decode_image",
        begin.elapsed().as_secs_f64() * 1e9 / words as f64,
        "ns per instruction",
        None,
    );
    row("wcet.image.instructions", words as f64, "instructions", None);
}
