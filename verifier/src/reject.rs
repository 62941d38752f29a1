//! Why a program is refused: the place, the reason with its data, and what was known of every register there.

use crate::env::{ArgKind, REGS_ARGS};
use crate::insn::{AluOp, DecodeError, REGS};
use crate::value::{Region, Val};

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejected {
    /// Slot of the offending instruction.
    pub pc: u32,
    /// Slot of the call in each caller frame, innermost last; the first `depth` are meaningful.
    pub callers: [u32; crate::env::FRAMES],
    /// Frames above the offending one.
    pub depth: u8,
    /// The reason.
    pub why: Why,
    /// No run comes here, but a CPU may, speculatively (see [`crate::env::Rules::speculation`]).
    pub speculative: bool,
    /// What is known of r0 to r10 before that instruction; all `Uninit` for reasons of shape.
    pub regs: [Val; REGS],
}

/// What an access was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// A read-modify-write.
    Atomic,
    /// A helper writes (or both), argument 1 to 5.
    Helper(u8),
    /// A helper reads, argument 1 to 5.
    HelperRead(u8),
}

/// What was learned about the progress of a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// An iteration can leave everything as it was: the loop may never end.
    NoChange,
    /// A register or nothing that the exit conditions test changes, but no bound on iterations follows within the
    /// iterations followed.
    Unbounded {
        /// Iterations followed one by one.
        followed: u64,
        /// The register the exit compares, if one is known.
        counter: Option<u8>,
        /// What is known of it at the head.
        value: Val,
        /// Change per iteration, if it is constant.
        step: Option<i64>,
    },
}

/// Pools that can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Pool {
    Slots,
    Maps,
    Blocks,
    Subprograms,
    Sites,
    Loops,
    States,
    Chunks,
    Work,
    Ids,
}

/// The reason of a refusal. Registers are numbered 0 to 10, offsets and sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Why {
    // Shape of the program.
    Empty,
    TooLong {
        slots: u32,
        max: u32,
    },
    Decode(DecodeError),
    JumpOutOfRange {
        target: u32,
    },
    JumpIntoImm64 {
        target: u32,
    },
    /// A jump or fall-through from one subprogram into another.
    LeavesSubprogram {
        target: u32,
    },
    FallsOffEnd,
    Unreachable,
    Recursion {
        entry: u32,
    },
    TooManyFrames {
        max: u32,
    },
    StackTooDeep {
        bytes: u32,
        max: u32,
    },
    /// Loops nested deeper than supported.
    LoopsTooDeep {
        max: u32,
    },
    UnknownMap {
        index: u32,
    },
    /// The map's values cannot be addressed directly, or not at this offset.
    BadDirectValue {
        index: u32,
        offset: u32,
    },
    UnknownHelper {
        id: u32,
    },
    BadCallback {
        target: u32,
    },
    /// A call between functions of the program, where that is not allowed.
    LocalCall {
        target: u32,
    },
    /// A loop where none is allowed, or one that is not closed by a jump where it must be.
    BackEdge {
        head: u32,
    },

    // Values.
    UninitRegister {
        reg: u8,
    },
    /// Reads stack bytes that were never written; `offset` from the frame's r10.
    UninitStack {
        reg: u8,
        offset: i64,
    },
    /// Memory access through something that is no pointer to memory.
    NotAPointer {
        reg: u8,
        access: Access,
    },
    MaybeNull {
        reg: u8,
        region: Region,
    },
    /// Access of `size` bytes at any offset in `min..=max` of a region of `limit` bytes (stack: offsets from r10,
    /// `limit` is 0 and the lowest is −512).
    OutOfBounds {
        reg: u8,
        access: Access,
        region: Region,
        min: i64,
        max: i64,
        size: u32,
        limit: u32,
    },
    /// The offset has no bound that fits the region at all.
    UnboundedOffset {
        reg: u8,
        access: Access,
        region: Region,
    },
    Misaligned {
        reg: u8,
        region: Region,
        offset: i64,
        size: u32,
    },
    /// A stack access at an offset that is not constant, where that is not allowed.
    VariableStack {
        reg: u8,
    },
    /// A context or object access that matches no field, or not this width, or a write to a read-only one.
    NoSuchField {
        reg: u8,
        object: u16,
        offset: i64,
        size: u32,
        access: Access,
    },
    /// Writing to, or atomics on, memory the program may only read.
    ReadOnly {
        reg: u8,
        region: Region,
    },
    WriteOnly {
        reg: u8,
        region: Region,
    },
    /// Part of a spilled pointer is read or overwritten.
    PartialPointer {
        reg: u8,
        offset: i64,
        size: u32,
    },
    /// Arithmetic that does not leave a pointer of known base.
    PointerArithmetic {
        reg: u8,
        op: AluOp,
        region: Region,
    },
    /// The offset would leave the range in which pointer arithmetic is exact.
    PointerOffset {
        reg: u8,
        region: Region,
    },
    /// Arithmetic itself leaves the region of `limit` bytes (stack: offsets from r10, `limit` is 0), where that is not
    /// allowed even without an access.
    ArithmeticRange {
        reg: u8,
        region: Region,
        min: i64,
        max: i64,
        limit: u32,
    },
    /// A number of either sign is added to a pointer, or one to a pointer that has no known room, where speculation is
    /// to be contained.
    ArithmeticUncontained {
        reg: u8,
        region: Region,
    },
    /// One addition is of different operands (kinds, signs or room) on different paths, where speculation is to be
    /// contained.
    ArithmeticMixed {
        reg: u8,
    },
    /// A pointer's bits would become visible: stored, returned, compared, passed or exchanged.
    PointerLeak {
        reg: u8,
    },
    PointerCompare {
        reg: u8,
    },
    /// A pointer into the callee's frame outlives it.
    DeadFrame {
        reg: u8,
    },
    /// A division by a constant zero.
    DivisionByZero,
    /// One instruction would access different kinds of memory on different paths.
    MixedAccess {
        reg: u8,
    },
    /// A helper argument, 1 to 5.
    BadArgument {
        helper: u32,
        arg: u8,
        want: ArgKind,
    },
    /// A map of a kind (or with sizes) the helper does not take.
    WrongMap {
        helper: u32,
        arg: u8,
        map: u16,
    },
    /// A size argument that may be negative, zero where that is refused, or over the maximum.
    BadSize {
        helper: u32,
        arg: u8,
        min: i64,
        max: u64,
        limit: u32,
    },
    /// A reference acquired at this slot is not released on this path.
    Unreleased {
        acquired: u32,
    },
    TooManyReferences {
        max: u32,
    },
    ReturnValue {
        min: i64,
        max: i64,
        want_min: i64,
        want_max: i64,
    },
    /// `ld_abs`/`ld_ind` without the context in r6, or not in this environment, or inside a subprogram.
    PacketLoad,

    // Termination and limits.
    NoLoopBound {
        head: u32,
        progress: Progress,
    },
    BoundTooLarge {
        bound: u64,
        max: u64,
    },
    TooMuchEffort {
        visits: u64,
        max: u64,
    },
    NoSpace {
        pool: Pool,
        size: u32,
    },
    /// A state that the verifier's own checks show to be wrong: a defect of the verifier, refused to be safe.
    Internal {
        line: u32,
    },
}

/// Argument registers r1 to r5.
pub const ARGS: usize = REGS_ARGS;
