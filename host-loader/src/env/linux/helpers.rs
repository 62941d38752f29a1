//! The vocabulary of the helper table, and the selection of what a program type may call.
//!
//! Facts of Linux 6.x. Argument kinds that need the kernel's own type information (timers, dynamic pointers, kernel
//! pointers) are refused rather than guessed.

use verifier::env::{ArgKind, CallbackArg, CallbackProto, HelperProto, MapKind, Repeat, Ret};

pub(super) use super::objects::{OPAQUE, SOCK, SOCK_COMMON, TASK, TCP_SOCK};
use super::program_type::ProgramType;

/// Linux refuses a helper's memory argument of this size or more (`BPF_MAX_VAR_SIZ`).
const MEMORY_BYTES_MAX: u32 = 1 << 29;
/// Iterations `bpf_loop` takes at most (`BPF_MAX_LOOPS`).
const LOOPS_MAX: u32 = 8 << 20;

/// One helper and the program types that have it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    proto: HelperProto,
    types: u32,
}

pub(super) const fn row(id: u32, name: &'static str, types: u32, args: [ArgKind; 5], ret: Ret) -> Row {
    Row {
        proto: HelperProto::new(id, name, args, ret),
        types,
    }
}

impl Row {
    /// Packet pointers are worth nothing after it.
    pub(super) const fn changes_packet(mut self) -> Row {
        self.proto.changes_packet = true;
        self
    }

    /// Runs a function of the program.
    pub(super) const fn calls_back(mut self, how: CallbackProto) -> Row {
        self.proto.callback = Some(how);
        self
    }
}

pub(super) const NIL: ArgKind = ArgKind::None;
pub(super) const ANY: ArgKind = ArgKind::Any;
pub(super) const CTX: ArgKind = ArgKind::Ctx;
pub(super) const KEY: ArgKind = ArgKind::MapKey;
pub(super) const VALUE: ArgKind = ArgKind::MapValue;
pub(super) const VALUE_OUT: ArgKind = ArgKind::MapValueOut;
pub(super) const READ: ArgKind = ArgKind::MemRead;
pub(super) const READ0: ArgKind = ArgKind::MemReadOrNull;
pub(super) const OUT: ArgKind = ArgKind::MemOut;
pub(super) const OUT0: ArgKind = ArgKind::MemOutOrNull;
pub(super) const BOTH: ArgKind = ArgKind::MemReadWrite;
pub(super) const OUT4: ArgKind = ArgKind::FixedOut(4);
pub(super) const OUT8: ArgKind = ArgKind::FixedOut(8);
/// An IPv4 or TCP header without options.
pub(super) const IP4: ArgKind = ArgKind::FixedRead(20);
/// An IPv6 header.
pub(super) const IP6: ArgKind = ArgKind::FixedRead(40);
pub(super) const SIZE: ArgKind = ArgKind::Size(MEMORY_BYTES_MAX);
pub(super) const SIZE0: ArgKind = ArgKind::SizeOrZero(MEMORY_BYTES_MAX);
pub(super) const ALLOC: ArgKind = ArgKind::ConstAlloc(MEMORY_BYTES_MAX);
pub(super) const RECORD: ArgKind = ArgKind::Record;
pub(super) const STR: ArgKind = ArgKind::ConstString;
pub(super) const CALL: ArgKind = ArgKind::Callback;
pub(super) const STACK0: ArgKind = ArgKind::StackOrNull;
pub(super) const VALUE0: ArgKind = ArgKind::MapValueOrNull;
/// A length, or an error number.
pub(super) const UP_TO_SIZE: Ret = Ret::UpToSize(-4095);
pub(super) const NO: ArgKind = ArgKind::Refused;
const ANY_SOCK: u64 = 1 << SOCK_COMMON | 1 << SOCK | 1 << TCP_SOCK;
pub(super) const SOCKS: ArgKind = ArgKind::ObjectMask(ANY_SOCK);
pub(super) const RELEASE: ArgKind = ArgKind::ReleaseObject(ANY_SOCK);
pub(super) const TASK_ARG: ArgKind = ArgKind::Object(TASK);

/// A map of one of these kinds.
pub(super) const fn map(kinds: u64) -> ArgKind {
    ArgKind::ConstMap(kinds)
}

/// An object or null, not to be released.
pub(super) const fn maybe(index: u16) -> Ret {
    Ret::ObjectOrNull { index, acquire: false }
}

/// An object or null, to be released.
pub(super) const fn acquired(index: u16) -> Ret {
    Ret::ObjectOrNull { index, acquire: true }
}

const fn kinds<const N: usize>(list: [MapKind; N]) -> u64 {
    let mut bits = 0;
    let mut i = 0;
    while i < N {
        bits |= list[i].bit();
        i += 1;
    }
    bits
}

const PLAIN: u64 = kinds([MapKind::HASH, MapKind::ARRAY, MapKind::LRU_HASH, MapKind::LPM_TRIE]);
pub(super) const PERCPU: u64 = kinds([MapKind::PERCPU_HASH, MapKind::PERCPU_ARRAY, MapKind::LRU_PERCPU_HASH]);
pub(super) const SOCKMAPS: u64 = kinds([MapKind::SOCKMAP]);
pub(super) const SOCKHASHES: u64 = kinds([MapKind::SOCKHASH]);
pub(super) const UPDATE: u64 = PLAIN | PERCPU | SOCKMAPS | SOCKHASHES;
pub(super) const REDIRECT: u64 = kinds([MapKind::DEVMAP, MapKind::DEVMAP_HASH, MapKind::CPUMAP, MapKind::XSKMAP]);
pub(super) const LOOKUP: u64 = UPDATE | REDIRECT | kinds([MapKind::ARRAY_OF_MAPS, MapKind::HASH_OF_MAPS]);
pub(super) const PROGS: u64 = kinds([MapKind::PROG_ARRAY]);
pub(super) const PERF: u64 = kinds([MapKind::PERF_EVENT_ARRAY]);
pub(super) const STACKS: u64 = kinds([MapKind::STACK_TRACE]);
pub(super) const CGROUPS: u64 = kinds([MapKind::CGROUP_ARRAY]);
pub(super) const CG_STORAGE: u64 = kinds([MapKind::CGROUP_STORAGE, MapKind::PERCPU_CGROUP_STORAGE]);
pub(super) const REUSEPORT: u64 = kinds([MapKind::REUSEPORT_SOCKARRAY]) | SOCKMAPS | SOCKHASHES;
pub(super) const POP: u64 = kinds([MapKind::QUEUE, MapKind::STACK]);
pub(super) const PUSH: u64 = POP | kinds([MapKind::BLOOM_FILTER]);
pub(super) const SK_STORAGE: u64 = kinds([MapKind::SK_STORAGE]);
pub(super) const TASK_STORAGE: u64 = kinds([MapKind::TASK_STORAGE]);
pub(super) const RING: u64 = kinds([MapKind::RINGBUF]);
pub(super) const EACH: u64 = kinds([MapKind::HASH, MapKind::ARRAY, MapKind::LRU_HASH]) | PERCPU;

/// `bpf_for_each_map_elem(map, callback(map, key, value, context), context, flags)`.
pub(super) const EACH_ENTRY: CallbackProto = CallbackProto {
    repeat: Repeat::EachEntry,
    args: [
        CallbackArg::Map,
        CallbackArg::Key,
        CallbackArg::Value,
        CallbackArg::Passed(3),
        CallbackArg::None,
    ],
};

/// `bpf_loop(count, callback(index, context), context, flags)`.
pub(super) const LOOP: CallbackProto = CallbackProto {
    repeat: Repeat::Count { arg: 1, max: LOOPS_MAX },
    args: [
        CallbackArg::Index,
        CallbackArg::Passed(3),
        CallbackArg::None,
        CallbackArg::None,
        CallbackArg::None,
    ],
};

fn rows() -> impl Iterator<Item = &'static Row> {
    super::helpers_low::ROWS.iter().chain(super::helpers_high::ROWS)
}

/// What a program of this type may call, sorted by number.
pub(super) fn of(kind: ProgramType) -> Vec<HelperProto> {
    rows().filter(|r| r.types & kind.bit() != 0).map(|r| r.proto).collect()
}

/// The name of a helper by its number, whoever may call it.
pub fn name(id: u32) -> Option<&'static str> {
    rows().find(|r| r.proto.id == id).map(|r| r.proto.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_complete_and_sorted() {
        let ids: Vec<u32> = rows().map(|r| r.proto.id).collect();
        assert_eq!(ids, (1..=211).collect::<Vec<u32>>());
    }

    /// The header of this machine, where libbpf's development package is installed, has the same numbers.
    #[test]
    fn names_are_those_of_the_system_header() {
        let Ok(header) = std::fs::read_to_string("/usr/include/linux/bpf.h") else {
            println!("skipped: no /usr/include/linux/bpf.h");
            return;
        };
        let start = header.find("FN(unspec)").expect("the list of functions");
        let names = header[start..]
            .split("FN(")
            .skip(2)
            .map(|rest| rest.split(')').next().unwrap_or(""));
        let mut seen = 0;
        for (n, listed) in names.take_while(|n| *n != "x").enumerate() {
            // Later headers give the number as a second argument.
            let listed = listed.split(',').next().unwrap_or("").trim();
            if let Some(ours) = name(n as u32 + 1) {
                assert_eq!(ours, listed, "helper {}", n + 1);
                seen += 1;
            }
        }
        assert!(seen > 150, "only {seen} helpers compared");
    }

    /// A size argument is the one after a memory argument, and only there.
    #[test]
    fn sizes_follow_memory() {
        let is_memory = |a: &ArgKind| matches!(*a, READ | READ0 | OUT | OUT0 | BOTH);
        for r in rows() {
            for pair in r.proto.args.windows(2) {
                let size = matches!(pair[1], ArgKind::Size(_) | ArgKind::SizeOrZero(_));
                assert_eq!(is_memory(&pair[0]), size, "{}", r.proto.name);
            }
        }
    }
}
