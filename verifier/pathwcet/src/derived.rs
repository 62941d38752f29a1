//! Numbers made from others by one operation: made again, the number is the same, and what a branch says of it holds for
//! what it was made from.

use crate::range::Range;
use crate::state::{State, Sym, Symbols, Value, visit};

/// How a number was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Derive {
    /// Low 32 bits.
    Low,
    /// Shifted right.
    Lsr(u8),
    /// Bits of a mask.
    And(u64),
    /// Bits of a mask turned.
    Eor(u64),
    /// Multiplied, where nothing overflows.
    Mul(u64),
}

const LOW32: u64 = u32::MAX as u64;
/// Operations between a number that is narrowed and the last one that learns of it.
const STEPS_MAX: usize = 4;

impl Derive {
    /// What is known of the result.
    pub fn of(self, source: Range) -> Range {
        match self {
            Derive::Low => source.low_bits(LOW32),
            Derive::Lsr(n) => source.shr(n.into()),
            Derive::And(mask) => source.and_const(mask),
            Derive::Eor(mask) => source.eor_const(mask),
            Derive::Mul(by) => source.mul_const(by).unwrap_or(Range::FULL),
        }
    }

    /// What the result says of what it was made from.
    fn back(self, result: Range) -> Option<Range> {
        let (bits, unknown) = (result.bits, result.unknown);
        let known = |bits: u64, unknown: u64| Range::of_bits(bits & !unknown, unknown).tighten();
        match self {
            Derive::Low => known(bits, unknown | !LOW32),
            Derive::And(mask) => known(bits, unknown & mask | !mask),
            Derive::Eor(mask) => known(bits ^ mask, unknown),
            Derive::Mul(by) => Range::new(result.lo.div_ceil(by.max(1)), result.hi / by.max(1)),
            Derive::Lsr(n) => {
                let below = (1u64 << n) - 1;
                Range::new(result.lo << n, result.hi << n | below)?.meet(known(bits << n, unknown << n | below)?)
            }
        }
    }
}

impl State {
    /// The number made from `source` in this way.
    pub fn derive(&mut self, symbols: &mut Symbols, how: Derive, source: Value) -> Value {
        let range = how.of(self.range(source));
        if let Some(known) = self.derived.get(&(how, source)).copied() {
            // If the two disagree, this state does not happen.
            let _ = self.narrow(known, range);
            return known;
        }
        let value = self.number(symbols, range);
        if value.index != 0 {
            self.derived.insert((how, source), value);
        }
        value
    }

    /// Narrows a value to `range`; `None` if that is impossible.
    pub fn narrow(&mut self, value: Value, range: Range) -> Option<()> {
        let (mut value, mut range) = (value, range);
        for _ in 0..STEPS_MAX {
            let Some(sym) = self.narrow_one(value, range)? else {
                return Some(());
            };
            self.narrow_made_from(sym)?;
            let made = self.derived.iter().find(|(_, v)| v.index == sym && v.base == 0);
            let before = made.and_then(|(&(how, source), &result)| {
                let result = self.range(result);
                self.before_wrap(how, source, result)
                    .or_else(|| Some((source, how.back(result)?)))
            });
            if let Some(only) = self.symbol_range(sym).as_exact() {
                self.pin(sym, only);
            }
            let Some(next) = before else { return Some(()) };
            (value, range) = next;
        }
        Some(())
    }

    /// Puts its one value in place of a symbol, so that whoever looks at it sees a constant.
    fn pin(&mut self, sym: Sym, only: u64) {
        let fix = |value: &mut Value| {
            if value.base == sym {
                (value.base, value.add) = (0, value.add.wrapping_add(only));
            } else if value.index == sym {
                (value.index, value.add) = (0, value.add.wrapping_add(only));
            }
        };
        let named = |v: &Value| v.base == sym || v.index == sym;
        self.regs.iter_mut().for_each(fix);
        if self.memory.values().any(|(_, v)| named(v)) {
            self.memory.values_mut().for_each(|(_, v)| fix(v));
        }
        if self.sysregs.values().any(named) {
            self.sysregs.values_mut().for_each(fix);
        }
        visit(&mut self.flags, &mut |v| fix(v));
    }

    /// A 32-bit number plus a constant, modulo 2^32, lies in `result`: what the number is, if that is one interval.
    fn before_wrap(&self, how: Derive, source: Value, result: Range) -> Option<(Value, Range)> {
        let number = Value { add: 0, ..source };
        if how != Derive::Low || source.base != 0 || self.range(number).hi > LOW32 {
            return None;
        }
        let (lo, hi) = (
            result.lo.wrapping_sub(source.add) & LOW32,
            result.hi.wrapping_sub(source.add) & LOW32,
        );
        Some((number, Range::new(lo, hi)?))
    }

    /// The factor by which `b` was made from `a` by multiplication.
    pub fn factor(&self, a: Value, b: Value) -> Option<u64> {
        if a.base != 0 || b.base != 0 || a.index == 0 || b.index == 0 {
            return None;
        }
        self.derived.iter().find_map(|((how, source), made)| match how {
            Derive::Mul(by) if *source == Value { add: 0, ..a } && *made == Value { add: 0, ..b } => Some(*by),
            _ => None,
        })
    }

    /// Narrows the symbol of a value alone; says which, if it became narrower.
    fn narrow_one(&mut self, value: Value, range: Range) -> Option<Option<Sym>> {
        let narrowed = self.range(value).meet(range)?;
        let sym = match (value.base, value.index) {
            (0, 0) => return Some(None),
            (0, s) | (s, 0) => s,
            _ => return Some(None),
        };
        // value = sym + add: sym = value − add, if that does not wrap over the narrowed range.
        let Some(back) = narrowed.add_const(value.add.wrapping_neg()) else {
            return Some(None);
        };
        let before = self.symbol_range(sym);
        let known = before.meet(back)?;
        if known == before {
            return Some(None);
        }
        self.ranges.insert(sym, known);
        Some(Some(sym))
    }

    /// Numbers made from a symbol that became narrower.
    fn narrow_made_from(&mut self, sym: Sym) -> Option<()> {
        let made = self
            .derived
            .iter()
            .filter(|((_, s), _)| s.index == sym || s.base == sym);
        let made: Vec<(Range, Value)> = made.map(|((how, s), v)| (how.of(self.range(*s)), *v)).collect();
        for (range, value) in made {
            self.narrow_one(value, range)?;
        }
        Some(())
    }
}
