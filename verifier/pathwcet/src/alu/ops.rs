//! Instructions that make one register of others.

use super::{Constants, LOW32, Machine};
use crate::branch::assume;
use crate::derived::Derive;
use crate::inst::{Bitfield, Logic, Op, Operand, Reg, Select, Shift};
use crate::range::Range;
use crate::state::{Flags, Value};

impl<C: Constants> Machine<'_, C> {
    /// Effect of an instruction between registers.
    pub(super) fn operate(&mut self, op: Op) {
        match op {
            Op::Const { rd, value } => self.state.set(rd, Value::exact(value)),
            Op::MovK { rd, imm, shift, wide } => self.movk(rd, imm, shift, wide),
            Op::AddSub {
                rd,
                rn,
                op2,
                sub,
                flags,
                wide,
            } => self.add_sub(rd, rn, op2, sub, flags, wide),
            Op::Logic {
                kind,
                rd,
                rn,
                op2,
                invert,
                flags,
                wide,
            } => self.logic(kind, rd, rn, op2, invert, flags, wide),
            Op::Bitfield {
                kind,
                rd,
                rn,
                immr,
                imms,
                wide,
            } => self.bitfield(kind, rd, rn, immr, imms, wide),
            Op::Select {
                kind,
                rd,
                rn,
                rm,
                cond,
                wide,
            } => self.select(kind, rd, rn, rm, cond, wide),
            Op::CondCmp {
                sub,
                rn,
                op2,
                cond,
                nzcv,
                wide,
            } => self.cond_cmp(sub, rn, op2, cond, nzcv, wide),
            Op::MulAdd {
                rd,
                rn,
                rm,
                ra,
                sub,
                wide,
            } => self.mul_add(rd, rn, rm, ra, sub, wide),
            Op::UMulAddL { rd, rn, rm, ra } => self.mul_add_long(rd, rn, rm, ra),
            Op::UDiv { rd, rn, rm, wide } => self.divide(rd, rn, rm, wide),
            Op::ShiftVar { kind, rd, rn, rm, wide } => self.shift_var(kind, rd, rn, rm, wide),
            Op::Clz { rd, rn, wide } => self.clz(rd, rn, wide),
            _ => {}
        }
    }

    fn add_sub(&mut self, rd: Reg, rn: Reg, op2: Operand, sub: bool, flags: bool, wide: bool) {
        let (a, b) = (self.source(rn, wide), self.operand(op2, wide));
        let result = if sub { self.subtract(a, b) } else { self.add(a, b) };
        if flags {
            self.state.flags = compared(a, b, sub, wide);
        }
        let result = self.sized(result, wide);
        self.state.set(rd, result);
    }

    fn movk(&mut self, rd: Reg, imm: u16, shift: u8, wide: bool) {
        let value = match self.state.get(rd).as_exact() {
            Some(v) => Value::exact(v & !(0xffffu64 << shift) | (imm as u64) << shift),
            None => self.state.unknown(self.symbols, if wide { 64 } else { 32 }),
        };
        self.state.set(rd, value);
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of one instruction form")]
    fn logic(&mut self, kind: Logic, rd: Reg, rn: Reg, op2: Operand, invert: bool, flags: bool, wide: bool) {
        let a = self.source(rn, wide);
        let mut b = self.operand(op2, wide);
        let mask = if wide { u64::MAX } else { LOW32 };
        if invert {
            b = match b.as_exact() {
                Some(v) => Value::exact(!v & mask),
                None => self.state.unknown(self.symbols, if wide { 64 } else { 32 }),
            };
        }
        let (ra, rb) = (self.state.range(a), self.state.range(b));
        let result = match (kind, a.as_exact(), b.as_exact()) {
            (Logic::And, Some(x), Some(y)) => Value::exact(x & y),
            (Logic::Orr, Some(x), Some(y)) => Value::exact(x | y),
            (Logic::Eor, Some(x), Some(y)) => Value::exact((x ^ y) & mask),
            (Logic::Orr | Logic::Eor, Some(0), _) => b,
            (Logic::Orr | Logic::Eor, _, Some(0)) => a,
            (Logic::And, _, _) if a == b => a,
            (Logic::And, _, Some(m)) if (ra.bits | ra.unknown) & !m == 0 && a.base == 0 => a,
            (Logic::And, _, _) if b == a.plus(u64::MAX) => self.state.number(self.symbols, ra.without_lowest_one()),
            (Logic::And, _, _) if a == b.plus(u64::MAX) => self.state.number(self.symbols, rb.without_lowest_one()),
            (Logic::And, _, Some(m)) => self.state.derive(self.symbols, Derive::And(m), a),
            (Logic::And, Some(m), _) => self.state.derive(self.symbols, Derive::And(m), b),
            (Logic::Eor, _, Some(m)) => self.state.derive(self.symbols, Derive::Eor(m), a),
            (Logic::Eor, Some(m), _) => self.state.derive(self.symbols, Derive::Eor(m), b),
            (Logic::And, _, _) => {
                let hi = ra.hi.min(rb.hi);
                self.state
                    .number(self.symbols, Range::new(0, hi).unwrap_or(Range::FULL))
            }
            (Logic::Orr, _, _) => self.state.number(self.symbols, ra.or(rb)),
            (Logic::Eor, _, _) => self.state.number(self.symbols, ra.eor(rb)),
        };
        if flags {
            self.state.flags = Flags::Test {
                value: result,
                mask,
                wide,
            };
        }
        self.state.set(rd, result);
    }

    fn bitfield(&mut self, kind: Bitfield, rd: Reg, rn: Reg, immr: u8, imms: u8, wide: bool) {
        let width = if wide { 64u32 } else { 32 };
        let (r, s) = (immr as u32, imms as u32);
        let source = self.source(rn, wide);
        let range = self.state.range(source);
        let field = |n: u32| if n >= 64 { u64::MAX } else { (1u64 << n) - 1 };
        let result = match kind {
            Bitfield::Unsigned if s >= r => {
                // Extract bits s..r to the bottom.
                let kept = self.shift(source, Shift::Lsr, r, wide);
                let after = self.state.range(kept);
                let mask = field(s - r + 1);
                if after.hi <= mask {
                    kept
                } else {
                    self.state.derive(self.symbols, Derive::And(mask), kept)
                }
            }
            Bitfield::Unsigned => {
                // Bits s..0 to position width − r.
                let mask = field(s + 1);
                let kept = if range.hi <= mask {
                    source
                } else {
                    self.state.derive(self.symbols, Derive::And(mask), source)
                };
                self.shift(kept, Shift::Lsl, width - r, wide)
            }
            Bitfield::Signed if s >= r && range.hi <= field(s + 1) >> 1 => self.shift(source, Shift::Lsr, r, wide),
            Bitfield::Signed if s < r && range.hi <= field(s + 1) >> 1 => {
                self.shift(source, Shift::Lsl, width - r, wide)
            }
            Bitfield::Signed => match source.as_exact() {
                Some(v) => Value::exact(sign_bitfield(v, r, s, width)),
                None => self.state.unknown(self.symbols, width as u8),
            },
            Bitfield::Insert => {
                let old = self.source(rd, wide);
                match (source.as_exact(), old.as_exact()) {
                    (Some(v), Some(o)) => Value::exact(insert_bitfield(v, o, r, s, width)),
                    _ => self.state.unknown(self.symbols, width as u8),
                }
            }
        };
        self.state.set(rd, result);
    }

    fn select(&mut self, kind: Select, rd: Reg, rn: Reg, rm: Reg, cond: u8, wide: bool) {
        let first = self.source(rn, wide);
        let second = self.source(rm, wide);
        let second = match kind {
            Select::Plain => second,
            Select::Inc => second.plus(1),
            Select::Inv => match second.as_exact() {
                Some(v) => Value::exact(!v),
                None => self.state.unknown(self.symbols, 64),
            },
            Select::Neg => match second.as_exact() {
                Some(v) => Value::exact(v.wrapping_neg()),
                None => self.state.unknown(self.symbols, 64),
            },
        };
        let second = self.sized(second, wide);
        let flags = self.state.flags.clone();
        let yes = assume(self.state, &flags, cond);
        let no = if cond >= 14 {
            None
        } else {
            assume(self.state, &flags, cond ^ 1)
        };
        let result = match (yes, no) {
            (Some(_), None) | (None, None) => first,
            (None, Some(_)) => second,
            (Some(_), Some(_)) if first == second => first,
            // Two places of one object: which of them is not known, but still that object.
            (Some(y), Some(n)) if first.base == second.base && first.base != 0 => {
                let (a, b) = (Value { base: 0, ..first }, Value { base: 0, ..second });
                let number = self.state.number(self.symbols, y.range(a).join(n.range(b)));
                Value {
                    base: first.base,
                    ..number
                }
            }
            (Some(y), Some(n)) => {
                let range = y.range(first).join(n.range(second));
                if range == Range::FULL {
                    if let Some(log) = &mut self.symbols.log {
                        log.blur(first.base);
                        log.blur(second.base);
                    }
                    if first.base == self.state.stack || second.base == self.state.stack {
                        self.state.escaped = true;
                    }
                    self.state.unknown(self.symbols, 64)
                } else {
                    self.state.number(self.symbols, range)
                }
            }
        };
        self.state.set(rd, result);
    }

    fn cond_cmp(&mut self, sub: bool, rn: Reg, op2: Operand, cond: u8, nzcv: u8, wide: bool) {
        let (a, b) = (self.source(rn, wide), self.operand(op2, wide));
        let then = compared(a, b, sub, wide);
        let before = std::mem::replace(&mut self.state.flags, Flags::Unknown);
        let yes = assume(self.state, &before, cond).is_some();
        let no = cond < 14 && assume(self.state, &before, cond ^ 1).is_some();
        self.state.flags = match (yes, no) {
            (true, false) => then,
            (false, _) => Flags::Nzcv(nzcv),
            (true, true) => Flags::Chain {
                before: Box::new(before),
                cond,
                then: Box::new(then),
                nzcv,
            },
        };
    }

    fn product(&mut self, a: Value, b: Value) -> Option<Value> {
        let (factor, other) = match (a.as_exact(), b.as_exact()) {
            (Some(x), Some(y)) => return Some(Value::exact(x.wrapping_mul(y))),
            (Some(x), None) => (x, b),
            (None, Some(y)) => (y, a),
            _ => {
                let (x, y) = (self.state.range(a), self.state.range(b));
                let range = Range::new(x.lo.checked_mul(y.lo)?, x.hi.checked_mul(y.hi)?)?;
                return Some(self.state.number(self.symbols, range));
            }
        };
        self.state.range(other).mul_const(factor)?;
        Some(self.state.derive(self.symbols, Derive::Mul(factor), other))
    }

    fn mul_add(&mut self, rd: Reg, rn: Reg, rm: Reg, ra: Reg, sub: bool, wide: bool) {
        let (a, b, c) = (self.source(rn, wide), self.source(rm, wide), self.source(ra, wide));
        let result = match self.product(a, b) {
            Some(p) if sub => self.subtract(c, p),
            Some(p) => self.add(c, p),
            None => self.state.unknown(self.symbols, 64),
        };
        let result = self.sized(result, wide);
        self.state.set(rd, result);
    }

    fn mul_add_long(&mut self, rd: Reg, rn: Reg, rm: Reg, ra: Reg) {
        let (a, b, c) = (self.source(rn, false), self.source(rm, false), self.source(ra, true));
        let result = match self.product(a, b) {
            Some(p) => self.add(c, p),
            None => self.state.unknown(self.symbols, 64),
        };
        self.state.set(rd, result);
    }

    fn divide(&mut self, rd: Reg, rn: Reg, rm: Reg, wide: bool) {
        let (a, b) = (self.source(rn, wide), self.source(rm, wide));
        let (x, y) = (self.state.range(a), self.state.range(b));
        // Division by zero gives zero (Arm ARM C6.2, UDIV).
        let (lo, hi) = match (y.lo, y.hi) {
            (_, 0) => (0, 0),
            (0, _) => (0, x.hi),
            (lo, hi) => (x.lo / hi, x.hi / lo),
        };
        let value = self
            .state
            .number(self.symbols, Range::new(lo, hi).unwrap_or(Range::FULL));
        self.state.set(rd, value);
    }

    fn shift_var(&mut self, kind: Shift, rd: Reg, rn: Reg, rm: Reg, wide: bool) {
        let (value, amount) = (self.source(rn, wide), self.source(rm, wide));
        let width = if wide { 64 } else { 32 };
        let result = match amount.as_exact() {
            Some(n) => self.shift(value, kind, (n % width) as u32, wide),
            None if kind == Shift::Lsr => {
                let hi = self.state.range(value).hi;
                self.state
                    .number(self.symbols, Range::new(0, hi).unwrap_or(Range::FULL))
            }
            None => self.state.unknown(self.symbols, width as u8),
        };
        self.state.set(rd, result);
    }

    fn clz(&mut self, rd: Reg, rn: Reg, wide: bool) {
        let value = self.source(rn, wide);
        let range = self.state.range(value);
        let off = if wide { 0 } else { 32 };
        let (lo, hi) = (range.hi.leading_zeros() as u64, range.lo.leading_zeros() as u64);
        let result = Range::new(lo.saturating_sub(off), hi.saturating_sub(off)).unwrap_or(Range::FULL);
        let value = self.state.number(self.symbols, result);
        self.state.set(rd, value);
    }
}

/// Flags of a − b or a + b. Adding a constant sets them as subtracting its negative does: the carry says a ≥ −b, but for 0,
/// which never carries, and the one number that is its own negative, whose overflow is another.
fn compared(a: Value, b: Value, sub: bool, wide: bool) -> Flags {
    let (mask, sign) = if wide { (u64::MAX, 1 << 63) } else { (LOW32, 1 << 31) };
    match b.as_exact() {
        _ if sub => Flags::Sub { a, b, wide },
        Some(v) if v != 0 && v != sign => Flags::Sub {
            a,
            b: Value::exact(v.wrapping_neg() & mask),
            wide,
        },
        _ => Flags::Add { a, b, wide },
    }
}

fn sign_bitfield(v: u64, r: u32, s: u32, width: u32) -> u64 {
    let mask = if width == 64 { u64::MAX } else { LOW32 };
    let top = (v << (63 - s)) as i64;
    let out = if s >= r {
        top >> (63 - s + r)
    } else {
        (top >> (63 - s)) << (width - r)
    };
    out as u64 & mask
}

fn insert_bitfield(v: u64, old: u64, r: u32, s: u32, width: u32) -> u64 {
    let ones = |n: u32| if n >= 64 { u64::MAX } else { (1u64 << n) - 1 };
    if s >= r {
        let mask = ones(s - r + 1);
        old & !mask | (v >> r) & mask
    } else {
        let mask = ones(s + 1) << (width - r);
        old & !mask | (v << (width - r)) & mask
    }
}
