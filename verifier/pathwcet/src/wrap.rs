//! Instructions whose result is one of two that have little in common: one state for each.

use crate::branch::{assume, by_sign};
use crate::derived::Derive;
use crate::inst::{Inst, Op, Operand};
use crate::range::Range;
use crate::state::{Flags, State, Value};

/// Wider ranges say too little of a counter to be worth two states.
const COUNT_MAX: u64 = 1 << 20;

/// Additions of a constant that wrap for some values of a small range and not for others, so that a counter that runs
/// below zero is followed exactly: the states in which `inst` wraps and in which it does not; `None` if it is not both.
pub fn by_wrap(state: &State, inst: &Inst) -> Option<[State; 2]> {
    let Op::AddSub {
        rn,
        op2: Operand::Imm(by),
        sub,
        wide,
        ..
    } = inst.op
    else {
        return None;
    };
    let held = state.get(rn);
    let low = state.derived.get(&(Derive::Low, held)).filter(|_| !wide);
    let value = low.copied().unwrap_or(held);
    let range = state.range(value);
    let top = if wide { u64::MAX } else { u32::MAX as u64 };
    if value.base != 0 || value.index == 0 || by == 0 || range.hi > top || range.hi - range.lo > COUNT_MAX {
        return None;
    }
    // Last value of the lower part: below `by` a subtraction wraps, above top − `by` an addition does.
    let last = if sub { by - 1 } else { top - by };
    if range.lo > last || range.hi <= last {
        return None;
    }
    Some([
        part(state, value, range.lo, last)?,
        part(state, value, last + 1, range.hi)?,
    ])
}

fn part(state: &State, value: Value, lo: u64, hi: u64) -> Option<State> {
    let mut part = state.clone();
    part.narrow(value, Range::new(lo, hi)?)?;
    Some(part)
}

/// Conditional selects of constants, or between a number and a limit: the states for either choice; `None` where the choice
/// is known or is no such.
pub fn by_choice(state: &State, inst: &Inst) -> Option<Vec<State>> {
    let Op::Select { rn, rm, cond, .. } = inst.op else {
        return None;
    };
    let (first, second) = (state.get(rn), state.get(rm));
    let exact = u8::from(first.as_exact().is_some()) + u8::from(second.as_exact().is_some());
    if cond >= 14 || exact == 0 || first == second || is_known(state, cond) {
        return None;
    }
    let parts = by_sign(state, cond).unwrap_or_else(|| vec![state.clone()]);
    let choices = parts
        .iter()
        .flat_map(|part| [choice(part, cond), choice(part, cond ^ 1)]);
    Some(choices.flatten().collect())
}

fn is_known(state: &State, cond: u8) -> bool {
    assume(state, &state.flags, cond).is_none() || assume(state, &state.flags, cond ^ 1).is_none()
}

/// The state in which `cond` holds, and says so even where the operands do not.
fn choice(state: &State, cond: u8) -> Option<State> {
    let mut state = assume(state, &state.flags, cond)?;
    if !is_known(&state, cond) {
        let of = Box::new(std::mem::replace(&mut state.flags, Flags::Unknown));
        state.flags = Flags::Held { cond, of };
    }
    Some(state)
}
