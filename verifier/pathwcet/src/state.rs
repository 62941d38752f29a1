//! The abstract machine state at one program point.
//!
//! A value is `base + index + add` (mod 2^64): `base` an opaque address nothing else is known of, `index` a number with
//! a [`Range`]. Copies share their symbols, so that what a branch says of one register holds for every copy, spilled
//! ones included.

use crate::derived::Derive;
use crate::effects::Log;
use crate::inst::{Reg, ZR};
use crate::range::Range;
use crate::sorted::Sorted;
use std::collections::BTreeSet;
use std::rc::Rc;

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
    /// `cond` is known to hold of these.
    Held { cond: u8, of: Box<Flags> },
    /// If `cond` held in `before`, `then`; else constant `nzcv`.
    Chain {
        before: Box<Flags>,
        cond: u8,
        then: Box<Flags>,
        nzcv: u8,
    },
}

/// What is assumed of the objects that a path begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Bases of objects apart from each other and from the image's variables.
    pub apart: BTreeSet<Sym>,
    /// (base, offset) of numbers that stores at computed indices and through other pointers leave alone.
    pub firm: BTreeSet<(Sym, u64)>,
}

/// Machine state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// x0–x30, sp.
    pub regs: [Value; 32],
    /// Condition flags.
    pub flags: Flags,
    /// What is known of symbols; absent: anything.
    pub ranges: Sorted<Sym, Range>,
    /// Known memory: (base, offset) → (bytes, value).
    pub memory: Sorted<(Sym, u64), (u8, Value)>,
    /// Numbers made from others by one operation: made again, they are the same.
    pub derived: Sorted<(Derive, Value), Value>,
    /// Numbers that are the sum of two others.
    pub sums: Sorted<Sym, (Sym, Sym)>,
    /// System registers read or assumed.
    pub sysregs: Sorted<u16, Value>,
    /// Base symbol of the stack.
    pub stack: Sym,
    /// Bases of objects that no address of another object reaches, and numbers in them that only a store to their very
    /// address changes, whatever is stored at a computed index.
    pub ground: Rc<Objects>,
    /// A stack address has gone to memory or been lost: stores through unknown pointers may hit the stack.
    pub escaped: bool,
    /// Offsets on the stack where procedures have saved their callers' registers: no address of these is ever made.
    pub saved: Sorted<u64, ()>,
    /// Symbols are looked through for forgotten ones when there are more than this.
    pub collect_at: usize,
}

/// Gives out symbols, and keeps the log of a procedure that is summarised.
#[derive(Debug, Default)]
pub struct Symbols {
    last: Sym,
    pub(crate) log: Option<Box<Log>>,
}

impl Symbols {
    /// A symbol nobody has.
    pub fn fresh(&mut self) -> Sym {
        self.last += 1;
        self.last
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
            ranges: Sorted::new(),
            memory: Sorted::new(),
            derived: Sorted::new(),
            sums: Sorted::new(),
            sysregs: Sorted::new(),
            stack,
            ground: Rc::default(),
            escaped: false,
            saved: Sorted::new(),
            collect_at: 0,
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

    /// b − a where b was made as a + something: what was added, and a constant.
    pub fn added(&self, a: Value, b: Value) -> Option<(Sym, u64)> {
        let (i, k) = *self.sums.get(&b.index)?;
        let other = match a.index {
            s if s == i && s != 0 => k,
            s if s == k && s != 0 => i,
            _ => return None,
        };
        (a.base == b.base).then_some((other, b.add.wrapping_sub(a.add)))
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

    /// The symbols of its values, ascending.
    pub(crate) fn symbols(&self) -> Vec<Sym> {
        let mut all: Vec<Sym> = Vec::new();
        let mut mark = |v: &Value| all.extend([v.base, v.index]);
        self.regs.iter().for_each(&mut mark);
        self.memory.values().for_each(|(_, v)| mark(v));
        self.sysregs.values().for_each(&mut mark);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Forgets symbols that nothing names any more, and words and system registers that say nothing.
    pub fn collect(&mut self) {
        let mut used = Vec::with_capacity(64 + 2 * self.memory.len());
        let mut mark = |v: &Value| used.extend([v.base, v.index]);
        self.regs.iter().for_each(&mut mark);
        self.memory.values().for_each(|(_, v)| mark(v));
        self.sysregs.values().for_each(&mut mark);
        operands(&self.flags).iter().for_each(&mut mark);
        used.sort_unstable();
        self.forget_unsaid(&used);
        used.dedup();
        let holds = |s: Sym, used: &[Sym]| s == 0 || used.binary_search(&s).is_ok();
        let is_used = |v: &Value, used: &[Sym]| holds(v.base, used) && holds(v.index, used);
        // A register's low half is looked at again and again: what is known of it stays as long as the register.
        let low = self
            .derived
            .iter()
            .filter(|((how, s), _)| *how == Derive::Low && is_used(s, &used));
        let low: Vec<Sym> = low.map(|(_, v)| v.index).collect();
        used.extend(low);
        used.sort_unstable();
        used.dedup();
        self.derived
            .retain(|(_, source), v| is_used(source, &used) && is_used(v, &used));
        self.sums
            .retain(|n, (i, k)| [n, i, k].into_iter().all(|s| holds(*s, &used)));
        self.ranges.retain(|sym, _| used.binary_search(sym).is_ok());
    }

    /// Drops words and system registers whose value may be anything and is nowhere else: read again, they are as unknown.
    /// `used`: the symbols of all values, sorted, as often as they occur.
    fn forget_unsaid(&mut self, used: &[Sym]) {
        let once = |s: Sym| {
            let first = used.partition_point(|u| *u < s);
            used.get(first + 1) != Some(&s)
        };
        let in_tables: Vec<Sym> = {
            let derived = self.derived.iter().flat_map(|((_, s), v)| [s.base, s.index, v.index]);
            let sums = self.sums.iter().flat_map(|(n, (i, k))| [*n, *i, *k]);
            let mut all: Vec<Sym> = derived.chain(sums).collect();
            all.sort_unstable();
            all
        };
        let bases = &self.memory;
        let (ranges, stack, ground) = (&self.ranges, self.stack, &self.ground);
        let says = |v: &Value, size: u8| match (v.base, v.index, v.add) {
            (s, 0, 0) if s != 0 => {
                s == stack
                    || ground.apart.contains(&s)
                    || ranges.contains_key(&s)
                    || !once(s)
                    || in_tables.binary_search(&s).is_ok()
                    || has_words(bases, s)
            }
            (0, s, 0) if s != 0 => {
                !once(s)
                    || in_tables.binary_search(&s).is_ok()
                    || size >= 8
                    || ranges.get(&s) != Some(&Range::below_bits(size * 8))
            }
            _ => true,
        };
        let unsaid: Vec<(Sym, u64)> = (self.memory.iter())
            .filter(|(at, (size, v))| !says(v, *size) && !ground.firm.contains(at))
            .map(|(at, _)| *at)
            .collect();
        let registers: Vec<u16> = (self.sysregs.iter())
            .filter(|(_, v)| !says(v, 8))
            .map(|(key, _)| *key)
            .collect();
        if !unsaid.is_empty() {
            self.memory.retain(|at, _| unsaid.binary_search(at).is_err());
        }
        if !registers.is_empty() {
            self.sysregs.retain(|key, _| registers.binary_search(key).is_err());
        }
    }
}

/// Something is known of what lies at `base`.
fn has_words(memory: &Sorted<(Sym, u64), (u8, Value)>, base: Sym) -> bool {
    let first = memory.at_or_after((base, 0));
    memory.entries().get(first).is_some_and(|((b, _), _)| *b == base)
}

/// The values that flags were made of.
pub(crate) fn operands(flags: &Flags) -> Vec<Value> {
    let mut out = Vec::new();
    let mut todo = vec![flags];
    while let Some(flags) = todo.pop() {
        match flags {
            Flags::Sub { a, b, .. } | Flags::Add { a, b, .. } => out.extend([*a, *b]),
            Flags::Test { value, .. } => out.push(*value),
            Flags::Held { of, .. } => todo.push(of),
            Flags::Chain { before, then, .. } => todo.extend([&**before, &**then]),
            Flags::Unknown | Flags::Nzcv(_) => {}
        }
    }
    out
}

/// Applies `to` to every value that flags were made of.
pub(crate) fn visit(flags: &mut Flags, to: &mut dyn FnMut(&mut Value)) {
    let mut todo = vec![flags];
    while let Some(flags) = todo.pop() {
        match flags {
            Flags::Sub { a, b, .. } | Flags::Add { a, b, .. } => [a, b].into_iter().for_each(&mut *to),
            Flags::Test { value, .. } => to(value),
            Flags::Held { of, .. } => todo.push(of),
            Flags::Chain { before, then, .. } => todo.extend([&mut **before, &mut **then]),
            Flags::Unknown | Flags::Nzcv(_) => {}
        }
    }
}
