//! `gnomon demo`: a whole system, its probes, and what they show.

mod output;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Report, Result, WrapErr, miette};

use self::output::{Jitter, Output, Shown};
use self::watch::{Watch, Window};
use super::load::{self, load_all};
use crate::Status;
use crate::client::{Client, Loaded};
use crate::dist::Dist;
use crate::manifest::System;
use crate::obj::{Object, Program};
use crate::pack;
use crate::render::admission::Refused;
use crate::render::{histogram, tables};
use crate::run::{Machine, Options};
use crate::verify;

/// Run the demo system, load every probe into it, and show what they see.
///
/// Boots the system in QEMU, lets it run a second of virtual time without probes, loads and attaches all probes through
/// the monitor guest, tries the programs that must be refused, lets it run another second, and reads everything back.
///
/// The exit status is 1 if what came out is not what a working system shows.
///
/// Example:
///
///     gnomon demo systems/demo.toml --json demo.json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The system.
    pub manifest: PathBuf,
    /// Write all numbers there as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Windows of the control loop (250 ms of virtual time each) to wait for, without and then with probes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=400))]
    pub windows: u64,
    /// Most time of the host for the whole demo, in seconds.
    #[arg(long, default_value_t = 300)]
    pub timeout: u64,
}

/// How long the monitor may take to answer on its link.
const LINK_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the verb.
pub fn run(args: Args) -> Result<Status> {
    let (system, packed) = pack::pack_file(&args.manifest)?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let link = folder.path().join("monitor.sock");
    let options = Options {
        link: Some(link.clone()),
        ..Options::default()
    };
    let machine = Machine::start(&system, &packed, &options)?;
    let watch = Mutex::new(Watch::new(&system));
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let output = std::thread::scope(|scope| {
        let listener = scope.spawn(|| watch::listen(&machine, &watch));
        let result = tour(&system, &watch, &link, &args, deadline);
        // The listener ends when the machine does.
        let _ = machine.stop();
        listener.join().map_err(|_| miette!("the listener failed"))?;
        result
    })?;
    output.print();
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&output).into_diagnostic()?;
        std::fs::write(path, text)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    let faults = output.faults();
    for fault in &faults {
        eprintln!("demo: {fault}");
    }
    if faults.is_empty() {
        println!("demo: ok");
    }
    Ok(if faults.is_empty() { Status::Ok } else { Status::Refused })
}

/// The steps, in order.
fn tour(system: &System, watch: &Mutex<Watch>, link: &Path, args: &Args, deadline: Instant) -> Result<Output> {
    let dist = Dist::find()?;
    say(&format!("running {} VMs without probes", system.vms.len()));
    let before = wait_for(watch, args.windows, deadline)?;
    let mut client = Client::connect(link, LINK_PATIENCE)?;
    say("loading and attaching probes");
    let accepted = objects(&dist.probes())?;
    let refused = objects(&dist.probes().join("refused"))?;
    verify::with_stack(|| rehearse(&mut client, accepted.iter().chain(&refused)))?;
    let mut loaded = Vec::new();
    let mut refusals = Vec::new();
    verify::with_stack(|| -> Result<()> {
        // One probe, then the programs that must be refused while the budgets still have room, then the other probes.
        let (first, others) = accepted.split_at(1.min(accepted.len()));
        loaded.extend(load_fitting(&mut client, first)?);
        for object in &refused {
            refusals.extend(load(&mut client, object)?.refused);
        }
        loaded.extend(load_fitting(&mut client, others)?);
        Ok(())
    })?;
    let seen = lock(watch).windows.len() as u64;
    say(&format!("running with {} probes attached", loaded.len()));
    // The window that was under way while probes were loaded counts on neither side.
    let all = wait_for(watch, seen + 1 + args.windows, deadline)?;
    let with: &[Window] = all.get(seen as usize + 1..).unwrap_or_default();
    let output = read(&mut client, &loaded, refusals, &before, with)?;
    for (program, attachment) in &loaded {
        if let Some(attachment) = attachment {
            client.detach(*attachment)?;
        }
        client.unload(program.handle)?;
    }
    if let Some(fault) = lock(watch).fault.take() {
        return Err(miette!("{fault}"));
    }
    Ok(output)
}

/// Takes the paths of the probe hypercalls once while no probe is attached, so that their own time is known too: those
/// programs that must be refused included, for refusing takes time as well.
fn rehearse<'o>(client: &mut Client, objects: impl Iterator<Item = &'o Object>) -> Result<()> {
    for object in objects {
        let programs: Vec<&Program> = object.programs.iter().collect();
        for (program, _) in load_all(client, object, &programs, None)?.loaded {
            for map in program.maps.iter().filter(|m| !m.is_ring()) {
                map.read(client, false, false)?;
            }
            client.paths()?;
            client.unload(program.handle)?;
        }
    }
    Ok(())
}

/// Loads and attaches objects that fit the system.
fn load_fitting(client: &mut Client, objects: &[Object]) -> Result<Vec<(Loaded, Option<u64>)>> {
    let mut loaded = Vec::new();
    for object in objects {
        let outcome = load(client, object)?;
        if let Some(refused) = outcome.refused.into_iter().next() {
            return Err(Report::new(refused).wrap_err("a probe of the demo does not fit this system"));
        }
        loaded.extend(outcome.loaded);
    }
    Ok(loaded)
}

fn load(client: &mut Client, object: &Object) -> Result<load::Outcome> {
    let programs: Vec<&Program> = object.programs.iter().collect();
    load_all(client, object, &programs, Some(None))
}

fn read(
    client: &mut Client,
    loaded: &[(Loaded, Option<u64>)],
    refusals: Vec<Refused>,
    before: &[Window],
    with: &[Window],
) -> Result<Output> {
    let mut histograms = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (program, _) in loaded {
        for map in &program.maps {
            let name = map.name();
            let known = histogram::is_histogram(&name, map.info.key_size, map.info.value_size);
            // Programs of one object share maps: each is read once.
            if known && seen.insert(name.clone()) {
                let entries = map.read(client, false, false)?;
                histograms.extend(Shown::of_map(&name, &histogram::from_entries(&entries)));
            }
        }
    }
    let paths = tables::path_rows(&client.paths()?);
    Ok(Output {
        paths,
        refusals: refusals.iter().map(|r| r.row.clone()).collect(),
        histograms,
        jitter: [Jitter::over("none", before), Jitter::over("all", with)]
            .into_iter()
            .flatten()
            .collect(),
        probes: tables::programs(loaded).to_string(),
        reports: refusals.into_iter().map(|r| format!("{:?}", Report::new(r))).collect(),
    })
}

/// The objects of a folder, by name.
fn objects(folder: &Path) -> Result<Vec<Object>> {
    let entries = std::fs::read_dir(folder)
        .into_diagnostic()
        .wrap_err_with(|| format!("no probes in {}: run `cargo xtask build`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".bpf.o"))
        .collect();
    files.sort();
    files.iter().map(|file| Object::read(file)).collect()
}

/// Waits until the control loop has reported `count` windows in all; returns all that it has reported.
fn wait_for(watch: &Mutex<Watch>, count: u64, deadline: Instant) -> Result<Vec<Window>> {
    loop {
        {
            let mut watch = lock(watch);
            if let Some(fault) = watch.fault.take() {
                return Err(miette!("{fault}"));
            }
            if watch.windows.len() as u64 >= count {
                return Ok(watch.windows.clone());
            }
            if Instant::now() > deadline {
                return Err(miette!(
                    help = "a slow host needs a larger --timeout",
                    "only {} of {count} windows of the control loop came in time",
                    watch.windows.len()
                ));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lock<'m>(watch: &'m Mutex<Watch>) -> std::sync::MutexGuard<'m, Watch> {
    // A listener that panicked leaves plain data behind.
    watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn say(step: &str) {
    eprintln!("demo: {step} …");
}
