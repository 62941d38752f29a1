//! `fuzz`: random and mutated bytes into what parses input from outside, for as long as one likes.
//!
//! The generator is that of the property tests, with a fresh seed and more cases; it prints the seed, and the same seed repeats a run.

use crate::command;
use crate::failure::Result;
use crate::setup::Shop;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to feed, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only property tests whose name contains this.
    filter: Option<String>,
    /// Packages whose property tests run; may be repeated.
    #[arg(long = "package", short, default_values = ["verifier", "probe-vm", "hyp-core", "gnomon"])]
    packages: Vec<String>,
    /// Cases for each property.
    #[arg(long, default_value_t = 100_000)]
    cases: u32,
    /// Repeats a run.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the property tests of the packages with many fresh cases.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let seed = args.seed.unwrap_or(now);
    println!("seed {seed}, {} cases for each property", args.cases);
    let mut cargo = shop.cargo();
    cargo.args(["test", "--quiet", "--no-fail-fast"]);
    for package in &args.packages {
        cargo.args(["--package", package]);
    }
    cargo.args(&args.filter);
    // Read by proptest itself.
    cargo
        .env("PROPTEST_CASES", args.cases.to_string())
        .env("PROPTEST_RNG_SEED", seed.to_string());
    command::passed(&mut cargo)
}
