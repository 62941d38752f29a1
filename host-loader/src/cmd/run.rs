//! `gnomon run`: a system in QEMU, on this terminal.

use std::path::PathBuf;
use std::time::Duration;

use crate::Status;
use crate::manifest::Clock;
use crate::pack;
use crate::run::{self, Options, Outcome};

/// Boot a system in QEMU.
///
/// Guests' consoles come out on standard output, with the VM's name in front where there are several; what is typed goes to the
/// VM in focus. Ctrl-a n gives the keyboard to the next VM, ctrl-a x ends the machine. The exit status is 0 only if the
/// hypervisor ran to its end and no VM faulted.
///
/// Example:
///
///     gnomon run systems/single.toml --timeout 10
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The manifest.
    pub manifest: PathBuf,
    /// End the machine after this many seconds; status 1 if VMs still run then.
    #[arg(long, value_name = "S")]
    pub timeout: Option<f64>,
    /// One instruction is one nanosecond of virtual time: exact and repeatable. The default, unless the manifest has
    /// `clock = "host"`.
    #[arg(long, overrides_with = "no_icount")]
    pub icount: bool,
    /// Virtual time follows the host's clock.
    #[arg(long)]
    pub no_icount: bool,
    /// Unix socket where the monitor VM's link will listen, for `gnomon load` and its like.
    #[arg(long, value_name = "PATH")]
    pub link: Option<PathBuf>,
    /// More arguments for QEMU, e.g. `-- -s -S` to wait for a debugger.
    #[arg(last = true)]
    pub qemu: Vec<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let (system, packed) = pack::pack_file(&args.manifest)?;
    let timeout = args.timeout.map(Duration::try_from_secs_f64).transpose();
    let timeout = timeout.map_err(|error| miette::miette!("--timeout: {error}"))?;
    let options = Options {
        no_icount: !args.icount && (args.no_icount || system.clock == Clock::Host),
        timeout,
        link: args.link,
        qemu: args.qemu,
    };
    let outcome = run::run_on_terminal(&system, &packed, &options)?;
    explain(&outcome);
    Ok(if outcome.is_good() { Status::Ok } else { Status::Refused })
}

/// Says what no record said.
fn explain(outcome: &Outcome) {
    if outcome.timed_out {
        eprintln!("gnomon: the time is over: machine ended");
    } else if !outcome.off && outcome.broken.is_none() {
        match outcome.booted {
            true => eprintln!("gnomon: the machine ended before its VMs did"),
            false => eprintln!("gnomon: the hypervisor did not start"),
        }
        eprint!("{}", outcome.qemu_said);
    }
}
