//! One abstract instruction: arithmetic, pointer arithmetic, comparisons.

use crate::cost::{CostModel, Edge};
use crate::engine::{Fault, RETURN, Verifier};
use crate::insn::{AluOp, Callee, Imm64, Insn, Op, Operand, Order, Width};
use crate::memory::SlotInfo;
use crate::reject::Why;
use crate::scalar::Scalar;
use crate::store::State;
use crate::value::{Kind, Region, Val};
use crate::view::{Observer, View};

/// Pointer offsets and what is added to them stay below this, so that they cannot wrap (as Linux: 1 << 29).
const POINTER_OFFSET_MAX: i64 = 1 << 29;

/// How an instruction is left.
pub(crate) enum Flow {
    Next,
    To(u32),
    /// The state was handed over already.
    Gone,
    /// The other outcome of a comparison is the next unit's.
    Half,
    Exit,
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Follows the current state over one instruction.
    pub(crate) fn execute(&mut self, observer: &mut impl Observer) -> Result<(), Fault> {
        let Some(mut s) = self.cur.take() else {
            return Err(Why::Internal { line: line!() });
        };
        let pc = self.pc;
        self.visits += 1;
        if let Some(info) = self.m.slots.get_mut(pc as usize) {
            info.flags |= SlotInfo::VISITED;
        }
        observer.visit(View {
            store: &self.store,
            state: &s,
            pc,
            insns: s.insns,
        });
        let insn = match Insn::decode(self.m.text, pc) {
            Ok(insn) => insn,
            Err(e) => return Err(Why::Decode(e)),
        };
        s.insns = s.insns.saturating_add(1);
        s.insns_min = s.insns_min.saturating_add(1);
        let flow = match self.transfer(&mut s, &insn, pc, observer) {
            Ok(flow) => flow,
            Err(why) => {
                self.cur = Some(s);
                return Err(why);
            }
        };
        self.leave_insn(s, &insn, flow)
    }

    /// The instruction is done with; where the state goes on.
    fn leave_insn(&mut self, mut s: State, insn: &Insn, flow: Flow) -> Result<(), Fault> {
        let pc = self.pc;
        let block = self.block_at(pc);
        let target = match flow {
            Flow::Gone => return Ok(()),
            Flow::Half => {
                self.cur = Some(s);
                return Ok(());
            }
            Flow::Next => pc + insn.slots(),
            Flow::To(target) => target,
            Flow::Exit => {
                s.time = s.time.saturating_add(self.cost.insn(pc, insn, Edge::Next));
                return self.hand_over(s, RETURN);
            }
        };
        let edge = if matches!(flow, Flow::To(_)) {
            Edge::Taken
        } else {
            Edge::Next
        };
        s.time = s.time.saturating_add(self.cost.insn(pc, insn, edge));
        if matches!(flow, Flow::Next) && self.block_at(target) == block {
            self.pc = target;
            self.cur = Some(s);
            return Ok(());
        }
        let target = self.block_at(target);
        self.hand_over(s, target)
    }

    /// The other outcome of the comparison at hand.
    pub(crate) fn execute_half(&mut self) -> Result<(), Fault> {
        let (Some(mut s), Some(half)) = (self.cur.take(), self.half.take()) else {
            return Err(Why::Internal { line: line!() });
        };
        let insn = Insn::decode(self.m.text, self.pc).map_err(Why::Decode)?;
        match self.other_outcome(&mut s, &insn, half) {
            Ok(flow) => self.leave_insn(s, &insn, flow),
            Err(why) => {
                self.cur = Some(s);
                Err(why)
            }
        }
    }

    pub(crate) fn hand_over(&mut self, s: State, target: u32) -> Result<(), Fault> {
        let top = self.top();
        self.arrive(top, s, target)
    }

    pub(crate) fn transfer(
        &mut self,
        s: &mut State,
        i: &Insn,
        pc: u32,
        observer: &mut impl Observer,
    ) -> Result<Flow, Fault> {
        match i.op {
            Op::Alu { op, width, operand } => self.alu(s, i, op, width, operand)?,
            Op::End { order, bits } => self.end(s, i, order, bits)?,
            Op::LdImm64(imm) => self.imm64(s, i, imm)?,
            Op::Load { size, signed } => self.load(s, i, size, signed, pc)?,
            Op::Store { size, operand } => self.store(s, i, size, operand, pc)?,
            Op::Atomic { size, op, fetch } => self.atomic(s, i, size, op, fetch, pc)?,
            Op::LdPacket { indirect, size } => return self.packet_load(s, i, size, indirect, pc),
            Op::Goto { target } => return Ok(Flow::To(target)),
            Op::Jump {
                cond,
                width,
                operand,
                target,
            } => return self.branch(s, i, cond, width, operand, target, pc),
            Op::Call(Callee::Local(target)) => return self.call_local(s, i, target, pc),
            Op::Call(Callee::Helper(id)) => return self.call_helper(s, i, id, pc, observer),
            Op::Exit => {
                self.check_exit(s)?;
                return Ok(Flow::Exit);
            }
        }
        Ok(Flow::Next)
    }

    /// Register `r`, which must hold something.
    pub(crate) fn read(&self, s: &State, r: u8) -> Result<Val, Fault> {
        let v = self.store.reg(s, r);
        if v.kind == Kind::Uninit {
            Err(Why::UninitRegister { reg: r })
        } else {
            Ok(v)
        }
    }

    pub(crate) fn operand(&self, s: &State, i: &Insn, o: Operand) -> Result<Val, Fault> {
        match o {
            Operand::Reg => self.read(s, i.src),
            Operand::Imm => Ok(Val::scalar(Scalar::constant(i.imm as i64 as u64))),
        }
    }

    pub(crate) fn alu(&mut self, s: &mut State, i: &Insn, op: AluOp, width: Width, o: Operand) -> Result<(), Fault> {
        let src = self.operand(s, i, o)?;
        if op == AluOp::Mov {
            let v = self.moved(s, i, o, width, src)?;
            self.store.set_reg(s, i.dst, v);
            return Ok(());
        }
        if let AluOp::MovSx(_) = op {
            if !src.is_scalar() {
                return Err(Why::PointerLeak { reg: i.src });
            }
            let num = Scalar::alu(op, width, src.num, src.num);
            // Sign extension of what is already small and non-negative changes nothing.
            let v = if num == src.num { src } else { Val::scalar(num) };
            self.store.set_reg(s, i.dst, v);
            return Ok(());
        }
        let dst = self.read(s, i.dst)?;
        if o == Operand::Imm && i.imm == 0 && self.env.rules.no_zero_divisor {
            if matches!(op, AluOp::Div | AluOp::Mod | AluOp::Sdiv | AluOp::Smod) {
                return Err(Why::DivisionByZero);
            }
        }
        let contain = self.env.rules.speculation && matches!(op, AluOp::Add | AluOp::Sub);
        let v = if dst.is_scalar() && src.is_scalar() {
            if contain && o == Operand::Reg {
                self.note_numbers(i.dst)?;
            }
            self.scalar_alu(op, width, &dst, &src)
        } else {
            let v = self.pointer_alu(op, width, i, &dst, &src)?;
            if contain {
                self.contain(s, i, op, o, &v)?;
            }
            v
        };
        self.store.set_reg(s, i.dst, v);
        Ok(())
    }

    pub(crate) fn moved(&mut self, s: &mut State, i: &Insn, o: Operand, width: Width, src: Val) -> Result<Val, Fault> {
        if o == Operand::Reg && (width == Width::W64 || src.is_scalar() && src.num.umax <= u64::from(u32::MAX)) {
            return Ok(self.linked(s, i.src, src));
        }
        if !src.is_scalar() && self.env.rules.hide_pointers {
            return Err(Why::PointerLeak { reg: i.src });
        }
        // Half of a pointer is some number.
        let num = if src.is_scalar() { src.num } else { Scalar::UNKNOWN };
        Ok(Val::scalar(Scalar::alu(AluOp::Mov, width, num, num)))
    }

    /// Gives an unknown number in register `r` an identity, so that a copy of it stays related.
    pub(crate) fn linked(&mut self, s: &mut State, r: u8, mut v: Val) -> Val {
        if v.is_scalar() && v.id == 0 && v.num.as_constant().is_none() && r < 10 {
            self.ids += 1;
            v.id = self.ids;
            v.delta = 0;
            self.store.set_reg(s, r, v);
        }
        v
    }

    pub(crate) fn scalar_alu(&mut self, op: AluOp, width: Width, dst: &Val, src: &Val) -> Val {
        let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
        if shift && self.env.rules.wide_shift_unknown && src.num.umax >= width.bits().into() {
            return Val::scalar(Scalar::zero_extended(width.bits()));
        }
        let num = Scalar::alu(op, width, dst.num, src.num);
        let mut v = Val::scalar(num);
        // A linked unknown plus a constant stays linked; in 32 bits only if the sum cannot wrap.
        let (base, constant) = match (op, src.num.as_constant(), dst.num.as_constant()) {
            (AluOp::Add, Some(c), _) if dst.id != 0 => (dst, c as i64),
            (AluOp::Sub, Some(c), _) if dst.id != 0 => (dst, (c as i64).wrapping_neg()),
            (AluOp::Add, _, Some(c)) if src.id != 0 => (src, c as i64),
            _ => return v,
        };
        let constant = if width == Width::W32 {
            i64::from(constant as i32)
        } else {
            constant
        };
        let exact = width == Width::W64 || {
            let (lo, hi) = (
                i128::from(base.num.umin) + i128::from(constant),
                i128::from(base.num.umax) + i128::from(constant),
            );
            base.num.umax <= u64::from(u32::MAX) && lo >= 0 && hi <= i128::from(u32::MAX)
        };
        if exact {
            v.id = base.id;
            v.delta = base.delta.wrapping_add(constant);
        }
        v
    }

    pub(crate) fn pointer_alu(
        &mut self,
        op: AluOp,
        width: Width,
        i: &Insn,
        dst: &Val,
        src: &Val,
    ) -> Result<Val, Fault> {
        let (ptr, num, reg) = match (dst.region(), src.region()) {
            (Some(_), None) if op == AluOp::Neg && !self.env.rules.hide_pointers => {
                return Ok(Val::scalar(Scalar::zero_extended(width.bits())));
            }
            (Some(_), None) => (dst, src, i.dst),
            (None, Some(_)) if op == AluOp::Add => (src, dst, i.src),
            (Some(region), Some(_)) => {
                if op == AluOp::Sub && width == Width::W64 && !self.env.rules.hide_pointers {
                    return Ok(Val::UNKNOWN);
                }
                return Err(Why::PointerArithmetic { reg: i.dst, op, region });
            }
            (_, Some(region)) => return Err(Why::PointerArithmetic { reg: i.src, op, region }),
            _ => return Err(Why::Internal { line: line!() }),
        };
        let region = ptr.region().unwrap_or(Region::Mem);
        let movable = match region {
            Region::Map(_) | Region::PacketEnd | Region::Func => false,
            Region::Object(n) => n == 0 && num.num.as_constant().is_some(),
            // As Linux: frames are addressed downwards from r10 by addition.
            Region::Stack(_) => op == AluOp::Add,
            _ => true,
        };
        let add = matches!(op, AluOp::Add | AluOp::Sub) && width == Width::W64;
        if !add || !movable || ptr.nullable() {
            return Err(Why::PointerArithmetic { reg, op, region });
        }
        let wild = |n: &Scalar| {
            n.smin <= -POINTER_OFFSET_MAX || n.as_constant().is_some_and(|c| c as i64 >= POINTER_OFFSET_MAX)
        };
        if wild(&num.num) || op == AluOp::Sub && num.num.smax >= POINTER_OFFSET_MAX {
            return Err(Why::PointerOffset { reg, region });
        }
        let sum = Scalar::alu(op, Width::W64, ptr.num, num.num);
        if wild(&sum) {
            return Err(Why::PointerOffset { reg, region });
        }
        let mut v = Val { num: sum, ..*ptr };
        match num.num.as_constant() {
            Some(c) => {
                let c = if op == AluOp::Sub {
                    (c as i64).wrapping_neg()
                } else {
                    c as i64
                };
                v.delta = v.delta.wrapping_add(c);
            }
            None if matches!(region, Region::Packet | Region::PacketMeta) => {
                self.ids += 1;
                (v.id, v.delta, v.extra) = (self.ids, 0, 0);
            }
            None => (v.id, v.delta) = (0, 0),
        }
        Ok(v)
    }

    pub(crate) fn end(&mut self, s: &mut State, i: &Insn, order: Order, bits: u8) -> Result<(), Fault> {
        let v = self.read(s, i.dst)?;
        if let Some(region) = v.region() {
            return Err(Why::PointerArithmetic {
                reg: i.dst,
                op: AluOp::Xor,
                region,
            });
        }
        self.store
            .set_reg(s, i.dst, Val::scalar(v.num.swapped(order, u32::from(bits))));
        Ok(())
    }

    pub(crate) fn imm64(&mut self, s: &mut State, i: &Insn, imm: Imm64) -> Result<(), Fault> {
        let v = match imm {
            Imm64::Const(c) => Val::scalar(Scalar::constant(c)),
            Imm64::Map(index) => {
                self.map(index)?;
                Val::pointer(Region::Map(index as u16))
            }
            Imm64::MapValue(index, offset) => {
                let map = self.map(index)?;
                if !map.direct_value || offset >= map.value_bytes {
                    return Err(Why::BadDirectValue { index, offset });
                }
                let num = Scalar::constant(offset.into());
                Val {
                    num,
                    ..Val::pointer(Region::MapValue(index as u16))
                }
            }
            Imm64::Func(target) => Val {
                extra: target,
                ..Val::pointer(Region::Func)
            },
        };
        self.store.set_reg(s, i.dst, v);
        Ok(())
    }

    pub(crate) fn map(&self, index: u32) -> Result<crate::env::MapDesc, Fault> {
        let live = self.m.maps.get(..self.maps as usize).unwrap_or(&[]);
        live.get(index as usize).copied().ok_or(Why::UnknownMap { index })
    }
}
