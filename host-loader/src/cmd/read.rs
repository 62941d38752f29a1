//! `gnomon read`: the maps of a loaded program.

use std::path::PathBuf;

use serde::Serialize;

use super::link::{LinkArgs, number};
use crate::Status;
use crate::client::{Client, Entry, MapHandle};
use crate::obj::Object;
use crate::render::{histogram, typed};

/// Read the maps of a loaded program.
///
/// Values of several CPUs are added up unless `--per-cpu`. A map whose name ends in `hist` is drawn as histograms. With
/// `--object` keys and values are printed by their C types, without it as numbers or bytes.
///
/// Examples:
///
///     gnomon read 0x1
///     gnomon read 0x1 counts --object exits.bpf.o --json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Handle of the program, as `gnomon load` prints it.
    #[arg(value_parser = number)]
    pub handle: u64,
    /// Only the map of this name.
    pub map: Option<String>,
    /// The object the program came from, for the types of keys and values.
    #[arg(long, value_name = "FILE.o")]
    pub object: Option<PathBuf>,
    /// Values of each CPU instead of their sum.
    #[arg(long)]
    pub per_cpu: bool,
    /// Empty what is read.
    #[arg(long)]
    pub clear: bool,
    /// Unit of histograms.
    #[arg(long, default_value = "value")]
    pub unit: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

#[derive(Serialize)]
struct MapRow {
    name: String,
    kind: u32,
    entries: Vec<EntryRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    histograms: Vec<HistogramRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

#[derive(Serialize)]
struct EntryRow {
    key: String,
    value: String,
}

#[derive(Serialize)]
struct HistogramRow {
    group: Option<u32>,
    /// The group by its C type.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    unit: String,
    buckets: Vec<(u64, u64)>,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let object = args.object.as_deref().map(Object::read).transpose()?;
    let mut client = args.link.connect()?;
    let mut maps = client.maps(args.handle)?;
    if let Some(name) = &args.map {
        maps.retain(|m| m.name() == *name);
        if maps.is_empty() {
            return Err(miette::miette!("the program has no map `{name}`"));
        }
    }
    let mut rows = Vec::new();
    for map in &maps {
        let row = match map.is_ring() {
            true => ring(&mut client, map)?,
            false => table(&mut client, map, object.as_ref(), &args)?,
        };
        if !args.json {
            print_map(map, &row, &args.unit);
        }
        rows.push(row);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows are plain data"));
    }
    Ok(Status::Ok)
}

fn table(client: &mut Client, map: &MapHandle, object: Option<&Object>, args: &Args) -> miette::Result<MapRow> {
    let entries = map.read(client, args.per_cpu, args.clear)?;
    let name = map.name();
    let show = typed::Types::of(object, &name);
    let histograms = match histogram::is_histogram(&name, map.info.key_size, map.info.value_size) && !args.per_cpu {
        true => histograms(&entries, &show, &args.unit),
        false => Vec::new(),
    };
    let entries = entries
        .iter()
        .map(|e| EntryRow {
            key: show.key(&e.key),
            value: show.value(&e.value),
        })
        .collect();
    Ok(MapRow {
        name,
        kind: map.info.kind,
        entries,
        histograms,
        lost: None,
    })
}

fn histograms(entries: &[Entry], show: &typed::Types<'_>, unit: &str) -> Vec<HistogramRow> {
    let all = histogram::from_entries(entries);
    all.into_iter()
        .map(|(group, h)| HistogramRow {
            group,
            name: group.map(|g| show.group(g)),
            unit: unit.into(),
            buckets: h.pairs(),
        })
        .collect()
}

fn ring(client: &mut Client, map: &MapHandle) -> miette::Result<MapRow> {
    let mut entries = Vec::new();
    let mut lost = 0;
    for cpu in 0..map.info.slots.max(1) {
        let (records, missed) = map.ring(client, cpu)?;
        lost += missed;
        let row = |r: &Vec<u8>| EntryRow {
            key: format!("cpu {cpu}"),
            value: typed::plain(r),
        };
        entries.extend(records.iter().map(row));
    }
    Ok(MapRow {
        name: map.name(),
        kind: map.info.kind,
        entries,
        histograms: Vec::new(),
        lost: Some(lost),
    })
}

fn print_map(map: &MapHandle, row: &MapRow, unit: &str) {
    println!(
        "{} ({} of at most {} entries)",
        row.name,
        row.entries.len(),
        map.info.max_entries
    );
    if row.histograms.is_empty() {
        for e in &row.entries {
            println!("  {}: {}", e.key, e.value);
        }
    }
    for h in &row.histograms {
        if let Some(name) = &h.name {
            println!("  group {name}");
        }
        let buckets = h
            .buckets
            .iter()
            .map(|(low, n)| (u64::BITS - low.leading_zeros(), *n))
            .collect();
        print!("{}", histogram::Histogram { buckets }.draw(unit));
    }
    if let Some(lost) = row.lost.filter(|n| *n > 0) {
        println!("  {lost} records were lost since the last read");
    }
}
