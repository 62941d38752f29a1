//! `fuzz`: random and mutated bytes, calls and interrupts into what takes input from outside, for as long as one likes.
//!
//! By default the generators of the seeded tests, with a fresh seed and more steps; the seed is printed, and repeats a run.
//! With `--coverage` a libFuzzer target of probe-vm/fuzz or verifier/fuzz, which needs a nightly toolchain for its instrumentation.

use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where targets for libFuzzer are.
const FUZZ_FOLDERS: [&str; 2] = ["probe-vm/fuzz", "verifier/fuzz"];

/// What to feed, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Packages whose seeded tests run; may be repeated.
    #[arg(long = "package", short, default_values = ["verifier", "probe-vm", "hyp-core", "gnomon"])]
    packages: Vec<String>,
    /// Random steps of each test.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Repeats a run.
    #[arg(long)]
    seed: Option<u64>,
    /// Instead, run after run with new seeds for this long; the filter is then the package, e.g. `verifier`.
    #[arg(long, conflicts_with = "coverage")]
    minutes: Option<u64>,
    /// Instead, a coverage-guided target: engines or slots of probe-vm/fuzz, embedding of verifier/fuzz.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["filter", "packages", "steps", "seed"])]
    coverage: Option<String>,
    /// How long the coverage-guided target runs.
    #[arg(long, default_value_t = 60, requires = "coverage")]
    seconds: u32,
}

/// Runs the seeded tests of the packages with a fresh seed and many steps, or one coverage-guided target.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    if let Some(target) = &args.coverage {
        return coverage(shop, target, args.seconds);
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let seed = args.seed.unwrap_or(now);
    if let Some(minutes) = args.minutes {
        return for_long(shop, args, seed, minutes);
    }
    println!("seed {seed}, {} steps of each test", args.steps);
    let mut cargo = shop.cargo();
    cargo.args(["test", "--quiet", "--no-fail-fast"]);
    for package in &args.packages {
        cargo.args(["--package", package]);
    }
    cargo.args(&args.filter);
    cargo
        .env("GNOMON_SEED", seed.to_string())
        .env("GNOMON_STEPS", args.steps.to_string());
    command::passed(&mut cargo)
}

/// The seeded tests of one package again and again, each run with the seeds after the last one's.
fn for_long(shop: &Shop, args: &Args, first: u64, minutes: u64) -> Result<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60 * minutes);
    let package = args.filter.as_deref().unwrap_or("verifier");
    let (mut seed, mut runs) = (first, 0u64);
    while std::time::Instant::now() < end {
        println!("run {runs}: seed {seed}, {} steps", args.steps);
        let mut cargo = shop.cargo();
        cargo.args(["test", "--quiet", "--package", package, "--", "random", "--nocapture"]);
        cargo
            .env("GNOMON_SEED", seed.to_string())
            .env("GNOMON_STEPS", args.steps.to_string());
        command::passed(&mut cargo)?;
        seed = seed.wrapping_add(args.steps);
        runs += 1;
    }
    println!(
        "{runs} runs, {} steps, seeds {first} to {seed}: nothing found",
        runs.saturating_mul(args.steps)
    );
    Ok(())
}

fn coverage(shop: &Shop, target: &str, seconds: u32) -> Result<()> {
    let has = |folder: &&str| {
        let file = shop
            .root()
            .join(folder)
            .join("fuzz_targets")
            .join(format!("{target}.rs"));
        file.is_file()
    };
    let folder = FUZZ_FOLDERS.into_iter().find(has).ok_or_else(|| {
        Failure::Said(format!(
            "no folder of {} has a target {target}",
            FUZZ_FOLDERS.join(", ")
        ))
    })?;
    setup::cargo_tool(shop, "cargo-fuzz", "drives libFuzzer").map_err(|error| {
        Failure::Said(format!(
            "{error}\nwithout cargo-fuzz there are the seeded tests: cargo xtask fuzz verifier --minutes 5"
        ))
    })?;
    // rustup's proxy, which understands +nightly; the cargo that runs us is the pinned toolchain's own.
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(shop.root())
        .args(["+nightly", "fuzz", "run", "--fuzz-dir", folder, target, "--"]);
    cargo.arg(format!("-max_total_time={seconds}"));
    cargo
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    match command::answer(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])) {
        Some(_) => command::passed(&mut cargo),
        None => Err(Failure::Said(
            "there is no nightly toolchain, which the coverage of libFuzzer needs".into(),
        )),
    }
}
