//! `mutants`: changes the code in small ways and sees whether a test goes red, by cargo-mutants.

use crate::command;
use crate::failure::Result;
use crate::setup::{self, Shop};

/// What to change.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The package whose code is changed.
    #[arg(default_value = "hyp-core")]
    package: String,
    /// Only files whose path matches this glob.
    #[arg(long)]
    file: Option<String>,
}

/// Reports each change that no test of the package noticed; fails if there is one.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    setup::cargo_tool(
        shop,
        "cargo-mutants",
        "changes the code to see whether the tests notice",
    )?;
    let mut cargo = shop.cargo();
    cargo.args([
        "mutants",
        "--package",
        &args.package,
        "--output",
        "target",
        "--no-shuffle",
    ]);
    if let Some(file) = &args.file {
        cargo.args(["--file", file]);
    }
    command::passed(&mut cargo)
}
