//! Linux program types, and which one a section name stands for.

/// A type of program: what its context is and what it may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs)]
pub enum ProgramType {
    SocketFilter,
    Kprobe,
    Tracepoint,
    RawTracepoint,
    PerfEvent,
    /// `tc` classifier or action.
    Sched,
    Xdp,
    CgroupSkb,
    CgroupSock,
    CgroupSockAddr,
    SockOps,
    SkSkb,
    SkMsg,
    Lwt,
}

impl ProgramType {
    /// Its bit in the helper table.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// `BPF_PROG_TYPE_*` of Linux's UAPI.
    pub fn from_number(n: u32) -> Option<ProgramType> {
        Some(match n {
            1 => ProgramType::SocketFilter,
            2 => ProgramType::Kprobe,
            3 | 4 => ProgramType::Sched,
            5 => ProgramType::Tracepoint,
            6 => ProgramType::Xdp,
            7 => ProgramType::PerfEvent,
            8 => ProgramType::CgroupSkb,
            9 => ProgramType::CgroupSock,
            10..=12 | 19 => ProgramType::Lwt,
            13 => ProgramType::SockOps,
            14 => ProgramType::SkSkb,
            16 => ProgramType::SkMsg,
            17 => ProgramType::RawTracepoint,
            18 => ProgramType::CgroupSockAddr,
            _ => return None,
        })
    }
}

/// Sets of types, for the helper table.
pub(super) mod sets {
    use super::ProgramType as T;

    pub const NONE: u32 = 0;
    pub const ALL: u32 = u32::MAX;
    /// What `bpf_base_func_proto` gives to everyone.
    pub const BASE: u32 = ALL;
    pub const SOCKET_FILTER: u32 = T::SocketFilter.bit();
    pub const KPROBE: u32 = T::Kprobe.bit();
    pub const PERF_EVENT: u32 = T::PerfEvent.bit();
    pub const TRACE: u32 = KPROBE | PERF_EVENT | T::Tracepoint.bit() | T::RawTracepoint.bit();
    pub const TC: u32 = T::Sched.bit();
    pub const XDP: u32 = T::Xdp.bit();
    pub const CG_SKB: u32 = T::CgroupSkb.bit();
    pub const SOCK_ADDR: u32 = T::CgroupSockAddr.bit();
    pub const SOCKOPS: u32 = T::SockOps.bit();
    pub const SK_SKB: u32 = T::SkSkb.bit();
    pub const SK_MSG: u32 = T::SkMsg.bit();
    pub const LWT: u32 = T::Lwt.bit();
    pub const CGROUP: u32 = CG_SKB | SOCK_ADDR | T::CgroupSock.bit();
    pub const SKB: u32 = SOCKET_FILTER | TC | CG_SKB | SK_SKB | LWT;
    pub const SOCK_LOOKUP: u32 = TC | XDP | CG_SKB | SOCK_ADDR | SK_SKB;
}

/// Section name prefixes as libbpf, iproute2 and the tools before them use them; the first match holds.
const PREFIXES: &[(&str, ProgramType)] = &[
    ("socket", ProgramType::SocketFilter),
    ("filter", ProgramType::SocketFilter),
    ("kprobe", ProgramType::Kprobe),
    ("kretprobe", ProgramType::Kprobe),
    ("ksyscall", ProgramType::Kprobe),
    ("kretsyscall", ProgramType::Kprobe),
    ("uprobe", ProgramType::Kprobe),
    ("uretprobe", ProgramType::Kprobe),
    ("usdt", ProgramType::Kprobe),
    ("tracepoint", ProgramType::Tracepoint),
    ("tp/", ProgramType::Tracepoint),
    ("raw_tracepoint", ProgramType::RawTracepoint),
    ("raw_tp", ProgramType::RawTracepoint),
    ("perf_event", ProgramType::PerfEvent),
    ("classifier", ProgramType::Sched),
    ("action", ProgramType::Sched),
    ("tcx/", ProgramType::Sched),
    ("tc", ProgramType::Sched),
    ("from-", ProgramType::Sched),
    ("to-", ProgramType::Sched),
    ("xdp", ProgramType::Xdp),
    ("cgroup_skb", ProgramType::CgroupSkb),
    ("cgroup/skb", ProgramType::CgroupSkb),
    ("cgroup/sock_create", ProgramType::CgroupSock),
    ("cgroup/sock_release", ProgramType::CgroupSock),
    ("cgroup/post_bind", ProgramType::CgroupSock),
    ("cgroup/bind", ProgramType::CgroupSockAddr),
    ("cgroup/connect", ProgramType::CgroupSockAddr),
    ("cgroup/sendmsg", ProgramType::CgroupSockAddr),
    ("cgroup/recvmsg", ProgramType::CgroupSockAddr),
    ("cgroup/getpeername", ProgramType::CgroupSockAddr),
    ("cgroup/getsockname", ProgramType::CgroupSockAddr),
    ("cgroup/sock", ProgramType::CgroupSock),
    ("sockops", ProgramType::SockOps),
    ("sk_skb", ProgramType::SkSkb),
    ("sk_msg", ProgramType::SkMsg),
    ("lwt_", ProgramType::Lwt),
];

/// The type a section name stands for.
pub fn by_section(section: &str) -> Option<ProgramType> {
    let section = section.strip_prefix('?').unwrap_or(section);
    let known = PREFIXES
        .iter()
        .find(|(prefix, _)| section.starts_with(prefix))
        .map(|(_, t)| *t);
    known.or_else(|| is_tail_call_slot(section).then_some(ProgramType::Sched))
}

/// iproute2 names the targets of tail calls `MAP/INDEX`, two numbers.
fn is_tail_call_slot(section: &str) -> bool {
    let number = |s: &str| {
        let digits = s.strip_prefix("0x").unwrap_or(s);
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit())
    };
    section
        .split_once('/')
        .is_some_and(|(map, index)| number(map) && number(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_names() {
        for (name, want) in [
            ("xdp", Some(ProgramType::Xdp)),
            ("xdp_prog", Some(ProgramType::Xdp)),
            ("kretprobe/sys_open", Some(ProgramType::Kprobe)),
            ("tracepoint/sched/sched_switch", Some(ProgramType::Tracepoint)),
            ("raw_tp/sys_enter", Some(ProgramType::RawTracepoint)),
            ("cgroup/sock", Some(ProgramType::CgroupSock)),
            ("cgroup/connect4", Some(ProgramType::CgroupSockAddr)),
            ("2/0x1010", Some(ProgramType::Sched)),
            ("tc", Some(ProgramType::Sched)),
            ("probe/vm_exit", None),
            ("struct_ops/x", None),
        ] {
            assert_eq!(by_section(name), want, "{name}");
        }
    }
}
