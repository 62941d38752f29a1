//! Environments: what a program of a given section may see and call, as data for the verifier.

pub mod gnomon;
pub mod linux;

use miette::Diagnostic;
use probe_vm::points::PointId;
use thiserror::Error;
use verifier::env::{Env, HelperProto, Limits, Lookup, MapDesc, MapKind, ObjectLayout, Rules};

use crate::obj::{MapDef, maps};

/// Whose programs these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Gnomon's probes: `SEC("probe/<point>")`.
    Gnomon,
    /// Linux programs, their type by section name.
    Linux,
}

/// Everything the verifier's [`Env`] borrows.
#[derive(Clone, Debug)]
pub struct Environment {
    /// For people: `point vm_exit`, `linux xdp`.
    pub name: String,
    /// The point, if these are Gnomon's probes.
    pub point: Option<PointId>,
    /// Sorted by number.
    pub helpers: Vec<HelperProto>,
    /// 0 is the context.
    pub objects: Vec<ObjectLayout<'static>>,
    /// Rules.
    pub rules: Rules,
    /// Limits.
    pub limits: Limits,
}

/// A section that says nothing of what its programs are.
#[derive(Debug, Error, Diagnostic)]
pub enum EnvError {
    /// Not one of Gnomon's points.
    #[error("section `{section}` names no point of Gnomon")]
    #[diagnostic(help(
        "a probe's section is `probe/<point>`, the point one of: {points}; for a Linux program use `--env linux`"
    ))]
    NoPoint {
        /// The section.
        section: String,
        /// All points.
        points: String,
    },
    /// Not one of the Linux types we know.
    #[error("section `{section}` names no Linux program type")]
    #[diagnostic(help("say it with `--type`, for example `--type xdp`"))]
    NoType {
        /// The section.
        section: String,
    },
}

impl Environment {
    /// The view of it that the verifier takes.
    pub fn env(&self) -> Env<'_> {
        Env {
            helpers: &self.helpers,
            objects: &self.objects,
            rules: self.rules,
            limits: self.limits,
        }
    }
}

/// The environment of a probe's section.
pub fn of_probe(section: &str) -> Result<Environment, EnvError> {
    let point = gnomon::point(section).ok_or_else(|| EnvError::NoPoint {
        section: section.into(),
        points: gnomon::point_names().join(", "),
    })?;
    Ok(gnomon::environment(point))
}

/// The environment of a section; `kind` overrides what a Linux section says, and `loader` who loads Linux programs.
pub fn of_section(
    system: System,
    section: &str,
    kind: Option<linux::ProgramType>,
    loader: linux::Loader,
) -> Result<Environment, EnvError> {
    match system {
        System::Gnomon => of_probe(section),
        System::Linux => {
            let kind = kind.or_else(|| linux::by_section(section));
            let kind = kind.ok_or_else(|| EnvError::NoType {
                section: section.into(),
            })?;
            Ok(linux::environment(kind, section, loader))
        }
    }
}

/// A map as the verifier sees it. `inner` is the index of the description of a map of maps' values.
pub fn describe(def: &MapDef, inner: Option<u16>) -> MapDesc {
    let kind = MapKind(u8::try_from(def.kind).unwrap_or(0));
    let lookup = match kind {
        MapKind::ARRAY_OF_MAPS | MapKind::HASH_OF_MAPS => inner.map_or(Lookup::Refused, Lookup::Map),
        MapKind::SOCKMAP | MapKind::SOCKHASH => Lookup::Object(linux::SOCKET),
        MapKind::XSKMAP => Lookup::Object(linux::XDP_SOCKET),
        MapKind::PROG_ARRAY | MapKind::PERF_EVENT_ARRAY | MapKind::STACK_TRACE | MapKind::CGROUP_ARRAY => {
            Lookup::Refused
        }
        _ => Lookup::Value,
    };
    let (key_bytes, entries) = match kind {
        MapKind::RINGBUF => (0, def.max_entries),
        _ => (def.key_size, def.max_entries),
    };
    MapDesc {
        kind,
        key_bytes,
        value_bytes: def.value_size,
        entries,
        readable: def.flags & maps::F_WRONLY_PROG == 0,
        writable: def.flags & maps::F_RDONLY_PROG == 0,
        direct_value: kind == MapKind::ARRAY,
        lookup,
    }
}
