//! Effect of one instruction on the abstract state.

mod access;
mod ops;

use crate::derived::Derive;
use crate::inst::{Extend, Inst, Op, Operand, Reg, SP, Shift, ZR};
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
            Op::Clobber { rd, rd2, bits, flags } => {
                self.clobber(rd, bits);
                self.clobber(rd2, bits);
                if flags {
                    self.state.flags = Flags::Unknown;
                }
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
                if let Some(log) = &mut self.symbols.log {
                    log.write(key);
                }
                self.state.sysregs.insert(key, value);
            }
            Op::Service => (0..18).for_each(|reg| self.clobber(reg, 64)),
            Op::Load { .. } | Op::Store { .. } | Op::StoreOpaque { .. } | Op::LoadOpaque { .. } | Op::Atomic { .. } => {
                self.access(inst.op);
            }
            op => self.operate(op),
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
}

/// The base register of every access may be the stack pointer.
const _: () = assert!(SP < ZR);
