//! `gnomon check --batch`: one JSON row in, one JSON row out.
//!
//! The rows' maps are given by name: `fixups` lists, per map kind, the slots whose 64-bit immediate refers to it. The
//! kinds are those of the Linux verifier's self-tests: `map_hash_48b` is a hash table with values of 48 bytes and keys of
//! 8, and so on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use miette::{IntoDiagnostic, WrapErr};
use serde::{Deserialize, Serialize};
use verifier::env::{Lookup, MapDesc, MapKind};

use crate::Status;
use crate::env::linux::{self, Loader, ProgramType};
use crate::env::{Environment, System, gnomon};
use crate::render::{Scene, reason};
use crate::verify::{self, Arena};

/// A row longer than this is not a program: an instruction is 16 characters.
const ROW_BYTES_MAX: u64 = 32 << 20;

#[derive(Deserialize)]
struct Row {
    name: Option<String>,
    descr: Option<String>,
    insns: String,
    #[serde(default)]
    fixups: BTreeMap<String, Vec<usize>>,
    /// `BPF_PROG_TYPE_*` of a row of Linux's self-tests.
    prog_type: Option<u32>,
    #[serde(default)]
    strict_align: bool,
}

#[derive(Serialize)]
struct Verdict {
    name: String,
    verdict: &'static str,
    pc: Option<u32>,
    why: Option<String>,
    insn_bound: Option<u64>,
    time_bound: Option<u64>,
    stack: Option<u32>,
    units: Option<u64>,
    micros: f64,
}

#[derive(Serialize)]
struct ErrorRow {
    name: String,
    error: String,
}

/// Reads rows from `file` until its end and prints their verdicts.
pub fn run(file: &Path, system: System, kind: Option<ProgramType>, loader: Option<Loader>) -> miette::Result<Status> {
    let cannot = || format!("cannot read {}", file.display());
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).into_diagnostic().wrap_err_with(cannot)?),
    };
    let mut input = BufReader::new(input);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut batch = Batch {
        system,
        kind,
        loader,
        arena: Arena::default(),
        environments: BTreeMap::new(),
    };
    let mut status = Status::Ok;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = input
            .by_ref()
            .take(ROW_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .into_diagnostic()
            .wrap_err_with(cannot)?;
        if read == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row = match batch.row(&line, number) {
            Ok(verdict) => serde_json::to_string(&verdict),
            Err(error) => {
                status = Status::BadInput;
                serde_json::to_string(&error)
            }
        };
        let written = writeln!(out, "{}", row.expect("rows are plain data"));
        match written.and_then(|()| out.flush()) {
            // Whoever reads has enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => break,
            result => result.into_diagnostic()?,
        }
    }
    Ok(status)
}

struct Batch {
    system: System,
    kind: Option<ProgramType>,
    loader: Option<Loader>,
    arena: Arena,
    environments: BTreeMap<(Option<u32>, bool), Environment>,
}

impl Batch {
    fn row(&mut self, line: &[u8], number: usize) -> Result<Verdict, ErrorRow> {
        let unnamed = format!("line {number}");
        let row: Row = serde_json::from_slice(line).map_err(|e| ErrorRow {
            name: unnamed.clone(),
            error: e.to_string(),
        })?;
        let name = row.name.clone().or(row.descr.clone()).unwrap_or(unnamed);
        self.verify(&row, &name).map_err(|error| ErrorRow { name, error })
    }

    fn verify(&mut self, row: &Row, name: &str) -> Result<Verdict, String> {
        let mut slots = slots(&row.insns)?;
        let (maps, names) = bind_maps(&mut slots, &row.fixups)?;
        let chosen = (self.system, self.kind, self.loader);
        let of_row = (row.prog_type, row.strict_align);
        let env = self
            .environments
            .entry(of_row)
            .or_insert_with(|| environment(chosen, of_row));
        let text = verify::words(&slots);
        let answer = verify::verify(&mut self.arena, &text, &maps, env, verifier::UnitCost);
        let scene = Scene {
            env,
            maps: &names,
            slots: &slots,
            program: None,
        };
        let totals = answer.verdict.as_ref().ok().map(|a| a.totals);
        let refused = answer.verdict.as_ref().err();
        Ok(Verdict {
            name: name.into(),
            verdict: if refused.is_none() { "ACCEPT" } else { "REJECT" },
            pc: refused.map(|r| r.pc),
            why: refused.map(|r| format!("{}: {}", verify::reason_name(&r.why), reason::reason(&scene, r).message)),
            insn_bound: totals.map(|t| t.insn_bound),
            time_bound: totals.map(|t| t.time_bound),
            stack: totals.map(|t| t.stack_bytes),
            units: totals.map(|t| t.units),
            micros: answer.micros,
        })
    }
}

/// A row has no section. One that says its Linux type is judged as Linux judges its own self-tests. Another is, under
/// Gnomon, a probe that sees nothing of its context and may call what depends on no point; under Linux it has the type of
/// `--type`, or is a socket filter.
fn environment(
    (system, kind, loader): (System, Option<ProgramType>, Option<Loader>),
    row: (Option<u32>, bool),
) -> Environment {
    match (system, kind, row) {
        (_, None, (Some(number), strict_align)) => linux::selftest_environment(number, strict_align, loader),
        (System::Linux, kind, _) => {
            let kind = kind.unwrap_or(ProgramType::SocketFilter);
            linux::environment(kind, "", loader.unwrap_or(linux::usual_loader(kind)))
        }
        (System::Gnomon, ..) => gnomon::batch_environment(),
    }
}

fn slots(hex: &str) -> Result<Vec<[u8; 8]>, String> {
    let digits = hex.as_bytes();
    if digits.len() % 16 != 0 {
        return Err(format!(
            "`insns` has {} digits, which is no multiple of 16: an instruction has 8 bytes",
            digits.len()
        ));
    }
    let digit = |d: u8| {
        (d as char)
            .to_digit(16)
            .ok_or_else(|| format!("`insns` has a `{}` in it", d.escape_ascii()))
    };
    let mut out = Vec::with_capacity(digits.len() / 16);
    for chunk in digits.chunks_exact(16) {
        let mut slot = [0; 8];
        for (byte, pair) in slot.iter_mut().zip(chunk.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        out.push(slot);
    }
    Ok(out)
}

/// Puts map indices where `fixups` says, one map for each kind.
fn bind_maps(
    slots: &mut [[u8; 8]],
    fixups: &BTreeMap<String, Vec<usize>>,
) -> Result<(Vec<MapDesc>, Vec<String>), String> {
    let (mut maps, mut names) = (Vec::new(), Vec::new());
    for (name, places) in fixups.iter().filter(|(_, places)| !places.is_empty()) {
        let map = map_by_name(name).ok_or_else(|| format!("`fixups` names a map kind `{name}` that is not known"))?;
        for &place in places {
            let slot = slots
                .get_mut(place)
                .ok_or_else(|| format!("`fixups` patches slot {place}, past the end"))?;
            if slot[0] != 0x18 {
                return Err(format!(
                    "`fixups` patches slot {place}, which is not a 64-bit immediate"
                ));
            }
            // A reference that says it is of a value (2) stays one; everything else is of the map.
            let source = if slot[1] >> 4 == 2 { 2 } else { 1 };
            slot[1] = slot[1] & 0x0f | source << 4;
            slot[4..].copy_from_slice(&(maps.len() as u32).to_le_bytes());
        }
        maps.push(map);
        names.push(name.clone());
    }
    Ok((maps, names))
}

/// The maps of the Linux verifier's self-tests that need nothing of the kernel, and the same pattern for other sizes:
/// `map_hash_NNb`, `map_array_NNb`.
fn map_by_name(name: &str) -> Option<MapDesc> {
    let map = |kind, key_bytes, value_bytes, readable, writable| MapDesc {
        kind,
        key_bytes,
        value_bytes,
        entries: 1,
        readable,
        writable,
        direct_value: kind == MapKind::ARRAY,
        lookup: Lookup::Value,
    };
    let array = |bytes, r, w| Some(map(MapKind::ARRAY, 4, bytes, r, w));
    match name {
        "map_array_ro" => return array(48, true, false),
        "map_array_wo" => return array(48, false, true),
        "map_array_small" => return array(1, true, true),
        _ => {}
    }
    let (kind, size) = name.strip_prefix("map_")?.split_once('_')?;
    let bytes = size.strip_suffix('b')?.parse::<u32>().ok().filter(|b| *b > 0)?;
    match kind {
        "hash" => Some(map(MapKind::HASH, 8, bytes, true, true)),
        "array" => array(bytes, true, true),
        _ => None,
    }
}
