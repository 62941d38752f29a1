//! Gnomon's own environment: the points of the hypervisor and what probes may call there.

use std::sync::OnceLock;

use probe_vm::points::{HEADER_FIELDS, POINTS, PointId};
use verifier::env::{ArgKind, Field, FieldKind, HelperProto, Limits, MapKind, ObjectLayout, Ret, Rules};

use super::Environment;

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
    helpers.push(HelperProto::new(7, "get_prandom_u32", [NIL; 5], Ret::Scalar));
    helpers.sort_by_key(|h| h.id);
    helpers.dedup_by_key(|h| h.id);
    Environment {
        name: "no point".into(),
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

/// Names of all points, for messages.
pub fn point_names() -> Vec<&'static str> {
    POINTS.iter().map(|p| p.name).collect()
}

/// The context of a point: its header and its fields, read-only.
fn layout(point: PointId) -> ObjectLayout<'static> {
    static FIELDS: OnceLock<Vec<Vec<Field>>> = OnceLock::new();
    let all = FIELDS.get_or_init(|| {
        let of = |p: &'static probe_vm::points::Point| HEADER_FIELDS.iter().chain(p.fields).map(field).collect();
        POINTS.iter().map(of).collect()
    });
    let at = POINTS.iter().position(|p| p.id == point).unwrap_or(0);
    ObjectLayout {
        name: POINTS[at].name,
        bytes: u32::from(POINTS[at].bytes),
        fields: &all[at],
    }
}

fn field(f: &probe_vm::points::Field) -> Field {
    // A number may be read in part: every width up to its own.
    let read = if f.bytes == 8 { 0b1111 } else { 0b0111 };
    Field {
        offset: f.offset,
        bytes: u16::from(f.bytes),
        read,
        write: 0,
        kind: FieldKind::Scalar,
    }
}

/// A probe is unprivileged: its loader is a guest.
pub const RULES: Rules = Rules {
    returns: None,
    hide_pointers: true,
    no_uninit_stack: true,
    strict_align: true,
    no_unreachable: false,
    packet_bytes: 0,
    packet_loads: false,
    memory_arg_bytes: 0,
    ..Rules::GNOMON
};

const fn bits(kinds: &[MapKind]) -> u64 {
    let mut all = 0;
    let mut i = 0;
    while i < kinds.len() {
        all |= kinds[i].bit();
        i += 1;
    }
    all
}

const TABLES: ArgKind = ArgKind::ConstMap(bits(&[
    MapKind::HASH,
    MapKind::ARRAY,
    MapKind::PERCPU_HASH,
    MapKind::PERCPU_ARRAY,
]));
const NIL: ArgKind = ArgKind::None;
const KEY: ArgKind = ArgKind::MapKey;

const HELPERS: &[HelperProto] = &[
    HelperProto::new(1, "map_lookup_elem", [TABLES, KEY, NIL, NIL, NIL], Ret::Lookup),
    HelperProto::new(
        2,
        "map_update_elem",
        [TABLES, KEY, ArgKind::MapValue, ArgKind::Any, NIL],
        Ret::Scalar,
    ),
    HelperProto::new(3, "map_delete_elem", [TABLES, KEY, NIL, NIL, NIL], Ret::Scalar),
    HelperProto::new(5, "ktime_get_ns", [NIL; 5], Ret::Scalar),
    HelperProto::new(8, "get_smp_processor_id", [NIL; 5], Ret::Scalar),
];
