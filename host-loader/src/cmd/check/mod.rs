//! `gnomon check`: verify the programs of an object, or a batch of programs, without a hypervisor.

mod batch;
mod json;
mod trial;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use miette::IntoDiagnostic;
use verifier::UnitCost;
use verifier::cost::CoreModel;
use verifier::env::MapDesc;

use crate::Status;
use crate::client::image;
use crate::env::linux::{Loader, ProgramType};
use crate::env::{self, Environment, System};
use crate::interpret::Maps;
use crate::obj::{Object, Program};
use crate::render::refusal::Refusal;
use crate::render::{Scene, accepted};
use crate::timing;
use crate::verify::{self, Answer, Arena};

/// Verify programs: safe or not, and how long they can run.
///
/// Every program of the object is verified as the hypervisor would. An accepted one is shown with its instruction bound,
/// its time bound, its stack, the bound of each loop, and the source lines on which its worst path spends its time. A
/// refused one is shown with the source line, what is known there, and what is needed.
///
/// The exit status is 0 if all are accepted, 1 if one is refused, 2 if the input is not an object with programs.
///
/// With `--batch` the input is a file of JSON rows `{"name", "insns": hex, "fixups": {map kind: [slots]}}`, and the
/// output one JSON row each. Rows with a `prog_type` are judged by the rules Linux has for it, others as probes. A row that is not a program gives a row with an `error`, and the rest go on. The exit
/// status is then 0 unless the file cannot be read or a row is in error (2).
///
/// With `--run` each accepted program is also run once on the host, on a context of zeros or the one given, and the maps
/// are shown as it leaves them. Programs of one object run in their order and share its maps.
///
/// Examples:
///
///     gnomon check exits.bpf.o
///     gnomon check exits.bpf.o --run --set path=3 --set spent=200
///     gnomon check --env linux xdp_firewall.o --json
///     gnomon check --batch programs.jsonl > verdicts.jsonl
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The object, as `clang -target bpf -O2 -g -c` writes it.
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub file: Option<PathBuf>,
    /// A file of JSON rows, one program each; `-` is the standard input.
    #[arg(long, value_name = "FILE.jsonl")]
    pub batch: Option<PathBuf>,
    /// Whose programs they are.
    #[arg(long, value_enum, default_value = "gnomon")]
    pub env: System,
    /// Type of all programs, instead of what their sections say (with `--env linux`).
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub kind: Option<ProgramType>,
    /// Linux programs are loaded with all privileges. Objects are taken so unless `--unprivileged` is given; rows of a
    /// batch are not.
    #[arg(long, conflicts_with = "unprivileged")]
    pub privileged: bool,
    /// Linux programs are loaded by anyone: addresses are hidden, speculative execution is contained, loops and calls
    /// between functions are refused.
    #[arg(long)]
    pub unprivileged: bool,
    /// Only the program of this name, or in this section.
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Running them too.
    #[command(flatten)]
    pub input: trial::Input,
}

impl Args {
    /// Who loads, if it is said.
    fn loader(&self) -> Option<Loader> {
        match (self.privileged, self.unprivileged) {
            (true, _) => Some(Loader::Privileged),
            (_, true) => Some(Loader::Unprivileged),
            _ => None,
        }
    }
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    match &args.batch {
        Some(file) => verify::with_stack(|| batch::run(file, args.env, args.kind, args.loader())),
        None => verify::with_stack(|| check_file(args.file.as_deref().unwrap_or(Path::new("")), &args)),
    }
}

/// One program of an object, verified.
pub struct Checked<'o> {
    /// The program.
    pub program: &'o Program,
    /// Where it runs.
    pub env: Environment,
    /// Names of its object's maps.
    pub map_names: Vec<String>,
    /// The answer.
    pub answer: Answer,
    /// Unit of its time bound.
    pub time_unit: &'static str,
}

impl Checked<'_> {
    /// What names the numbers in its verdict.
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            env: &self.env,
            maps: &self.map_names,
            slots: &self.program.slots,
            program: Some(self.program),
        }
    }

    /// The diagnostic, if it was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        let rejected = self.answer.verdict.as_ref().err()?;
        Some(Refusal::new(&self.scene(), &self.program.name, rejected))
    }
}

/// The descriptions of an object's maps.
pub fn descriptions(object: &Object) -> Vec<MapDesc> {
    let inner = |i: Option<usize>| i.and_then(|i| u16::try_from(i).ok());
    object.maps.iter().map(|m| env::describe(m, inner(m.inner))).collect()
}

/// Verifies one program of an object.
pub fn check<'o>(arena: &mut Arena, object: &'o Object, program: &'o Program, env: Environment) -> Checked<'o> {
    let maps = descriptions(object);
    let text = verify::words(&program.slots);
    // Only Gnomon's probes are compiled; of others the time is counted in eBPF instructions.
    let (answer, time_unit) = match env.point {
        Some(_) => (
            timing::verify(arena, &text, &maps, &env, &CoreModel::INSNS),
            "A64 instructions",
        ),
        None => (verify::verify(arena, &text, &maps, &env, UnitCost), "eBPF instructions"),
    };
    let map_names = object.maps.iter().map(|m| m.name.clone()).collect();
    Checked {
        program,
        env,
        map_names,
        answer,
        time_unit,
    }
}

fn check_file(file: &Path, args: &Args) -> miette::Result<Status> {
    let object = Object::read(file)?;
    let wanted = |p: &&Program| args.program.as_ref().is_none_or(|n| *n == p.name || *n == p.section);
    let programs: Vec<&Program> = object.programs.iter().filter(wanted).collect();
    if programs.is_empty() {
        let names: Vec<&str> = object.programs.iter().map(|p| p.name.as_str()).collect();
        return Err(miette::miette!("no such program; the object has: {}", names.join(", ")));
    }
    let mut arena = Arena::default();
    let maps = Maps::new(&object);
    let mut status = Status::Ok;
    let mut rows = Vec::new();
    for program in programs {
        let loader = args.loader().unwrap_or(Loader::Privileged);
        let env = env::of_section(args.env, &program.section, args.kind, loader)
            .map_err(|e| miette::Report::from(e).wrap_err(format!("program `{}`", program.name)))?;
        let checked = check(&mut arena, &object, program, env);
        if checked.env.point.is_some() && checked.answer.verdict.is_ok() {
            // What the verifier accepts can still have more maps or functions than a hypervisor takes.
            image::encode(&object, program, &HashMap::new())?;
        }
        if checked.answer.verdict.is_err() {
            status = Status::Refused;
        }
        let run = match args.input.run {
            true => trial::run(&checked, &object, &maps, &args.input)?,
            false => None,
        };
        match args.json {
            true => rows.push(json::program(&checked, run)),
            false => say(&text(&checked, run.as_ref()))?,
        }
    }
    if args.json {
        say(&serde_json::to_string_pretty(&rows).expect("rows are plain data"))?;
    }
    Ok(status)
}

fn text(checked: &Checked<'_>, run: Option<&trial::RunRow>) -> String {
    match (&checked.answer.verdict, checked.refusal()) {
        (Ok(a), _) => {
            let report = accepted::report(&checked.scene(), &checked.program.name, a, checked.time_unit);
            report + &run.map_or_else(String::new, |run| trial::text(run, a.totals.insn_bound))
        }
        (Err(_), Some(refusal)) => format!("{:?}", miette::Report::new(refusal)),
        (Err(_), None) => String::new(),
    }
}

/// Prints a line. Whoever has read enough may close the pipe.
fn say(text: &str) -> miette::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).into_diagnostic(),
        _ => Ok(()),
    }
}
