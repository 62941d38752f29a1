//! Records that EL2 writes into guest memory, and those of the hypervisor stream on the console.

use crate::config::NAME_LEN;

record! {
    /// What is known of one path. All times in the unit of the image's timing model (retired instructions for `insns`).
    pub struct PathRecord {
        /// [`crate::PathId`].
        pub path: u32,
        /// 0: `own` is an observed maximum without probes; 1: `own` is a proven bound.
        pub basis: u32,
        /// Exits of this path since boot or PathReset.
        pub count: u64,
        /// Sum over these exits.
        pub sum: u64,
        /// Least; `u64::MAX` while count is 0.
        pub min: u64,
        /// Most, probes included.
        pub max: u64,
        /// The path itself, no probe attached.
        pub own: u64,
        /// Σ n·(F + W) of the attached probes.
        pub probes: u64,
        /// The largest that `probes` was since boot or PathReset: what `max` may hold besides `own`.
        pub probes_most: u64,
        /// Manifest budget; `u64::MAX` where the manifest gives none.
        pub budget: u64,
    }
}

record! {
    /// What was there when a path took its longest so far.
    pub struct PathPeak {
        /// [`crate::PathId`].
        pub path: u32,
        /// VM that left.
        pub vm: u32,
        /// Its vCPU.
        pub vcpu: u32,
        /// Points with probes then, as bits by number.
        pub points: u32,
        /// How long it took; 0 if the path was never taken.
        pub length: u64,
        /// When, ns.
        pub time_ns: u64,
        /// ESR_EL2 of a synchronous exit; INTID of an interrupt.
        pub cause: u64,
        /// IPA of an abort, otherwise stale.
        pub ipa: u64,
        /// Where the vCPU that left goes on.
        pub pc: u64,
        /// x0–x7 of the vCPU that left, as the exit left them: results of a call stand in place of its arguments.
        pub x: [u64; 8],
    }
}

record! {
    /// A loaded program.
    pub struct ProgramInfo {
        /// 0 staged, 1 verified, 2 compiled, 3 published, 4 attached.
        pub state: u32,
        /// Owner VM.
        pub vm: u32,
        /// eBPF instruction slots.
        pub insns: u32,
        /// Maps.
        pub maps: u32,
        /// Attachments.
        pub attachments: u32,
        /// Bytes of A64 code (0 before compile).
        pub code_bytes: u32,
        /// Proven instruction bound (0 before verified).
        pub insn_bound: u64,
        /// Proven time bound (0 before verified).
        pub time_bound: u64,
        /// Program name.
        pub name: [u8; NAME_LEN],
    }
}

record! {
    /// A map of a loaded program.
    pub struct MapInfo {
        /// Linux `enum bpf_map_type`.
        pub kind: u32,
        /// Bytes of a key.
        pub key_size: u32,
        /// Bytes of a value.
        pub value_size: u32,
        /// Capacity.
        pub max_entries: u32,
        /// CPUs with a slot of their own (1 for shared kinds).
        pub slots: u32,
        /// Handle of the map, never 0: another program of the same owner may share it by naming this in its image.
        pub handle: u32,
        /// Map name.
        pub name: [u8; NAME_LEN],
    }
}

/// A fixed pool of EL2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Pool {
    /// Program slots of the system.
    Programs = 0,
    /// eBPF instruction slots of a program.
    Insns = 1,
    /// Map slots of the system.
    Maps = 2,
    /// Map memory of the VM (its manifest quota), bytes.
    MapMemory = 3,
    /// Code memory, bytes.
    Code = 4,
    /// Attachments of one point.
    Attachments = 5,
    /// Verifier memory (one verification at a time).
    Verifier = 6,
    /// Stage-2 table pages.
    Stage2Tables = 7,
}

impl Pool {
    /// All pools, ascending.
    pub const ALL: [Pool; 8] = [
        Pool::Programs,
        Pool::Insns,
        Pool::Maps,
        Pool::MapMemory,
        Pool::Code,
        Pool::Attachments,
        Pool::Verifier,
        Pool::Stage2Tables,
    ];
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Pool::Programs => "programs",
            Pool::Insns => "program instructions",
            Pool::Maps => "maps",
            Pool::MapMemory => "map memory of this VM",
            Pool::Code => "code memory",
            Pool::Attachments => "attachments of this point",
            Pool::Verifier => "verifier memory",
            Pool::Stage2Tables => "stage-2 tables",
        }
    }
}

record! {
    /// Use of one pool.
    pub struct PoolRecord {
        /// [`Pool`].
        pub pool: u32,
        /// 0.
        pub pad: u32,
        /// In use now.
        pub used: u64,
        /// Most ever in use.
        pub peak: u64,
        /// Size.
        pub size: u64,
    }
}

record! {
    /// A VM as VmRead shows it.
    pub struct VmRecord {
        /// VM id.
        pub vm: u32,
        /// 0 running or ready, 1 blocked, 2 off, 3 faulted.
        pub state: u32,
        /// Exits of its vCPUs.
        pub exits: u64,
        /// Virtual time its vCPUs ran, ns.
        pub run_ns: u64,
        /// Name.
        pub name: [u8; NAME_LEN],
    }
}

/// Kind byte of a record on the hypervisor stream of the console ([`crate::console`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// [`VmStopped`].
    VmStopped = 1,
    /// EL2 is up: payload = [`crate::ABI_VERSION`] u32, VM count u32.
    Booted = 2,
    /// The last VM has stopped and the machine powers off; empty payload.
    SystemOff = 3,
    /// defmt frames of the log ring, in pieces, after a fault of our own.
    LogDump = 4,
    /// [`Epitaph`]: EL2 itself failed.
    Epitaph = 5,
    /// The boot configuration is refused: payload = code u32, record kind u32, index u32.
    BadConfig = 6,
    /// A VM starts again: payload = VM id u32.
    VmRestarted = 7,
}

impl StreamKind {
    /// From the kind byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::VmStopped,
            2 => Self::Booted,
            3 => Self::SystemOff,
            4 => Self::LogDump,
            5 => Self::Epitaph,
            6 => Self::BadConfig,
            7 => Self::VmRestarted,
            _ => return None,
        })
    }
}

/// Why a VM stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum StopCause {
    /// PSCI SYSTEM_OFF, or CPU_OFF of its last vCPU.
    PowerOff = 0,
    /// VmExit hypercall: `code` is its argument.
    Exit = 1,
    /// PSCI SYSTEM_RESET where restart is not allowed.
    Reset = 2,
    /// A stage-2 abort that nothing answers.
    MemoryFault = 3,
    /// An exception that EL2 has no meaning for; `esr` tells.
    UnknownException = 4,
    /// Stopped by a VM with the right.
    Killed = 5,
}

impl StopCause {
    /// From its number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::PowerOff,
            1 => Self::Exit,
            2 => Self::Reset,
            3 => Self::MemoryFault,
            4 => Self::UnknownException,
            5 => Self::Killed,
            _ => return None,
        })
    }
}

record! {
    /// A VM has stopped: the report of a fault, or of a clean end. Registers as at the last exit.
    pub struct VmStopped {
        /// VM id.
        pub vm: u32,
        /// vCPU index.
        pub vcpu: u32,
        /// [`StopCause`].
        pub cause: u32,
        /// Exit code of [`StopCause::Exit`].
        pub code: u32,
        /// ESR_EL2.
        pub esr: u64,
        /// FAR_EL2: guest virtual address.
        pub far: u64,
        /// Faulting IPA (HPFAR_EL2 and the page offset).
        pub ipa: u64,
        /// ELR_EL2: guest pc.
        pub elr: u64,
        /// SPSR_EL2.
        pub spsr: u64,
        /// SP_EL1.
        pub sp_el1: u64,
        /// x0–x30.
        pub x: [u64; 31],
    }
}

record! {
    /// EL2 itself took an exception or panicked.
    pub struct Epitaph {
        /// 0 exception, 1 panic.
        pub kind: u32,
        /// Source line of a panic (0 if unknown).
        pub line: u32,
        /// ESR_EL2.
        pub esr: u64,
        /// FAR_EL2.
        pub far: u64,
        /// ELR_EL2: EL2 pc.
        pub elr: u64,
        /// Stack pointer.
        pub sp: u64,
    }
}

// A stream record carries its length in one byte for small kinds; VmStopped is the largest.
const _: () = assert!(VmStopped::SIZE <= u16::MAX as usize);
