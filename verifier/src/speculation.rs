//! Containment of speculative execution (Spectre v1), where the environment asks for it.
//!
//! Linux lets programs of unprivileged loaders run only if a mispredicting CPU stays inside of memory as well. Two rules
//! come of that, and this file has both: the outcome of a comparison that no run takes is followed too, with nothing
//! known of what was compared; and pointer arithmetic stays inside its object, since the instruction that masks an index
//! has one limit, which must be right on every path. Nothing of what is followed for speculation counts in the bounds.

use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::STACK_BYTES;
use crate::insn::{AluOp, Insn, Operand};
use crate::reject::Why;
use crate::store::State;
use crate::value::{Region, Val};

/// What is remembered of an addition, so that it is the same on every path: both operands are numbers,
const NUMBERS: u32 = 1;
/// or one is a pointer,
const POINTER: u32 = 2;
/// and the number is negative,
const NEGATIVE: u32 = 4;
/// or a constant,
const CONSTANT: u32 = 8;
/// or the register that is not changed.
const SOURCE: u32 = 16;
const ROOM_SHIFT: u32 = 5;
/// A pointer with more room than this counts as having a different one each time.
const ROOM_MAX: u32 = u32::MAX >> ROOM_SHIFT;

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Hands `s`, the state before a comparison, over to the outcome `target` that no run takes.
    pub(crate) fn mispredict(&mut self, mut s: State, i: &Insn, o: Operand, target: Option<u32>) -> Result<(), Fault> {
        let Some(target) = target else {
            self.store.drop_state(&s);
            return Ok(());
        };
        s.speculative = true;
        let compared = [Some(i.dst), (o == Operand::Reg).then_some(i.src)];
        for r in compared.into_iter().flatten().filter(|r| *r < 10) {
            self.store.set_reg(&mut s, r, Val::UNKNOWN);
        }
        let block = self.block_at(target);
        self.hand_over(s, block)
    }

    /// An addition or subtraction of two registers that hold numbers.
    pub(crate) fn note_numbers(&mut self, reg: u8) -> Result<(), Fault> {
        self.note_addition(reg, NUMBERS)
    }

    /// An addition to, or subtraction from, a pointer that came to `moved`: `s` is the state before it.
    pub(crate) fn contain(&mut self, s: &State, i: &Insn, op: AluOp, o: Operand, moved: &Val) -> Result<(), Fault> {
        let Some(region) = moved.region() else { return Ok(()) };
        let dst = self.read(s, i.dst)?;
        if o == Operand::Imm {
            return self.inside(i.dst, region, moved);
        }
        let src = self.read(s, i.src)?;
        let (pointer, number, keeps) = if dst.is_scalar() {
            (src, dst, true)
        } else {
            (dst, src, false)
        };
        let constant = number.num.as_constant().is_some();
        let negative = number.num.smin < 0;
        let left = (op == AluOp::Add) == negative;
        let mut room = 0;
        if !s.speculative {
            if !constant && negative != (number.num.smax < 0) {
                return Err(Why::ArithmeticUncontained { reg: i.dst, region });
            }
            room = self.room(i.dst, &pointer, left)?;
        }
        if !constant {
            // A mask may make the number 0 on a mispredicted path.
            let mut still = self.store.fork(s);
            still.speculative = true;
            self.store.set_reg(&mut still, i.dst, pointer);
            let next = self.block_at(self.pc + i.slots());
            self.hand_over(still, next)?;
        }
        self.inside(i.dst, region, moved)?;
        if s.speculative {
            return Ok(());
        }
        let room = room.abs_diff(self.room(i.dst, moved, left)?);
        let flag = |on: bool, bit| if on { bit } else { 0 };
        let what = POINTER | flag(negative, NEGATIVE) | flag(constant, CONSTANT) | flag(keeps, SOURCE);
        self.note_addition(i.dst, what | room.min(ROOM_MAX) << ROOM_SHIFT)
    }

    /// How far a pointer may move: downwards if `left`, else how far it is already, as Linux's masks have it.
    fn room(&self, reg: u8, v: &Val, left: bool) -> Result<u32, Fault> {
        let region = v.region().unwrap_or(Region::Mem);
        let (room, size) = match region {
            Region::Stack(_) => (-v.num.smin, i64::from(STACK_BYTES) + i64::from(left)),
            Region::MapValue(n) => {
                let at = if left { v.num.smin } else { v.num.smax };
                (at, self.map(n.into())?.value_bytes.into())
            }
            _ => return Err(Why::ArithmeticUncontained { reg, region }),
        };
        if !(0..size).contains(&room) {
            let (min, max) = (v.num.smin, v.num.smax);
            let limit = if matches!(region, Region::Stack(_)) {
                0
            } else {
                size as u32
            };
            return Err(Why::ArithmeticRange {
                reg,
                region,
                min,
                max,
                limit,
            });
        }
        Ok(room as u32)
    }

    /// A pointer that was moved points at a byte of its stack or value.
    fn inside(&self, reg: u8, region: Region, v: &Val) -> Result<(), Fault> {
        let (min, max) = (v.num.smin, v.num.smax);
        let (lowest, end, limit) = match region {
            Region::Stack(_) if min != max => return Err(Why::VariableStack { reg }),
            Region::Stack(_) => (-i64::from(STACK_BYTES), 0, 0),
            Region::MapValue(n) => {
                let bytes = self.map(n.into())?.value_bytes;
                (0, bytes.into(), bytes)
            }
            _ => return Ok(()),
        };
        if min < lowest || max >= end {
            return Err(Why::ArithmeticRange {
                reg,
                region,
                min,
                max,
                limit,
            });
        }
        Ok(())
    }

    fn note_addition(&mut self, reg: u8, what: u32) -> Result<(), Fault> {
        let sure = what >> ROOM_SHIFT < ROOM_MAX;
        match self.m.slots.get_mut(self.pc as usize) {
            Some(slot) if slot.contained == 0 || slot.contained == what && sure => {
                slot.contained = what;
                Ok(())
            }
            _ => Err(Why::ArithmeticMixed { reg }),
        }
    }
}
