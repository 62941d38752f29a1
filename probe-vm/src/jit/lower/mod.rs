//! One eBPF instruction to A64 words.
//!
//! The same code counts (for [`super::cost`] and for the first pass) and writes: a cost cannot differ from
//! what is emitted. Registers: r1–r5 are x0–x4, so a helper finds its arguments in place; r0 is x5; r6–r9 are
//! x19–x22 in functions that call and x6, x7, x12, x13 in those that do not, which then save nothing; r10 is SP plus
//! the frame's size and occupies no register. x16 and x17 are scratch, x12–x15 too in exclusive loops. x8–x11 and x18
//! are left alone: what a probe point interrupts keeps values there.

mod alu;
mod atomic;
mod call;
mod entry;
mod frame;
mod jump;
mod mem;
mod ring;

pub(crate) use ring::reserves_in_place;

use super::CompileError;
use super::a64::alu::{self as enc, AddSub};
use super::a64::{Reg, Width};
use super::emit::{Branch, Emit};
use super::links::Links;
use super::plan::{Decoded, Func, MERGED, Plan, TO_X0, UNUSED};
use verifier::cost::A64Class;
use verifier::insn::{self, AluOp, Callee, Imm64, Insn, Op, Operand};

/// Scratch for operands: constants, and r10 as a value.
pub(super) const T0: Reg = Reg(16);
/// Scratch for intermediate results.
pub(super) const T1: Reg = Reg(17);
/// r0.
pub(super) const R0: Reg = Reg(5);
/// The result register of the procedure call standard, and r1.
pub(super) const X0: Reg = Reg(0);

/// Most words one slot becomes. Bounds code size: a buffer of this many words a slot always suffices.
/// The longest: a record reserved in place, its ring at a 64-bit address, on one of several CPUs.
pub const SLOT_WORDS_MAX: u32 = 48;

/// What the lowering of one instruction works with.
pub(crate) struct Lower<'a, 'o> {
    pub plan: &'a Plan<'a>,
    pub links: &'a Links<'a>,
    pub emit: Emit<'o>,
    /// The function the instruction is in.
    pub func: Func,
    pub pc: u32,
    /// Time of one iteration of the `bpf_loop` last emitted, which [`Emit::time`] leaves out.
    pub iteration: u64,
    /// Bytes of the entry function's frame.
    pub entry_stack: u16,
}

pub(super) const fn width(width: insn::Width) -> Width {
    match width {
        insn::Width::W32 => Width::W,
        insn::Width::W64 => Width::X,
    }
}

impl<'a, 'o> Lower<'a, 'o> {
    pub fn new(plan: &'a Plan<'a>, links: &'a Links<'a>, emit: Emit<'o>) -> Self {
        Lower {
            plan,
            links,
            emit,
            func: Func::default(),
            pc: 0,
            iteration: 0,
            entry_stack: super::plan::STACK_MAX as u16,
        }
    }

    /// The register of `r`, which is not r10.
    pub(super) fn reg(&self, r: u8) -> Reg {
        match r {
            0 => R0,
            1..=5 => Reg(r - 1),
            6..=9 if self.func.calls => Reg(r + 13),
            8 | 9 => Reg(r + 4),
            _ => Reg(r),
        }
    }

    /// The register of `r` for reading; r10 is computed into `scratch`.
    pub(super) fn read(&mut self, r: u8, scratch: Reg) -> Reg {
        if r != 10 {
            return self.reg(r);
        }
        self.frame_address(scratch, 0);
        scratch
    }

    /// `rd = r10 + offset`, `offset` within reach of one instruction.
    pub(super) fn frame_address(&mut self, rd: Reg, offset: i32) {
        let from_sp = self.func.stack as i32 + offset;
        let op = if from_sp < 0 { AddSub::Sub } else { AddSub::Add };
        self.emit.alu(enc::add_sub_imm(
            op,
            Width::X,
            rd,
            Reg::SP,
            (from_sp.unsigned_abs(), false),
        ));
    }

    /// Where an instruction's result goes.
    pub(super) fn target(&self, dst: u8) -> Reg {
        if self.plan.flag(self.pc, TO_X0) {
            X0
        } else {
            self.reg(dst)
        }
    }

    /// Where an instruction's first operand is: the source of a merged `mov`, or the destination register.
    /// `None`: it is r10.
    pub(super) fn first(&self, dst: u8) -> Option<u8> {
        match self.merged_source() {
            Some(10) => None,
            Some(src) => Some(src),
            None => Some(dst),
        }
    }

    /// The source of the `mov` that was merged into this instruction.
    fn merged_source(&self) -> Option<u8> {
        let before = self.pc.checked_sub(1)?;
        if !self.plan.flag(before, MERGED) || self.plan.flag(before, super::plan::HOLE) {
            return None;
        }
        match self.plan.decode(before) {
            Ok(Decoded::Insn(insn)) => Some(insn.src),
            _ => None,
        }
    }

    /// Emits the code of the instruction at `pc`. A function's prologue is apart ([`Lower::prologue`]).
    pub fn slot(&mut self, pc: u32) -> Result<(), CompileError> {
        self.pc = pc;
        if self.plan.flag(pc, MERGED | UNUSED) {
            return Ok(());
        }
        let insn = match self.plan.decode(pc)? {
            // Makes the result of a program whose result is nobody's.
            Decoded::Insn(insn) if self.discards_result(&insn) => return Ok(()),
            Decoded::Insn(insn) => insn,
            Decoded::CallRegister(reg) => {
                self.call_register(reg);
                return Ok(());
            }
        };
        match insn.op {
            Op::Alu { op, width: w, operand } => self.alu(&insn, op, width(w), operand),
            Op::End { order, bits } => self.end(&insn, order, bits),
            Op::LdImm64(imm) => self.constant(&insn, imm)?,
            Op::Load { size, signed } => self.load(&insn, size, signed),
            Op::Store { size, operand } => self.store(&insn, size, operand),
            Op::Atomic { size, op, fetch } => self.atomic(&insn, size, op, fetch),
            Op::Jump {
                cond,
                width: w,
                operand,
                target,
            } => self.jump(&insn, cond, width(w), operand, target),
            Op::Goto { target } => self.goto(target),
            Op::Call(Callee::Local(target)) => self.call_local(target)?,
            Op::Call(Callee::Helper(id)) => self.call_helper(id)?,
            Op::Exit => self.leave(pc),
            Op::LdPacket { .. } => return Err(CompileError::Unsupported { pc }),
        }
        Ok(())
    }

    fn constant(&mut self, insn: &Insn, imm: Imm64) -> Result<(), CompileError> {
        let rd = self.target(insn.dst);
        let missing = CompileError::NoMap { pc: self.pc };
        let value = match imm {
            Imm64::Const(value) => value,
            Imm64::Map(index) => self.links.maps.get(index as usize).ok_or(missing)?.handle,
            Imm64::MapValue(index, offset) => {
                let link = self.links.maps.get(index as usize).ok_or(missing)?;
                link.values.wrapping_add(offset as u64)
            }
            Imm64::Func(target) => {
                let back = self.prologue_words(&self.plan.func(target));
                self.emit.branch(Branch::Address(rd), target, back);
                return Ok(());
            }
        };
        self.emit.constant(Width::X, rd, value);
        Ok(())
    }

    /// The second operand: a register, with an immediate made in `T0`.
    pub(super) fn operand(&mut self, insn: &Insn, w: Width, operand: Operand) -> Reg {
        match operand {
            Operand::Imm => {
                self.emit.constant(w, T0, insn.imm as i64 as u64);
                T0
            }
            Operand::Reg => {
                // In a merged pair the second operand may be the moved register itself.
                let src = match self.merged_source() {
                    Some(source) if insn.src == insn.dst => source,
                    _ => insn.src,
                };
                self.read(src, T0)
            }
        }
    }

    pub(super) fn put(&mut self, class: A64Class, word: u32) {
        self.emit.put(class, word);
    }
}

/// Whether an operation with an immediate leaves its first operand as it is (64 bits).
pub(super) const fn is_identity(op: AluOp, imm: i32) -> bool {
    match op {
        AluOp::Add | AluOp::Sub | AluOp::Or | AluOp::Xor | AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => imm == 0,
        AluOp::And => imm == -1,
        AluOp::Mul | AluOp::Div | AluOp::Sdiv => imm == 1,
        AluOp::Mod | AluOp::Smod => imm == 0,
        _ => false,
    }
}
