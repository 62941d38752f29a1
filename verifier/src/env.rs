//! The environment a program runs in, as data: context layout, helper prototypes, maps, rules and limits.
//!
//! Nothing here is Gnomon's own: probe-vm describes Gnomon's points and helpers with it, the host tool describes Linux.

/// Bytes of stack of all live frames together, each frame rounded up to [`STACK_ROUND`] (as Linux).
pub const STACK_BYTES: u32 = 512;
/// A frame's stack is accounted in units of this many bytes.
pub const STACK_ROUND: u32 = 32;
/// Most frames alive at once, the main program included (as Linux).
pub const FRAMES: usize = 8;

/// Newest version of the instruction set (RFC 9669).
pub const ISA_MAX: u8 = 4;

/// What one eBPF program may see and call. Helpers must be sorted by id.
#[derive(Clone, Copy, Debug)]
pub struct Env<'e> {
    /// Helper prototypes, sorted by `id`.
    pub helpers: &'e [HelperProto],
    /// Layouts of the context and of other kernel objects; index 0 is the context in r1.
    pub objects: &'e [ObjectLayout<'e>],
    /// Rules that differ between environments.
    pub rules: Rules,
    /// Limits on program and effort.
    pub limits: Limits,
}

/// Rules that differ between environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Allowed range of r0 at the program's exit, signed 64-bit; `None`: any scalar.
    pub returns: Option<(i64, i64)>,
    /// Refuse every way a pointer's bits could reach the loader: maps, scalars, comparisons, return value.
    pub hide_pointers: bool,
    /// Reading stack bytes never written is refused even where only their content is unknown.
    pub no_uninit_stack: bool,
    /// Refuse misaligned access to map values and records (packets and context too); the stack is always checked.
    pub strict_align: bool,
    /// Refuse stack accesses at offsets that are not constant.
    pub fixed_stack: bool,
    /// Refuse division and modulo by an immediate 0 (Linux); else they yield 0 and the dividend (RFC 9669).
    pub no_zero_divisor: bool,
    /// Refuse calls between eBPF functions, callbacks too (Linux without privileges).
    pub no_local_calls: bool,
    /// Follow also the outcomes of comparisons that no run takes, as a mispredicting CPU may, and keep the results of
    /// pointer arithmetic itself inside their object (Linux without privileges, against Spectre v1). Loops are refused
    /// with it: a mispredicted exit has no bound.
    pub speculation: bool,
    /// A loop must be closed by a jump, not by running on into its head (Linux).
    pub loops_by_jump: bool,
    /// A shift by the operand's width or more yields an unknown number (Linux); else the amount is taken modulo the
    /// width (RFC 9669, section 4.1).
    pub wide_shift_unknown: bool,
    /// Comparing the context, the stack, a map or memory of a helper with null decides nothing, as Linux has it; else
    /// they are known not to be null.
    pub undecided_null: bool,
    /// Newest version of the instruction set that is accepted, 3 or 4 (RFC 9669 is 4).
    pub isa: u8,
    /// Every instruction must be reachable in the control flow graph.
    pub no_unreachable: bool,
    /// Bytes of packet that may be addressed past `data` at most (Linux: 65535).
    pub packet_bytes: u32,
    /// Programs may write packet data.
    pub packet_writable: bool,
    /// `ld_abs`/`ld_ind` are allowed and r6 must hold the context.
    pub packet_loads: bool,
    /// What the bytes of a map are called in r1 when there is no context object: the size of a plain read-write
    /// memory buffer in r1, with its size in r2 (conformance suite style). 0: r1 is object 0.
    pub memory_arg_bytes: u32,
}

/// Limits on program and effort. Each exceeded limit is a refusal that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Slots of the program.
    pub insns_max: u32,
    /// Most instructions the proven bound may allow.
    pub insn_bound_max: u64,
    /// Abstract instruction visits, over all attempts.
    pub visits_max: u64,
}

/// Gnomon's defaults: what an EL2 pool holds and what a probe may reasonably need.
impl Rules {
    /// Gnomon's rules: loaders are guests, so pointers are hidden; divisors and unreachable code as the RFC has them.
    pub const GNOMON: Rules = Rules {
        returns: None,
        hide_pointers: true,
        no_uninit_stack: true,
        strict_align: true,
        fixed_stack: false,
        no_zero_divisor: false,
        no_local_calls: false,
        speculation: false,
        loops_by_jump: false,
        wide_shift_unknown: false,
        undecided_null: false,
        isa: ISA_MAX,
        no_unreachable: true,
        packet_bytes: 0,
        packet_writable: false,
        packet_loads: false,
        memory_arg_bytes: 0,
    };
}

impl Limits {
    /// 4,096 slots, 16 M instructions of bound, 4 M visits.
    pub const GNOMON: Limits = Limits {
        insns_max: 4096,
        insn_bound_max: 1 << 24,
        visits_max: 4_000_000,
    };
}

/// Index of a field's meaning within an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Plain number.
    Scalar,
    /// Number in this range (inclusive).
    ScalarRange(u64, u64),
    /// Start of packet data (reads as a 64-bit pointer whatever the width of the field).
    PacketData,
    /// End of packet data.
    PacketEnd,
    /// Start of packet metadata, which ends at the packet data.
    PacketMeta,
    /// Pointer to another object of [`Env::objects`]; `nullable` means it must be compared with 0 before use.
    Object {
        /// Index into [`Env::objects`].
        index: u16,
        /// May be null.
        nullable: bool,
    },
}

/// One field of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Byte offset.
    pub offset: u16,
    /// Bytes covered. An access must lie inside one field.
    pub bytes: u16,
    /// Widths in which it may be read: bit 0 = 1 byte, bit 1 = 2, bit 2 = 4, bit 3 = 8. Offsets inside the field must
    /// be aligned to the width.
    pub read: u8,
    /// Widths in which it may be written.
    pub write: u8,
    /// What it holds.
    pub kind: FieldKind,
}

/// All four access widths.
pub const ANY_WIDTH: u8 = 15;

/// Layout of the context or of another object that the hypervisor (or kernel) hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLayout<'e> {
    /// Name for reports.
    pub name: &'e str,
    /// Bytes in all.
    pub bytes: u32,
    /// Fields, sorted by offset, not overlapping; bytes outside of any are not accessible.
    pub fields: &'e [Field],
}

/// Kinds of maps, Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapKind(pub u8);

#[allow(missing_docs)]
impl MapKind {
    pub const HASH: MapKind = MapKind(1);
    pub const ARRAY: MapKind = MapKind(2);
    pub const PROG_ARRAY: MapKind = MapKind(3);
    pub const PERF_EVENT_ARRAY: MapKind = MapKind(4);
    pub const PERCPU_HASH: MapKind = MapKind(5);
    pub const PERCPU_ARRAY: MapKind = MapKind(6);
    pub const STACK_TRACE: MapKind = MapKind(7);
    pub const CGROUP_ARRAY: MapKind = MapKind(8);
    pub const LRU_HASH: MapKind = MapKind(9);
    pub const LRU_PERCPU_HASH: MapKind = MapKind(10);
    pub const LPM_TRIE: MapKind = MapKind(11);
    pub const ARRAY_OF_MAPS: MapKind = MapKind(12);
    pub const HASH_OF_MAPS: MapKind = MapKind(13);
    pub const DEVMAP: MapKind = MapKind(14);
    pub const SOCKMAP: MapKind = MapKind(15);
    pub const CPUMAP: MapKind = MapKind(16);
    pub const XSKMAP: MapKind = MapKind(17);
    pub const SOCKHASH: MapKind = MapKind(18);
    pub const CGROUP_STORAGE: MapKind = MapKind(19);
    pub const REUSEPORT_SOCKARRAY: MapKind = MapKind(20);
    pub const PERCPU_CGROUP_STORAGE: MapKind = MapKind(21);
    pub const QUEUE: MapKind = MapKind(22);
    pub const STACK: MapKind = MapKind(23);
    pub const SK_STORAGE: MapKind = MapKind(24);
    pub const DEVMAP_HASH: MapKind = MapKind(25);
    pub const STRUCT_OPS: MapKind = MapKind(26);
    pub const RINGBUF: MapKind = MapKind(27);
    pub const INODE_STORAGE: MapKind = MapKind(28);
    pub const TASK_STORAGE: MapKind = MapKind(29);
    pub const BLOOM_FILTER: MapKind = MapKind(30);

    /// Bit of this kind in [`ArgKind::ConstMap`] masks.
    pub const fn bit(self) -> u64 {
        if self.0 < 64 { 1 << self.0 } else { 0 }
    }
}

/// What a lookup in a map yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Pointer to `value_bytes` bytes, or null.
    Value,
    /// A map with the description of this index of the program's map list, or null (maps of maps).
    Map(u16),
    /// An object of [`Env::objects`], or null (sockets).
    Object(u16),
    /// Programs may not look into it.
    Refused,
}

/// One map of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapDesc {
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Capacity in entries (bytes for ring buffers).
    pub entries: u32,
    /// The program may read values.
    pub readable: bool,
    /// The program may write values.
    pub writable: bool,
    /// Value addresses may be loaded as 64-bit immediates (arrays), into entry 0.
    pub direct_value: bool,
    /// What lookup yields.
    pub lookup: Lookup,
}

/// What a helper wants in one argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Not used.
    None,
    /// Any initialised scalar; a pointer only where pointers need not be hidden.
    Any,
    /// The context (object 0), unmodified.
    Ctx,
    /// An object by index, not null.
    Object(u16),
    /// An object by index, or null.
    ObjectOrNull(u16),
    /// An object whose index bit is set in the mask, not null (sockets of several kinds).
    ObjectMask(u64),
    /// A map known at verification, of a kind whose bit is set (see [`MapKind::bit`]).
    ConstMap(u64),
    /// Initialised memory of the size of a key of the map in the first `ConstMap` argument.
    MapKey,
    /// As `MapKey`, or null.
    MapKeyOrNull,
    /// Initialised memory of the size of a value of that map.
    MapValue,
    /// As `MapValue`, or null.
    MapValueOrNull,
    /// Writable memory of the size of a value of that map; the helper fills it.
    MapValueOut,
    /// Initialised readable memory; its size is in the next argument.
    MemRead,
    /// As `MemRead`, or null if the size is 0.
    MemReadOrNull,
    /// Writable memory the helper fills; its size is in the next argument.
    MemOut,
    /// As `MemOut`, or null if the size is 0.
    MemOutOrNull,
    /// Writable memory of this many bytes the helper fills, aligned to its size up to 8.
    FixedOut(u32),
    /// Initialised readable memory of this many bytes.
    FixedRead(u32),
    /// Initialised readable and writable memory whose size is in the next argument (read and updated in place).
    MemReadWrite,
    /// Size of the memory before it: 1 up to the given maximum.
    Size(u32),
    /// Size of the memory before it: 0 up to the given maximum.
    SizeOrZero(u32),
    /// Constant size of the record to reserve: up to the maximum.
    ConstAlloc(u32),
    /// A record to be released: acquired, not null, unmodified. The call releases it.
    Record,
    /// A referenced object to be released; bit mask of object indices.
    ReleaseObject(u64),
    /// A callback: a subprogram known at verification, see [`HelperProto::callback`].
    Callback,
    /// A pointer to the stack, or 0; handed on as the callback's context.
    StackOrNull,
    /// A value of a map (whole, offset 0), any map.
    AnyMapValue,
    /// Zero-terminated string in read-only map memory, offset constant.
    ConstString,
    /// A constant 0 (reserved flags).
    Zero,
    /// Not possible in this environment: every use is refused.
    Refused,
}

/// What a helper leaves in r0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// A number of any value.
    Scalar,
    /// A number in this signed range, inclusive.
    Range(i64, i64),
    /// A number from the given least value up to the greatest value of the first size argument.
    UpToSize(i64),
    /// Nothing: r0 may not be read.
    Void,
    /// What [`MapDesc::lookup`] says, or null.
    Lookup,
    /// A pointer to a value of the map in the first `ConstMap` argument, never null.
    MapValue,
    /// A record of the size of the `ConstAlloc` argument, or null. Acquired: must be released on every path.
    RecordOrNull,
    /// Memory of this many bytes, or null.
    MemOrNull(u32),
    /// Memory of this many bytes, never null.
    Mem(u32),
    /// Memory of the size of the constant `ConstAlloc` argument, or null; not acquired.
    AllocOrNull,
    /// An object, or null; `acquire`: it must be released.
    ObjectOrNull {
        /// Index into [`Env::objects`].
        index: u16,
        /// Must be released on every path.
        acquire: bool,
    },
    /// An object, never null.
    Object(u16),
}

/// How often a helper calls its callback, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// As often as the scalar in this argument (1 to 5) says, at most; `max` bounds it (the helper refuses more).
    Count {
        /// Argument register, 1 to 5.
        arg: u8,
        /// Most iterations the helper does.
        max: u32,
    },
    /// Once for each entry of the map in argument 1.
    EachEntry,
    /// Once at most.
    Once,
}

/// What a callback gets in an argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackArg {
    /// Nothing: not initialised.
    None,
    /// Number of the iteration, from 0.
    Index,
    /// The map.
    Map,
    /// Pointer to a readable key of the map.
    Key,
    /// Pointer to a value of the map.
    Value,
    /// What the caller passed in this argument (1 to 5).
    Passed(u8),
}

/// A callback's calling convention. It returns 0 to go on, 1 to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackProto {
    /// How often.
    pub repeat: Repeat,
    /// r1 to r5 of the callback.
    pub args: [CallbackArg; 5],
}

/// One helper function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelperProto {
    /// Number in call instructions.
    pub id: u32,
    /// Name for reports.
    pub name: &'static str,
    /// r1 to r5.
    pub args: [ArgKind; 5],
    /// r0 after the call.
    pub ret: Ret,
    /// Packet pointers are invalid after it.
    pub changes_packet: bool,
    /// Calls back a subprogram.
    pub callback: Option<CallbackProto>,
}

impl HelperProto {
    /// A helper with these arguments and result, and nothing special.
    pub const fn new(id: u32, name: &'static str, args: [ArgKind; 5], ret: Ret) -> HelperProto {
        HelperProto {
            id,
            name,
            args,
            ret,
            changes_packet: false,
            callback: None,
        }
    }
}

/// A program to verify: copied by the verifier, so that nothing can change under it.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Instruction slots; the first is the entry. Map references are indices into `maps`.
    pub text: &'a [u64],
    /// Maps.
    pub maps: &'a [MapDesc],
}

/// Registers that carry arguments, r1 to r5.
pub const REGS_ARGS: usize = 5;

impl<'e> Env<'e> {
    /// The prototype of helper `id`.
    pub fn helper(&self, id: u32) -> Option<&'e HelperProto> {
        let at = self.helpers.binary_search_by_key(&id, |h| h.id).ok()?;
        self.helpers.get(at)
    }
}
