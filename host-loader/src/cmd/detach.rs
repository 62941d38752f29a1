//! `gnomon detach` and `gnomon unload`: give back what a program took.

use super::link::{LinkArgs, number};
use crate::Status;

/// Detach a program from its point.
///
/// Its budget is given back at once; its maps stay until it is unloaded.
///
/// Example:
///
///     gnomon detach 0x1 --unload 0x1
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The attachment, as `gnomon load --attach` or `gnomon attach` prints it.
    #[arg(value_parser = number)]
    pub attachment: u64,
    /// Unload this program too, with its maps.
    #[arg(long, value_name = "HANDLE", value_parser = number)]
    pub unload: Option<u64>,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

/// Unload a program and its maps.
///
/// A program that is attached is busy: detach it first.
///
/// Example:
///
///     gnomon unload 0x1
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct UnloadArgs {
    /// Handle of the program, as `gnomon load` prints it.
    #[arg(value_parser = number)]
    pub handle: u64,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

/// Runs `detach`.
pub fn run(args: Args) -> miette::Result<Status> {
    let mut client = args.link.connect()?;
    client.detach(args.attachment)?;
    if let Some(handle) = args.unload {
        client.unload(handle)?;
    }
    Ok(Status::Ok)
}

/// Runs `unload`.
pub fn unload(args: UnloadArgs) -> miette::Result<Status> {
    args.link.connect()?.unload(args.handle)?;
    Ok(Status::Ok)
}
