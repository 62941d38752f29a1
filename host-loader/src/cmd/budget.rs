//! `gnomon budget`: would these probes fit this system? Decided by the hypervisor's own code, without running it.

use std::path::PathBuf;

use hyp_abi::record::PathRecord;
use hyp_abi::{Call, PathId, Status as CallStatus};
use hyp_core::admit::rta::Task;
use hyp_core::admit::{Admission, Basis, Refusal};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::{Deserialize, Serialize};

use super::check::{Checked, check};
use crate::Status;
use crate::client::ClientError;
use crate::dist::Dist;
use crate::env::{self, gnomon};
use crate::manifest::{self, System};
use crate::obj::Object;
use crate::paths::table;
use crate::render::admission::{RefusalRow, explain};
use crate::render::tables::{self, PathRow};
use crate::verify::{self, Arena};

/// Say whether a set of probes would fit a system, without running it.
///
/// Every probe of the objects is verified and admitted in order, as the hypervisor would: path by path against the
/// manifest's budgets, then vCPU by vCPU against its deadline. Shown are the budgets with all probes that fit; a probe
/// that does not is explained with the path, what is missing, and the largest time bound that would fit.
///
/// Times of paths are the proven ones in the hypervisor's image. For a path that could not be bounded, `--report` gives the
/// largest that `gnomon report --json` saw on a running system. `--path` shows the worst path of one row.
///
/// The exit status is 1 if a probe does not fit.
///
/// Examples:
///
///     gnomon budget systems/demo.toml exits.bpf.o ipc.bpf.o
///     gnomon budget systems/demo.toml exits.bpf.o --report seen.json --json
///     gnomon budget systems/demo.toml --path irq.vtimer
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The system's manifest.
    pub manifest: PathBuf,
    /// Objects with probes.
    pub probes: Vec<PathBuf>,
    /// The hypervisor's ELF file; without it, the one that is built.
    #[arg(long, value_name = "ELF")]
    pub hypervisor: Option<PathBuf>,
    /// What `gnomon report --json` said of a running system.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Show the worst path of one, block by block.
    #[arg(long, value_name = "NAME")]
    pub path: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Output {
    admitted: Vec<AdmittedRow>,
    refused: Vec<RefusalRow>,
    paths: Vec<PathRow>,
}

#[derive(Serialize)]
struct AdmittedRow {
    program: String,
    point: &'static str,
    time_bound: u64,
}

/// What a report says of a path.
#[derive(Deserialize)]
struct Seen {
    paths: Vec<SeenPath>,
}

#[derive(Deserialize)]
struct SeenPath {
    name: String,
    own: u64,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<Status> {
    if let Some(name) = &args.path {
        return super::paths::worst(args.hypervisor.as_deref(), name);
    }
    let system = manifest::read(&args.manifest)?;
    let mut admission = admission(&args)?;
    for (path, budget) in &system.budgets {
        admission.set_budget(*path, *budget);
    }
    let objects: Vec<Object> = args.probes.iter().map(|f| Object::read(f)).collect::<Result<_>>()?;
    let tasks = tasks(&system);
    verify::with_stack(|| decide(&objects, &mut admission, &tasks, args.json))
}

/// Bounds of the paths: proven by the image's table; what it leaves open, seen.
fn admission(args: &Args) -> Result<Admission> {
    let file = match &args.hypervisor {
        Some(file) => file.clone(),
        None => Dist::find()?.hypervisor(),
    };
    let cannot = || format!("cannot read {}", file.display());
    let bytes = std::fs::read(&file).into_diagnostic().wrap_err_with(cannot)?;
    let table = table::read(&bytes).into_diagnostic().wrap_err_with(cannot)?;
    let table = table.ok_or_else(|| {
        miette!(
            help = "`cargo xtask build` works the table out; `gnomon paths --patch` does it for one image",
            "{} has no table of path bounds: it admits no probe",
            file.display()
        )
    })?;
    let mut admission = Admission::new(Some(&table));
    let Some(report) = &args.report else {
        return Ok(admission);
    };
    let text = std::fs::read_to_string(report)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", report.display()))?;
    let seen: Seen = serde_json::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} is no report", report.display()))?;
    for path in seen.paths {
        let id =
            PathId::from_name(&path.name).ok_or_else(|| miette!("the report names a path `{}`, unknown", path.name))?;
        admission.observe(id, path.own);
    }
    Ok(admission)
}

/// The vCPUs as the hypervisor takes them from the boot configuration.
fn tasks(system: &System) -> Vec<Task> {
    system
        .vms
        .iter()
        .zip(0..)
        .flat_map(|(vm, id)| tasks_of(vm, id))
        .collect()
}

/// What a VM declares is of its first vCPU, as its devices are.
fn tasks_of(vm: &manifest::Vm, id: u32) -> impl Iterator<Item = Task> {
    let spread = vm.cpus.iter().any(|cpu| *cpu != vm.home());
    vm.cpus.iter().zip(0..).map(move |(cpu, vcpu)| {
        let timing = vm.timing.filter(|_| vcpu == 0);
        Task {
            vm: id,
            vcpu,
            cpu: *cpu,
            priority: vm.priority,
            period: timing.map_or(0, |t| t.period_ns),
            deadline: timing.map_or(0, |t| t.deadline_ns),
            budget: timing.map_or(0, |t| t.budget),
            exits: timing.map_or(0, |t| t.exits),
            devices: if vcpu == 0 { vm.virtio.len() as u32 } else { 0 },
            spread,
        }
    })
}

fn decide(objects: &[Object], admission: &mut Admission, tasks: &[Task], json: bool) -> Result<Status> {
    let mut arena = Arena::default();
    let (mut admitted, mut refused) = (Vec::new(), Vec::new());
    for object in objects {
        for program in &object.programs {
            let env = env::of_probe(&program.section)?;
            let checked = check(&mut arena, object, program, env);
            match admit(&checked, admission, tasks) {
                Ok(row) => admitted.push(row),
                Err((error, time)) => refused.push(explain(&checked, &error, time)),
            }
        }
    }
    let paths = tables::path_rows(&records(admission));
    let status = if refused.is_empty() {
        Status::Ok
    } else {
        Status::Refused
    };
    if json {
        let refused = refused.into_iter().map(|r| r.row).collect();
        let output = Output {
            admitted,
            refused,
            paths,
        };
        println!(
            "{}",
            serde_json::to_string_pretty(&output).expect("rows are plain data")
        );
        return Ok(status);
    }
    println!("{}", tables::budgets(&paths));
    for row in &admitted {
        println!(
            "{} fits at {}: at most {} units of time",
            row.program, row.point, row.time_bound
        );
    }
    for refused in refused {
        println!("{:?}", miette::Report::new(refused));
    }
    Ok(status)
}

/// Admits one probe for good. A refusal is what the hypervisor would answer, with the probe's time bound.
fn admit(
    checked: &Checked<'_>,
    admission: &mut Admission,
    tasks: &[Task],
) -> std::result::Result<AdmittedRow, (ClientError, Option<u64>)> {
    let refuse = |call, status: CallStatus, details: [u64; 3]| {
        let [a, b, c] = details;
        ClientError::Refused {
            call,
            status,
            x: [status.x0(), a, b, c, 0, 0, 0, 0],
        }
    };
    let accepted = checked.answer.verdict.as_ref().map_err(|r| {
        (
            refuse(Call::ProbeVerify, CallStatus::Rejected, [r.pc.into(), 0, 0]),
            None,
        )
    })?;
    let time = accepted.totals.time_bound;
    let point = gnomon::point(&checked.program.section).expect("its environment is that of a point");
    let token = admission.admit(point, time, None, tasks).map_err(|refusal| {
        let error = match refusal {
            Refusal::NoTable => refuse(Call::ProbeAttach, CallStatus::NoTable, [0; 3]),
            Refusal::Path { path, shortfall, fits } => refuse(
                Call::ProbeAttach,
                CallStatus::OverBudget,
                [path as u64, shortfall, fits],
            ),
            Refusal::Deadline {
                vm, shortfall, fits, ..
            } => refuse(
                Call::ProbeAttach,
                CallStatus::OverDeadline,
                [vm.into(), shortfall, fits],
            ),
        };
        (error, Some(time))
    })?;
    assert!(
        admission.commit(&token),
        "nothing happens between admission and commitment"
    );
    Ok(AdmittedRow {
        program: checked.program.name.clone(),
        point: point.name(),
        time_bound: time,
    })
}

/// The paths as a running system would show them before its first exit.
fn records(admission: &Admission) -> Vec<PathRecord> {
    let record = |path: &PathId| {
        let row = admission.row(*path);
        PathRecord {
            path: *path as u32,
            basis: u32::from(row.basis == Basis::Proven),
            own: row.own,
            probes: row.probes,
            probes_most: row.probes_most,
            budget: row.budget,
            ..PathRecord::default()
        }
    };
    PathId::ALL.iter().map(record).collect()
}
