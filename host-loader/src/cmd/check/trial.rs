//! `gnomon check --run`: an accepted program run once on the host, and what its maps hold afterwards.

use std::fmt::Write;

use probe_vm::points::{Field, HEADER_FIELDS, PointId};
use serde::Serialize;

use super::Checked;
use crate::interpret::{self, Maps, Outcome};
use crate::obj::Object;
use crate::render::accepted::grouped;
use crate::render::{histogram, typed};

/// Entries and records that the text shows of a map; JSON has all.
const ENTRIES_SHOWN: usize = 16;

/// What the context holds: bytes, and fields over them.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Input {
    /// Run each accepted program once, on the host's interpreter and new maps, and show its maps afterwards.
    #[arg(long, conflicts_with = "batch")]
    pub run: bool,
    /// The context's bytes in hex; what is missing at the end is zero.
    #[arg(long, value_name = "HEX", value_parser = hex, requires = "run")]
    pub context: Option<Bytes>,
    /// A field of the context, for example `path=3`; may be repeated.
    #[arg(long = "set", value_name = "FIELD=NUMBER", value_parser = setting, requires = "run")]
    pub fields: Vec<Setting>,
}

/// Bytes from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// A field and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: u64,
}

fn hex(text: &str) -> Result<Bytes, String> {
    let digits: Vec<u8> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .chars()
        .map(|c| {
            c.to_digit(16)
                .map(|d| d as u8)
                .ok_or_else(|| format!("`{c}` is no hex digit"))
        })
        .collect::<Result<_, _>>()?;
    if digits.len() % 2 != 0 {
        return Err(format!("{} digits: a byte has two", digits.len()));
    }
    Ok(Bytes(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("a field is set by `name=number`")?;
    let value = crate::cmd::link::number(value)?;
    Ok(Setting {
        name: name.into(),
        value,
    })
}

/// The fields of a point's context, the header's first.
fn fields(point: PointId) -> impl Iterator<Item = &'static Field> {
    HEADER_FIELDS.iter().chain(point.point().fields)
}

impl Input {
    /// The context of `point`.
    ///
    /// # Errors
    /// More bytes than it has, a field it has not, or a number that the field cannot hold.
    fn bytes(&self, point: PointId) -> miette::Result<Vec<u8>> {
        let size = usize::from(point.point().bytes);
        let mut bytes = self.context.clone().map_or_else(Vec::new, |b| b.0);
        if bytes.len() > size {
            return Err(miette::miette!(
                "`--context` has {} bytes; the context of {} has {size}",
                bytes.len(),
                point.name()
            ));
        }
        bytes.resize(size, 0);
        for s in &self.fields {
            let Some(field) = fields(point).find(|f| f.name == s.name) else {
                let names: Vec<&str> = fields(point).map(|f| f.name).collect();
                return Err(miette::miette!(
                    help = format!("it has: {}", names.join(", ")),
                    "the context of {} has no field `{}`",
                    point.name(),
                    s.name
                ));
            };
            let (at, width) = (usize::from(field.offset), usize::from(field.bytes));
            if width < 8 && s.value >> (8 * width) != 0 {
                return Err(miette::miette!(
                    "`{}` has {width} bytes; {} is too large",
                    s.name,
                    s.value
                ));
            }
            bytes[at..at + width].copy_from_slice(&s.value.to_le_bytes()[..width]);
        }
        Ok(bytes)
    }
}

/// One run, for machines.
#[derive(Serialize)]
pub struct RunRow {
    context: String,
    r0: u64,
    executed: u64,
    log: Vec<String>,
    maps: Vec<MapRow>,
}

#[derive(Serialize)]
struct MapRow {
    name: String,
    kind: &'static str,
    /// Of an array only what is not zero.
    entries: Vec<EntryRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip)]
    drawn: String,
    #[serde(skip)]
    max_entries: u32,
}

#[derive(Serialize)]
struct EntryRow {
    key: String,
    value: String,
}

/// Runs an accepted program on the maps of its object. `None` if it was refused.
///
/// # Errors
/// The program is none of Gnomon's, the context does not fit, a map cannot be made, or (a defect) the run does not end as
/// the verifier says.
pub fn run(checked: &Checked<'_>, object: &Object, maps: &Maps, input: &Input) -> miette::Result<Option<RunRow>> {
    let program = checked.program;
    let Ok(accepted) = &checked.answer.verdict else {
        return Ok(None);
    };
    let Some(point) = checked.env.point else {
        return Err(miette::miette!(
            "`--run` runs Gnomon's probes; `{}` is a program for {}",
            program.name,
            checked.env.name
        ));
    };
    let context = input.bytes(point)?;
    let outcome = interpret::run(maps, program, &context, accepted.totals.insn_bound, |_, _, _| {})?;
    Ok(Some(row(object, maps, &interpret::maps_of(program), &context, outcome)))
}

fn row(object: &Object, maps: &Maps, used: &[usize], context: &[u8], outcome: Outcome) -> RunRow {
    RunRow {
        context: context.iter().map(|b| format!("{b:02x}")).collect(),
        r0: outcome.r0,
        executed: outcome.executed,
        log: outcome.log,
        maps: used.iter().filter_map(|i| map_row(object, maps, *i)).collect(),
    }
}

fn map_row(object: &Object, maps: &Maps, index: usize) -> Option<MapRow> {
    let def = maps.map(index)?.geometry().def;
    let name = object.maps.get(index)?.name.clone();
    let types = typed::Types::of(Some(object), &name);
    let taken = maps.take_records(index);
    let mut entries = maps.entries(index);
    if def.kind.is_array() {
        entries.retain(|e| e.value.iter().any(|b| *b != 0));
    }
    let drawn = match histogram::is_histogram(&name, def.key_bytes, def.value_bytes) {
        true => draw(&entries),
        false => String::new(),
    };
    let entries = entries.iter().map(|e| EntryRow {
        key: types.key(&e.key),
        value: types.value(&e.value),
    });
    Some(MapRow {
        entries: entries.collect(),
        lost: taken.as_ref().map(|r| r.lost),
        records: taken.map(|r| r.records.iter().map(|bytes| typed::plain(bytes)).collect()),
        kind: def.kind.name(),
        max_entries: def.entries,
        name,
        drawn,
    })
}

fn draw(entries: &[crate::client::Entry]) -> String {
    let mut out = String::new();
    for (group, h) in histogram::from_entries(entries) {
        if let Some(group) = group {
            let _ = writeln!(out, "    group {group}");
        }
        out += &h.draw("value");
    }
    out
}

/// One run, for people.
pub fn text(row: &RunRow, bound: u64) -> String {
    let zero = row.context.bytes().all(|b| b == b'0');
    let context = if zero { "zeros".into() } else { row.context.clone() };
    let mut out = format!(
        "  ran once      on a context of {context}: returned {}, {} of at most {} instructions\n",
        row.r0,
        grouped(row.executed),
        grouped(bound)
    );
    for line in &row.log {
        let _ = writeln!(out, "  printed       {line}");
    }
    for map in &row.maps {
        out += &map_text(map);
    }
    out
}

fn map_text(map: &MapRow) -> String {
    let head = format!("  map {} ({})", map.name, map.kind);
    let lines: Vec<String> = match &map.records {
        Some(records) => records.iter().map(|r| format!("    {r}")).collect(),
        None => map
            .entries
            .iter()
            .map(|e| format!("    {}: {}", e.key, e.value))
            .collect(),
    };
    let (count, what) = match (&map.records, map.kind) {
        (Some(_), _) => (lines.len(), "record"),
        (None, "array" | "percpu_array") => (lines.len(), "entry other than zero"),
        (None, _) => (lines.len(), "entry"),
    };
    let mut out = match count {
        0 => format!("{head}: empty\n"),
        _ if !map.drawn.is_empty() => return format!("{head}:\n{}", map.drawn),
        1 => format!("{head}: 1 {what}\n"),
        n => format!("{head}: {n} {}\n", plural(what)),
    };
    for line in lines.iter().take(ENTRIES_SHOWN) {
        let _ = writeln!(out, "{line}");
    }
    if count > ENTRIES_SHOWN {
        let _ = writeln!(
            out,
            "    and {} more of at most {}",
            count - ENTRIES_SHOWN,
            map.max_entries
        );
    }
    if let Some(lost) = map.lost.filter(|n| *n > 0) {
        let _ = writeln!(out, "    {lost} records found no room");
    }
    out
}

fn plural(what: &str) -> String {
    match what.strip_prefix("entry") {
        Some(rest) => format!("entries{rest}"),
        None => format!("{what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        let point = PointId::from_name("vm_exit").expect("a point");
        let input = |context: &str, set: &[&str]| Input {
            run: true,
            context: Some(hex(context).expect("hex")),
            fields: set.iter().map(|s| setting(s).expect("a setting")).collect(),
        };
        let bytes = input("0x0102", &["path=0x203", "vm=1"]).bytes(point).expect("it fits");
        assert_eq!(bytes.len(), usize::from(point.point().bytes));
        assert_eq!(
            (&bytes[..3], bytes[8], &bytes[20..22]),
            (&[1, 2, 0][..], 1, &[3, 2][..])
        );
        let error = |i: Input| i.bytes(point).expect_err("refused").to_string();
        assert!(error(input(&"00".repeat(41), &[])).contains("41 bytes; the context of vm_exit has 40"));
        assert!(error(input("", &["colour=1"])).contains("no field `colour`"));
        assert!(error(input("", &["vm=4294967296"])).contains("`vm` has 4 bytes"));
        assert!(hex("abc").is_err() && hex("zz").is_err() && setting("vm").is_err());
    }
}
