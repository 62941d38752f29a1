//! What several test programs share: data rows, environments, one call to verify.
#![allow(dead_code)]

use std::path::PathBuf;
use verifier::env::{ArgKind, Lookup, MapKind, ObjectLayout, Ret, Rules};
use verifier::env::{Field, FieldKind, Limits};
use verifier::{Env, HelperProto, MapDesc, Program, Rejected, Step, UnitCost, Verifier, heap_memory};

/// A row of the Linux verifier self-tests.
#[derive(serde::Deserialize, Clone)]
pub struct Row {
    pub group: String,
    pub idx: u32,
    pub descr: String,
    pub verdict: String,
    pub verdict_unpriv: String,
    pub errstr: String,
    pub strict_align: bool,
    pub prog_type: u32,
    pub fixups: std::collections::BTreeMap<String, Vec<usize>>,
    pub insns: String,
}

/// The shared data folder; `None` prints why the caller skips.
pub fn shared() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::var_os("GNOMON_SHARED")
        .map(PathBuf::from)
        .unwrap_or(root.join("shared"))
        .join("data");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: no data at {}", dir.display());
    assert!(
        std::env::var_os("CI").is_none_or(|v| v != "true"),
        "CI must have the shared data"
    );
    None
}

/// Rows of one file of the shared data.
pub fn rows(file: &str) -> Vec<Row> {
    let Some(dir) = shared() else { return Vec::new() };
    let text = std::fs::read_to_string(dir.join(file)).expect("readable data");
    text.lines().map(|l| serde_json::from_str(l).expect("a row")).collect()
}

/// Slots of a program in hex.
pub fn slots(hex: &str) -> Vec<u64> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    bytes
        .chunks(8)
        .map(|c| u64::from_le_bytes(c.try_into().unwrap()))
        .collect()
}

pub const fn map(kind: MapKind, key: u32, value: u32, entries: u32) -> MapDesc {
    MapDesc {
        kind,
        key_bytes: key,
        value_bytes: value,
        entries,
        readable: true,
        writable: true,
        direct_value: kind.0 == MapKind::ARRAY.0,
        lookup: Lookup::Value,
    }
}

const MAPS_ANY: u64 = u64::MAX;
use ArgKind as A;

/// The helpers the data sets use.
pub const HELPERS: &[HelperProto] = &[
    HelperProto::new(
        1,
        "map_lookup_elem",
        [A::ConstMap(MAPS_ANY), A::MapKey, A::None, A::None, A::None],
        Ret::Lookup,
    ),
    HelperProto::new(
        2,
        "map_update_elem",
        [A::ConstMap(MAPS_ANY), A::MapKey, A::MapValue, A::Any, A::None],
        Ret::Range(-4095, 0),
    ),
    HelperProto::new(
        3,
        "map_delete_elem",
        [A::ConstMap(MAPS_ANY), A::MapKey, A::None, A::None, A::None],
        Ret::Range(-4095, 0),
    ),
    HelperProto::new(5, "ktime_get_ns", [A::None; 5], Ret::Scalar),
    HelperProto::new(7, "get_prandom_u32", [A::None; 5], Ret::Scalar),
    HelperProto::new(8, "get_smp_processor_id", [A::None; 5], Ret::Scalar),
];

const SKB: &[Field] = &[Field {
    offset: 0,
    bytes: 192,
    read: 15,
    write: 0,
    kind: FieldKind::Scalar,
}];
pub const OBJECTS: &[ObjectLayout<'static>] = &[ObjectLayout {
    name: "context",
    bytes: 192,
    fields: SKB,
}];

/// The environment of one row: Linux without privileges, as far as it has such loaders.
pub fn linux_env(row: &Row) -> Env<'static> {
    // Socket filters and cgroup filters are what Linux lets anyone load; the self-tests try others with privileges only.
    linux_env_for(row, matches!(row.prog_type, 0 | 1 | 8))
}

/// The environment of one row.
pub fn linux_env_for(row: &Row, unprivileged: bool) -> Env<'static> {
    let rules = Rules {
        returns: if row.prog_type == 9 { Some((0, 1)) } else { None },
        hide_pointers: unprivileged,
        no_uninit_stack: unprivileged,
        strict_align: row.strict_align,
        fixed_stack: unprivileged,
        no_zero_divisor: true,
        no_local_calls: unprivileged,
        speculation: unprivileged,
        loops_by_jump: true,
        wide_shift_unknown: true,
        undecided_null: true,
        isa: 3,
        no_unreachable: true,
        packet_bytes: 65535,
        packet_writable: true,
        packet_loads: false,
        memory_arg_bytes: 0,
    };
    let limits = Limits {
        insns_max: 4096,
        insn_bound_max: 1 << 24,
        visits_max: 1_000_000,
    };
    Env {
        helpers: HELPERS,
        objects: OBJECTS,
        rules,
        limits,
    }
}

/// Text and maps of one row.
pub fn linux_program(row: &Row) -> (Vec<u64>, Vec<MapDesc>) {
    let mut text = slots(&row.insns);
    let mut maps = Vec::new();
    for (name, places) in &row.fixups {
        let desc = match name.as_str() {
            "map_hash_8b" => map(MapKind::HASH, 8, 8, 1),
            "map_hash_16b" => map(MapKind::HASH, 8, 16, 1),
            "map_hash_48b" => map(MapKind::HASH, 8, 48, 1),
            "map_array_48b" => map(MapKind::ARRAY, 4, 48, 1),
            "map_array_small" => map(MapKind::ARRAY, 4, 1, 1),
            "map_array_ro" => MapDesc {
                writable: false,
                ..map(MapKind::ARRAY, 4, 48, 1)
            },
            "map_array_wo" => MapDesc {
                readable: false,
                ..map(MapKind::ARRAY, 4, 48, 1)
            },
            other => panic!("unknown fixup {other}"),
        };
        for &at in places {
            text[at] = text[at] & 0xffff_ffff | (maps.len() as u64) << 32;
        }
        maps.push(desc);
    }
    (text, maps)
}

/// An accepted program in figures.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    pub insns: u64,
    pub time: u64,
    pub stack: u32,
    pub visits: u64,
    pub units: u64,
    pub loops: Vec<verifier::verified::LoopBound>,
    pub witness: Vec<verifier::verified::WitnessRun>,
}

pub fn verify(text: &[u64], maps: &[MapDesc], env: Env<'_>) -> Result<Accepted, Box<Rejected>> {
    verify_cost(text, maps, env, UnitCost)
}

pub fn verify_cost(
    text: &[u64],
    maps: &[MapDesc],
    env: Env<'_>,
    cost: impl verifier::CostModel,
) -> Result<Accepted, Box<Rejected>> {
    heap_memory!(let memory = text.len());
    let mut v = Verifier::start(memory, &Program { text, maps }, env, cost);
    loop {
        match v.step(1000) {
            Step::More => {}
            Step::Rejected(r) => return Err(Box::new(r)),
            Step::Done(d) => {
                let t = d.totals();
                return Ok(Accepted {
                    insns: t.insn_bound,
                    time: t.time_bound,
                    stack: t.stack_bytes,
                    visits: t.visits,
                    units: t.units,
                    loops: d.loops().to_vec(),
                    witness: d.witness().to_vec(),
                });
            }
        }
    }
}
