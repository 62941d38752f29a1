//! `gnomon wcet`: the longest path through linked code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use std::ops::Range;

use miette::{IntoDiagnostic, LabeledSpan, NamedSource, WrapErr, miette};
use pathwcet::elf::Image;
use pathwcet::explore::{ExploreError, OnPanic, Outcome, Query, explore};
use pathwcet::state::{State, Symbols};
use serde::{Deserialize, Serialize};

use crate::Status;
use crate::paths::model;
use crate::render::accepted::grouped;
use crate::render::lines::Lines;

/// Where a loop has no bound at first, states kept apart when it is asked again: enough for a search by halves in 64 words.
const DISJUNCTS_AGAIN: usize = 160;
/// What a bound rests on beside the bytes of the program.
const ASSUMED: [&str; 3] = [
    "calls return to their caller, and code does not change",
    "a local whose address never left the stack, and a saved register, is not written through other pointers",
    "arguments and variables may hold anything; interrupts of the code itself are not counted",
];

/// Bound the longest path through a function of an AArch64 ELF, in retired instructions or in cycles of a core.
///
/// Calls are followed, loops are unrolled to their end; what cannot be resolved is an error, never a guess. Loops that the
/// analysis cannot follow need a bound in a file, as the error names them:
///
///     [loops]
///     "gcd+0x8" = 48        # most times the loop's head is reached, each time the loop is entered
///
/// or state it in the program: `nop` in the loop's body, and in the section `.gnomon.loops` the address of that `nop` and
/// the most times it is passed each time the loop is entered, two 64-bit words.
///
/// The exit status is 1 if there is no bound.
///
/// Examples:
///
///     gnomon wcet firmware.elf --entry control_step
///     gnomon wcet firmware.elf --entry search --bounds bounds.toml --json
///     gnomon wcet firmware.elf --entry isr --model cortex-a53
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
    /// What is counted: retired instructions, or cycles of a core. Cycles are a model's claim, not validated on silicon.
    #[arg(long, value_name = "MODEL", value_parser = model::names(), default_value = model::INSNS)]
    pub model: String,
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
    notes: Vec<String>,
    path: Vec<Run>,
    assumed: [&'static str; 3],
}

#[derive(Serialize)]
struct Loop {
    at: String,
    line: Option<String>,
    iterations: u32,
    basis: &'static str,
}

/// Instructions one after the other on the worst path.
#[derive(Serialize)]
struct Run {
    at: String,
    line: Option<String>,
    instructions: u64,
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
    let start = State::entry(&mut symbols);
    let mut query = Query::new(entry, start, &|_| 1);
    query.declared = declared(&image, &args)?;
    query.timing = model::core(&args.model).map(model::timing);
    query.limits.disjuncts_again = DISJUNCTS_AGAIN;
    if args.leave_out_panics {
        query.on_panic = OnPanic::LeaveOut;
    }
    match explore(&image, &query, symbols) {
        Ok(outcome) => {
            for pc in query.declared.keys().filter(|pc| !outcome.loops.contains_key(pc)) {
                eprintln!(
                    "warning: {} is the head of no loop on these paths: its bound is not used",
                    image.place(*pc)
                );
            }
            show(&output(&image, &args, &outcome, &Lines::read(&bytes)), args.json)?;
            Ok(Status::Ok)
        }
        Err(error) => {
            eprintln!("no bound for {}: {error}", args.entry);
            if let Some(help) = help(&error) {
                eprintln!("  help: {help}");
            }
            Ok(Status::Refused)
        }
    }
}

/// What to do about an analysis that gave up.
fn help(error: &ExploreError) -> Option<String> {
    Some(match error {
        ExploreError::Unbounded { place, .. } => {
            format!("if you know the bound N, pass --bounds with a file of: [loops] \"{place}\" = N")
        }
        ExploreError::Panic { .. } => "to bound the paths that do not end so, pass --leave-out-panics".to_owned(),
        ExploreError::Recursion { .. } => "make it a loop: recursion is not analysed".to_owned(),
        ExploreError::Unresolved { .. } => "call the function directly, or from a constant table".to_owned(),
        _ => return None,
    })
}

/// Bounds of the file: loop header address → iterations.
fn declared(image: &Image, args: &Args) -> miette::Result<BTreeMap<u64, u32>> {
    let Some(path) = &args.bounds else {
        return Ok(BTreeMap::new());
    };
    let text = std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let name = path.display().to_string();
    let wrong = |span: Range<usize>, what: String, help: &str| {
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), span);
        miette!(labels = vec![label], help = help.to_owned(), "{what}")
            .with_source_code(NamedSource::new(&name, text.clone()).with_language("TOML"))
    };
    let bounds: Bounds = toml::from_str(&text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        wrong(
            span,
            error.message().to_owned(),
            "write a table [loops] of \"symbol+0x10\" = 64 lines",
        )
    })?;
    let mut out = BTreeMap::new();
    for (place, most) in &bounds.loops {
        let at = text.find(place.as_str()).unwrap_or(0);
        let span = at..at + place.len();
        let (symbol, offset) = place.rsplit_once("+0x").unwrap_or((place, "0"));
        let Ok(offset) = u64::from_str_radix(offset, 16) else {
            let help = "write it as the error does: symbol+0x10";
            return Err(wrong(span, format!("`{place}` is no place in the program"), help));
        };
        let address = image.address_of(symbol).map_err(|error| {
            wrong(
                span.clone(),
                error.to_string(),
                "the symbol is that of the function the loop is in",
            )
        })?;
        if *most == 0 {
            let help = "the head of a loop that is entered is reached at least once";
            return Err(wrong(span, "a bound of 0".to_owned(), help));
        }
        out.insert(address + offset, *most);
    }
    Ok(out)
}

/// Instructions of a path by function, the largest share first.
pub fn shares(image: &Image, path: &[(u64, u64)]) -> Vec<(String, u64)> {
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for (start, end) in path {
        let function = image
            .symbol_at(*start)
            .map_or_else(|| image.place(*start), |s| s.name.clone());
        *shares.entry(function).or_default() += (end - start) / 4;
    }
    let mut shares: Vec<(String, u64)> = shares.into_iter().collect();
    shares.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    shares
}

/// The instruction words of a path, in order.
pub fn words(image: &Image, path: &[(u64, u64)]) -> impl Iterator<Item = u32> {
    let addresses = path.iter().flat_map(|(start, end)| (*start..*end).step_by(4));
    addresses.filter_map(|pc| image.word(pc))
}

fn output(image: &Image, args: &Args, outcome: &Outcome, lines: &Lines<'_>) -> Output {
    let functions = shares(image, &outcome.path);
    let functions = functions.into_iter();
    let functions = functions.map(|(function, instructions)| Share { function, instructions });
    let run = |(start, end): &(u64, u64)| Run {
        at: image.place(*start),
        line: lines.at(*start),
        instructions: (end - start) / 4,
    };
    let loops = outcome.loops.iter().map(|(pc, (iterations, is_declared))| Loop {
        at: image.place(*pc),
        line: lines.at(*pc),
        iterations: *iterations,
        basis: if *is_declared { "declared" } else { "derived" },
    });
    Output {
        entry: args.entry.clone(),
        bound: outcome.bound,
        unit: model::unit(&args.model),
        loops: loops.collect(),
        functions: functions.collect(),
        left_out: outcome.left_out,
        notes: model::notes(&args.model, words(image, &outcome.path)),
        path: outcome.path.iter().map(run).collect(),
        assumed: ASSUMED,
    }
}

fn show(output: &Output, json: bool) -> miette::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(output).into_diagnostic()?);
        return Ok(());
    }
    println!("{}: at most {} {}", output.entry, grouped(output.bound), output.unit);
    for l in &output.loops {
        println!(
            "  loop at {}{}: at most {} times, {}",
            l.at,
            l.line.as_ref().map_or(String::new(), |line| format!(" ({line})")),
            grouped(l.iterations.into()),
            l.basis
        );
    }
    println!("worst path, instructions by function:");
    for share in &output.functions {
        println!("  {:>10}  {}", grouped(share.instructions), share.function);
    }
    if output.left_out > 0 {
        println!("{} paths that panic or trap are left out", grouped(output.left_out));
    }
    for note in &output.notes {
        println!("note: {note}");
    }
    println!("assumed:");
    for assumption in output.assumed {
        println!("  {assumption}");
    }
    Ok(())
}
