//! `gnomon fetch`: Debian packages for guests, into the cache that manifests take them from.

use crate::Status;
use crate::debian::{self, Source};
use crate::dist::Dist;

/// Fetch Debian's arm64 packages and print where they are.
///
/// `gnomon run` fetches what a manifest names by itself; this is for other uses of the same files: a machine without network
/// later on, headers to build kernel modules against. A metapackage of a kernel (linux-image-arm64) gives the kernel's own package.
///
/// Examples:
///
///     gnomon fetch linux-image-arm64 busybox-static
///     gnomon fetch trixie/linux-image-arm64
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Packages: NAME, or RELEASE/NAME for another release of Debian than the host's.
    #[arg(required = true, value_name = "PACKAGE", value_parser = source)]
    pub packages: Vec<Source>,
}

fn source(text: &str) -> Result<Source, String> {
    Source::parse(text).ok_or_else(|| "not the name of a package (NAME or RELEASE/NAME)".to_string())
}

/// Runs the verb.
///
/// # Errors
/// A package cannot be had.
pub fn run(args: Args) -> miette::Result<Status> {
    let cache = Dist::find()?.cache();
    for package in &args.packages {
        println!("{}", debian::package(package, &cache)?.display());
    }
    Ok(Status::Ok)
}
