//! Context layouts of Linux program types and of the sockets they meet (include/uapi/linux/bpf.h, x86-64).

use verifier::env::{Field, FieldKind, ObjectLayout};

use super::program_type::ProgramType;

/// Object numbers; 0 is the context.
pub(super) const SOCK_COMMON: u16 = 1;
pub(super) const SOCK: u16 = 2;
pub(super) const TCP_SOCK: u16 = 3;
pub(super) const XDP_SOCK: u16 = 4;
pub(super) const TASK: u16 = 5;
/// Something only the kernel's own type information describes: it can be handed on, not looked into.
pub(super) const OPAQUE: u16 = 6;
const FLOW_KEYS: u16 = 7;

/// Widths as bits of [`Field::read`]: 1, 2, 4, 8 bytes.
const B: u8 = 1;
const H: u8 = 2;
const W: u8 = 4;
const D: u8 = 8;
const NARROW: u8 = B | H | W;

const fn field(offset: u16, bytes: u16, read: u8, write: u8) -> Field {
    Field {
        offset,
        bytes,
        read,
        write,
        kind: FieldKind::Scalar,
    }
}

/// 32-bit numbers that may also be read in part.
const fn words(offset: u16, count: u16) -> Field {
    field(offset, 4 * count, NARROW, 0)
}

/// The same, and written whole.
const fn words_rw(offset: u16, count: u16) -> Field {
    field(offset, 4 * count, NARROW, W)
}

/// 32-bit numbers that are read whole.
const fn whole(offset: u16, count: u16) -> Field {
    field(offset, 4 * count, W, 0)
}

const fn pointer(offset: u16, kind: FieldKind) -> Field {
    Field {
        offset,
        bytes: 4,
        read: W,
        write: 0,
        kind,
    }
}

const fn object(offset: u16, index: u16) -> Field {
    Field {
        offset,
        bytes: 8,
        read: D,
        write: 0,
        kind: FieldKind::Object { index, nullable: true },
    }
}

const fn layout(name: &'static str, bytes: u32, fields: &'static [Field]) -> ObjectLayout<'static> {
    ObjectLayout { name, bytes, fields }
}

const SKB_BYTES: u32 = 192;
/// `cb[5]`: scratch words of the program, any width.
const CB: Field = field(48, 20, NARROW | D, NARROW | D);
const DATA: Field = pointer(76, FieldKind::PacketData);
const DATA_END: Field = pointer(80, FieldKind::PacketEnd);
const DATA_META: Field = pointer(140, FieldKind::PacketMeta);
const SKB_SOCK: Field = object(168, SOCK_COMMON);
const HWTSTAMP: Field = field(184, 8, D, 0);

/// `struct __sk_buff` of a socket filter.
const SOCKET_FILTER: &[Field] = &[
    words(0, 12),
    CB,
    words(68, 1),
    words(84, 1),
    words(164, 1),
    SKB_SOCK,
    words(176, 1),
];

/// Of a `tc` classifier or action.
const SCHED: &[Field] = &[
    words(0, 2),
    words_rw(8, 2),
    words(16, 4),
    words_rw(32, 1),
    words(36, 2),
    words_rw(44, 1),
    CB,
    words(68, 1),
    words_rw(72, 1),
    DATA,
    DATA_END,
    words(84, 1),
    DATA_META,
    field(152, 8, D, D),
    words(160, 2),
    SKB_SOCK,
    words(176, 1),
    field(180, 1, B, 0),
    HWTSTAMP,
];

/// Of a cgroup's packets.
const CGROUP_SKB: &[Field] = &[
    words(0, 2),
    words_rw(8, 1),
    words(12, 5),
    words_rw(32, 1),
    words(36, 3),
    CB,
    words(68, 1),
    DATA,
    DATA_END,
    words(84, 2),
    whole(92, 10),
    words(132, 2),
    field(152, 8, D, D),
    words(164, 1),
    SKB_SOCK,
    words(176, 1),
    HWTSTAMP,
];

/// Of a stream parser or verdict.
const SK_SKB: &[Field] = &[
    words(0, 2),
    words(12, 5),
    words_rw(32, 1),
    words(36, 2),
    words_rw(44, 1),
    CB,
    words(68, 1),
    DATA,
    DATA_END,
    words(84, 2),
    whole(92, 10),
    words(132, 2),
    words(164, 1),
    SKB_SOCK,
    words(176, 1),
];

/// Of a light-weight tunnel.
const LWT: &[Field] = &[
    words(0, 2),
    words_rw(8, 1),
    words(12, 5),
    words_rw(32, 1),
    words(36, 3),
    CB,
    words(68, 1),
    DATA,
    DATA_END,
    words(84, 1),
    words(164, 1),
    SKB_SOCK,
    words(176, 1),
];

/// `struct xdp_md`.
const XDP: &[Field] = &[
    pointer(0, FieldKind::PacketData),
    pointer(4, FieldKind::PacketEnd),
    pointer(8, FieldKind::PacketMeta),
    whole(12, 3),
];

const ALL: u8 = NARROW | D;
/// Bytes of x86-64's `struct pt_regs`.
const PT_REGS_BYTES: u16 = 168;
/// `struct pt_regs`.
const KPROBE: &[Field] = &[field(0, PT_REGS_BYTES, ALL, 0)];
/// A trace record; its first word is the kernel's.
const TRACEPOINT_BYTES: u16 = 8192;
const TRACEPOINT: &[Field] = &[field(8, TRACEPOINT_BYTES - 8, ALL, 0)];
/// Twelve arguments of eight bytes.
const RAW_TRACEPOINT: &[Field] = &[field(0, 96, ALL, 0)];
/// `struct bpf_perf_event_data`: registers, sample period, address.
const PERF_EVENT: &[Field] = &[field(0, PT_REGS_BYTES, D, 0), field(168, 16, ALL, 0)];

/// `struct bpf_sock` as a context: bound device, mark and priority may be set.
const CGROUP_SOCK: &[Field] = &[
    words_rw(0, 1),
    words(4, 3),
    words_rw(16, 2),
    words(24, 6),
    field(48, 4, B | H | W, 0),
    words(52, 5),
    words(72, 2),
];
/// And as a socket that was looked up.
const BPF_SOCK: &[Field] = &[words(0, 12), field(48, 4, B | H | W, 0), words(52, 5), words(72, 2)];
/// `struct bpf_tcp_sock`: counters of four bytes, then of eight.
const BPF_TCP_SOCK: &[Field] = &[whole(0, 20), field(80, 16, D, 0), whole(96, 4)];
const BPF_XDP_SOCK: &[Field] = &[whole(0, 1)];
/// `struct bpf_flow_keys`.
const BPF_FLOW_KEYS: &[Field] = &[field(0, 56, ALL, ALL)];

/// `struct bpf_sock_addr`: user family, IPv4, IPv6, port, family, type, protocol, message source, socket.
const SOCK_ADDR_4: &[Field] = &[
    words(0, 1),
    words_rw(4, 1),
    words_rw(24, 1),
    words(28, 3),
    words_rw(40, 1),
    object(64, SOCK),
];
const IP6_WRITE: u8 = W | D;
const SOCK_ADDR_6: &[Field] = &[
    words(0, 1),
    field(8, 16, ALL, IP6_WRITE),
    words_rw(24, 1),
    words(28, 3),
    field(44, 16, ALL, IP6_WRITE),
    object(64, SOCK),
];

/// `struct bpf_sock_ops`.
const SOCK_OPS: &[Field] = &[
    whole(0, 1),
    field(4, 16, W, W),
    whole(20, 37),
    field(168, 16, D, 0),
    object(184, SOCK),
    Field {
        offset: 192,
        bytes: 8,
        read: D,
        write: 0,
        kind: FieldKind::PacketData,
    },
    Field {
        offset: 200,
        bytes: 8,
        read: D,
        write: 0,
        kind: FieldKind::PacketEnd,
    },
    whole(208, 2),
];

/// `struct sk_msg_md`.
const SK_MSG: &[Field] = &[
    Field {
        offset: 0,
        bytes: 8,
        read: D,
        write: 0,
        kind: FieldKind::PacketData,
    },
    Field {
        offset: 8,
        bytes: 8,
        read: D,
        write: 0,
        kind: FieldKind::PacketEnd,
    },
    whole(16, 13),
    object(72, SOCK),
];

const fn context(kind: ProgramType, ipv6: bool) -> ObjectLayout<'static> {
    match kind {
        ProgramType::SocketFilter => layout("__sk_buff", SKB_BYTES, SOCKET_FILTER),
        ProgramType::Sched => layout("__sk_buff", SKB_BYTES, SCHED),
        ProgramType::CgroupSkb => layout("__sk_buff", SKB_BYTES, CGROUP_SKB),
        ProgramType::SkSkb => layout("__sk_buff", SKB_BYTES, SK_SKB),
        ProgramType::Lwt => layout("__sk_buff", SKB_BYTES, LWT),
        ProgramType::Xdp => layout("xdp_md", 24, XDP),
        ProgramType::Kprobe => layout("pt_regs", PT_REGS_BYTES as u32, KPROBE),
        ProgramType::Tracepoint => layout("trace record", TRACEPOINT_BYTES as u32, TRACEPOINT),
        ProgramType::RawTracepoint => layout("bpf_raw_tracepoint_args", 96, RAW_TRACEPOINT),
        ProgramType::PerfEvent => layout("bpf_perf_event_data", 184, PERF_EVENT),
        ProgramType::CgroupSock => layout("bpf_sock", 80, CGROUP_SOCK),
        ProgramType::CgroupSockAddr if ipv6 => layout("bpf_sock_addr", 72, SOCK_ADDR_6),
        ProgramType::CgroupSockAddr => layout("bpf_sock_addr", 72, SOCK_ADDR_4),
        ProgramType::SockOps => layout("bpf_sock_ops", 216, SOCK_OPS),
        ProgramType::SkMsg => layout("sk_msg_md", 80, SK_MSG),
    }
}

/// Every object a program of this type can meet; `ipv6` chooses the address fields of a socket address.
pub(super) const fn of(kind: ProgramType, ipv6: bool) -> [ObjectLayout<'static>; 8] {
    let all = [
        context(kind, ipv6),
        layout("bpf_sock (common)", 80, BPF_SOCK),
        layout("bpf_sock", 80, BPF_SOCK),
        layout("bpf_tcp_sock", 112, BPF_TCP_SOCK),
        layout("bpf_xdp_sock", 4, BPF_XDP_SOCK),
        layout("task_struct", 0, &[]),
        layout("kernel object", 0, &[]),
        layout("bpf_flow_keys", 56, BPF_FLOW_KEYS),
    ];
    assert!(all.len() == FLOW_KEYS as usize + 1);
    all
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn fields_are_sorted_inside_and_disjoint() {
        for kind in ProgramType::value_variants() {
            for object in [of(*kind, false), of(*kind, true)].concat() {
                let mut end = 0;
                for f in object.fields {
                    assert!(
                        u32::from(f.offset) >= end,
                        "{}: field at {} overlaps",
                        object.name,
                        f.offset
                    );
                    end = u32::from(f.offset + f.bytes);
                    assert!(end <= object.bytes, "{}: field at {} is outside", object.name, f.offset);
                }
            }
        }
    }
}
