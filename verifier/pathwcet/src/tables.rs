//! Jump tables: a load from constant memory at a bounded index is one state per index, so that the branch that follows
//! has a known target in each.

use crate::alu::{Constants, Machine};
use crate::branch::{assume, assume_mask, assume_zero};
use crate::elf::Image;
use crate::inst::{Flow, Inst, Op, Operand};
use crate::range::Range;
use crate::state::{State, Symbols, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Larger tables are no switch of this code.
const TABLE_MAX: u64 = 1024;
/// Blocks before an indirect branch that are looked at for the check of its index.
const BLOCKS_BACK_MAX: usize = 8;

/// One state for each index of the table that `inst` loads from; `None` if it is no such load.
pub fn split(image: &Image, symbols: &mut Symbols, state: &State, inst: &Inst) -> Option<Vec<State>> {
    let Op::Load {
        addr, size, rt2: None, ..
    } = inst.op
    else {
        return None;
    };
    let mut base_state = state.clone();
    let at = machine(image, symbols, &mut base_state).address(addr);
    let range = base_state.symbol_range(at.index);
    if at.base != 0 || at.index == 0 || range.count() > TABLE_MAX {
        return None;
    }
    image.read_only(range.lo.wrapping_add(at.add), size)?;
    let index = Value {
        base: 0,
        index: at.index,
        add: 0,
    };
    let mut out = Vec::new();
    let mut v = range.lo;
    loop {
        let mut state = base_state.clone();
        if range.contains(v) && state.narrow(index, Range::exact(v)).is_some() {
            let target = at.add.wrapping_add(v);
            out.extend(at_constant_index(image, symbols, inst, state, target));
        }
        match v.checked_add(range.stride.max(1)) {
            Some(next) if next <= range.hi => v = next,
            _ => break,
        }
    }
    Some(out)
}

fn machine<'a>(image: &'a Image, symbols: &'a mut Symbols, state: &'a mut State) -> Machine<'a, Image> {
    Machine {
        state,
        symbols,
        constants: image,
    }
}

/// The state in which the load of `inst` is from `target`.
fn at_constant_index(
    image: &Image,
    symbols: &mut Symbols,
    inst: &Inst,
    mut state: State,
    target: u64,
) -> Option<State> {
    let Op::Load { addr, .. } = inst.op else { return None };
    if machine(image, symbols, &mut state).address(addr).as_exact() == Some(target) {
        return Some(state);
    }
    // The index reached the address through an operation that made a new symbol: set the register itself.
    let (reg, scale) = match addr.offset {
        Operand::Extended(reg, _, amount) => (reg, amount),
        Operand::Shifted(reg, ..) => (reg, 0),
        Operand::Imm(_) => {
            state.set(addr.base, Value::exact(target));
            return (machine(image, symbols, &mut state).address(addr).as_exact() == Some(target)).then_some(state);
        }
    };
    let base = state.get(addr.base).as_exact()?;
    state.set(reg, Value::exact(target.wrapping_sub(base) >> scale));
    Some(state)
}

/// Targets of the indirect branch at `site` that the code right before it shows. Only a first idea of the graph: the
/// exploration finds every target for itself, and what is missing here costs it a start from the beginning.
pub fn guess(
    image: &Image,
    insts: &BTreeMap<u64, Inst>,
    leaders: &BTreeSet<u64>,
    edges: &BTreeMap<u64, Vec<u64>>,
    site: u64,
) -> BTreeSet<u64> {
    let start = |pc: u64| leaders.range(..=pc).next_back().copied().unwrap_or(pc);
    // Blocks from the branch back, as long as there is one way to come.
    let mut chain = vec![start(site)];
    while let Some(first) = chain.last()
        && chain.len() < BLOCKS_BACK_MAX
    {
        match edges.get(first).map(Vec::as_slice) {
            Some([from]) if !chain.contains(&start(*from)) => chain.push(start(*from)),
            _ => break,
        }
    }
    chain.reverse();
    let mut symbols = Symbols::default();
    let mut states = vec![State::entry(&mut symbols)];
    for (n, first) in chain.iter().enumerate() {
        let next = chain.get(n + 1).copied();
        for inst in insts.range(*first..).map(|(_, i)| i).take_while(|i| i.pc <= site) {
            let mut out = Vec::new();
            for state in states {
                let parts = if next.is_none() {
                    split(image, &mut symbols, &state, inst)
                } else {
                    None
                };
                for mut state in parts.unwrap_or_else(|| vec![state]) {
                    machine(image, &mut symbols, &mut state).apply(inst);
                    out.push(state);
                }
            }
            states = out;
            if inst.ends_block() || leaders.contains(&(inst.pc + 4)) {
                if let Some(next) = next {
                    states = states.iter().filter_map(|s| along(s, inst, next)).collect();
                }
                break;
            }
        }
    }
    let Some(Flow::JumpReg(reg)) = insts.get(&site).map(|i| i.flow) else {
        return BTreeSet::new();
    };
    states.iter().filter_map(|s| s.get(reg).as_exact()).collect()
}

/// The state where `inst` goes to `next`.
fn along(state: &State, inst: &Inst, next: u64) -> Option<State> {
    match inst.flow {
        Flow::Cond { cond, target } => assume(state, &state.flags, if target == next { cond } else { cond ^ 1 }),
        Flow::Zero { rt, wide, zero, target } => assume_zero(state, state.get(rt), wide, zero == (target == next)),
        Flow::Bit { rt, bit, set, target } => assume_mask(state, state.get(rt), 1 << bit, set != (target == next)),
        _ => Some(state.clone()),
    }
}
