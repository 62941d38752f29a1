//! Gnomon's own environment: the points of the hypervisor and what probes may call there.

use probe_vm::env::{HELPERS, RULES, layout};
use probe_vm::points::{POINTS, PointId};
use verifier::env::{ArgKind, HelperProto, Limits, ObjectLayout, Ret};

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
    helpers.push(HelperProto::new(7, "get_prandom_u32", [ArgKind::None; 5], Ret::Scalar));
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
