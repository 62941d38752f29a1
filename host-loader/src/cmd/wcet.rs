//! `gnomon wcet`: the longest path through linked code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miette::{IntoDiagnostic, WrapErr, miette};
use pathwcet::elf::Image;
use pathwcet::explore::{Limits, OnPanic, Outcome, Query, explore};
use pathwcet::state::{State, Symbols};
use serde::{Deserialize, Serialize};

use crate::Status;
use crate::render::accepted::grouped;

/// Bound the longest path through a function of an AArch64 ELF, in retired instructions.
///
/// Calls are followed, loops are unrolled to their end; what cannot be resolved is an error, never a guess. Loops that the
/// analysis cannot follow need a bound in a file: `[loops]` with `"symbol+0x10" = 64` lines, as the error names them.
///
/// The exit status is 1 if there is no bound.
///
/// Examples:
///
///     gnomon wcet firmware.elf --entry control_step
///     gnomon wcet firmware.elf --entry search --bounds bounds.toml --json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The linked program.
    pub file: PathBuf,
    /// Function or label where the path begins.
    #[arg(long, value_name = "SYMBOL")]
    pub entry: String,
    /// Declared bounds of loops.
    #[arg(long, value_name = "FILE.toml")]
    pub bounds: Option<PathBuf>,
    /// Leave paths that end in a panic or a trap out, rather than refuse.
    #[arg(long)]
    pub leave_out_panics: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    loops: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct Output {
    entry: String,
    bound: u64,
    unit: &'static str,
    loops: Vec<Loop>,
    functions: Vec<Share>,
    left_out: u64,
}

#[derive(Serialize)]
struct Loop {
    at: String,
    iterations: u32,
    basis: &'static str,
}

#[derive(Serialize)]
struct Share {
    function: String,
    instructions: u64,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let bytes = std::fs::read(&args.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", args.file.display()))?;
    let image = Image::parse(&bytes)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot analyse {}", args.file.display()))?;
    let entry = image.address_of(&args.entry).into_diagnostic()?;
    let mut symbols = Symbols::default();
    let query = Query {
        entry,
        stops: Default::default(),
        start: State::entry(&mut symbols),
        declared: declared(&image, &args)?,
        slots: BTreeMap::new(),
        sites: BTreeMap::new(),
        classes: None,
        stack: None,
        marks: Default::default(),
        cost: &|_| 1,
        on_panic: if args.leave_out_panics {
            OnPanic::LeaveOut
        } else {
            OnPanic::Refuse
        },
        limits: Limits::default(),
    };
    match explore(&image, &query, symbols) {
        Ok(outcome) => {
            show(&output(&image, &args, &outcome), args.json)?;
            Ok(Status::Ok)
        }
        Err(error) => {
            eprintln!("no bound for {}: {error}", args.entry);
            Ok(Status::Refused)
        }
    }
}

/// Bounds of the file: loop header address → iterations.
fn declared(image: &Image, args: &Args) -> miette::Result<BTreeMap<u64, u32>> {
    let Some(path) = &args.bounds else {
        return Ok(BTreeMap::new());
    };
    let text = std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let bounds: Bounds = toml::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("in {}", path.display()))?;
    let address = |place: &str| -> miette::Result<u64> {
        let (name, offset) = place.rsplit_once("+0x").unwrap_or((place, "0"));
        let offset = u64::from_str_radix(offset, 16)
            .map_err(|_| miette!("`{place}` is no place: write it as the error does, `symbol+0x10`"))?;
        Ok(image.address_of(name).into_diagnostic()? + offset)
    };
    bounds
        .loops
        .iter()
        .map(|(place, most)| Ok((address(place)?, *most)))
        .collect()
}

fn output(image: &Image, args: &Args, outcome: &Outcome) -> Output {
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for (start, end) in &outcome.path {
        let function = image
            .symbol_at(*start)
            .map_or_else(|| image.place(*start), |s| s.name.clone());
        *shares.entry(function).or_default() += (end - start) / 4;
    }
    let mut functions: Vec<Share> = shares
        .into_iter()
        .map(|(function, instructions)| Share { function, instructions })
        .collect();
    functions.sort_by_key(|s| std::cmp::Reverse(s.instructions));
    let loops = outcome.loops.iter().map(|(pc, (iterations, is_declared))| Loop {
        at: image.place(*pc),
        iterations: *iterations,
        basis: if *is_declared { "declared" } else { "followed" },
    });
    Output {
        entry: args.entry.clone(),
        bound: outcome.bound,
        unit: "instructions",
        loops: loops.collect(),
        functions,
        left_out: outcome.left_out,
    }
}

fn show(output: &Output, json: bool) -> miette::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(output).into_diagnostic()?);
        return Ok(());
    }
    println!("{}: at most {} instructions", output.entry, grouped(output.bound));
    for l in &output.loops {
        println!(
            "  loop at {}: at most {} times, {}",
            l.at,
            grouped(l.iterations.into()),
            l.basis
        );
    }
    println!("worst path by function:");
    for share in &output.functions {
        println!("  {:>10}  {}", grouped(share.instructions), share.function);
    }
    if output.left_out > 0 {
        println!("{} paths that panic or trap are left out", grouped(output.left_out));
    }
    Ok(())
}
