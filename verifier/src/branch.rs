//! Comparisons: both outcomes, and what each teaches.

use crate::cost::{CostModel, Edge};
use crate::engine::{Fault, Verifier};
use crate::exec::Flow;
use crate::insn::{AluOp, Cond, Insn, Op, Operand, Width};
use crate::loops::Mode;
use crate::reject::Why;
use crate::scalar::Scalar;
use crate::store::State;
use crate::tags::Test;
use crate::value::{Kind, Region, Val};

/// A comparison that was followed to its target, and not yet to the next instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    taken: State,
    /// The target can be reached.
    possible: bool,
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Forgets the comparison at hand.
    pub(crate) fn drop_half(&mut self) {
        if let Some(half) = self.half.take() {
            self.store.drop_state(&half.taken);
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn branch(
        &mut self,
        s: &mut State,
        i: &Insn,
        cond: Cond,
        width: Width,
        o: Operand,
        target: u32,
        pc: u32,
    ) -> Result<Flow, Fault> {
        let a = self.read(s, i.dst)?;
        let b = self.operand(s, i, o)?;
        let inside = |v: &Self, to: u32| v.act(v.top()).covers(v.block(v.block_at(to)).order);
        let (loops_taken, loops_next) = (inside(self, target), inside(self, pc + 1));
        if loops_taken != loops_next {
            self.note_test(i, o, cond, width, loops_taken, &a, &b);
        }
        let mut taken = self.store.fork(s);
        let possible = match self.assume(&mut taken, i, o, cond, width, true, &a, &b) {
            Ok(possible) => possible,
            Err(why) => {
                self.store.drop_state(&taken);
                return Err(why);
            }
        };
        let half = Half { taken, possible };
        // What is linked may be all over the stack: the other outcome is the next unit's.
        if s.stack_len > 0 {
            self.half = Some(half);
            return Ok(Flow::Half);
        }
        self.other_outcome(s, i, half)
    }

    /// The outcome that goes on to the next instruction; then both are handed over.
    pub(crate) fn other_outcome(&mut self, s: &mut State, i: &Insn, half: Half) -> Result<Flow, Fault> {
        let Half {
            mut taken,
            possible: to_taken,
        } = half;
        let pc = self.pc;
        let Op::Jump {
            cond,
            width,
            operand: o,
            target,
        } = i.op
        else {
            return Err(Why::Internal { line: line!() });
        };
        let (a, b) = (self.read(s, i.dst)?, self.operand(s, i, o)?);
        let inside = |v: &Self, to: u32| v.act(v.top()).covers(v.block(v.block_at(to)).order);
        let (loops_taken, loops_next) = (inside(self, target), inside(self, pc + 1));
        let guess = self.env.rules.speculation.then(|| self.store.fork(s));
        let to_next = match self.assume(s, i, o, cond, width, false, &a, &b) {
            Ok(n) => n,
            Err(why) => {
                self.store.drop_state(&taken);
                if let Some(g) = guess {
                    self.store.drop_state(&g);
                }
                return Err(why);
            }
        };
        if let Some(g) = guess {
            let other = if to_taken { pc + 1 } else { target };
            self.mispredict(g, i, o, (to_taken != to_next).then_some(other))?;
        }
        if to_taken && to_next && loops_taken == loops_next && (a.id | b.id) & crate::compare::TAG != 0 {
            let top = self.top();
            self.note_variation(top + 1);
        }
        if to_taken {
            taken.time = taken.time.saturating_add(self.cost.insn(pc, i, Edge::Taken));
            let block = self.block_at(target);
            self.hand_over(taken, block)?;
        } else {
            self.store.drop_state(&taken);
        }
        if to_next {
            return Ok(Flow::Next);
        }
        let dead = core::mem::replace(s, State::BLANK);
        self.store.drop_state(&dead);
        Ok(Flow::Gone)
    }

    /// Remembers a comparison that decides whether the loop under discovery goes on.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn note_test(&mut self, i: &Insn, o: Operand, cond: Cond, width: Width, taken: bool, a: &Val, b: &Val) {
        let top = self.top();
        if self.act(top).mode != Mode::Discover {
            return;
        }
        let ties = self.ties_mut(top);
        let holds = if taken { cond } else { negated(cond) };
        // Either side may be the counter; the other is the limit.
        let sides = [(i.dst, a, b, holds), (i.src, b, a, mirrored(holds))];
        for (reg, value, limit, cond) in sides.into_iter().take(if o == Operand::Reg { 2 } else { 1 }) {
            if let (true, Some(t)) = (value.is_scalar(), ties.tests.get_mut(usize::from(ties.tests_len))) {
                *t = Test {
                    reg,
                    value: *value,
                    limit: limit.num,
                    cond,
                    width,
                };
                ties.tests_len += 1;
            }
        }
    }

    /// What holds if the comparison comes out as `holds`. `Ok(false)`: it cannot.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn assume(
        &mut self,
        s: &mut State,
        i: &Insn,
        o: Operand,
        cond: Cond,
        width: Width,
        holds: bool,
        a: &Val,
        b: &Val,
    ) -> Result<bool, Fault> {
        if a.is_scalar() && b.is_scalar() {
            let Some((na, nb)) = Scalar::refine(cond, width, holds, a.num, b.num) else {
                return Ok(false);
            };
            let mut possible = self.narrow(s, i.dst, a, na);
            if o == Operand::Reg && possible {
                // The first narrowing may have reached the second operand through a link.
                let b = self.store.reg(s, i.src);
                possible = match b.num.intersect(&nb) {
                    Some(n) => self.narrow(s, i.src, &b, n),
                    None => false,
                };
            }
            return Ok(possible);
        }
        self.assume_pointers(s, i, o, cond, width, holds, a, b)
    }

    /// Register `r` holding `old` is now known to be `num`, and so is everything linked to it.
    pub(crate) fn narrow(&mut self, s: &mut State, r: u8, old: &Val, num: Scalar) -> bool {
        if num == old.num || r >= 10 {
            return true;
        }
        self.store.set_reg(s, r, Val { num, ..*old });
        if old.id == 0 {
            return true;
        }
        let x = Scalar::alu(AluOp::Sub, Width::W64, num, Scalar::constant(old.delta as u64));
        if !self.narrow_linked(s, old.id, &x) {
            return false;
        }
        old.id & crate::compare::TAG == 0 || self.narrow_counter(s, old.id, &x)
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn assume_pointers(
        &mut self,
        s: &mut State,
        i: &Insn,
        o: Operand,
        cond: Cond,
        width: Width,
        holds: bool,
        a: &Val,
        b: &Val,
    ) -> Result<bool, Fault> {
        let zero = |v: &Val| v.is_scalar() && v.num.as_constant() == Some(0);
        if width == Width::W64 && matches!(cond, Cond::Eq | Cond::Ne) {
            let (pointer, other) = if a.is_scalar() { (b, a) } else { (a, b) };
            if zero(other) {
                let null = (cond == Cond::Eq) == holds;
                if pointer.nullable() {
                    self.resolve_null(s, pointer, null);
                    return Ok(true);
                }
                // A pointer into memory is never null; offsets stay too small to wrap around to it. The answer is known, so
                // the comparison tells nothing of the address.
                let decided = match pointer.region() {
                    None | Some(Region::PacketEnd | Region::Packet | Region::PacketMeta) => false,
                    Some(Region::Object(1..) | Region::MapValue(_) | Region::MapKey(_)) => true,
                    Some(_) => !self.env.rules.undecided_null,
                };
                if decided {
                    return Ok(!null);
                }
            }
        }
        let packet = |v: &Val| {
            matches!(
                v.region(),
                Some(Region::Packet | Region::PacketMeta | Region::PacketEnd)
            )
        };
        if width == Width::W64 && o == Operand::Reg && packet(a) && packet(b) {
            self.learn_packet(s, cond, holds, a, b);
            return Ok(true);
        }
        if !self.env.rules.hide_pointers {
            return Ok(true);
        }
        Err(Why::PointerCompare {
            reg: if a.is_scalar() { i.src } else { i.dst },
        })
    }

    /// All copies of a pointer that may be null are known to be, or not.
    pub(crate) fn resolve_null(&mut self, s: &mut State, pointer: &Val, null: bool) {
        let (id, reference) = (pointer.id, pointer.reference);
        self.store.update(
            s,
            |v| v.nullable() && v.id == id && id != 0,
            |slot| {
                if null {
                    slot.val = Val::scalar(Scalar::constant(0));
                } else if let Kind::Pointer { region, .. } = slot.val.kind {
                    slot.val.kind = Kind::Pointer {
                        region,
                        nullable: false,
                    };
                    slot.val.id = 0;
                    slot.val.delta = slot.val.num.as_constant().map_or(0, |c| c as i64);
                }
            },
        );
        if null && reference != 0 {
            self.forget_reference(s, reference);
        }
    }

    /// `packet + n <= end` verifies `n` bytes from the packet pointer's base, for all pointers with that base.
    pub(crate) fn learn_packet(&mut self, s: &mut State, cond: Cond, holds: bool, a: &Val, b: &Val) {
        let (pointer, cond) = match (a.region(), b.region()) {
            (Some(Region::Packet), Some(Region::PacketEnd)) => (a, cond),
            (Some(Region::PacketEnd), Some(Region::Packet)) => (b, mirrored(cond)),
            (Some(Region::PacketMeta), Some(Region::Packet)) if b.id == 0 && b.delta == 0 => (a, cond),
            (Some(Region::Packet), Some(Region::PacketMeta)) if a.id == 0 && a.delta == 0 => (b, mirrored(cond)),
            _ => return,
        };
        let known = if holds { cond } else { negated(cond) };
        // `<` leaves at least one more byte.
        let more = match known {
            Cond::Le | Cond::Eq => 0,
            Cond::Lt => 1,
            _ => return,
        };
        let max = i64::from(self.env.rules.packet_bytes);
        if pointer.delta < 0 || pointer.num.smin < 0 || pointer.num.smax > max {
            return;
        }
        let verified = (pointer.delta + more) as u32;
        let (id, region) = (pointer.id, pointer.region());
        self.store.update(
            s,
            |v| v.region() == region && v.id == id,
            |slot| slot.val.extra = slot.val.extra.max(verified),
        );
    }
}

/// The comparison that holds when `cond` does not; `Set` has none and stays.
pub(crate) const fn negated(cond: Cond) -> Cond {
    match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Gt => Cond::Le,
        Cond::Le => Cond::Gt,
        Cond::Lt => Cond::Ge,
        Cond::Ge => Cond::Lt,
        Cond::Sgt => Cond::Sle,
        Cond::Sle => Cond::Sgt,
        Cond::Slt => Cond::Sge,
        Cond::Sge => Cond::Slt,
        Cond::Set => Cond::Set,
    }
}

/// The same comparison with its operands exchanged.
pub(crate) const fn mirrored(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Lt => Cond::Gt,
        Cond::Ge => Cond::Le,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Slt => Cond::Sgt,
        Cond::Sge => Cond::Sle,
        Cond::Sle => Cond::Sge,
        same => same,
    }
}
