//! A call's state against the one a procedure was followed from: what stands for what, and the way back.

use crate::effects::Load;
use crate::memory::Hit;
use crate::range::Range;
use crate::sorted::Sorted;
use crate::state::{Flags, State, Sym, Symbols, Value};
use hashbrown::HashMap;

/// x19 to x30: saved by the procedure, or left alone.
const SAVED: std::ops::Range<usize> = 19..31;

/// What a procedure sees that is told nothing but numbers: every address is one of an object of its own, of unknown content, and
/// the stack begins where its pointer is. `None` where the stack pointer is not known.
pub(crate) fn bare(state: &State, live: u64, symbols: &mut Symbols) -> Option<State> {
    depth(state)?;
    let mut out = state.clone();
    (out.flags, out.derived, out.sums) = (Flags::Unknown, Sorted::new(), Sorted::new());
    (out.memory, out.sysregs) = (Sorted::new(), Sorted::new());
    out.escaped = false;
    out.saved = Sorted::new();
    for (n, reg) in out.regs.iter_mut().enumerate() {
        if live >> n & 1 == 0 || SAVED.contains(&n) || reg.base != 0 {
            *reg = Value {
                base: symbols.fresh(),
                index: 0,
                add: 0,
            };
        }
    }
    out.regs[31] = Value {
        base: out.stack,
        index: 0,
        add: 0,
    };
    out.collect();
    Some(out)
}

/// How far the stack pointer is from the stack's base.
fn depth(state: &State) -> Option<u64> {
    let sp = state.regs[31];
    (sp.base == state.stack && sp.index == 0).then_some(sp.add)
}

/// For every unknown that a procedure was entered with, what it is at a call.
pub(crate) struct Binding {
    values: HashMap<Sym, Value>,
    shift: u64,
}

impl Binding {
    /// `None` if the numbers that the procedure was told are not those of this call, or if an address of the stack is among
    /// `blurred`: it was stored or mixed with others, and would not be told apart from them any more.
    /// `exactly`: nor does one that was told less in these registers than could be.
    pub fn of(entry: &State, call: &State, blurred: &[Sym], exactly: Option<u64>) -> Option<Binding> {
        let mut binding = Binding {
            values: HashMap::new(),
            shift: depth(call)?,
        };
        for (n, (x, y)) in entry.regs.iter().zip(&call.regs).enumerate().take(31) {
            let fits = match (x.base, x.index) {
                (0, 0) => x == y,
                (0, number) => {
                    y.base == 0 && binding.number(entry, call, number, y.plus(x.add.wrapping_neg()), exactly.is_some())
                }
                (object, _) => {
                    binding.values.insert(object, *y);
                    let is_told = exactly.is_some_and(|live| live >> n & 1 != 0);
                    SAVED.contains(&n)
                        || (y.base != call.stack || !blurred.contains(&object)) && (!is_told || y.base != 0)
                }
            };
            if !fits {
                return None;
            }
        }
        Some(binding)
    }

    fn number(&mut self, entry: &State, call: &State, sym: Sym, value: Value, exactly: bool) -> bool {
        if let Some(known) = self.values.get(&sym) {
            return *known == value;
        }
        self.values.insert(sym, value);
        let (told, number) = (entry.symbol_range(sym), call.range(value));
        told.covers(number) && (!exactly || number.covers(told))
    }

    /// Whether any of the stores may have been to the `bytes` bytes at `at`.
    pub fn hits(&self, stores: &[Hit], call: &State, at: Value, bytes: u64) -> bool {
        stores.iter().any(|hit| {
            let Some(base) = self.base(call, hit.base).filter(|base| base.base == at.base) else {
                return false;
            };
            let hit = moved(*hit, base, call);
            hit.low.wrapping_sub(at.add) < bytes || at.add.wrapping_sub(hit.low) < hit.reach
        })
    }

    fn base(&self, state: &State, base: Sym) -> Option<Value> {
        let itself = |base, add| Value { base, index: 0, add };
        match base {
            0 => Some(Value::exact(0)),
            s if s == state.stack => Some(itself(s, self.shift)),
            s if state.ground.apart.contains(&s) => Some(itself(s, 0)),
            s => self.values.get(&s).copied(),
        }
    }
}

/// Where a store goes whose object lies at `base` in the call's state.
fn moved(hit: Hit, base: Value, call: &State) -> Hit {
    let span = match base.index {
        0 => Range::exact(0),
        index => call.symbol_range(index),
    };
    Hit {
        base: base.base,
        exact: hit.exact && base.index == 0,
        low: base.add.wrapping_add(hit.low).wrapping_add(span.lo),
        reach: (span.hi - span.lo).saturating_add(hit.reach),
    }
}

/// A way out of a procedure, told in the call's unknowns.
pub(crate) struct Renamed<'a> {
    binding: &'a Binding,
    exit: &'a State,
    symbols: &'a mut Symbols,
    /// Unknowns that the procedure made.
    made: HashMap<Sym, Value>,
    /// The state behind the call.
    pub out: State,
}

impl<'a> Renamed<'a> {
    /// Nothing told yet; `out` is the call's state.
    pub fn new(binding: &'a Binding, exit: &'a State, out: State, symbols: &'a mut Symbols) -> Self {
        Renamed {
            binding,
            exit,
            symbols,
            made: HashMap::new(),
            out,
        }
    }

    /// What branches said of unknowns of the call; `None` if that cannot be.
    pub fn narrow(&mut self, entry: &State) -> Option<()> {
        for (sym, range) in self.exit.ranges.entries() {
            if let Some(value) = self.binding.values.get(sym)
                && *range != entry.symbol_range(*sym)
            {
                self.out.narrow(*value, *range)?;
            }
        }
        Some(())
    }

    /// Forgets what stores may have hit.
    pub fn forget(&mut self, stores: &[Hit]) {
        for hit in stores {
            let base = self.base(hit.base);
            self.out.forget(moved(*hit, base, &self.out));
        }
    }

    /// Registers after the procedure.
    pub fn registers(&mut self, written: &[u16]) {
        self.out.flags = Flags::Unknown;
        self.out.escaped |= self.exit.escaped;
        for n in 0..32 {
            let value = self.value(self.exit.regs[n]);
            self.out.regs[n] = value;
        }
        for key in written {
            match self.exit.sysregs.get(key).copied() {
                Some(value) => {
                    let value = self.value(value);
                    self.out.sysregs.insert(*key, value);
                }
                None => self.out.sysregs.retain(|k, _| k != key),
            }
        }
    }

    /// Words that the procedure left. What the call still knows no store has hit.
    pub fn memory(&mut self) {
        for ((base, offset), (size, value)) in self.exit.memory.entries() {
            let own = *base == self.exit.stack && (*offset as i64) < 0;
            let at = self.base(*base);
            let key = (at.base, at.add.wrapping_add(*offset));
            if !own && at.index == 0 && !self.out.memory.contains_key(&key) {
                let value = self.value(*value);
                self.out.memory.insert(key, (*size, value));
            }
        }
    }

    fn base(&mut self, sym: Sym) -> Value {
        if sym == 0 {
            return Value::exact(0);
        }
        if let Some(value) = self.binding.base(self.exit, sym) {
            return value;
        }
        self.made(sym, true)
    }

    /// What an unknown that the procedure made, as an address or as a number, is called here.
    fn made(&mut self, sym: Sym, is_base: bool) -> Value {
        if let Some(known) = self.made.get(&sym) {
            return *known;
        }
        let made = self.symbols.fresh();
        if let Some(range) = self.exit.ranges.get(&sym) {
            self.out.ranges.insert(made, *range);
        }
        let value = Value {
            base: if is_base { made } else { 0 },
            index: if is_base { 0 } else { made },
            add: 0,
        };
        self.made.insert(sym, value);
        value
    }

    /// What was loaded from memory that no store has hit is what the call knows of it; `None` if the two exclude each other.
    pub fn loads(&mut self, loads: &[Load]) -> Option<()> {
        for load in loads {
            let at = self.base(load.base);
            let key = (at.base, at.add.wrapping_add(load.offset));
            let Some((size, value)) = self.out.memory.get(&key).copied() else {
                continue;
            };
            if at.index != 0 || size != load.size || self.made.contains_key(&load.value) {
                continue;
            }
            if let Some(range) = self.exit.ranges.get(&load.value) {
                self.out.narrow(value, *range)?;
            }
            self.made.insert(load.value, value);
        }
        Some(())
    }

    fn value(&mut self, value: Value) -> Value {
        let base = self.base(value.base);
        let index = match self.binding.values.get(&value.index) {
            _ if value.index == 0 => Value::exact(0),
            Some(v) => *v,
            None => self.made(value.index, false),
        };
        if base.base != 0 && index.base != 0 || base.index != 0 && index.index != 0 {
            self.out.escaped |= base.base == self.out.stack || index.base == self.out.stack;
            return self.out.unknown(self.symbols, 64);
        }
        Value {
            base: base.base | index.base,
            index: base.index | index.index,
            add: base.add.wrapping_add(index.add).wrapping_add(value.add),
        }
    }
}
