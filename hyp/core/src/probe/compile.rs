//! The token of finished code. Mints [`Compiled`].

use hyp_abi::Status;
use probe_vm::jit::{self, CompileError};
use verifier::Why;

use super::Refused;

/// Code in the writable alias of code memory, made from a proven program. Made by the compile step alone.
#[derive(Debug)]
pub struct Compiled {
    at: u32,
    words: u32,
    stack_bytes: u32,
    insn_bound: u64,
    time_bound: u64,
}

impl Compiled {
    pub(super) const fn new(code: &jit::Compiled, at: u32, insn_bound: u64, time_bound: u64) -> Self {
        Self {
            at,
            words: code.words,
            stack_bytes: code.stack_bytes,
            insn_bound,
            time_bound,
        }
    }

    /// First word in code memory.
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// Words of code; the entry is the first.
    pub const fn words(&self) -> u32 {
        self.words
    }

    /// Most stack a run takes, helpers' not counted.
    pub const fn stack_bytes(&self) -> u32 {
        self.stack_bytes
    }

    /// Proven bound, instructions.
    pub const fn insn_bound(&self) -> u64 {
        self.insn_bound
    }

    /// Proven bound, units of the timing model.
    pub const fn time_bound(&self) -> u64 {
        self.time_bound
    }
}

/// A compiler's refusal of a proven program: x1 = slot, x2 = 1000 + number.
pub(super) fn failed(e: &CompileError) -> Refused {
    let (pc, number) = error_number(e);
    Refused::with(Status::Rejected, &[pc, 1000 + number])
}

/// Slot and number of a compiler's refusal.
pub(super) const fn error_number(e: &CompileError) -> (u64, u64) {
    match e {
        CompileError::Decode { pc, .. } => (*pc as u64, 0),
        CompileError::Unsupported { pc } => (*pc as u64, 1),
        CompileError::BadTarget { pc } => (*pc as u64, 2),
        CompileError::TooLong => (0, 3),
        CompileError::TooManyFunctions => (0, 4),
        CompileError::NoMap { pc } => (*pc as u64, 5),
        CompileError::NoHelper { pc, .. } => (*pc as u64, 6),
        CompileError::TextDiffers { pc } => (*pc as u64, 7),
        CompileError::CodeFull => (0, 8),
        CompileError::OutOfReach => (0, 9),
        CompileError::OutsideWindow => (0, 10),
    }
}

/// Class of a verifier's refusal: 1 shape, 2 values and memory, 3 calls, 4 termination, 5 limits, 6 a defect of ours.
pub(super) const fn reason_number(why: &Why) -> u64 {
    match why {
        Why::NoLoopBound { .. } => 4,
        Why::BoundTooLarge { .. } | Why::TooMuchEffort { .. } | Why::NoSpace { .. } | Why::TooLong { .. } => 5,
        Why::Internal { .. } => 6,
        Why::BadArgument { .. }
        | Why::WrongMap { .. }
        | Why::BadSize { .. }
        | Why::Unreleased { .. }
        | Why::TooManyReferences { .. }
        | Why::UnknownHelper { .. }
        | Why::UnknownMap { .. }
        | Why::BadCallback { .. } => 3,
        Why::Empty
        | Why::Decode(_)
        | Why::JumpOutOfRange { .. }
        | Why::JumpIntoImm64 { .. }
        | Why::LeavesSubprogram { .. }
        | Why::FallsOffEnd
        | Why::Unreachable
        | Why::Recursion { .. }
        | Why::TooManyFrames { .. }
        | Why::StackTooDeep { .. }
        | Why::LoopsTooDeep { .. } => 1,
        _ => 2,
    }
}
