//! What a probe may see and call, as the verifier's data: the same at EL2, where it decides, and on the host, where it
//! explains.

use crate::jit::HelperTime;
use crate::maps::limits::VALUE_BYTES_MAX;
use crate::maps::{F_RDONLY_PROG, MapDef, MapKind as Kind};
use crate::points::{Field as PointField, HEADER_FIELDS, POINT_COUNT, POINTS, PointId};
use verifier::MapDesc;
use verifier::env::{
    ArgKind, CallbackArg, CallbackProto, Env, Field, FieldKind, HelperProto, Limits, Lookup, MapKind, ObjectLayout,
    Repeat, Ret, Rules,
};

/// Numbers of the helpers: Linux's `BPF_FUNC_*`.
pub mod helper {
    /// `void *bpf_map_lookup_elem(map, key)`
    pub const MAP_LOOKUP: u32 = 1;
    /// `long bpf_map_update_elem(map, key, value, flags)`
    pub const MAP_UPDATE: u32 = 2;
    /// `long bpf_map_delete_elem(map, key)`
    pub const MAP_DELETE: u32 = 3;
    /// `u64 bpf_ktime_get_ns()`: the clock of `time_ns` in contexts
    pub const KTIME_GET_NS: u32 = 5;
    /// `long bpf_trace_printk(format, bytes, …)`: into the hypervisor's log, formatted by whoever reads it
    pub const TRACE_PRINTK: u32 = 6;
    /// `u32 bpf_get_smp_processor_id()`
    pub const CPU_ID: u32 = 8;
    /// `long bpf_ringbuf_output(ring, data, bytes, flags)`
    pub const RING_OUTPUT: u32 = 130;
    /// `void *bpf_ringbuf_reserve(ring, bytes, flags)`
    pub const RING_RESERVE: u32 = 131;
    /// `void bpf_ringbuf_submit(data, flags)`
    pub const RING_SUBMIT: u32 = 132;
    /// `void bpf_ringbuf_discard(data, flags)`
    pub const RING_DISCARD: u32 = 133;
    /// `u64 bpf_ringbuf_query(ring, flags)`
    pub const RING_QUERY: u32 = 134;
    /// `long bpf_loop(count, callback, context, flags)`
    pub const LOOP: u32 = 181;
}

/// Bytes of a `bpf_trace_printk` format, its NUL included: what a log frame holds beside three arguments.
pub const FORMAT_BYTES_MAX: u32 = 64;
/// Bytes of a ring record. As the largest value: a probe copies what fits on its stack or in a value.
pub const RECORD_BYTES_MAX: u32 = VALUE_BYTES_MAX;
/// Iterations of one `bpf_loop` (Linux's `BPF_MAX_LOOPS`). Budgets end long before.
pub const LOOP_ITERATIONS_MAX: u32 = 1 << 23;

const NIL: ArgKind = ArgKind::None;
const TABLE: ArgKind = ArgKind::ConstMap(
    MapKind::HASH.bit() | MapKind::ARRAY.bit() | MapKind::PERCPU_HASH.bit() | MapKind::PERCPU_ARRAY.bit(),
);
const RING: ArgKind = ArgKind::ConstMap(MapKind::RINGBUF.bit());
const KEY: ArgKind = ArgKind::MapKey;
const FLAGS: ArgKind = ArgKind::Any;

/// Errors are small negative numbers and success is 0.
const STATUS: Ret = Ret::Range(-4095, 0);

/// The helpers, ascending by number.
pub static HELPERS: [HelperProto; 12] = [
    HelperProto::new(
        helper::MAP_LOOKUP,
        "map_lookup_elem",
        [TABLE, KEY, NIL, NIL, NIL],
        Ret::Lookup,
    ),
    HelperProto::new(
        helper::MAP_UPDATE,
        "map_update_elem",
        [TABLE, KEY, ArgKind::MapValue, FLAGS, NIL],
        STATUS,
    ),
    HelperProto::new(
        helper::MAP_DELETE,
        "map_delete_elem",
        [TABLE, KEY, NIL, NIL, NIL],
        STATUS,
    ),
    HelperProto::new(helper::KTIME_GET_NS, "ktime_get_ns", [NIL; 5], Ret::Scalar),
    HelperProto::new(
        helper::TRACE_PRINTK,
        "trace_printk",
        [
            ArgKind::MemRead,
            ArgKind::Size(FORMAT_BYTES_MAX),
            ArgKind::Any,
            ArgKind::Any,
            ArgKind::Any,
        ],
        Ret::Range(-4095, FORMAT_BYTES_MAX as i64),
    ),
    HelperProto::new(
        helper::CPU_ID,
        "get_smp_processor_id",
        [NIL; 5],
        Ret::Range(0, CPU_ID_MAX),
    ),
    HelperProto::new(
        helper::RING_OUTPUT,
        "ringbuf_output",
        [
            RING,
            ArgKind::MemRead,
            ArgKind::SizeOrZero(RECORD_BYTES_MAX),
            FLAGS,
            NIL,
        ],
        STATUS,
    ),
    HelperProto::new(
        helper::RING_RESERVE,
        "ringbuf_reserve",
        [RING, ArgKind::ConstAlloc(RECORD_BYTES_MAX), FLAGS, NIL, NIL],
        Ret::RecordOrNull,
    ),
    HelperProto::new(
        helper::RING_SUBMIT,
        "ringbuf_submit",
        [ArgKind::Record, FLAGS, NIL, NIL, NIL],
        Ret::Void,
    ),
    HelperProto::new(
        helper::RING_DISCARD,
        "ringbuf_discard",
        [ArgKind::Record, FLAGS, NIL, NIL, NIL],
        Ret::Void,
    ),
    HelperProto::new(
        helper::RING_QUERY,
        "ringbuf_query",
        [RING, ArgKind::Any, NIL, NIL, NIL],
        Ret::Scalar,
    ),
    HelperProto {
        callback: Some(CallbackProto {
            repeat: Repeat::Count {
                arg: 1,
                max: LOOP_ITERATIONS_MAX,
            },
            args: [
                CallbackArg::Index,
                CallbackArg::Passed(3),
                CallbackArg::None,
                CallbackArg::None,
                CallbackArg::None,
            ],
        }),
        ..HelperProto::new(
            helper::LOOP,
            "loop",
            [
                ArgKind::Any,
                ArgKind::Callback,
                ArgKind::StackOrNull,
                ArgKind::Zero,
                NIL,
            ],
            Ret::Range(-4095, LOOP_ITERATIONS_MAX as i64),
        )
    },
];

const CPU_ID_MAX: i64 = crate::maps::limits::CPUS_MAX as i64 - 1;

/// Rules of probes. A probe is unprivileged: its loader is a guest, and pointers of EL2 are none of its business.
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

const HEADER_FIELD_COUNT: usize = HEADER_FIELDS.len();
/// Fields of the context with most of them, the header's included.
const FIELDS_MAX: usize = HEADER_FIELD_COUNT + 8;

const fn readable(f: &PointField) -> Field {
    // A number may be read in part: every width up to its own.
    let read = if f.bytes == 8 { 0b1111 } else { 0b0111 };
    Field {
        offset: f.offset,
        bytes: f.bytes as u16,
        read,
        write: 0,
        kind: FieldKind::Scalar,
    }
}

const fn fields_of(fields: &[PointField]) -> [Field; FIELDS_MAX] {
    let mut all = [readable(&HEADER_FIELDS[0]); FIELDS_MAX];
    let mut i = 1;
    while i < HEADER_FIELD_COUNT + fields.len() {
        all[i] = readable(if i < HEADER_FIELD_COUNT {
            &HEADER_FIELDS[i]
        } else {
            &fields[i - HEADER_FIELD_COUNT]
        });
        i += 1;
    }
    all
}

static FIELDS: [[Field; FIELDS_MAX]; POINT_COUNT] = {
    let mut all = [fields_of(&[]); POINT_COUNT];
    let mut i = 0;
    while i < POINT_COUNT {
        all[i] = fields_of(POINTS[i].fields);
        i += 1;
    }
    all
};

/// The context of a point: its header and its fields, all read-only numbers.
pub fn layout(point: PointId) -> ObjectLayout<'static> {
    let about = point.point();
    let fields = FIELDS.get(point as usize).map_or(&[][..], |all| &all[..]);
    ObjectLayout {
        name: about.name,
        bytes: u32::from(about.bytes),
        fields: fields.get(..HEADER_FIELD_COUNT + about.fields.len()).unwrap_or(&[]),
    }
}

/// The environment of a point. `objects` is `&[layout(point)]`, kept by the caller.
pub fn environment<'e>(objects: &'e [ObjectLayout<'e>]) -> Env<'e> {
    Env {
        helpers: &HELPERS,
        objects,
        rules: RULES,
        limits: Limits::GNOMON,
    }
}

/// A map as the verifier sees it.
pub fn describe(def: &MapDef) -> MapDesc {
    let ring = def.kind == Kind::RingBuf;
    MapDesc {
        kind: MapKind(def.kind.number() as u8),
        key_bytes: def.key_bytes,
        value_bytes: def.value_bytes,
        entries: def.entries,
        readable: !ring,
        writable: !ring && def.flags & F_RDONLY_PROG == 0,
        direct_value: def.kind == Kind::Array,
        lookup: if ring { Lookup::Refused } else { Lookup::Value },
    }
}

const fn time(id: u32, map_kind: MapKind, base: u64, key_word: u64, value_word: u64) -> HelperTime {
    HelperTime {
        id,
        map_kind: map_kind.0,
        base,
        key_word,
        value_word,
        entry: 0,
    }
}

/// Any map, or none.
const ANY: MapKind = MapKind(0);

/// Most A64 instructions of each of EL2's helpers that compiled code calls, stated here because bounds on the host must
/// be EL2's. A test holds each, at the largest key and value, to what the path analyser derives from the linked function;
/// another measures the worst states of small ones on the target. A hash looks at sixteen state words and compares one
/// key; its lock is tried eight times; a key new to a per-CPU hash clears the values of eight CPUs.
pub static HELPER_TIMES: [HelperTime; 10] = [
    time(helper::MAP_LOOKUP, ANY, 290, 27, 0),
    time(helper::MAP_UPDATE, ANY, 620, 40, 14),
    time(helper::MAP_UPDATE, MapKind::PERCPU_HASH, 900, 40, 84),
    time(helper::MAP_DELETE, ANY, 410, 27, 0),
    time(helper::TRACE_PRINTK, ANY, 3_700, 0, 0),
    time(helper::RING_OUTPUT, ANY, 120, 0, 14),
    time(helper::RING_RESERVE, ANY, 90, 0, 0),
    time(helper::RING_SUBMIT, ANY, 16, 0, 0),
    time(helper::RING_DISCARD, ANY, 16, 0, 0),
    time(helper::RING_QUERY, ANY, 58, 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_sorted() {
        assert!(HELPERS.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn layouts_cover_their_contexts() {
        for point in PointId::ALL {
            let layout = layout(point);
            let covered: u32 = layout.fields.iter().map(|f| u32::from(f.bytes)).sum();
            assert_eq!(covered, layout.bytes, "{}", layout.name);
            assert!(
                layout
                    .fields
                    .windows(2)
                    .all(|p| p[0].offset + p[0].bytes == p[1].offset),
                "{}",
                layout.name
            );
            assert!(layout.fields.iter().all(|f| f.write == 0));
        }
    }
}
