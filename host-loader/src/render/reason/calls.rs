//! Calls of helpers, and what a function returns.

use verifier::env::{ArgKind, MapKind};
use verifier::reject::{Rejected, Why};

use super::{Reason, Scene};

fn wanted(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::None => "nothing",
        ArgKind::Any => "a number",
        ArgKind::Ctx => "the context, as it came in r1",
        ArgKind::Object(_) | ArgKind::ObjectMask(_) => "a kernel object that is not null",
        ArgKind::ObjectOrNull(_) => "a kernel object",
        ArgKind::ConstMap(_) => "a map",
        ArgKind::MapKey | ArgKind::MapKeyOrNull => "a pointer to a key of the map, all of it written",
        ArgKind::MapValue => "a pointer to a value for the map, all of it written",
        ArgKind::MapValueOut => "a pointer to room for a value of the map",
        ArgKind::MemRead | ArgKind::MemReadOrNull => "a pointer to written memory",
        ArgKind::MemOut | ArgKind::MemOutOrNull | ArgKind::MemReadWrite => "a pointer to memory that may be written",
        ArgKind::FixedOut(_) => "a pointer to a number to be written",
        ArgKind::FixedRead(_) => "a pointer to a header to be read",
        ArgKind::Size(_) | ArgKind::SizeOrZero(_) => "the size of the memory before it",
        ArgKind::ConstAlloc(_) => "a constant size",
        ArgKind::Record => "a reserved ring buffer record",
        ArgKind::ReleaseObject(_) => "an object that was acquired",
        ArgKind::Callback => "a function of the program",
        ArgKind::StackOrNull => "a pointer to the stack, or null",
        ArgKind::AnyMapValue => "a pointer to the start of a map's value",
        ArgKind::ConstString => "a constant string in read-only data",
        ArgKind::Zero => "0",
        _ => "something that cannot be had here",
    }
}

pub(super) fn calls(scene: &Scene<'_>, r: &Rejected) -> Option<Reason> {
    Some(match r.why {
        Why::BadArgument { helper, arg, want } => Reason::new(format!(
            "argument {arg} of {} must be {}",
            scene.helper(helper),
            wanted(want)
        ))
        .of(arg)
        .help(hint(want)),
        Why::WrongMap { helper, arg, map } => wrong_map(scene, helper, arg, map),
        Why::BadSize {
            helper,
            arg,
            min,
            max,
            limit,
        } => Reason::new(format!(
            "argument {arg} of {}, a size, may be {min} to {max}",
            scene.helper(helper)
        ))
        .of(arg)
        .help(format!(
            "it must be proven to lie in {} to {limit}: test it before the call",
            least(scene, helper, arg)
        )),
        Why::Unreleased { acquired } => Reason::new(format!(
            "what {} acquired is not released on this path",
            scene.line(acquired)
        ))
        .help("a ring buffer record must be submitted or discarded, a socket released, on every path"),
        Why::TooManyReferences { max } => Reason::new(format!("holds more than {max} records or objects at once"))
            .help("submit, discard or release those that are done with first"),
        Why::ReturnValue {
            min,
            max,
            want_min,
            want_max,
        } => Reason::new(format!(
            "returns {}, but must return {want_min} to {want_max}",
            span(min, max)
        ))
        .of(0)
        .help(match r.depth {
            0 => format!("the answers of {} are those numbers", scene.env.name),
            _ => "a callback returns 0 to go on and 1 to stop".into(),
        }),
        Why::PacketLoad if !scene.env.rules.packet_loads => {
            Reason::new(format!("loads from a packet, and {} has none", scene.env.name))
        }
        Why::PacketLoad => Reason::new("a packet load where r6 does not hold the context")
            .help("keep the context in r6: `r6 = r1` at the beginning"),
        _ => return None,
    })
}

/// One number, or the first and the last.
fn span(min: i64, max: i64) -> String {
    if min == max {
        return min.to_string();
    }
    match (min, max) {
        (i64::MIN, i64::MAX) => "any number".into(),
        _ => format!("{min} to {max}"),
    }
}

/// How what is wanted is had.
fn hint(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::MapKey | ArgKind::MapKeyOrNull => "put the key into a variable and pass its address: `&key`",
        ArgKind::MapValue | ArgKind::MapValueOut => "put the value into a variable and pass its address: `&value`",
        ArgKind::ConstMap(_) => "pass the address of a map of this object: `&counts`",
        ArgKind::Ctx => "keep the program's argument and pass it unchanged",
        ArgKind::Record | ArgKind::ReleaseObject(_) => "pass what was reserved, once, and after testing it for null",
        ArgKind::Callback => "pass a static function of this object by its name",
        ArgKind::Zero => "no flags are known here",
        ArgKind::ConstAlloc(_) => "use `sizeof`: the size must be known when the program is verified",
        ArgKind::ConstString => "make it `static const char text[]`",
        _ => "pass the address of a variable that is written before",
    }
}

/// The helper's declared kind of argument `arg`.
fn kind_of(scene: &Scene<'_>, helper: u32, arg: u8) -> Option<ArgKind> {
    let proto = scene.env.helpers.iter().find(|h| h.id == helper)?;
    proto.args.get(usize::from(arg).checked_sub(1)?).copied()
}

/// The least size an argument may be.
fn least(scene: &Scene<'_>, helper: u32, arg: u8) -> u32 {
    u32::from(matches!(kind_of(scene, helper, arg), Some(ArgKind::Size(_))))
}

/// Linux's names of the kinds, by number.
const KINDS: [&str; 31] = [
    "",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
];

fn wrong_map(scene: &Scene<'_>, helper: u32, arg: u8, map: u16) -> Reason {
    let (name, map) = (scene.helper(helper), scene.map(map.into()));
    let reason = Reason::new(format!("{name} does not take {map}: not of its kind")).of(arg);
    let Some(ArgKind::ConstMap(kinds)) = kind_of(scene, helper, arg) else {
        return reason;
    };
    let taken = (0u8..).zip(KINDS).filter(|(n, _)| kinds & MapKind(*n).bit() != 0);
    let names: Vec<&str> = taken.map(|(_, name)| name).filter(|n| !n.is_empty()).collect();
    reason.help(format!("it takes maps of kind {}", names.join(", ")))
}
