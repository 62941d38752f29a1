//! `cargo xtask VERB`: builds, runs, tests and measures the whole of Gnomon, and sets up what that needs.
//!
//! One verb a file. A verb's `run` takes its parsed arguments and the [`Shop`], asks for what it needs with [`Shop::ensure`],
//! and returns a [`Failure`] that says what went wrong and what to do.

mod bench;
mod build;
mod command;
mod demo;
mod failure;
mod fuzz;
mod linux;
mod linux_matrix;
mod mutants;
mod prepush;
mod setup;
mod system;
mod test;
mod tidy;
mod toolchain;

use clap::{Parser, Subcommand};
use failure::Result;
use setup::Shop;
use std::process::ExitCode;

/// Builds, runs, tests and measures Gnomon; sets up what is missing.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    /// Install nothing: list what is missing and why, and exit with status 2.
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build hypervisor, guests, probes and the `gnomon` command into target/gnomon.
    Build(build::Args),
    /// Join a system into one bootable image: `cargo xtask pack systems/demo.toml -o demo.img`.
    Pack(system::Args),
    /// Build, then boot a system in QEMU: `cargo xtask run systems/demo.toml`.
    Run(system::Args),
    /// Build, boot the demo system, load every probe and show what they see: `cargo xtask demo --json d.json`.
    Demo(demo::Args),
    /// Run every test: host first, then on the target in QEMU.
    Test(test::Args),
    /// Measure, with the goal beside each value: `cargo xtask bench exits --json b.json`.
    Bench(bench::Args),
    /// Bound the hypervisor's paths; with arguments, the longest path through linked code: `cargo xtask wcet FILE --entry SYMBOL`.
    Wcet(system::Args),
    /// Build what a Linux guest needs to load probes: the `gnomon` command for it and the kernel module.
    LinuxAgent,
    /// Boot Debian's kernels with 1, 2 and 4 vCPUs, each with a workload, and print what came of it.
    LinuxMatrix(linux_matrix::Args),
    /// Check the rules of the house: crate edges, file sizes, unsafe ledger, markers.
    Tidy,
    /// What CI runs, with rustfmt and clippy before it.
    Prepush,
    /// Change the code at random and see that a test goes red: `cargo xtask mutants hyp-core`.
    Mutants(mutants::Args),
    /// Random input with a fresh seed: `cargo xtask fuzz --steps 1000000`.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let shop = Shop::new(!cli.no_install);
    let outcome: Result<()> = match cli.verb {
        Verb::Build(args) => build::run(&shop, &args),
        Verb::Pack(args) => system::run(&shop, "pack", &args),
        Verb::Run(args) => system::run(&shop, "run", &args),
        Verb::Demo(args) => demo::run(&shop, &args),
        Verb::Test(args) => test::run(&shop, &args),
        Verb::Bench(args) => bench::run(&shop, &args),
        Verb::Wcet(args) if args.is_empty() => system::run(&shop, "paths", &args),
        Verb::Wcet(args) => system::run(&shop, "wcet", &args),
        Verb::LinuxAgent => linux::run(&shop),
        Verb::LinuxMatrix(args) => linux_matrix::run(&shop, &args),
        Verb::Tidy => tidy::run(&shop),
        Verb::Prepush => prepush::run(&shop),
        Verb::Mutants(args) => mutants::run(&shop, &args),
        Verb::Fuzz(args) => fuzz::run(&shop, &args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.status())
        }
    }
}
