//! The AArch64 compiler: a verified program to A64 words, in two passes over the slots.
//!
//! [`Plan`] decides from the text alone; [`JitCost`] states the time of each instruction of that plan to the
//! verifier; [`Compiler`] emits it. All three lower an instruction with the same code, so the bound that was
//! proven is of the very words that are emitted. Everything is resumable: a step works through as many slots as
//! it is given and each slot costs a bounded amount (at most [`SLOT_WORDS_MAX`] words).
//!
//! Compiled code is called as `extern "C" fn(context: *const u8) -> u64` and keeps to the procedure call standard
//! (AAPCS64), or is branched to by a probe point, as [`Entry::Point`] says. It accesses no memory but what the program was
//! proven to access, its stack, and this CPU's block: its number ([`CpuLink`]) and the context of firings ([`ContextLink`]).

pub mod a64;
pub mod chain;
mod cost;
mod emit;
mod links;
mod lower;
mod plan;

pub use cost::JitCost;
pub use links::{ContextLink, CpuLink, Entry, HelperLink, HelperTime, Links, MapLink, Scale, TimeLink};
pub use lower::SLOT_WORDS_MAX;
pub use plan::{FUNCS_MAX, LOOKBACK_MAX, Plan, Work};

use emit::Emit;
use lower::Lower;
use plan::{FUNC, HOLE};
use verifier::Verified;
use verifier::cost::CoreModel;
use verifier::insn::DecodeError;

/// What a program returns that gave up in an exclusive loop (cores without FEAT_LSE only): the bits of "ABORTED\0".
pub const ABORTED: u64 = 0x0044_4554_524f_4241;

/// Why a program was not compiled. Slots as in the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompileError {
    /// The slot is no instruction.
    Decode {
        /// Its index.
        pc: u32,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// An instruction the compiler has no code for: packet access of classic BPF.
    Unsupported {
        /// Slot.
        pc: u32,
    },
    /// A jump or call leaves the program, or calls the program itself.
    BadTarget {
        /// Slot.
        pc: u32,
    },
    /// More slots than the caller's memory has room for.
    TooLong,
    /// More than [`FUNCS_MAX`] functions.
    TooManyFunctions,
    /// A map that the links do not have.
    NoMap {
        /// Slot.
        pc: u32,
    },
    /// A helper that the links do not have.
    NoHelper {
        /// Slot of the call.
        pc: u32,
        /// Its number.
        id: u32,
    },
    /// The plan was made of another text than what was verified.
    TextDiffers {
        /// First slot that differs.
        pc: u32,
    },
    /// The code buffer is too small.
    CodeFull,
    /// A branch does not reach its target.
    OutOfReach,
    /// The code would not be placed inside [`Links::window`].
    OutsideWindow,
}

/// Compiled code in the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compiled {
    /// Words of code. The entry is word 0.
    pub words: u32,
    /// Bytes of stack a run takes at most, saved registers included; helpers' own stack comes on top.
    pub stack_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pass {
    Measure,
    Write,
}

/// A compilation under way.
#[derive(Debug)]
pub struct Compiler<'a> {
    plan: &'a Plan<'a>,
    links: &'a Links<'a>,
    offsets: &'a mut [u32],
    verified: &'a [u64],
    stacks: [u16; FUNCS_MAX],
    /// Words of the context that the program reads.
    context: u64,
    base: u64,
    pass: Pass,
    pc: u32,
    at: u32,
}

impl<'a> Compiler<'a> {
    /// Begins to compile `verified` by `plan`, to run at address `base`. `offsets` needs one entry more than the
    /// program has slots.
    pub fn start(
        verified: &'a Verified<'_>,
        plan: &'a Plan<'a>,
        links: &'a Links<'a>,
        offsets: &'a mut [u32],
        base: u64,
    ) -> Result<Self, CompileError> {
        let mut compiler = Compiler::begin(verified.text(), plan, links, offsets, base)?;
        compiler.context = verified.totals().context_words;
        for (stack, func) in compiler.stacks.iter_mut().zip(plan.funcs.iter().take(plan.count)) {
            // A subprogram that was never entered has no proven frame: it keeps the largest.
            if let Some(sub) = verified.subprograms().iter().find(|s| s.entry == func.entry) {
                *stack = sub.stack_bytes.min(plan::STACK_MAX).next_multiple_of(16) as u16;
            }
        }
        Ok(compiler)
    }

    fn begin(
        text: &'a [u64],
        plan: &'a Plan<'a>,
        links: &'a Links<'a>,
        offsets: &'a mut [u32],
        base: u64,
    ) -> Result<Self, CompileError> {
        if text.len() != plan.text.len() {
            return Err(CompileError::TextDiffers {
                pc: text.len().min(plan.text.len()) as u32,
            });
        }
        let offsets = offsets.get_mut(..text.len() + 1).ok_or(CompileError::TooLong)?;
        if base < links.window.0 || base > links.window.1 {
            return Err(CompileError::OutsideWindow);
        }
        let stacks = [plan::STACK_MAX as u16; FUNCS_MAX];
        let pass = Pass::Measure;
        Ok(Compiler {
            plan,
            links,
            offsets,
            verified: text,
            stacks,
            context: 0,
            base,
            pass,
            pc: 0,
            at: 0,
        })
    }

    /// Works through up to `slots` slots (two visits a slot in all); `None`: more to do. `code` must be the same
    /// buffer in every step; nothing in it is valid before the end.
    pub fn step(&mut self, code: &mut [u32], slots: u32) -> Result<Option<Compiled>, CompileError> {
        let mut left = slots;
        while left > 0 {
            left -= 1;
            if (self.pc as usize) < self.plan.text.len() {
                self.slot(code)?;
                self.pc += 1;
                continue;
            }
            self.emit_with(code, |lower| {
                lower.abort();
                Ok(())
            })?;
            if self.pass == Pass::Write {
                return Ok(Some(Compiled {
                    words: self.at,
                    stack_bytes: self.stack_bytes(),
                }));
            }
            if self.at as usize > code.len() {
                return Err(CompileError::CodeFull);
            }
            self.pass = Pass::Write;
            self.pc = 0;
            self.at = 0;
        }
        Ok(None)
    }

    fn slot(&mut self, code: &mut [u32]) -> Result<(), CompileError> {
        let pc = self.pc;
        if self.verified.get(pc as usize) != self.plan.text.get(pc as usize) {
            return Err(CompileError::TextDiffers { pc });
        }
        if self.plan.flag(pc, FUNC) {
            let context = self.context;
            self.emit_with(code, |lower| {
                lower.provide(context);
                lower.prologue();
                Ok(())
            })?;
        }
        self.note_offset(pc);
        if self.plan.flag(pc, HOLE) {
            return Ok(());
        }
        self.emit_with(code, |lower| lower.slot(pc))?;
        self.note_offset(pc + 1);
        Ok(())
    }

    /// In the first pass, where slot `pc` begins; the slot after the last is where programs give up.
    fn note_offset(&mut self, pc: u32) {
        if self.pass == Pass::Measure
            && let Some(place) = self.offsets.get_mut(pc as usize)
        {
            *place = self.at;
        }
    }

    fn stack_of(&self, entry: u32) -> u16 {
        let index = self
            .plan
            .funcs
            .iter()
            .take(self.plan.count)
            .position(|f| f.entry == entry);
        index
            .and_then(|i| self.stacks.get(i))
            .copied()
            .unwrap_or(plan::STACK_MAX as u16)
    }

    fn emit_with(
        &mut self,
        code: &mut [u32],
        what: impl FnOnce(&mut Lower<'_, '_>) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let mut emit = Emit::meter(&CoreModel::INSNS);
        emit.at = self.at;
        emit.base = self.base;
        if self.pass == Pass::Write {
            emit.offsets = Some(self.offsets);
            emit.out = Some(code);
        }
        let mut lower = Lower::new(self.plan, self.links, emit);
        lower.func = self.plan.func(self.pc);
        lower.func.stack = self.stack_of(lower.func.entry);
        lower.entry_stack = self.stack_of(0);
        what(&mut lower)?;
        self.at = lower.emit.at;
        if lower.emit.failed {
            Err(CompileError::OutOfReach)
        } else {
            Ok(())
        }
    }

    /// A function is at most once in a chain of calls, since none is recursive: all frames together suffice.
    fn stack_bytes(&self) -> u32 {
        let lower = Lower::new(self.plan, self.links, Emit::meter(&CoreModel::INSNS));
        let mut sum = 0;
        for (func, stack) in self.plan.funcs.iter().zip(self.stacks).take(self.plan.count) {
            sum += lower.frame_bytes(&plan::Func { stack, ..*func });
        }
        sum
    }

    /// Begins to compile a plan made by [`Plan::unverified`]: nothing is known of what the code will do.
    #[cfg(feature = "conformance")]
    pub fn start_unverified(
        plan: &'a Plan<'a>,
        links: &'a Links<'a>,
        offsets: &'a mut [u32],
        base: u64,
    ) -> Result<Self, CompileError> {
        Compiler::begin(plan.text, plan, links, offsets, base)
    }

    /// The whole compilation at once.
    pub fn run(mut self, code: &mut [u32]) -> Result<Compiled, CompileError> {
        self.step(code, u32::MAX)?.ok_or(CompileError::TooLong)
    }
}
