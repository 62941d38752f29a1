//! The abstract machine state at one program point.
//!
//! A value is `base + index + add` (mod 2^64): `base` an opaque address nothing else is known of, `index` a number with
//! a [`Range`]. Copies share their symbols, so that what a branch says of one register holds for every copy, spilled
//! ones included.

use crate::inst::{Reg, ZR};
use crate::range::Range;
use std::collections::BTreeMap;

/// Name of an unknown; 0 is "none".
pub type Sym = u32;

/// An abstract 64-bit value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Opaque address, or 0.
    pub base: Sym,
    /// Ranged number, or 0.
    pub index: Sym,
    /// Constant part.
    pub add: u64,
}

impl Value {
    /// A constant.
    pub const fn exact(v: u64) -> Value {
        Value {
            base: 0,
            index: 0,
            add: v,
        }
    }
    /// The constant, if it is one.
    pub fn as_exact(self) -> Option<u64> {
        (self.base == 0 && self.index == 0).then_some(self.add)
    }
    /// Moved by a constant.
    pub fn plus(self, c: u64) -> Value {
        Value {
            add: self.add.wrapping_add(c),
            ..self
        }
    }
}

/// What the condition flags were set by: the operands, and whether the operation was 64 bits wide.
#[allow(missing_docs, reason = "fields are the operands of the instruction")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flags {
    /// Nothing known.
    Unknown,
    /// a − b.
    Sub { a: Value, b: Value, wide: bool },
    /// a + b (CMN, ADDS).
    Add { a: Value, b: Value, wide: bool },
    /// value & mask; C and V clear.
    Test { value: Value, mask: u64, wide: bool },
    /// Constant NZCV.
    Nzcv(u8),
    /// If `cond` held in `before`, `then`; else constant `nzcv`.
    Chain {
        before: Box<Flags>,
        cond: u8,
        then: Box<Flags>,
        nzcv: u8,
    },
}

/// Machine state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// x0–x30, sp.
    pub regs: [Value; 32],
    /// Condition flags.
    pub flags: Flags,
    /// What is known of symbols; absent: anything.
    pub ranges: BTreeMap<Sym, Range>,
    /// Known memory: (base, offset) → (bytes, value).
    pub memory: BTreeMap<(Sym, u64), (u8, Value)>,
    /// Low 32 bits of values that do not fit: a W register read twice is the same number.
    pub low: BTreeMap<Value, Value>,
    /// System registers read or assumed.
    pub sysregs: BTreeMap<u16, Value>,
    /// Base symbol of the stack.
    pub stack: Sym,
    /// A stack address has gone to memory or been lost: stores through unknown pointers may hit the stack.
    pub escaped: bool,
}

/// Gives out symbols.
#[derive(Debug, Default)]
pub struct Symbols(Sym);

impl Symbols {
    /// A symbol nobody has.
    pub fn fresh(&mut self) -> Sym {
        self.0 += 1;
        self.0
    }
}

impl State {
    /// Every register an unknown of its own; the stack pointer the stack's base.
    pub fn entry(symbols: &mut Symbols) -> State {
        let mut regs = [Value::exact(0); 32];
        for reg in &mut regs {
            *reg = Value {
                base: symbols.fresh(),
                index: 0,
                add: 0,
            };
        }
        let stack = regs[31].base;
        State {
            regs,
            flags: Flags::Unknown,
            ranges: BTreeMap::new(),
            memory: BTreeMap::new(),
            low: BTreeMap::new(),
            sysregs: BTreeMap::new(),
            stack,
            escaped: false,
        }
    }

    /// Register as a 64-bit value.
    pub fn get(&self, reg: Reg) -> Value {
        if reg == ZR {
            Value::exact(0)
        } else {
            self.regs[reg as usize & 31]
        }
    }

    /// Sets a register.
    pub fn set(&mut self, reg: Reg, value: Value) {
        if reg != ZR {
            self.regs[reg as usize & 31] = value;
        }
    }

    /// A new number within `range`.
    pub fn number(&mut self, symbols: &mut Symbols, range: Range) -> Value {
        if let Some(v) = range.as_exact() {
            return Value::exact(v);
        }
        let index = symbols.fresh();
        self.ranges.insert(index, range);
        Value { base: 0, index, add: 0 }
    }

    /// An unknown; a 64-bit one may serve as a base.
    pub fn unknown(&mut self, symbols: &mut Symbols, bits: u8) -> Value {
        if bits >= 64 {
            Value {
                base: symbols.fresh(),
                index: 0,
                add: 0,
            }
        } else {
            self.number(symbols, Range::below_bits(bits))
        }
    }

    /// Range of a symbol.
    pub fn symbol_range(&self, sym: Sym) -> Range {
        self.ranges.get(&sym).copied().unwrap_or(Range::FULL)
    }

    /// Range of a value.
    pub fn range(&self, value: Value) -> Range {
        if value.base != 0 {
            // A base may have been narrowed by a comparison with a constant.
            return match (value.index, self.ranges.get(&value.base)) {
                (0, Some(range)) => range.add_const(value.add).unwrap_or(Range::FULL),
                _ => Range::FULL,
            };
        }
        if value.index == 0 {
            return Range::exact(value.add);
        }
        self.symbol_range(value.index)
            .add_const(value.add)
            .unwrap_or(Range::FULL)
    }

    /// Narrows a value to `range`; `None` if that is impossible.
    pub fn narrow(&mut self, value: Value, range: Range) -> Option<()> {
        let narrowed = self.range(value).meet(range)?;
        let sym = match (value.base, value.index) {
            (0, 0) => return Some(()),
            (0, s) | (s, 0) => s,
            _ => return Some(()),
        };
        // value = sym + add: sym = value − add, if that does not wrap over the narrowed range.
        if let Some(back) = narrowed.add_const(value.add.wrapping_neg()) {
            let known = self.symbol_range(sym).meet(back)?;
            self.ranges.insert(sym, known);
        }
        Some(())
    }

    /// The value kept at an address, if exactly `size` bytes are.
    pub fn load(&self, address: Value, size: u8) -> Option<Value> {
        if address.index != 0 {
            return None;
        }
        let (bytes, value) = self.memory.get(&(address.base, address.add))?;
        (*bytes == size).then_some(*value)
    }

    /// Records a store. `size` may be larger than 8 for opaque bytes (`value` = None).
    pub fn store(&mut self, address: Value, size: u8, value: Option<Value>) {
        if let Some(v) = value
            && v.base == self.stack
            && address.base != self.stack
        {
            self.escaped = true;
        }
        let to_stack = address.base == self.stack;
        let span = if address.index == 0 {
            Range::exact(0)
        } else {
            self.symbol_range(address.index)
        };
        let (stack, escaped) = (self.stack, self.escaped);
        self.memory.retain(|(base, offset), (bytes, _)| {
            if *base == address.base {
                // Same object: kept unless the byte ranges can meet. Offsets compare as signed distances.
                let low = address.add.wrapping_add(span.lo);
                let reach = (span.hi - span.lo).saturating_add(size as u64);
                let apart = offset.wrapping_sub(low);
                let before = low.wrapping_sub(*offset);
                return !(apart < reach || before < *bytes as u64);
            }
            // Another object: the stack is reached only by stack addresses while none has escaped.
            if *base == stack { !escaped } else { to_stack }
        });
        if let Some(value) = value
            && address.index == 0
        {
            self.memory.insert((address.base, address.add), (size, value));
        }
    }

    /// Forgets symbols that nothing names any more.
    pub fn collect(&mut self) {
        let mut used = std::collections::BTreeSet::new();
        let mut mark = |v: &Value| {
            used.insert(v.base);
            used.insert(v.index);
        };
        self.regs.iter().for_each(&mut mark);
        self.memory.values().for_each(|(_, v)| mark(v));
        self.sysregs.values().for_each(&mut mark);
        mark_flags(&self.flags, &mut mark);
        self.low
            .retain(|k, _| (k.base == 0 || used.contains(&k.base)) && (k.index == 0 || used.contains(&k.index)));
        used.extend(self.low.values().flat_map(|v| [v.base, v.index]));
        self.ranges.retain(|sym, _| used.contains(sym));
    }
}

fn mark_flags(flags: &Flags, mark: &mut impl FnMut(&Value)) {
    let mut todo = vec![flags];
    while let Some(flags) = todo.pop() {
        match flags {
            Flags::Sub { a, b, .. } | Flags::Add { a, b, .. } => {
                mark(a);
                mark(b);
            }
            Flags::Test { value, .. } => mark(value),
            Flags::Chain { before, then, .. } => todo.extend([&**before, &**then]),
            Flags::Unknown | Flags::Nzcv(_) => {}
        }
    }
}

/// Joins two states into one that holds both.
pub struct Join<'a> {
    a: &'a State,
    b: &'a State,
    symbols: &'a mut Symbols,
    known: BTreeMap<(Value, Value), Value>,
    ranges: BTreeMap<Sym, Range>,
    escaped: bool,
}

/// The least state of this domain that the analyser finds over `a` and `b`.
pub fn join(a: &State, b: &State, symbols: &mut Symbols) -> State {
    let mut join = Join {
        a,
        b,
        symbols,
        known: BTreeMap::new(),
        ranges: BTreeMap::new(),
        escaped: a.escaped || b.escaped,
    };
    let mut regs = a.regs;
    for (reg, (x, y)) in regs.iter_mut().zip(a.regs.iter().zip(&b.regs)) {
        *reg = join.value(*x, *y);
    }
    let memory = a
        .memory
        .iter()
        .filter_map(|(key, (size, x))| {
            let (other, y) = b.memory.get(key)?;
            (other == size).then(|| (*key, (*size, join.value(*x, *y))))
        })
        .collect();
    let sysregs = a
        .sysregs
        .iter()
        .filter_map(|(key, x)| Some((*key, join.value(*x, *b.sysregs.get(key)?))))
        .collect();
    let low = a
        .low
        .iter()
        .filter(|(k, v)| b.low.get(k) == Some(v))
        .map(|(k, v)| (*k, *v))
        .collect();
    let flags = join.flags();
    let mut ranges = std::mem::take(&mut join.ranges);
    let escaped = join.escaped;
    // Symbols that both states share keep the join of their ranges.
    for (sym, x) in &a.ranges {
        if let Some(y) = b.ranges.get(sym) {
            ranges.insert(*sym, x.join(*y));
        }
    }
    let mut out = State {
        regs,
        flags,
        ranges,
        memory,
        low,
        sysregs,
        stack: a.stack,
        escaped,
    };
    out.collect();
    out
}

impl Join<'_> {
    fn value(&mut self, x: Value, y: Value) -> Value {
        if x == y {
            return x;
        }
        if let Some(v) = self.known.get(&(x, y)) {
            return *v;
        }
        let out = if x.base == y.base {
            let (fx, fy) = (Value { base: 0, ..x }, Value { base: 0, ..y });
            let range = self.a.range(fx).join(self.b.range(fy));
            let index = self.symbols.fresh();
            self.ranges.insert(index, range);
            Value {
                base: x.base,
                index,
                add: 0,
            }
        } else {
            self.escaped |= x.base == self.a.stack || y.base == self.b.stack;
            let range = self.a.range(x).join(self.b.range(y));
            let sym = self.symbols.fresh();
            if range == Range::FULL {
                Value {
                    base: sym,
                    index: 0,
                    add: 0,
                }
            } else {
                self.ranges.insert(sym, range);
                Value {
                    base: 0,
                    index: sym,
                    add: 0,
                }
            }
        };
        self.known.insert((x, y), out);
        out
    }

    fn flags(&mut self) -> Flags {
        match (&self.a.flags, &self.b.flags) {
            (x, y) if x == y => x.clone(),
            (Flags::Sub { a, b, wide }, Flags::Sub { a: c, b: d, wide: w }) if wide == w => Flags::Sub {
                a: self.value(*a, *c),
                b: self.value(*b, *d),
                wide: *wide,
            },
            (
                Flags::Test { value, mask, wide },
                Flags::Test {
                    value: v,
                    mask: m,
                    wide: w,
                },
            ) if (mask, wide) == (m, w) => Flags::Test {
                value: self.value(*value, *v),
                mask: *mask,
                wide: *wide,
            },
            _ => Flags::Unknown,
        }
    }
}

/// Everything that `b` allows, `a` allows too. Symbols are matched by position; a base of `a` may stand for one value.
pub fn covers(a: &State, b: &State) -> bool {
    let mut map: BTreeMap<Sym, Value> = BTreeMap::new();
    let mut value = |x: Value, y: Value| -> bool {
        if x == y && (x.index == 0 || a.symbol_range(x.index).covers(b.symbol_range(x.index))) {
            let base_ok = x.base == 0 || a.symbol_range(x.base).covers(b.symbol_range(x.base));
            return base_ok
                && [x.base, x.index].iter().all(|s| {
                    *s == 0
                        || *map.entry(*s).or_insert(Value {
                            base: 0,
                            index: *s,
                            add: 0,
                        }) == Value {
                            base: 0,
                            index: *s,
                            add: 0,
                        }
                });
        }
        let (sym, rest) = match (x.base, x.index) {
            (0, 0) => return false,
            (s, 0) => (s, y.plus(x.add.wrapping_neg())),
            (0, s) => (s, y.plus(x.add.wrapping_neg())),
            // base + index: the base must be the same; the index of x stands for what is left of y.
            (base, s) if base == y.base => (s, Value { base: 0, ..y }.plus(x.add.wrapping_neg())),
            _ => return false,
        };
        a.symbol_range(sym).covers(b.range(rest)) && *map.entry(sym).or_insert(rest) == rest
    };
    (!b.escaped || a.escaped)
        && a.low.iter().all(|(k, v)| b.low.get(k) == Some(v) && value(*v, *v))
        && a.regs.iter().zip(&b.regs).all(|(x, y)| value(*x, *y))
        && a.memory
            .iter()
            .all(|(k, (s, x))| b.memory.get(k).is_some_and(|(t, y)| s == t && value(*x, *y)))
        && a.sysregs
            .iter()
            .all(|(k, x)| b.sysregs.get(k).is_some_and(|y| value(*x, *y)))
        && match (&a.flags, &b.flags) {
            (Flags::Unknown, _) => true,
            (x, y) => x == y,
        }
}
