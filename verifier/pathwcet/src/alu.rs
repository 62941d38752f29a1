//! Effect of one instruction on the abstract state.

use crate::branch::assume;
use crate::derived::Derive;
use crate::inst::{Address, Bitfield, Extend, Inst, Logic, Op, Operand, Reg, SP, Select, Shift, ZR};
use crate::range::Range;
use crate::state::{Flags, State, Symbols, Value};

/// Constant memory of the image, as far as it can be known.
pub trait Constants {
    /// `size` bytes (1, 2, 4, 8) of read-only memory at `address`.
    fn read_only(&self, address: u64, size: u8) -> Option<u64>;
    /// The address is ordinary memory of the image, which does not change behind the program's back.
    fn is_memory(&self, address: u64) -> bool;
}

/// State, symbol source and image together: everything an instruction's effect needs.
pub struct Machine<'a, C: Constants> {
    /// The state that changes.
    pub state: &'a mut State,
    /// Source of new unknowns.
    pub symbols: &'a mut Symbols,
    /// The image.
    pub constants: &'a C,
}

const LOW32: u64 = u32::MAX as u64;

impl<C: Constants> Machine<'_, C> {
    /// Applies `inst`'s effect on registers, flags and memory (not on the pc).
    pub fn apply(&mut self, inst: &Inst) {
        match inst.op {
            Op::None => {}
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
            Op::Clobber { rd, rd2, bits, flags } => {
                self.clobber(rd, bits);
                self.clobber(rd2, bits);
                if flags {
                    self.state.flags = Flags::Unknown;
                }
            }
            Op::Load {
                rt,
                rt2,
                size,
                signed,
                addr,
            } => self.load(rt, rt2, size, signed, addr),
            Op::Store { rt, rt2, size, addr } => self.store(rt, rt2, size, addr),
            Op::StoreOpaque { bytes, addr } => {
                let at = self.address(addr);
                self.state.store(at, bytes, None);
                self.write_back(addr);
            }
            Op::LoadOpaque { addr } => self.write_back(addr),
            Op::Atomic {
                rd,
                rd2,
                status,
                size,
                addr,
            } => {
                let at = self.address(addr);
                self.state.store(at, size, None);
                self.clobber(rd, size.saturating_mul(8));
                self.clobber(rd2, size.saturating_mul(8));
                self.clobber(status, 1);
            }
            Op::Mrs { rd, key } => {
                let value = match self.state.sysregs.get(&key) {
                    Some(v) => *v,
                    None => self.state.unknown(self.symbols, 64),
                };
                self.state.set(rd, value);
            }
            Op::Msr { key, rt } => {
                let value = self.state.get(rt);
                self.state.sysregs.insert(key, value);
            }
            Op::Service => {
                for reg in 0..18 {
                    self.clobber(reg, 64);
                }
            }
        }
    }

    fn clobber(&mut self, reg: Reg, bits: u8) {
        if reg != ZR {
            let value = self.state.unknown(self.symbols, bits);
            self.state.set(reg, value);
        }
    }

    /// Low 32 bits of a value, zero-extended.
    fn narrow32(&mut self, value: Value) -> Value {
        let range = self.state.range(value);
        if range.hi <= LOW32 {
            return value;
        }
        if let Some(v) = value.as_exact() {
            return Value::exact(v & LOW32);
        }
        self.state.derive(self.symbols, Derive::Low, value)
    }

    fn sized(&mut self, value: Value, wide: bool) -> Value {
        if wide { value } else { self.narrow32(value) }
    }

    /// A register as an operand of either width.
    pub fn source(&mut self, reg: Reg, wide: bool) -> Value {
        let value = self.state.get(reg);
        self.sized(value, wide)
    }

    fn operand(&mut self, op2: Operand, wide: bool) -> Value {
        match op2 {
            Operand::Imm(v) => Value::exact(v),
            Operand::Shifted(reg, kind, amount) => {
                let value = self.source(reg, wide);
                self.shift(value, kind, amount as u32, wide)
            }
            Operand::Extended(reg, Extend { bits, signed }, amount) => {
                let value = self.state.get(reg);
                let range = self.state.range(value);
                let top = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
                let value = if bits >= 64 || range.hi <= if signed { top >> 1 } else { top } {
                    value
                } else if signed {
                    self.state.unknown(self.symbols, 64)
                } else {
                    self.state.derive(self.symbols, Derive::And(top), value)
                };
                self.shift(value, Shift::Lsl, amount as u32, wide)
            }
        }
    }

    fn shift(&mut self, value: Value, kind: Shift, amount: u32, wide: bool) -> Value {
        if amount == 0 {
            return value;
        }
        let width = if wide { 64 } else { 32 };
        if let Some(v) = value.as_exact() {
            let out = match (kind, wide) {
                (Shift::Lsl, _) => v << amount,
                (Shift::Lsr, _) => v >> amount,
                (Shift::Asr, true) => ((v as i64) >> amount) as u64,
                (Shift::Asr, false) => ((v as i32) >> amount) as u32 as u64,
                (Shift::Ror, true) => v.rotate_right(amount),
                (Shift::Ror, false) => (v as u32).rotate_right(amount) as u64,
            };
            return Value::exact(if wide { out } else { out & LOW32 });
        }
        if kind == Shift::Lsr {
            return self.state.derive(self.symbols, Derive::Lsr(amount as u8), value);
        }
        let range = self.state.range(value);
        let fits = |r: &Range| wide || r.hi <= LOW32;
        if kind == Shift::Lsl && range.shl(amount).as_ref().is_some_and(fits) && amount < 63 {
            return self.state.derive(self.symbols, Derive::Mul(1 << amount), value);
        }
        let out = match kind {
            Shift::Lsl => range.shl(amount).filter(|r| wide || r.hi <= LOW32).or_else(|| {
                let unknown = range.unknown << amount;
                let mask = if wide { u64::MAX } else { LOW32 };
                Range {
                    ones: range.ones,
                    ..Range::of_bits((range.bits << amount) & mask, unknown & mask)
                }
                .tighten()
            }),
            Shift::Asr if range.hi >> (width - 1) == 0 => Some(range.shr(amount)),
            _ => None,
        };
        let out = out.unwrap_or(Range::below_bits(width as u8));
        if out == Range::FULL {
            self.state.unknown(self.symbols, 64)
        } else {
            self.state.number(self.symbols, out)
        }
    }

    /// a + b, symbolic where possible.
    fn add(&mut self, a: Value, b: Value) -> Value {
        let add = a.add.wrapping_add(b.add);
        if (a.base == 0 || b.base == 0) && (a.index == 0 || b.index == 0) {
            return Value {
                base: a.base | b.base,
                index: a.index | b.index,
                add,
            };
        }
        if a.base != 0 && b.base != 0 {
            return self.state.unknown(self.symbols, 64);
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some(by) = self.state.factor(x, y).and_then(|by| by.checked_add(1))
                && self.state.symbol_range(x.index).mul_const(by).is_some()
            {
                let source = Value { add: 0, ..x };
                return self.state.derive(self.symbols, Derive::Mul(by), source).plus(add);
            }
        }
        let sum = self.state.symbol_range(a.index).add(self.state.symbol_range(b.index));
        match sum {
            Some(range) => {
                let number = self.state.number(self.symbols, range);
                if number.index != 0 {
                    self.state.sums.insert(number.index, (a.index, b.index));
                }
                Value {
                    base: a.base | b.base,
                    index: number.index,
                    add: add.wrapping_add(number.add),
                }
            }
            None => self.state.unknown(self.symbols, 64),
        }
    }

    /// a − b, symbolic where possible.
    fn subtract(&mut self, a: Value, b: Value) -> Value {
        if b.base == 0 && b.index == 0 {
            return a.plus(b.add.wrapping_neg());
        }
        if a.base == b.base {
            let add = a.add.wrapping_sub(b.add);
            if a.index == b.index {
                return Value::exact(add);
            }
            if b.index == 0 {
                return Value {
                    base: 0,
                    index: a.index,
                    add,
                };
            }
            if let Some((sym, constant)) = self.state.added(b, a) {
                return Value {
                    base: 0,
                    index: sym,
                    add: constant,
                };
            }
            if let Some(by) = self.state.factor(b, a) {
                let source = Value { add: 0, ..b };
                return self
                    .state
                    .derive(self.symbols, Derive::Mul(by.wrapping_sub(1)), source)
                    .plus(add);
            }
            let (x, y) = (self.state.symbol_range(a.index), self.state.symbol_range(b.index));
            let x = if a.index == 0 { Range::exact(0) } else { x };
            // x + add − y over intervals, if nothing wraps.
            if let Some(x) = x.add_const(add)
                && x.lo >= y.hi
            {
                let stride = if x.stride == 0 { y.stride } else { 1 };
                let range = Range {
                    lo: x.lo - y.hi,
                    hi: x.hi - y.lo,
                    stride,
                    bits: 0,
                    unknown: u64::MAX,
                    ones: 64,
                };
                return self.state.number(self.symbols, range.tighten().unwrap_or(Range::FULL));
            }
        }
        self.state.unknown(self.symbols, 64)
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

    /// Address of an access.
    pub fn address(&mut self, addr: Address) -> Value {
        let base = self.state.get(addr.base);
        let offset = self.operand(addr.offset, true);
        self.add(base, offset)
    }

    fn write_back(&mut self, addr: Address) {
        if let Some(by) = addr.writeback {
            let base = self.state.get(addr.base);
            self.state.set(addr.base, base.plus(by as u64));
        }
    }

    /// The low or high half of a number that was stored as a whole.
    fn part(&mut self, at: Value, size: u8) -> Option<Value> {
        if size != 4 || at.index != 0 {
            return None;
        }
        if let Some(whole) = self.state.load(at, 8) {
            return Some(self.narrow32(whole));
        }
        let whole = self.state.load(at.plus(4u64.wrapping_neg()), 8)?;
        Some(self.shift(whole, Shift::Lsr, 32, true))
    }

    /// The value of `size` bytes at `at`: known, constant of the image, or a new unknown that later loads agree on.
    pub fn read(&mut self, at: Value, size: u8) -> Value {
        if let Some(v) = self.state.load(at, size) {
            return v;
        }
        if let Some(v) = self.part(at, size) {
            return v;
        }
        if let Some(v) = at.as_exact().and_then(|a| self.constants.read_only(a, size)) {
            return Value::exact(v);
        }
        let value = self.state.unknown(self.symbols, size.saturating_mul(8));
        let stable = at.base != 0 || self.constants.is_memory(at.add);
        if at.index == 0 && stable {
            self.state.memory.insert((at.base, at.add), (size, value));
        }
        value
    }

    fn load(&mut self, rt: Reg, rt2: Option<Reg>, size: u8, signed: Option<bool>, addr: Address) {
        let at = self.address(addr);
        let first = self.read(at, size);
        let second = rt2.map(|_| self.read(at.plus(size as u64), size));
        self.write_back(addr);
        let put = |machine: &mut Self, reg: Reg, value: Value| {
            let value = match signed {
                None => value,
                Some(to_wide) => machine.sign_extend(value, size, to_wide),
            };
            machine.state.set(reg, value);
        };
        put(self, rt, first);
        if let (Some(reg), Some(value)) = (rt2, second) {
            put(self, reg, value);
        }
    }

    fn sign_extend(&mut self, value: Value, size: u8, wide: bool) -> Value {
        let bits = size as u32 * 8;
        if bits >= 64 {
            return value;
        }
        let mask = if wide { u64::MAX } else { LOW32 };
        if let Some(v) = value.as_exact() {
            return Value::exact((((v << (64 - bits)) as i64) >> (64 - bits)) as u64 & mask);
        }
        if self.state.range(value).hi <= (1u64 << (bits - 1)) - 1 {
            return value;
        }
        self.state.unknown(self.symbols, if wide { 64 } else { 32 })
    }

    fn store(&mut self, rt: Reg, rt2: Option<Reg>, size: u8, addr: Address) {
        let at = self.address(addr);
        let first = self.stored(rt, size);
        self.state.store(at, size, first);
        if let Some(reg) = rt2 {
            let second = self.stored(reg, size);
            self.state.store(at.plus(size as u64), size, second);
        }
        self.write_back(addr);
    }

    fn stored(&mut self, reg: Reg, size: u8) -> Option<Value> {
        let value = self.state.get(reg);
        let fits = size >= 8 || self.state.range(value).hi < 1u64 << (size * 8);
        if fits {
            return Some(value);
        }
        if size == 4 {
            return Some(self.narrow32(value));
        }
        let range = self.state.range(value).and_const((1u64 << (size * 8)) - 1);
        Some(self.state.number(self.symbols, range))
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

/// The base register of every access may be the stack pointer.
const _: () = assert!(SP < ZR);
