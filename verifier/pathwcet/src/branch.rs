//! What a taken or untaken branch tells: feasibility, and narrower ranges for the values compared.

use crate::range::Range;
use crate::state::{Flags, State, Sym, Value};

/// Unsigned order relations the refinement knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The state in parts within which signed order is unsigned order, if `cond` compares as signed numbers.
pub fn by_sign(state: &State, cond: u8) -> Option<Vec<State>> {
    let Flags::Sub { a, b, wide } = state.flags else {
        return None;
    };
    let is_signed = matches!(cond, 4 | 5 | 10..=13);
    let top: u64 = if wide { u64::MAX } else { u32::MAX as u64 };
    let straddles = |state: &State, v: Value| {
        let range = state.range(v);
        v.base == 0 && range.hi <= top && range.lo <= top / 2 && range.hi > top / 2
    };
    // Of two unknown numbers the signs say little.
    let of_constant = a.as_exact().is_some() || b.as_exact().is_some();
    if !is_signed || !of_constant || !(straddles(state, a) || straddles(state, b)) {
        return None;
    }
    let mut parts = vec![state.clone()];
    for value in [a, b] {
        let halves = [(0, top / 2), (top / 2 + 1, top)];
        parts = parts
            .iter()
            .flat_map(|part| {
                let split = straddles(part, value);
                halves
                    .iter()
                    .take(if split { 2 } else { 1 })
                    .filter_map(move |(lo, hi)| {
                        let mut half = part.clone();
                        if split {
                            half.narrow(value, Range::new(*lo, *hi)?)?;
                        }
                        Some(half)
                    })
            })
            .collect();
    }
    Some(parts)
}

/// NZCV bits of a constant result.
const N: u8 = 8;
const Z: u8 = 4;
const C: u8 = 2;
const V: u8 = 1;

/// Whether `cond` holds of constant flags (Arm ARM C1.2.4).
pub fn holds(cond: u8, nzcv: u8) -> bool {
    let (n, z, c, v) = (nzcv & N != 0, nzcv & Z != 0, nzcv & C != 0, nzcv & V != 0);
    let base = match cond >> 1 {
        0 => z,
        1 => c,
        2 => n,
        3 => v,
        4 => c && !z,
        5 => n == v,
        6 => n == v && !z,
        _ => return true,
    };
    base != (cond & 1 == 1)
}

fn subtract(a: u64, b: u64, wide: bool) -> u8 {
    // In the upper half, 32-bit operands set the flags as 64-bit ones do.
    let (a, b) = if wide { (a, b) } else { (a << 32, b << 32) };
    let result = a.wrapping_sub(b);
    let overflow = (a as i64).overflowing_sub(b as i64).1;
    (if (result as i64) < 0 { N } else { 0 })
        | (if result == 0 { Z } else { 0 })
        | (if a >= b { C } else { 0 })
        | (if overflow { V } else { 0 })
}

/// Adds to `state` that `cond` holds of `flags`; `None` if it cannot.
pub fn assume(state: &State, flags: &Flags, cond: u8) -> Option<State> {
    if cond >= 14 {
        return Some(state.clone());
    }
    match flags {
        // a + b is zero where a is −b.
        Flags::Add { a, b, wide } if cond <= 1 && b.as_exact().is_some() => {
            let minus = b.add.wrapping_neg() & if *wide { u64::MAX } else { u32::MAX as u64 };
            assume_sub(state, *a, Value::exact(minus), *wide, cond)
        }
        Flags::Unknown | Flags::Add { .. } => Some(state.clone()),
        Flags::Nzcv(nzcv) => holds(cond, *nzcv).then(|| state.clone()),
        Flags::Sub { a, b, wide } => assume_sub(state, *a, *b, *wide, cond),
        Flags::Test { value, mask, wide } => assume_test(state, *value, *mask, *wide, cond),
        Flags::Held { cond: held, .. } if cond == *held => Some(state.clone()),
        Flags::Held { cond: held, .. } if cond == *held ^ 1 => None,
        Flags::Held { of, .. } => assume_simple(state, of, cond),
        Flags::Chain {
            before,
            cond: first,
            then,
            nzcv,
        } => {
            // Either the first comparison held and the second decides, or it did not and NZCV is constant.
            let taken = assume_simple(state, before, *first).and_then(|s| assume_simple(&s, then, cond));
            let skipped = holds(cond, *nzcv)
                .then(|| assume_simple(state, before, *first ^ 1))
                .flatten();
            match (taken, skipped) {
                (Some(s), None) | (None, Some(s)) => Some(s),
                (None, None) => None,
                // Both ways remain: nothing more than the old state is said of the values.
                (Some(_), Some(_)) => Some(state.clone()),
            }
        }
    }
}

/// [`assume`] for a link of a chain: a chain inside a chain says nothing (keeps the depth at one).
fn assume_simple(state: &State, flags: &Flags, cond: u8) -> Option<State> {
    match flags {
        Flags::Sub { a, b, wide } => assume_sub(state, *a, *b, *wide, cond),
        Flags::Test { value, mask, wide } => assume_test(state, *value, *mask, *wide, cond),
        Flags::Nzcv(nzcv) => holds(cond, *nzcv).then(|| state.clone()),
        Flags::Chain { .. } | Flags::Unknown | Flags::Add { .. } => Some(state.clone()),
        Flags::Held { cond: held, .. } if cond == *held ^ 1 => None,
        Flags::Held { .. } => Some(state.clone()),
    }
}

fn assume_sub(state: &State, a: Value, b: Value, wide: bool, cond: u8) -> Option<State> {
    let (a, b) = if a.base == b.base && a.base != 0 {
        (distance(a), distance(b))
    } else {
        (a, b)
    };
    if let (Some(x), Some(y)) = (a.as_exact(), b.as_exact()) {
        return holds(cond, subtract(x, y, wide)).then(|| state.clone());
    }
    let mut state = state.clone();
    let (ra, rb) = (state.range(a), state.range(b));
    let limit = if wide { u64::MAX } else { u32::MAX as u64 };
    if ra.hi > limit || rb.hi > limit {
        return Some(state);
    }
    let sign = limit / 2;
    let same_sign = ra.hi <= sign && rb.hi <= sign || ra.lo > sign && rb.lo > sign;
    let relation = match cond {
        0 => Relation::Eq,
        1 => Relation::Ne,
        2 => Relation::Ge,
        3 => Relation::Lt,
        8 => Relation::Gt,
        9 => Relation::Le,
        10 if same_sign => Relation::Ge,
        11 if same_sign => Relation::Lt,
        12 if same_sign => Relation::Gt,
        13 if same_sign => Relation::Le,
        // MI/PL after a comparison of small numbers are LT/GE.
        4 if same_sign => Relation::Lt,
        5 if same_sign => Relation::Ge,
        10..=13 if ra.lo > sign && rb.hi <= sign => return matches!(cond, 11 | 13).then_some(state),
        10..=13 if ra.hi <= sign && rb.lo > sign => return matches!(cond, 10 | 12).then_some(state),
        _ => return Some(state),
    };
    relate(&mut state, a, b, relation)?;
    Some(state)
}

/// Places of one object compare by their distance from its base, which may be negative: the order of signed numbers is
/// that of unsigned ones with the sign turned. Addresses within one object do not wrap.
fn distance(place: Value) -> Value {
    Value { base: 0, ..place }.plus(1 << 63)
}

fn relate(state: &mut State, a: Value, b: Value, relation: Relation) -> Option<()> {
    // What was added to one to get the other is related to 0, where nothing wraps.
    let fits = |v: Value| state.symbol_range(v.index).add_const(v.add).is_some();
    if fits(a) && fits(b) {
        if let Some((sym, constant)) = state.added(a, b) {
            let (left, right) = sides(sym, constant);
            relate_numbers(state, left, right, relation)?;
        } else if let Some((sym, constant)) = state.added(b, a) {
            let (left, right) = sides(sym, constant);
            relate_numbers(state, right, left, relation)?;
        }
    }
    relate_numbers(state, a, b, relation)
}

/// 0 and sym + constant, the constant on the side where nothing wraps.
fn sides(sym: Sym, constant: u64) -> (Value, Value) {
    let value = Value {
        base: 0,
        index: sym,
        add: 0,
    };
    if (constant as i64) < 0 {
        (Value::exact(constant.wrapping_neg()), value)
    } else {
        (Value::exact(0), value.plus(constant))
    }
}

fn relate_numbers(state: &mut State, a: Value, b: Value, relation: Relation) -> Option<()> {
    let (ra, rb) = (state.range(a), state.range(b));
    let (to_a, to_b) = match relation {
        Relation::Eq => (ra.meet(rb)?, rb.meet(ra)?),
        Relation::Ne => {
            if a == b {
                return None;
            }
            let to_a = rb.as_exact().map_or(Some(ra), |v| ra.without(v))?;
            (to_a, ra.as_exact().map_or(Some(rb), |v| rb.without(v))?)
        }
        Relation::Lt => below(ra, rb, 1)?,
        Relation::Le => below(ra, rb, 0)?,
        Relation::Gt => below(rb, ra, 1).map(|(y, x)| (x, y))?,
        Relation::Ge => below(rb, ra, 0).map(|(y, x)| (x, y))?,
    };
    if a == b && matches!(relation, Relation::Lt | Relation::Gt) {
        return None;
    }
    state.narrow(a, to_a)?;
    state.narrow(b, to_b)
}

/// Ranges of x and y given x + gap ≤ y.
fn below(x: Range, y: Range, gap: u64) -> Option<(Range, Range)> {
    let top = y.hi.checked_sub(gap)?;
    let bottom = x.lo.checked_add(gap)?;
    let to_x = if x.hi <= top { x } else { cut(x, x.lo, top)? };
    let to_y = if y.lo >= bottom { y } else { cut(y, bottom, y.hi)? };
    Some((to_x, to_y))
}

fn cut(range: Range, lo: u64, hi: u64) -> Option<Range> {
    range.meet(Range::new(lo, hi)?)
}

/// Narrows by (value & mask) == 0, or ≠ 0 where the mask is one bit.
pub fn assume_mask(state: &State, value: Value, mask: u64, zero: bool) -> Option<State> {
    let mut state = state.clone();
    let range = state.range(value);
    let possible = (range.bits | range.unknown) & mask;
    let certain = range.bits & !range.unknown & mask;
    if zero {
        if certain != 0 {
            return None;
        }
        if possible != 0 {
            let narrowed = Range {
                unknown: range.unknown & !mask,
                ..range
            }
            .tighten()?;
            state.narrow(value, narrowed)?;
        }
    } else {
        if possible == 0 {
            return None;
        }
        if certain == 0 && possible.is_power_of_two() {
            let narrowed = Range {
                bits: range.bits | possible,
                unknown: range.unknown & !possible,
                ..range
            }
            .tighten()?;
            state.narrow(value, narrowed)?;
        } else if certain == 0 && range.hi & !mask == 0 {
            state.narrow(value, range.without(0)?)?;
        }
    }
    Some(state)
}

fn assume_test(state: &State, value: Value, mask: u64, wide: bool, cond: u8) -> Option<State> {
    let mask = if wide { mask } else { mask & u32::MAX as u64 };
    let sign = if wide { 1u64 << 63 } else { 1 << 31 };
    match cond {
        0 => assume_mask(state, value, mask, true),
        1 => assume_mask(state, value, mask, false),
        // ANDS clears C and V: HS, VS, HI never hold; LO, VC, LS... LS needs Z or !C, and C is clear.
        2 | 6 | 8 => None,
        3 | 7 | 9 => Some(state.clone()),
        4 | 11 => assume_mask(state, value, mask & sign, false),
        5 | 10 => assume_mask(state, value, mask & sign, true),
        12 => assume_mask(state, value, mask & sign, true).and_then(|s| assume_mask(&s, value, mask, false)),
        _ => Some(state.clone()),
    }
}

/// Narrows by value == 0 or value ≠ 0, as CBZ and CBNZ do.
pub fn assume_zero(state: &State, value: Value, wide: bool, zero: bool) -> Option<State> {
    let cond = if zero { 0 } else { 1 };
    assume_sub(state, value, Value::exact(0), wide, cond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Symbols;

    /// Every condition on every pair of small numbers: the concrete outcome is never called infeasible or lost.
    #[test]
    fn refinement_keeps_every_concrete_pair() {
        let ranges = [
            (0u64, 0u64),
            (0, 3),
            (2, 5),
            (5, 5),
            (1, 6),
            (0xffff_fffe, 0xffff_ffff),
            (0x7fff_fffe, 0x8000_0001),
        ];
        for (alo, ahi) in ranges {
            for (blo, bhi) in ranges {
                for cond in 0..14u8 {
                    for wide in [false, true] {
                        let mut symbols = Symbols::default();
                        let mut state = State::entry(&mut symbols);
                        let a = state.number(&mut symbols, Range::new(alo, ahi).unwrap());
                        let b = state.number(&mut symbols, Range::new(blo, bhi).unwrap());
                        let after = assume(&state, &Flags::Sub { a, b, wide }, cond);
                        for x in alo..=ahi {
                            for y in (blo..=bhi).filter(|y| holds(cond, subtract(x, *y, wide))) {
                                let after = after.as_ref().expect("feasible");
                                assert!(
                                    after.range(a).contains(x) && after.range(b).contains(y),
                                    "{cond} {x} {y}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bit_tests_keep_every_concrete_value() {
        for (lo, hi) in [(0u64, 9u64), (4, 7), (8, 8), (3, 12)] {
            for mask in 0..16u64 {
                for cond in [0u8, 1, 4, 5] {
                    let mut symbols = Symbols::default();
                    let mut state = State::entry(&mut symbols);
                    let value = state.number(&mut symbols, Range::new(lo, hi).unwrap());
                    let after = assume(
                        &state,
                        &Flags::Test {
                            value,
                            mask,
                            wide: true,
                        },
                        cond,
                    );
                    for v in lo..=hi {
                        let nzcv = if v & mask == 0 { Z } else { 0 };
                        if holds(cond, nzcv) {
                            assert!(
                                after.as_ref().is_some_and(|s| s.range(value).contains(v)),
                                "{v} & {mask} {cond}"
                            );
                        }
                    }
                }
            }
        }
    }
}
