//! What the compiler decides before it emits anything: functions and their frames, jump targets, and which
//! instructions merge with a neighbour.
//!
//! A plan follows from the program's text and the links alone, not from anything proven. So the cost of each
//! instruction is known before the verifier starts, and the code emitted later is the code that was costed.

mod track;

use super::CompileError;
use super::links::Links;
use super::lower::reserves_in_place;
use verifier::env::{MapDesc, MapKind};
use verifier::insn::{AluOp, Callee, DecodeError, Imm64, Insn, Op, Operand, Width};

/// Subprograms a program may have, itself included.
pub const FUNCS_MAX: usize = 32;
/// Slots between a map's `lddw` and the call it is the argument of, for the call to be inlined. Bounds the look back.
pub const LOOKBACK_MAX: u32 = 32;

/// Helper numbers the compiler knows (Linux's).
pub(crate) mod helper {
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    pub const KTIME_GET_NS: u32 = 5;
    pub const GET_SMP_PROCESSOR_ID: u32 = 8;
    pub const RINGBUF_RESERVE: u32 = 131;
    pub const RINGBUF_SUBMIT: u32 = 132;
    pub const RINGBUF_DISCARD: u32 = 133;
    pub const LOOP: u32 = 181;
}

/// The slot can be reached other than from the one before it.
pub(crate) const LEADER: u8 = 1 << 0;
/// First slot of a function.
pub(crate) const FUNC: u8 = 1 << 1;
/// Second slot of a 64-bit constant.
pub(crate) const HOLE: u8 = 1 << 2;
/// Emits nothing: the next instruction does its work too.
pub(crate) const MERGED: u8 = 1 << 3;
/// A call whose work is emitted in place.
pub(crate) const INLINE: u8 = 1 << 4;
/// Result goes straight to x0, because an exit follows; on an exit: r0 is already there.
pub(crate) const TO_X0: u8 = 1 << 5;
/// An argument whose only use is an inlined call that knows it: emits nothing.
pub(crate) const UNUSED: u8 = 1 << 6;

/// An inlined lookup whose key is still where the program stored it from.
pub(crate) const KEY_KNOWN: u8 = 1 << 7;

/// Where a lookup's key came from when it was stored to the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The low half of this register.
    Reg(u8),
    /// A constant.
    Imm(u32),
}

/// A 4-byte store relative to r10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stored {
    at: u32,
    off: i16,
    key: Key,
}

/// Registers of arguments.
const ARGS: usize = 5;

/// One function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Func {
    /// First slot.
    pub entry: u32,
    /// Slot after the last.
    pub end: u32,
    /// Bit n: register n is used (6–10 matter).
    pub uses: u16,
    /// It calls something by `BL`, so the link register and r6–r9 need saved registers.
    pub calls: bool,
    /// It runs a `bpf_loop`, which needs three saved registers of its own.
    pub loops: bool,
    /// It does atomics.
    pub atomics: bool,
    /// Bytes of its stack frame, a multiple of 16.
    pub stack: u16,
}

impl Func {
    pub fn uses(&self, reg: u8) -> bool {
        self.uses >> reg & 1 != 0
    }
}

/// Memory for plan and compiler, one entry a slot.
#[derive(Debug)]
pub struct Work<const N: usize> {
    flags: [u8; N],
    offsets: [u32; N],
}

impl<const N: usize> Default for Work<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Work<N> {
    /// Room for programs of fewer than `N` slots: 5 bytes each.
    pub const fn new() -> Self {
        Work {
            flags: [0; N],
            offsets: [0; N],
        }
    }

    /// The two parts: for [`Plan::start`] and for [`super::Compiler::start`].
    pub fn split(&mut self) -> (&mut [u8], &mut [u32]) {
        (&mut self.flags, &mut self.offsets)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Targets,
    Merges,
    Done,
}

/// The plan of one program. Made by [`Plan::start`] and [`Plan::step`].
#[derive(Debug)]
pub struct Plan<'p> {
    pub(crate) text: &'p [u64],
    pub(crate) maps: &'p [MapDesc],
    flags: &'p mut [u8],
    pub(crate) funcs: [Func; FUNCS_MAX],
    pub(crate) count: usize,
    phase: Phase,
    pc: u32,
    /// The map in r1 since this slot, while the block cannot have changed or read it.
    map_in_r1: Option<(u32, u32)>,
    previous: Option<(u32, Insn)>,
    /// The last 4-byte store to the stack whose source is unchanged since.
    stored: Option<Stored>,
    /// The slot that made r2 a stack address, and its offset, while only a call can have read it.
    stack_in_r2: Option<(u32, i32)>,
    /// For r1–r5: the slot that made it a constant, and the constant, while nothing can have read it.
    constants: [Option<(u32, i32)>; ARGS],
    pub(crate) conformance: bool,
    /// It calls helpers out of line.
    pub(crate) helpers: bool,
}

/// An instruction, or a register call in a conformance build.
pub(crate) enum Decoded {
    Insn(Insn),
    CallRegister(u8),
}

impl<'p> Plan<'p> {
    /// Begins a plan over the caller's `flags`, at least one a slot of `text`.
    pub fn start(text: &'p [u64], maps: &'p [MapDesc], flags: &'p mut [u8]) -> Result<Self, CompileError> {
        let flags = flags.get_mut(..text.len()).ok_or(CompileError::TooLong)?;
        flags.fill(0);
        Ok(Plan {
            text,
            maps,
            flags,
            funcs: [Func::default(); FUNCS_MAX],
            count: 0,
            phase: Phase::Targets,
            pc: 0,
            map_in_r1: None,
            previous: None,
            stored: None,
            stack_in_r2: None,
            constants: [None; ARGS],
            conformance: false,
            helpers: false,
        })
    }

    /// Works through up to `slots` slots; `true` when the plan is complete. The whole takes two visits a slot.
    pub fn step(&mut self, links: &Links<'_>, slots: u32) -> Result<bool, CompileError> {
        let mut left = slots;
        while self.phase != Phase::Done {
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            if self.pc as usize >= self.text.len() {
                self.next_phase();
                continue;
            }
            match self.phase {
                Phase::Targets => self.targets(self.pc)?,
                _ => self.merges(self.pc, links)?,
            }
            self.pc += 1;
        }
        Ok(true)
    }

    /// The complete plan at once.
    pub fn new(
        text: &'p [u64],
        maps: &'p [MapDesc],
        flags: &'p mut [u8],
        links: &Links<'_>,
    ) -> Result<Self, CompileError> {
        let mut plan = Plan::start(text, maps, flags)?;
        plan.step(links, u32::MAX)?;
        Ok(plan)
    }

    /// The plan of a program nobody verified, with register calls, and helpers called, not inlined.
    #[cfg(feature = "conformance")]
    pub fn unverified(text: &'p [u64], flags: &'p mut [u8], links: &Links<'_>) -> Result<Self, CompileError> {
        let mut plan = Plan::start(text, &[], flags)?;
        plan.conformance = true;
        plan.step(links, u32::MAX)?;
        Ok(plan)
    }

    fn next_phase(&mut self) {
        self.phase = match self.phase {
            Phase::Targets => Phase::Merges,
            _ => Phase::Done,
        };
        if let Some(last) = self.count.checked_sub(1).and_then(|i| self.funcs.get_mut(i)) {
            last.end = self.text.len() as u32;
        }
        self.pc = 0;
    }

    pub(crate) fn flag(&self, pc: u32, flag: u8) -> bool {
        self.flags.get(pc as usize).is_some_and(|f| f & flag != 0)
    }

    fn set(&mut self, pc: u32, flag: u8) -> Result<(), CompileError> {
        *self
            .flags
            .get_mut(pc as usize)
            .ok_or(CompileError::BadTarget { pc: self.pc })? |= flag;
        Ok(())
    }

    pub(crate) fn decode(&self, pc: u32) -> Result<Decoded, CompileError> {
        match Insn::decode(self.text, pc) {
            Ok(insn) => Ok(Decoded::Insn(insn)),
            Err(DecodeError::CallRegister) if self.conformance => {
                let slot = self.text.get(pc as usize).copied().unwrap_or(0);
                Ok(Decoded::CallRegister((slot >> 8) as u8 & 15))
            }
            Err(why) => Err(CompileError::Decode { pc, why }),
        }
    }

    /// The function slot `pc` belongs to.
    pub(crate) fn func(&self, pc: u32) -> Func {
        let used = self.funcs.get(..self.count).unwrap_or(&[]);
        let at = used.partition_point(|f| f.entry <= pc);
        at.checked_sub(1).and_then(|i| used.get(i)).copied().unwrap_or_default()
    }

    /// Whether any instruction names r1. Without one, nothing depends on what it is at the entry.
    pub(crate) fn uses_context(&self) -> bool {
        self.funcs.iter().take(self.count).any(|f| f.uses(1))
    }

    fn targets(&mut self, pc: u32) -> Result<(), CompileError> {
        if pc == 0 {
            self.set(0, FUNC | LEADER)?;
        }
        if self.flag(pc, HOLE) {
            return Ok(());
        }
        let Decoded::Insn(insn) = self.decode(pc)? else {
            return Ok(());
        };
        match insn.op {
            Op::Jump { target, .. } | Op::Goto { target } => self.set(target, LEADER),
            Op::Call(Callee::Local(0)) => Err(CompileError::BadTarget { pc }),
            Op::Call(Callee::Local(target)) => self.set(target, FUNC | LEADER),
            Op::LdImm64(imm) => {
                self.set(pc + 1, HOLE)?;
                match imm {
                    Imm64::Func(target) => self.set(target, FUNC | LEADER),
                    _ => Ok(()),
                }
            }
            Op::LdPacket { .. } => Err(CompileError::Unsupported { pc }),
            _ => Ok(()),
        }
    }

    fn begin_func(&mut self, pc: u32) -> Result<(), CompileError> {
        if let Some(last) = self.count.checked_sub(1).and_then(|i| self.funcs.get_mut(i)) {
            last.end = pc;
        }
        let place = self.funcs.get_mut(self.count).ok_or(CompileError::TooManyFunctions)?;
        *place = Func {
            entry: pc,
            stack: STACK_MAX as u16,
            ..Func::default()
        };
        self.count += 1;
        Ok(())
    }

    fn merges(&mut self, pc: u32, links: &Links<'_>) -> Result<(), CompileError> {
        if self.flag(pc, HOLE) {
            return Ok(());
        }
        if self.flag(pc, FUNC) {
            self.begin_func(pc)?;
        }
        if self.flag(pc, LEADER) {
            self.forget();
        }
        let insn = match self.decode(pc)? {
            Decoded::Insn(insn) => insn,
            Decoded::CallRegister(_) => {
                self.current(|f| f.calls = true);
                self.forget();
                return Ok(());
            }
        };
        let uses = 1 << insn.dst | 1 << insn.src;
        self.current(|f| f.uses |= uses);
        match insn.op {
            Op::Call(callee) => self.call(pc, callee, links)?,
            // An exclusive loop takes the registers that r6–r9 would be in.
            Op::Atomic { .. } => self.current(|f| {
                f.atomics = true;
                f.calls |= !links.lse;
            }),
            _ => {}
        }
        if let Some((before, previous)) = self.previous {
            self.merge(before, &previous, pc, &insn)?;
        }
        self.track_key(pc, &insn);
        self.track_map(pc, &insn);
        self.track_constants(pc, &insn);
        self.previous = Some((pc, insn));
        Ok(())
    }

    fn forget(&mut self) {
        self.map_in_r1 = None;
        self.previous = None;
        self.stored = None;
        self.stack_in_r2 = None;
        self.constants = [None; ARGS];
    }

    fn current(&mut self, change: impl FnOnce(&mut Func)) {
        if let Some(func) = self.count.checked_sub(1).and_then(|i| self.funcs.get_mut(i)) {
            change(func);
        }
    }

    fn call(&mut self, pc: u32, callee: Callee, links: &Links<'_>) -> Result<(), CompileError> {
        match callee {
            Callee::Helper(helper::KTIME_GET_NS | helper::GET_SMP_PROCESSOR_ID) if !self.conformance => {
                self.drop_constants(1)?;
                self.set(pc, INLINE)
            }
            Callee::Helper(helper::RINGBUF_SUBMIT | helper::RINGBUF_DISCARD) if !self.conformance => {
                self.drop_constants(2)?;
                self.set(pc, INLINE)
            }
            Callee::Helper(helper::RINGBUF_RESERVE) if self.inlines_reserve(pc, links) => {
                if let Some((at, _)) = self.map_in_r1 {
                    self.set(at, UNUSED)?;
                }
                self.drop_constants(2)?;
                self.set(pc, INLINE)
            }
            Callee::Helper(helper::LOOP) => {
                self.current(|f| {
                    f.calls = true;
                    f.loops = true;
                });
                self.set(pc, INLINE)
            }
            Callee::Helper(helper::MAP_LOOKUP_ELEM) if self.inlines_lookup(links) => {
                if let Some((at, _)) = self.map_in_r1 {
                    self.set(at, UNUSED)?;
                }
                if let (Some((at, off)), Some(stored)) = (self.stack_in_r2, self.stored)
                    && off == stored.off as i32
                    && pc - stored.at <= LOOKBACK_MAX
                {
                    self.set(at, UNUSED)?;
                    self.set(pc, KEY_KNOWN)?;
                }
                self.drop_constants(3)?;
                self.set(pc, INLINE)
            }
            _ => {
                self.helpers |= matches!(callee, Callee::Helper(_));
                self.current(|f| f.calls = true);
                Ok(())
            }
        }
    }

    /// The constant in argument register `reg`, if the slot that made it can be found again from `pc`.
    fn constant_in(&self, pc: u32, reg: usize) -> Option<i32> {
        let (at, value) = (*self.constants.get(reg.checked_sub(1)?)?)?;
        (pc - at <= LOOKBACK_MAX).then_some(value)
    }

    /// An inlined call reads no argument from `first` on, and none survives it: constants made for them are not emitted.
    fn drop_constants(&mut self, first: usize) -> Result<(), CompileError> {
        let constants = core::mem::take(&mut self.constants);
        for (at, _) in constants.iter().skip(first - 1).flatten() {
            self.set(*at, UNUSED)?;
        }
        Ok(())
    }

    fn inlines_reserve(&self, pc: u32, links: &Links<'_>) -> bool {
        let Some((_, index)) = self.map_in_r1 else { return false };
        let (Some(map), Some(link)) = (self.maps.get(index as usize), links.maps.get(index as usize)) else {
            return false;
        };
        let len = self.constant_in(pc, 2).and_then(|len| u32::try_from(len).ok());
        map.kind == MapKind::RINGBUF && link.values != 0 && len.is_some_and(|len| reserves_in_place(map, len))
    }

    fn inlines_lookup(&self, links: &Links<'_>) -> bool {
        let Some((_, index)) = self.map_in_r1 else { return false };
        let (Some(map), Some(link)) = (self.maps.get(index as usize), links.maps.get(index as usize)) else {
            return false;
        };
        matches!(map.kind, MapKind::ARRAY | MapKind::PERCPU_ARRAY) && link.values != 0
    }

    fn merge(&mut self, before: u32, previous: &Insn, pc: u32, insn: &Insn) -> Result<(), CompileError> {
        if insn.op == Op::Exit {
            let in_entry = self.count == 1;
            let makes_r0 = previous.writes() == Some(0)
                && matches!(
                    previous.op,
                    Op::Alu { .. } | Op::End { .. } | Op::LdImm64(_) | Op::Load { .. }
                );
            if in_entry && makes_r0 {
                self.set(before, TO_X0)?;
                self.set(pc, TO_X0)?;
            }
            return Ok(());
        }
        if !self.flag(before, MERGED) && merges(previous, insn) {
            self.set(before, MERGED)?;
        }
        Ok(())
    }
}

/// Largest frame (RFC 9669 leaves it open; Linux and the verifier have 512).
pub(crate) const STACK_MAX: u32 = 512;
/// Offsets from r10 up to this are one `ADD` or `SUB` from SP, whatever the frame's size.
const FRAME_REACH: i32 = 4095 - STACK_MAX as i32;

/// `mov d, s` followed by `d = d op …` is one three-operand instruction.
fn merges(mov: &Insn, next: &Insn) -> bool {
    let Op::Alu {
        op: AluOp::Mov,
        width,
        operand: Operand::Reg,
    } = mov.op
    else {
        return false;
    };
    if next.dst != mov.dst {
        return false;
    }
    match next.op {
        Op::Alu {
            op: AluOp::Mov | AluOp::MovSx(_),
            ..
        } => false,
        Op::Alu {
            op: AluOp::Add,
            width: Width::W64,
            operand: Operand::Imm,
        } if mov.src == 10 => width == Width::W64 && (-FRAME_REACH..=FRAME_REACH).contains(&next.imm),
        _ if mov.src == 10 => false,
        Op::Alu { width: next_width, .. } => width == Width::W64 || next_width == Width::W32,
        Op::End { bits, .. } => width == Width::W64 || bits <= 32,
        _ => false,
    }
}
