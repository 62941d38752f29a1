//! `gnomon paths`: the bounds of the hypervisor's own paths.

use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use hyp_abi::PathId;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use probe_vm::points::PointId;
use serde::Serialize;

use crate::Status;
use crate::cmd::wcet::{shares, words};
use crate::dist::Dist;
use crate::paths::analyse::{Analysis, PathBound, STEPS_MAX, analyse};
use crate::paths::cases;
use crate::paths::ground::Ground;
use crate::paths::model;
use crate::paths::table;
use crate::render::accepted::grouped;
use crate::render::lines::Lines;

/// Bound every path of the hypervisor from its linked image, in retired instructions.
///
/// A path is a class of stays at EL2, from the vector to `eret`. The image says itself how stays begin and which path each
/// is counted as; every case is followed to its end, calls and loops included. A case that cannot be bounded is named, and
/// its paths stand on what is observed.
///
/// The exit status is 1 if a path has no bound and `--all` was asked for.
///
/// Examples:
///
///     gnomon paths
///     gnomon paths --path irq.vtimer
///     gnomon paths --case "hvc notify"
///     gnomon paths target/gnomon/hyp-el2 --patch --json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The hypervisor's ELF file; without it, the one that is built.
    pub hypervisor: Option<PathBuf>,
    /// Write the table into the file, for admission.
    #[arg(long, conflicts_with = "path")]
    pub patch: bool,
    /// Show the worst path of one, block by block.
    #[arg(long, value_name = "NAME")]
    pub path: Option<String>,
    /// Analyse only the cases whose name holds this, also those that are marked as open.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "patch"])]
    pub case: Option<String>,
    /// Abstract instructions after which a case is given up.
    #[arg(long, value_name = "N", default_value_t = STEPS_MAX)]
    pub steps: u64,
    /// What is counted: retired instructions, or cycles of a core. Cycles are a model's claim, not validated on silicon.
    #[arg(long, value_name = "MODEL", value_parser = model::names(), default_value = model::INSNS)]
    pub model: String,
    /// Fail if a path has no bound.
    #[arg(long, conflicts_with = "path")]
    pub all: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The answer.
#[derive(Serialize)]
struct Output {
    seconds: f64,
    unit: &'static str,
    paths: Vec<Row>,
    failures: Vec<FailureRow>,
    loops: Vec<LoopRow>,
    fire: Vec<FireRow>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    path: &'static str,
    basis: &'static str,
    bound: Option<u64>,
    window: Option<u64>,
    case: Option<String>,
    firings: Vec<(&'static str, u32)>,
}

#[derive(Serialize)]
struct FailureRow {
    case: String,
    paths: Vec<&'static str>,
    why: String,
}

#[derive(Serialize)]
struct LoopRow {
    at: String,
    turns: u32,
    basis: &'static str,
}

#[derive(Serialize)]
struct FireRow {
    point: &'static str,
    cost: Option<u64>,
}

/// Shows the worst path of `name`.
///
/// # Errors
/// There is no hypervisor, no such path, or no bound.
pub fn worst(hypervisor: Option<&Path>, name: &str) -> Result<Status> {
    run(Args {
        hypervisor: hypervisor.map(Path::to_path_buf),
        patch: false,
        path: Some(name.to_owned()),
        case: None,
        steps: STEPS_MAX,
        model: model::INSNS.to_owned(),
        all: false,
        json: false,
    })
}

/// Runs the verb.
pub fn run(args: Args) -> Result<Status> {
    let file = match &args.hypervisor {
        Some(file) => file.clone(),
        None => Dist::find()?.hypervisor(),
    };
    let cannot = || format!("cannot analyse {}", file.display());
    let mut bytes = std::fs::read(&file).into_diagnostic().wrap_err_with(cannot)?;
    let mut ground = Ground::read(&bytes).into_diagnostic().wrap_err_with(cannot)?;
    ground.timing = model::core(&args.model).map(model::timing);
    if args.patch && ground.timing.is_some() {
        return Err(miette!(
            "admission counts retired instructions: --patch takes --model {}",
            model::INSNS
        ));
    }
    let mut cases = cases::all().into_diagnostic()?;
    if let Some(name) = &args.path {
        let path = PathId::from_name(name).ok_or_else(|| miette!("no path is called `{name}`"))?;
        cases.retain(|c| c.paths.contains(&path));
    }
    if let Some(name) = &args.case {
        cases.retain(|c| c.name.contains(name.as_str()));
        cases.iter_mut().for_each(|case| case.open = None);
        if cases.is_empty() {
            return Err(miette!("no case is called `{name}`"));
        }
    }
    let began = Instant::now();
    let analysis = analyse(&ground, &cases, args.steps);
    let seconds = began.elapsed().as_secs_f64();
    if args.patch {
        table::patch(&mut bytes, &table::of(&analysis))
            .into_diagnostic()
            .wrap_err_with(cannot)?;
        std::fs::write(&file, &bytes).into_diagnostic().wrap_err_with(cannot)?;
    }
    let complete = analysis.paths.iter().all(Option::is_some);
    match (&args.path, args.json) {
        (_, true) => {
            let output = output(&ground, &analysis, seconds, &args.model);
            println!("{}", serde_json::to_string_pretty(&output).into_diagnostic()?);
        }
        (Some(name), false) => show_path(&ground, &analysis, name, &args.model, &Lines::read(&bytes))?,
        (None, false) => show(&output(&ground, &analysis, seconds, &args.model)),
    }
    Ok(if args.all && !complete {
        Status::Refused
    } else {
        Status::Ok
    })
}

fn output(ground: &Ground, analysis: &Analysis, seconds: f64, model: &str) -> Output {
    let names = |paths: &[PathId]| paths.iter().map(|p| p.name()).collect();
    Output {
        seconds,
        unit: model::unit(model),
        paths: PathId::ALL
            .iter()
            .zip(&analysis.paths)
            .map(|(p, b)| row(*p, b.as_ref()))
            .collect(),
        failures: analysis
            .failures
            .iter()
            .map(|f| FailureRow {
                case: f.case.clone(),
                paths: names(&f.paths),
                why: f.why.clone(),
            })
            .collect(),
        loops: analysis
            .loops
            .iter()
            .map(|(at, (turns, declared))| LoopRow {
                at: ground.image.place(*at),
                turns: *turns,
                basis: if *declared { "declared" } else { "derived" },
            })
            .collect(),
        fire: PointId::ALL
            .iter()
            .map(|p| FireRow {
                point: p.name(),
                cost: analysis.fire.get(*p as usize).copied().flatten(),
            })
            .collect(),
        notes: {
            let worst = analysis.paths.iter().flatten().max_by_key(|p| p.bound);
            let path = worst.map_or(&[][..], |p| &p.path);
            model::notes(model, words(&ground.image, path))
        },
    }
}

fn row(path: PathId, found: Option<&PathBound>) -> Row {
    let firings = |b: &PathBound| {
        let counts = PointId::ALL.iter().map(|p| (p.name(), b.firings[*p as usize]));
        counts.filter(|(_, n)| *n > 0).collect()
    };
    Row {
        path: path.name(),
        basis: if found.is_some() { "proven" } else { "observed" },
        bound: found.map(|b| b.bound),
        window: found.map(|b| b.window),
        case: found.map(|b| b.case.clone()),
        firings: found.map(firings).unwrap_or_default(),
    }
}

fn show(output: &Output) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "path",
        "at most",
        "seen by EL2",
        "basis",
        "firings",
        "worst case begins as",
    ]);
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), grouped);
    for r in &output.paths {
        let firings: Vec<String> = r.firings.iter().map(|(p, n)| format!("{p} {n}")).collect();
        table.add_row([
            r.path.to_owned(),
            number(r.bound),
            number(r.window),
            r.basis.to_owned(),
            firings.join(", "),
            r.case.clone().unwrap_or_default(),
        ]);
    }
    println!("{table}");
    for f in &output.failures {
        println!("no bound: {} ({}): {}", f.case, f.paths.join(", "), f.why);
    }
    let proven = output.paths.iter().filter(|r| r.bound.is_some()).count();
    let derived = output.loops.iter().filter(|l| l.basis == "derived").count();
    for note in &output.notes {
        println!("note: {note}");
    }
    println!(
        "{proven} of {} paths proven in {:.1} s; {} loops, {derived} of them derived",
        output.paths.len(),
        output.seconds,
        output.loops.len()
    );
}

/// The worst path of one, by straight runs: instructions spent so far, those of the run, where it begins, and its source line.
fn show_path(ground: &Ground, analysis: &Analysis, name: &str, model: &str, lines: &Lines<'_>) -> Result<()> {
    let found = PathId::from_name(name).and_then(|p| analysis.paths.get(p as usize)?.as_ref());
    let Some(found) = found else {
        for f in &analysis.failures {
            println!("no bound: {}: {}", f.case, f.why);
        }
        return Err(miette!("{name} has no bound"));
    };
    println!(
        "{name}: at most {} {}, {} of them seen by EL2; begins as: {}",
        grouped(found.bound),
        model::unit(model),
        grouped(found.window),
        found.case
    );
    let mut spent = 0;
    let mut blocks = found.path.iter().peekable();
    while let Some((start, mut end)) = blocks.next().copied() {
        // Blocks that follow each other without a jump are shown as one.
        let mut n = (end - start) / 4;
        while let Some((next, after)) = blocks.peek().filter(|(next, _)| *next == end) {
            n += (after - next) / 4;
            end = *after;
            blocks.next();
        }
        spent += n;
        let line = lines.at(start).unwrap_or_default();
        println!("{spent:>8} {n:>5}  {}  {line}", ground.image.place(start));
    }
    println!("instructions by function:");
    for (function, n) in shares(&ground.image, &found.path) {
        println!("{n:>14}  {function}");
    }
    for note in model::notes(model, words(&ground.image, &found.path)) {
        println!("note: {note}");
    }
    Ok(())
}
