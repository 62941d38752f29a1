//! `test`: every test there is. Host first (unit, property, golden), then on the target in QEMU.

use crate::build;
use crate::command;
use crate::failure::{Failure, Result};
use crate::linux;
use crate::setup::{self, Shop};
use std::process::Command;

/// Which tests to run; all of them if nothing is named.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Only the tests that run on this machine, without QEMU.
    #[arg(long, conflicts_with = "target")]
    host: bool,
    /// Only the tests that run on the target, in QEMU.
    #[arg(long)]
    target: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// What the runners counted.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// A runner that ended badly without counting a failure, such as a test program that does not compile.
    broken: u64,
}

/// Sets up, builds, tests; closes with one line `N passed, N failed`.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    shop.ensure(setup::TEST)?;
    build::all(shop)?;
    let mut tally = Tally::default();
    if !args.target {
        let mut cargo = shop.cargo();
        cargo.args(["test", "--quiet", "--no-fail-fast"]);
        tally.stage(shop, "host tests", &mut cargo, args)?;
    }
    if !args.host {
        if linux::is_possible(shop) {
            linux::agent(shop)?;
        }
        let mut cargo = shop.cargo();
        cargo.args([
            "test",
            "--quiet",
            "--no-fail-fast",
            "--package",
            "gnomon-tests",
            "--features",
            "on-target",
        ]);
        cargo.args(["--test", "system"]);
        tally.stage(shop, "on-target tests in QEMU", &mut cargo, args)?;
    }
    println!(
        "\n{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed + tally.broken,
        tally.skipped
    );
    match tally.failed + tally.broken {
        0 => Ok(()),
        failed => Err(Failure::Tests {
            passed: tally.passed,
            failed,
        }),
    }
}

impl Tally {
    fn stage(&mut self, shop: &Shop, title: &str, cargo: &mut Command, args: &Args) -> Result<()> {
        println!("\n== {title}");
        cargo.env("GNOMON_DIST", shop.dist());
        if let Some(filter) = &args.filter {
            cargo.arg(filter);
        }
        let failed_before = self.failed;
        let succeeded = command::tee(cargo, |line| self.count(line))?;
        if !succeeded && self.failed == failed_before {
            self.broken += 1;
        }
        Ok(())
    }

    /// Counts one closing line of libtest: `test result: ok. 5 passed; 0 failed; 0 ignored; ...`, or one `skipped:` line.
    fn count(&mut self, line: &str) {
        if line.trim_start().starts_with("skipped:") {
            self.skipped += 1;
        }
        let Some(counts) = line.strip_prefix("test result:") else {
            return;
        };
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn closing_lines_are_summed() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally
            .count("test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.count("skipped: no shared data");
        tally.count("a test prints: 9 passed");
        assert_eq!((tally.passed, tally.failed, tally.skipped), (12, 2, 2));
    }
}
