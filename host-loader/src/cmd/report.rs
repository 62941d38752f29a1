//! `gnomon report`: what a running system says of its paths, machines and pools.

use serde::Serialize;

use super::link::LinkArgs;
use crate::Status;
use crate::render::peaks::{self, PeakRow};
use crate::render::tables::{self, PathRow, VmRow};

/// Show a running system: exits by path, budgets beside what was observed, virtual machines, pools.
///
/// A path that took longer than its proven bound is a defect of Gnomon's: it is marked, and the exit status is 1.
///
/// Examples:
///
///     gnomon report
///     gnomon report --peaks
///     gnomon report --json --reset
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Show what was there when each path took its longest: who ran, why it left, which points had probes.
    #[arg(long)]
    pub peaks: bool,
    /// Clear the counts of paths after they are read.
    #[arg(long)]
    pub reset: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

#[derive(Serialize)]
struct Output {
    paths: Vec<PathRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peaks: Option<Vec<PeakRow>>,
    vms: Vec<VmRow>,
    pools: Vec<PoolRow>,
}

#[derive(Serialize)]
struct PoolRow {
    pool: u32,
    used: u64,
    peak: u64,
    size: u64,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let mut client = args.link.connect()?;
    let paths = tables::path_rows(&client.paths()?);
    let vms = tables::vm_rows(&client.vms()?);
    let pools = client.pools()?;
    let peaks = match args.peaks {
        true => Some(peaks::rows(&client.peaks()?, &vms)),
        false => None,
    };
    if args.reset {
        client.reset_paths()?;
    }
    let broken = paths.iter().any(PathRow::is_broken);
    if args.json {
        let row = |p: &hyp_abi::record::PoolRecord| PoolRow {
            pool: p.pool,
            used: p.used,
            peak: p.peak,
            size: p.size,
        };
        let output = Output {
            paths,
            peaks,
            vms,
            pools: pools.iter().map(row).collect(),
        };
        println!(
            "{}",
            serde_json::to_string_pretty(&output).expect("rows are plain data")
        );
    } else {
        println!("Exits by path, in units of path time\n{}", tables::exits(&paths));
        println!("Budgets\n{}", tables::budgets(&paths));
        if let Some(peaks) = &peaks {
            println!("Longest exits\n{}", peaks::table_of(peaks));
        }
        println!("Virtual machines\n{}", tables::vms(&vms));
        println!("Pools of the hypervisor\n{}", tables::pools(&pools));
    }
    Ok(if broken { Status::Refused } else { Status::Ok })
}
