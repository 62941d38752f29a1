//! `demo`: build, then let `gnomon demo` show the whole system.

use crate::build;
use crate::command;
use crate::failure::Result;
use crate::setup::{self, Shop};
use std::path::PathBuf;

/// What `gnomon demo` takes besides the system.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Write all numbers there as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Sets up, builds, runs; `gnomon`'s exit status becomes ours.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    shop.ensure(setup::BOOT)?;
    build::all(shop)?;
    let mut gnomon = build::gnomon_command(shop);
    gnomon.arg("demo").arg(shop.root().join("systems/demo.toml"));
    if let Some(file) = &args.json {
        gnomon.arg("--json").arg(file);
    }
    command::passed(&mut gnomon)
}
