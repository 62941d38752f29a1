//! Linux's environments: so that objects made for Linux can be verified, and the verifier be held against its peers.
//!
//! Facts of Linux 6.x on x86-64. A loader has privileges (CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN) or none: see [`Loader`].

mod helpers;
mod helpers_high;
mod helpers_low;
mod objects;
mod program_type;

pub use helpers::name as helper_name;
pub use program_type::{ProgramType, by_section};

use verifier::env::{ISA_MAX, Limits, Rules};

use super::Environment;

/// Object number of a socket that a lookup in a socket map yields.
pub(super) const SOCKET: u16 = objects::SOCK;
/// And of an AF_XDP socket.
pub(super) const XDP_SOCKET: u16 = objects::XDP_SOCK;

/// Slots Linux takes at most (`BPF_COMPLEXITY_LIMIT_INSNS`), and so the bound of an accepted program: Linux visits no
/// more on one path.
const INSNS_MAX: u32 = 1_000_000;
/// Linux bounds the sum over paths by visiting; our bound of a loop with helpers in it may be larger and still be true.
const INSN_BOUND_MAX: u64 = 1 << 40;
/// Effort before we give up.
const VISITS_MAX: u64 = 64_000_000;
/// `MAX_PACKET_OFF`.
const PACKET_BYTES: u32 = 65_535;

/// Who loads a program: decides what is hidden from it and whether speculation is contained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loader {
    /// With all privileges that Linux wants for the type.
    Privileged,
    /// Without any.
    Unprivileged,
}

/// The environment of a program type; `section` narrows it where Linux does (`cgroup/connect6`).
pub fn environment(kind: ProgramType, section: &str, loader: Loader) -> Environment {
    let unprivileged = match loader {
        Loader::Privileged => "",
        Loader::Unprivileged => " without privileges",
    };
    Environment {
        name: format!("linux {}{unprivileged}", type_name(kind)),
        point: None,
        helpers: helpers::of(kind),
        objects: objects::of(kind, section.ends_with('6')).to_vec(),
        rules: rules(kind, loader),
        limits: Limits {
            insns_max: INSNS_MAX,
            insn_bound_max: INSN_BOUND_MAX,
            visits_max: VISITS_MAX,
        },
    }
}

/// The environment of a row of Linux 6.1's own verifier self-tests. `number` is `BPF_PROG_TYPE_*`; 0, unspecified, is a
/// socket filter. That Linux knows the instruction set up to version 3.
pub fn selftest_environment(number: u32, strict_align: bool, loader: Option<Loader>) -> Environment {
    const ISA: u8 = 3;
    let kind = ProgramType::from_number(number).unwrap_or(ProgramType::SocketFilter);
    let mut env = environment(kind, "", loader.unwrap_or(usual_loader(kind)));
    env.rules.strict_align = strict_align;
    env.rules.no_unreachable = true;
    env.rules.isa = ISA;
    env
}

/// Who has to be reckoned with: socket filters and filters of a cgroup's packets may be loaded by anyone, other types
/// only with privileges.
pub fn usual_loader(kind: ProgramType) -> Loader {
    match kind {
        ProgramType::SocketFilter | ProgramType::CgroupSkb => Loader::Unprivileged,
        _ => Loader::Privileged,
    }
}

fn type_name(kind: ProgramType) -> String {
    use clap::ValueEnum;
    kind.to_possible_value()
        .map_or_else(String::new, |v| v.get_name().replace('-', "_"))
}

fn rules(kind: ProgramType, loader: Loader) -> Rules {
    let unprivileged = loader == Loader::Unprivileged;
    let returns = match kind {
        ProgramType::CgroupSkb => Some((0, 3)),
        ProgramType::CgroupSock | ProgramType::SockOps => Some((0, 1)),
        ProgramType::CgroupSockAddr => Some((0, 3)),
        _ => None,
    };
    let packet_loads = matches!(kind, ProgramType::SocketFilter | ProgramType::Sched);
    Rules {
        returns,
        hide_pointers: unprivileged,
        no_uninit_stack: unprivileged,
        fixed_stack: unprivileged,
        no_local_calls: unprivileged,
        speculation: unprivileged,
        loops_by_jump: true,
        wide_shift_unknown: true,
        undecided_null: true,
        isa: ISA_MAX,
        strict_align: false,
        no_unreachable: false,
        packet_bytes: PACKET_BYTES,
        packet_loads,
        packet_writable: kind != ProgramType::CgroupSkb,
        no_zero_divisor: true,
        memory_arg_bytes: 0,
    }
}
