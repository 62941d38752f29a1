//! Join and order of states.

use crate::live::FLAGS;
use crate::range::Range;
use crate::sorted::Sorted;
use crate::state::{Flags, State, Sym, Symbols, Value, operands};
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::rc::Rc;

/// Joins two states into one that holds both.
pub struct Join<'a> {
    a: &'a State,
    b: &'a State,
    symbols: &'a mut Symbols,
    known: HashMap<(Value, Value), Value>,
    ranges: Vec<(Sym, Range)>,
    escaped: bool,
}

/// The least state of this domain that the analyser finds over `a` and `b`. Registers that are not in `live` (bit n: xn)
/// need not be right.
pub fn join(a: &State, b: &State, live: u64, symbols: &mut Symbols) -> State {
    let mut join = Join {
        a,
        b,
        symbols,
        known: HashMap::new(),
        ranges: Vec::new(),
        escaped: a.escaped || b.escaped,
    };
    let mut regs = a.regs;
    for (n, (reg, y)) in regs.iter_mut().zip(&b.regs).enumerate() {
        *reg = if live >> n & 1 == 1 {
            join.value(*reg, *y)
        } else {
            Value {
                base: join.symbols.fresh(),
                index: 0,
                add: 0,
            }
        };
    }
    let memory = join.memory();
    let sysregs = a
        .sysregs
        .iter()
        .filter_map(|(key, x)| Some((*key, join.value(*x, *b.sysregs.get(key)?))))
        .collect();
    let derived = common(&a.derived, &b.derived);
    let sums = common(&a.sums, &b.sums);
    let flags = if live & FLAGS == 0 {
        Flags::Unknown
    } else {
        join.flags()
    };
    let mut ranges = std::mem::take(&mut join.ranges);
    let escaped = join.escaped;
    // Symbols that both states share keep the join of their ranges.
    for (sym, x) in a.ranges.entries() {
        if let Some(y) = b.ranges.get(sym) {
            ranges.push((*sym, x.join(*y)));
        }
    }
    let mut out = State {
        regs,
        flags,
        ranges: ranges.into_iter().collect(),
        memory,
        derived,
        sums,
        sysregs,
        stack: a.stack,
        ground: Rc::clone(&a.ground),
        escaped,
        saved: common(&a.saved, &b.saved),
        collect_at: 0,
    };
    out.collect();
    out
}

/// Entries that both have.
fn common<K: Ord + Copy, V: Copy + PartialEq>(a: &Sorted<K, V>, b: &Sorted<K, V>) -> Sorted<K, V> {
    let mut both = a.clone();
    both.retain(|k, v| b.get(k) == Some(v));
    both
}

impl Join<'_> {
    /// What both remember. A stack address that only one of them remembers may come back as a pointer of unknown origin.
    fn memory(&mut self) -> Sorted<(Sym, u64), (u8, Value)> {
        let (a, b) = (self.a, self.b);
        if a.memory.is_shared(&b.memory) {
            return a.memory.clone();
        }
        let mut out = Vec::with_capacity(a.memory.len().min(b.memory.len()));
        let (mut left, mut right) = (a.memory.entries(), b.memory.entries());
        while let (Some(((k, (s, x)), l)), Some(((m, (t, y)), r))) = (left.split_first(), right.split_first()) {
            match k.cmp(m) {
                Ordering::Less => {
                    self.escaped |= x.base == a.stack;
                    left = l;
                }
                Ordering::Greater => {
                    self.escaped |= y.base == b.stack;
                    right = r;
                }
                Ordering::Equal => {
                    if s == t {
                        out.push((*k, (*s, self.value(*x, *y))));
                    } else {
                        self.escaped |= x.base == a.stack || y.base == b.stack;
                    }
                    (left, right) = (l, r);
                }
            }
        }
        self.escaped |= left.iter().any(|(_, (_, v))| v.base == a.stack);
        self.escaped |= right.iter().any(|(_, (_, v))| v.base == b.stack);
        out.into_iter().collect()
    }

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
            self.ranges.push((index, range));
            Value {
                base: x.base,
                index,
                add: 0,
            }
        } else {
            self.escaped |= x.base == self.a.stack || y.base == self.b.stack;
            if let Some(log) = &mut self.symbols.log {
                log.blur(x.base);
                log.blur(y.base);
            }
            let range = self.a.range(x).join(self.b.range(y));
            let sym = self.symbols.fresh();
            if range == Range::FULL {
                Value {
                    base: sym,
                    index: 0,
                    add: 0,
                }
            } else {
                self.ranges.push((sym, range));
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

/// The question whether everything that `b` allows, `a` allows too. Most values are the same in both: what they are made
/// of is looked at only if a symbol means less in `a`, or another in `b`.
struct Cover<'a> {
    a: &'a State,
    b: &'a State,
    /// Symbols whose range in `a` does not hold that in `b`.
    narrower: Vec<Sym>,
    /// Symbols of `a` and the values of `b` they stand for, where that is not the symbol itself.
    renamed: Vec<(Sym, Value)>,
    /// Symbols that stand for themselves.
    same: Vec<Sym>,
}

impl Cover<'_> {
    fn value(&mut self, x: Value, y: Value) -> bool {
        if x == y {
            return true;
        }
        let (sym, rest) = match (x.base, x.index) {
            (0, 0) => return false,
            (s, 0) | (0, s) => (s, y.plus(x.add.wrapping_neg())),
            // base + index: the base must be the same; the index of x stands for what is left of y.
            (base, s) if base == y.base => {
                self.same.push(base);
                (s, Value { base: 0, ..y }.plus(x.add.wrapping_neg()))
            }
            _ => return false,
        };
        match self.renamed.iter().find(|(s, _)| *s == sym) {
            Some((_, value)) => *value == rest,
            None => {
                self.renamed.push((sym, rest));
                self.a.symbol_range(sym).covers(self.b.range(rest))
            }
        }
    }

    /// Symbols that stand for themselves do so everywhere, and mean no less.
    fn itself(&self, sym: Sym) -> bool {
        let only = Value {
            base: 0,
            index: sym,
            add: 0,
        };
        sym == 0 || !self.narrower.contains(&sym) && self.renamed.iter().all(|(s, v)| *s != sym || *v == only)
    }

    fn unchanged(&self, x: Value, y: Value) -> bool {
        x != y || self.itself(x.base) && self.itself(x.index)
    }

    /// Words of memory: every one that `a` knows, `b` knows too.
    fn memory(&mut self, visit: &mut dyn FnMut(&mut Self, Value, Value) -> bool) -> bool {
        let mut right = self.b.memory.entries();
        self.a.memory.entries().iter().all(|(k, (s, x))| {
            while right.first().is_some_and(|(m, _)| m < k) {
                right = right.get(1..).unwrap_or_default();
            }
            match right.first() {
                Some((m, (t, y))) => m == k && s == t && visit(self, *x, *y),
                None => false,
            }
        })
    }
}

fn narrower(a: &State, b: &State) -> Vec<Sym> {
    if a.ranges.is_shared(&b.ranges) {
        return Vec::new();
    }
    let less = a
        .ranges
        .entries()
        .iter()
        .filter(|(sym, range)| !range.covers(b.symbol_range(*sym)));
    less.map(|(sym, _)| *sym).collect()
}

/// Everything that `b` allows, `a` allows too, as far as registers in `live` go. Symbols are matched by position; a base
/// of `a` may stand for one value.
pub fn covers(a: &State, b: &State, live: u64) -> bool {
    let saved = || a.saved.is_shared(&b.saved) || a.saved.iter().all(|(o, ())| b.saved.contains_key(o));
    if b.escaped && !a.escaped || a.memory.len() > b.memory.len() || !saved() {
        return false;
    }
    let mut cover = Cover {
        a,
        b,
        narrower: Vec::new(),
        renamed: Vec::new(),
        same: Vec::new(),
    };
    let regs = || {
        a.regs
            .iter()
            .zip(&b.regs)
            .enumerate()
            .filter(|(n, _)| live >> n & 1 == 1)
            .map(|(_, pair)| pair)
    };
    let flags = live & FLAGS == 0 || matches!(a.flags, Flags::Unknown) || a.flags == b.flags;
    let alike = flags
        && regs().all(|(x, y)| cover.value(*x, *y))
        && a.sysregs
            .iter()
            .all(|(k, x)| b.sysregs.get(k).is_some_and(|y| cover.value(*x, *y)))
        && a.derived.iter().all(|(k, v)| b.derived.get(k) == Some(v))
        && a.sums.iter().all(|(k, v)| b.sums.get(k) == Some(v))
        && (a.memory.is_shared(&b.memory) || cover.memory(&mut |c, x, y| c.value(x, y)))
        && remembers(a, b);
    if !alike {
        return false;
    }
    cover.narrower = narrower(a, b);
    if cover.narrower.is_empty() && cover.renamed.is_empty() {
        return true;
    }
    let same = std::mem::take(&mut cover.same);
    regs().all(|(x, y)| cover.unchanged(*x, *y))
        && same.into_iter().all(|s| cover.itself(s))
        && a.sysregs
            .values()
            .all(|x| cover.itself(x.base) && cover.itself(x.index))
        && a.derived
            .iter()
            .all(|((_, k), v)| cover.unchanged(*k, *k) && cover.unchanged(*v, *v))
        && a.sums
            .iter()
            .all(|(n, (i, k))| [n, i, k].into_iter().all(|s| cover.itself(*s)))
        && cover.memory(&mut |c, x, y| c.unchanged(x, y))
        && (live & FLAGS == 0 || operands(&a.flags).into_iter().all(|v| cover.unchanged(v, v)))
}

/// No stack address of `b` is forgotten in `a` without a note.
fn remembers(a: &State, b: &State) -> bool {
    a.escaped
        || a.memory.is_shared(&b.memory)
        || b.memory
            .entries()
            .iter()
            .all(|(k, (_, v))| v.base != b.stack || a.memory.contains_key(k))
}
