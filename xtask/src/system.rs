//! `pack`, `run`, `wcet`: build, then let `gnomon` do it.

use crate::build;
use crate::command;
use crate::failure::Result;
use crate::setup::{self, Shop};
use std::ffi::OsString;

/// Everything after the verb goes to `gnomon` unchanged.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Arguments of the `gnomon` verb of the same name; `-- --help` shows them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

impl Args {
    /// Nothing after the verb.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Runs `gnomon VERB` on a fresh build; its exit status becomes ours.
pub fn run(shop: &Shop, verb: &str, args: &Args) -> Result<()> {
    shop.ensure(setup::BOOT)?;
    build::all(shop)?;
    command::passed(build::gnomon_command(shop).arg(verb).args(&args.rest))
}
