//! Gnomon's own environment: the points of the hypervisor and what probes may call there.

use probe_vm::env::{HELPERS, RULES, layout};
use probe_vm::maps::{DefError, MapDef, MapKind, limits};
use probe_vm::points::{POINTS, PointId};
use verifier::env::{ArgKind, HelperProto, Limits, ObjectLayout, Ret};

use super::Environment;
use crate::obj;

/// `SEC("probe/<point>")`.
const SECTION_PREFIX: &str = "probe/";

/// The point a section name stands for.
pub fn point(section: &str) -> Option<PointId> {
    PointId::from_name(section.strip_prefix(SECTION_PREFIX)?)
}

/// The environment of a point.
pub fn environment(point: PointId) -> Environment {
    Environment {
        name: format!("point {}", point.name()),
        point: Some(point),
        helpers: HELPERS.to_vec(),
        objects: vec![layout(point)],
        rules: RULES,
        limits: Limits::GNOMON,
    }
}

/// An environment for programs without a section: no context field is theirs, and besides the helpers of probes there is
/// the one that only sets of test programs call.
pub fn batch_environment() -> Environment {
    let mut helpers = HELPERS.to_vec();
    helpers.push(HelperProto::new(7, "get_prandom_u32", [ArgKind::None; 5], Ret::Scalar));
    helpers.sort_by_key(|h| h.id);
    helpers.dedup_by_key(|h| h.id);
    Environment {
        name: "no point".into(),
        point: None,
        helpers,
        objects: vec![ObjectLayout {
            name: "no point",
            bytes: 0,
            fields: &[],
        }],
        rules: RULES,
        limits: Limits::GNOMON,
    }
}

/// An object's map as Gnomon makes it.
///
/// # Errors
/// In words, what of the definition is not to be had.
pub fn map_def(map: &obj::MapDef) -> Result<MapDef, String> {
    let kind = MapKind::from_number(map.kind).ok_or_else(|| no_kind(map.kind))?;
    let def = MapDef {
        kind,
        key_bytes: map.key_size,
        value_bytes: map.value_size,
        entries: map.max_entries,
        flags: map.flags,
    };
    def.check().map_err(|e| explain(kind, e))?;
    Ok(def)
}

fn no_kind(number: u32) -> String {
    let names: Vec<&str> = MapKind::ALL.iter().map(|k| k.name()).collect();
    format!("Gnomon has no maps of kind {number}; it has {}", names.join(", "))
}

fn explain(kind: MapKind, e: DefError) -> String {
    let name = kind.name();
    match e {
        DefError::Kind(n) => no_kind(n),
        DefError::KeyBytes(n) if kind.is_array() => format!("keys of an {name} have 4 bytes, not {n}"),
        DefError::KeyBytes(n) if kind.is_hash() => {
            format!("keys of {n} bytes; a {name} takes 1 to {}", limits::KEY_BYTES_MAX)
        }
        DefError::KeyBytes(_) | DefError::ValueBytes(_) if kind == MapKind::RingBuf => {
            format!("a {name} has neither keys nor values")
        }
        DefError::KeyBytes(n) => format!("keys of {n} bytes"),
        DefError::ValueBytes(n) => format!(
            "values of {n} bytes; 1 to {} are taken, to {} in an array of one entry",
            limits::VALUE_BYTES_MAX,
            limits::SECTION_BYTES_MAX
        ),
        DefError::Entries(n) if kind == MapKind::RingBuf => format!(
            "{n} bytes; a {name} has a power of two of them, {} to {}",
            limits::RING_BYTES_MIN,
            limits::RING_BYTES_MAX
        ),
        DefError::Entries(n) => format!("{n} entries; 1 to {} are taken", limits::ENTRIES_MAX),
        DefError::Flags(n) => format!("flags {n:#x}, some of which a {name} does not know"),
        DefError::Cpus(n) => format!("{n} CPUs"),
    }
}

/// Names of all points, for messages.
pub fn point_names() -> Vec<&'static str> {
    POINTS.iter().map(|p| p.name).collect()
}
