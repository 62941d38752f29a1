//! `gnomon load`: programs into a running system.

use std::path::PathBuf;

use serde::Serialize;

use super::check::{Checked, check};
use super::link::LinkArgs;
use crate::Status;
use crate::client::{ClientError, Filter, Loaded, Session};
use crate::env;
use crate::obj::{Object, Program};
use crate::render::admission::{RefusalRow, Refused, explain};
use crate::render::tables;
use crate::verify::{self, Arena};

/// Load an object's programs into a running system.
///
/// The hypervisor verifies each program itself, compiles it and answers with its bounds; what it refuses is explained on
/// the C line. Programs of one object share its maps. With `--attach` each program is attached to the point its section
/// names, if every path's budget still holds.
///
/// The exit status is 1 if a program is refused.
///
/// Examples:
///
///     gnomon load exits.bpf.o --attach
///     gnomon load ipc.bpf.o --program ipc_call --json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The object.
    pub file: PathBuf,
    /// Only the program of this name.
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,
    /// Attach what was loaded.
    #[arg(long)]
    pub attach: bool,
    /// See events of this VM only (its number); without it, of all that the monitor has a right to.
    #[arg(long, value_name = "VM", requires = "attach")]
    pub vm: Option<u32>,
    /// See events of this vCPU of it only.
    #[arg(long, value_name = "VCPU", requires = "vm")]
    pub vcpu: Option<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

#[derive(Serialize)]
struct LoadedRow {
    program: String,
    point: String,
    handle: u64,
    attachment: Option<u64>,
    insn_bound: u64,
    time_bound: u64,
    code_bytes: u64,
    maps: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    loaded: Vec<LoadedRow>,
    refused: Vec<RefusalRow>,
}

/// What became of an object's programs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Loaded, with the attachment.
    pub loaded: Vec<(Loaded, Option<u64>)>,
    /// Refused by verifier or admission.
    pub refused: Vec<Refused>,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let object = Object::read(&args.file)?;
    let wanted = |p: &&Program| args.program.as_ref().is_none_or(|n| *n == p.name);
    let programs: Vec<&Program> = object.programs.iter().filter(wanted).collect();
    if programs.is_empty() {
        return Err(miette::miette!("the object has no program of that name"));
    }
    let mut client = args.link.connect()?;
    let attach = args.attach.then_some(Filter::new(args.vm, args.vcpu));
    let outcome = verify::with_stack(|| load_all(&mut client, &object, &programs, attach))?;
    let refused = !outcome.refused.is_empty();
    print(outcome, args.json);
    Ok(if refused { Status::Refused } else { Status::Ok })
}

/// Loads programs of one object; `attach` says whether to attach them, and for whose events. A program that is refused is
/// unloaded and does not stop the others.
///
/// # Errors
/// The connection breaks, or the system refuses for a reason that is not the program's.
pub fn load_all(
    client: &mut crate::client::Client,
    object: &Object,
    programs: &[&Program],
    attach: Option<Option<Filter>>,
) -> miette::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut session = Session::new(client);
    let mut arena = Arena::default();
    for program in programs {
        let env = env::of_probe(&program.section)?;
        let checked = check(&mut arena, object, program, env);
        match load_one(&mut session, object, &checked, attach)? {
            Ok(loaded) => outcome.loaded.push(loaded),
            Err(refused) => outcome.refused.push(refused),
        }
    }
    Ok(outcome)
}

type Attached = (Loaded, Option<u64>);

fn load_one(
    session: &mut Session<'_>,
    object: &Object,
    checked: &Checked<'_>,
    attach: Option<Option<Filter>>,
) -> miette::Result<Result<Attached, Refused>> {
    let loaded = match session.load(object, checked.program) {
        Ok(loaded) => loaded,
        Err(e @ ClientError::Refused { .. }) => return Ok(Err(explain(checked, &e, None))),
        Err(e) => return Err(e.into()),
    };
    let Some(only) = attach else {
        return Ok(Ok((loaded, None)));
    };
    match session.client.attach(loaded.handle, &loaded.point, only) {
        Ok(attachment) => Ok(Ok((loaded, Some(attachment)))),
        Err(e @ ClientError::Refused { .. }) => {
            session.client.unload(loaded.handle)?;
            Ok(Err(explain(checked, &e, Some(loaded.reply.time_bound))))
        }
        Err(e) => Err(e.into()),
    }
}

fn print(outcome: Outcome, json: bool) {
    if !json {
        if !outcome.loaded.is_empty() {
            println!("{}", tables::programs(&outcome.loaded));
        }
        for refused in outcome.refused {
            eprintln!("{:?}", miette::Report::new(refused));
        }
        return;
    }
    let row = |(p, attachment): &(Loaded, Option<u64>)| LoadedRow {
        program: p.name.clone(),
        point: p.point.clone(),
        handle: p.handle,
        attachment: *attachment,
        insn_bound: p.reply.insn_bound,
        time_bound: p.reply.time_bound,
        code_bytes: p.reply.code_bytes,
        maps: p.maps.iter().map(crate::client::MapHandle::name).collect(),
    };
    let output = Output {
        loaded: outcome.loaded.iter().map(row).collect(),
        refused: outcome.refused.into_iter().map(|r| r.row).collect(),
    };
    println!(
        "{}",
        serde_json::to_string_pretty(&output).expect("rows are plain data")
    );
}
