//! Procedures that call no other, followed on their own, once for all calls.
//!
//! Such a procedure is told numbers only: what an address points to is an object of its own and of unknown content, so one
//! summary serves every call with those numbers. It says what the ways out cost, what registers and memory hold then in terms
//! of what they held before, and what stores may have hit, which is forgotten at the call.

use super::graphs::Graphs;
use super::place::{Frame, Place};
use super::queue::{Best, Explorer, Item, Node, Step};
use super::{Classes, ExploreError, Limits, OnPanic, POINTS_MAX, Query};
use crate::binding::{Binding, Renamed, bare};
use crate::cfg::Cfg;
use crate::effects::{Load, Log};
use crate::inst::Flow;
use crate::join::join;
use crate::live::AT_RETURN;
use crate::memory::Hit;
use crate::state::{Objects, State, Sym, Value};
use crate::timing::Timing;
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Shorter procedures without loops are followed in place.
const INSNS_MIN: usize = 24;
/// Ways out that are kept apart.
const EXITS_MAX: usize = 12;
/// Summaries of one procedure up to which each is for its numbers only: one that was told less says more than is so.
const EXACT_MAX: usize = 12;
/// Summaries of one procedure after which it is followed in place.
const KEPT_MAX: usize = 48;
/// Registers that may hold results.
const RESULTS: u64 = 0xff;

/// What a procedure does when it is entered so.
pub(super) struct Summary {
    entry: State,
    exits: Vec<Item>,
    ends: BTreeMap<u64, Best>,
    stores: Vec<Hit>,
    written: Vec<u16>,
    loads: Vec<Load>,
    /// Objects whose addresses were stored or mixed with others.
    blurred: Vec<Sym>,
    loops: BTreeMap<u64, (u32, bool)>,
    left_out: u64,
    nodes: Rc<Vec<Node>>,
}

/// What queries must agree in to share summaries. Their costs must be the same function.
#[derive(PartialEq)]
struct Key {
    stops: BTreeSet<u64>,
    declared: BTreeMap<u64, u32>,
    sites: BTreeMap<u64, u8>,
    stack: Option<(Value, Value)>,
    classes: Option<Classes>,
    refuse: bool,
    limits: Limits,
    ground: Objects,
    timing: Option<Timing>,
    cost: usize,
}

#[derive(Default)]
struct Kept {
    by_entry: HashMap<u64, Vec<Rc<Summary>>>,
    /// Procedures that are followed in place.
    in_place: HashSet<u64>,
}

/// Summaries found so far.
#[derive(Default)]
pub(super) struct Summaries {
    kept: Vec<(Key, Kept)>,
    now: usize,
}

impl Summaries {
    /// Those of queries like this one.
    pub fn begin(&mut self, query: &Query<'_>, limits: Limits) {
        let key = Key {
            stops: query.stops.clone(),
            declared: query.declared.clone(),
            sites: query.sites.clone(),
            stack: query.stack,
            classes: query.classes,
            refuse: query.on_panic == OnPanic::Refuse,
            limits,
            ground: Objects::clone(&query.start.ground),
            timing: query.timing,
            cost: std::ptr::from_ref(query.cost).cast::<()>() as usize,
        };
        let found = self.kept.iter().position(|(k, _)| *k == key);
        self.now = found.unwrap_or(self.kept.len());
        if found.is_none() {
            self.kept.push((key, Kept::default()));
        }
    }

    fn of(&mut self, function: u64) -> Option<&mut Vec<Rc<Summary>>> {
        Some(self.kept.get_mut(self.now)?.1.by_entry.entry(function).or_default())
    }

    fn in_place(&mut self) -> Option<&mut HashSet<u64>> {
        Some(&mut self.kept.get_mut(self.now)?.1.in_place)
    }
}

/// Whether a procedure can be followed on its own, and is worth it: it calls no other, and goes nowhere else.
fn is_leaf(cfg: &Cfg) -> bool {
    let leaves = |flow: &Flow| matches!(flow, Flow::Call(_) | Flow::CallReg(_) | Flow::JumpReg(_) | Flow::Eret);
    let mut insts = cfg.blocks.iter().flat_map(|b| &b.insts);
    let len = insts.clone().count();
    (len >= INSNS_MIN || cfg.blocks.iter().any(|b| !b.loops.is_empty())) && !insts.any(|i| leaves(&i.flow))
}

impl Graphs<'_> {
    fn is_apart(&mut self, place: &Place) -> bool {
        let frame = &place.frame;
        let at_entry = frame.graph.cfg.block_at(frame.function) == Some(place.block);
        let called = frame.caller.is_some() && !frame.tail;
        called
            && at_entry
            && place.iterations.iter().all(|n| *n == 0)
            && self.summaries.in_place().is_some_and(|s| !s.contains(&frame.function))
            && is_leaf(&frame.graph.cfg)
            && self.is_plain(frame.function)
    }
}

impl Explorer<'_, '_> {
    /// Takes items that enter a procedure behind it, by what is known of it; gives back those that have to be followed.
    pub(super) fn summarised(&mut self, place: &Rc<Place>, items: Vec<Item>) -> Result<Vec<Item>, Step> {
        if !self.graphs.is_apart(place) {
            return Ok(items);
        }
        let function = place.frame.function;
        let mut missed = Vec::new();
        for item in items {
            let known = self.graphs.summaries.of(function).cloned().unwrap_or_default();
            let exactly = (known.len() < EXACT_MAX).then(|| place.live());
            if !self.by_one_of(place, &item, &known, exactly)? {
                missed.push(item);
            }
        }
        if missed.is_empty() {
            return Ok(missed);
        }
        let Some(summary) = self.follow_alone(place, &missed)? else {
            return Ok(missed);
        };
        let one = [summary];
        let mut rest = Vec::new();
        for item in missed {
            if !self.by_one_of(place, &item, &one, None)? {
                rest.push(item);
            }
        }
        Ok(rest)
    }

    /// Whether one of the summaries tells where the item leaves.
    fn by_one_of(
        &mut self,
        place: &Rc<Place>,
        item: &Item,
        known: &[Rc<Summary>],
        exactly: Option<u64>,
    ) -> Result<bool, Step> {
        for summary in known {
            if let Some(binding) = Binding::of(&summary.entry, &item.state, &summary.blurred, exactly)
                && self.leave(place, item, summary, &binding)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Follows the procedure with what all the items have in common; `None` if it has to be followed in place.
    fn follow_alone(&mut self, place: &Rc<Place>, items: &[Item]) -> Result<Option<Rc<Summary>>, Step> {
        let function = place.frame.function;
        let known = self.graphs.summaries.of(function).map_or(0, |s| s.len());
        let Some(entry) = self.common(items, place.live()).filter(|_| known < KEPT_MAX) else {
            return Ok(None);
        };
        match self.alone(place, entry) {
            Ok(summary) => {
                let summary = Rc::new(summary);
                if let Some(kept) = self.graphs.summaries.of(function) {
                    kept.push(Rc::clone(&summary));
                }
                return Ok(Some(summary));
            }
            Err(Step::Error(error)) if matches!(*error, ExploreError::TooLarge(..)) => return Err(Step::Error(error)),
            Err(Step::Restart) => return Err(Step::Restart),
            // What it is not told may be what bounds it.
            Err(Step::Error(_) | Step::InPlace) => {}
        }
        if let Some(in_place) = self.graphs.summaries.in_place() {
            in_place.insert(function);
        }
        Ok(None)
    }

    fn common(&mut self, items: &[Item], live: u64) -> Option<State> {
        let mut all = items.iter();
        let mut entry = bare(&all.next()?.state, live, &mut self.symbols)?;
        for item in all {
            let next = bare(&item.state, live, &mut self.symbols)?;
            entry = join(&entry, &next, live, &mut self.symbols);
        }
        Some(entry)
    }

    /// Follows the procedure of `place` from `entry`.
    fn alone(&mut self, place: &Rc<Place>, entry: State) -> Result<Summary, Step> {
        let (caller, _) = place.frame.caller.as_ref().ok_or(Step::InPlace)?;
        let frame = Frame {
            function: place.frame.function,
            graph: Rc::clone(&place.frame.graph),
            caller: None,
            above: Some(Rc::clone(caller)),
            tail: false,
            depth: place.frame.depth,
        };
        let symbols = std::mem::take(&mut self.symbols);
        let mut inner = Explorer::new(&mut *self.graphs, self.query, symbols, self.limits);
        inner.steps = self.steps;
        inner.exits = Some(Vec::new());
        inner.symbols.log = Some(Box::default());
        let start = Place::new(Rc::new(frame), place.block, place.iterations.clone());
        inner.push(start, Item::new(entry.clone()));
        let outcome = inner.visit();
        let log = inner.symbols.log.take().unwrap_or_default();
        let exits = inner.exits.take().unwrap_or_default();
        let exits = inner.reduce(exits, AT_RETURN | RESULTS, EXITS_MAX);
        let (steps, symbols) = (inner.steps, std::mem::take(&mut inner.symbols));
        let (ends, loops) = (std::mem::take(&mut inner.best), std::mem::take(&mut inner.loops));
        let (left_out, nodes) = (inner.left_out, std::mem::take(&mut inner.nodes));
        (self.steps, self.symbols) = (steps, symbols);
        outcome?;
        // Where it measures itself, or writes to what is not known, it is not told apart from what is around it.
        if exits.iter().any(|exit| exit.begin.is_some()) {
            return Err(Step::InPlace);
        }
        let ways = Ways {
            exits,
            ends,
            loops,
            left_out,
            nodes,
        };
        summary(entry, &log, ways).ok_or(Step::InPlace)
    }

    /// The item leaves the procedure in each of its ways; false if the summary does not hold here.
    fn leave(&mut self, place: &Rc<Place>, item: &Item, of: &Summary, binding: &Binding) -> Result<bool, Step> {
        let Some((caller, ret)) = place.frame.caller.clone() else {
            return Ok(false);
        };
        if self
            .query
            .classes
            .is_some_and(|c| binding.hits(&of.stores, &item.state, c.base, c.bytes()))
        {
            return Ok(false);
        }
        let mut out = Vec::new();
        for exit in &of.exits {
            let Some(left) = self.left(item, of, binding, &exit.state) else {
                return Ok(false);
            };
            // A way that this call cannot take.
            let Some(state) = left else { continue };
            let mut next = Item { state, ..item.clone() };
            // It was followed with nothing in the caches, and may have pushed out what was there.
            next.resident = exit.resident.clone();
            add(&mut next, exit.cost, exit.classes, &exit.firings);
            self.pass_inside(&mut next, &of.nodes, exit.node);
            out.push(next);
        }
        for (classes, end) in &of.ends {
            let mut last = item.clone();
            add(&mut last, end.cost, *classes, &end.firings);
            self.pass_inside(&mut last, &of.nodes, end.node);
            self.end(&last);
        }
        for (header, (turns, declared)) in &of.loops {
            let seen = self.loops.entry(*header).or_insert((0, *declared));
            seen.0 = seen.0.max(*turns);
        }
        self.left_out += of.left_out;
        for mut next in out {
            next.state.forget_below_stack();
            self.go(&caller, ret - 4, ret, next)?;
        }
        Ok(true)
    }

    /// The state behind the procedure. `None`: the summary does not hold; `Some(None)`: this way is not taken.
    fn left(&mut self, item: &Item, of: &Summary, binding: &Binding, exit: &State) -> Option<Option<State>> {
        let mut renamed = Renamed::new(binding, exit, item.state.clone(), &mut self.symbols);
        if renamed.narrow(&of.entry).is_none() {
            return Some(None);
        }
        renamed.forget(&of.stores);
        if renamed.out.escaped && !item.state.escaped && !exit.escaped {
            return None;
        }
        if renamed.loads(&of.loads).is_none() {
            return Some(None);
        }
        renamed.registers(&of.written);
        renamed.memory();
        Some(Some(renamed.out))
    }
}

/// What following a procedure gave.
struct Ways {
    exits: Vec<Item>,
    ends: BTreeMap<u64, Best>,
    loops: BTreeMap<u64, (u32, bool)>,
    left_out: u64,
    nodes: Vec<Node>,
}

/// `None` if it may have stored through an address of unknown origin.
fn summary(entry: State, log: &Log, ways: Ways) -> Option<Summary> {
    let stack = entry.stack;
    let there = entry.symbols();
    let known = |base| base == 0 || base == stack || there.binary_search(&base).is_ok();
    let mut stores = log.stores(&known)?;
    // Its own frame is gone.
    stores.retain(|hit| {
        let end = (hit.low as i64).checked_add_unsigned(hit.reach);
        hit.base != stack || end.is_none_or(|end| end > 0)
    });
    Some(Summary {
        stores,
        written: log.written().collect(),
        loads: log.loads().to_vec(),
        blurred: there.into_iter().filter(|s| log.is_blurred(*s)).collect(),
        exits: ways.exits,
        ends: ways.ends,
        loops: ways.loops,
        left_out: ways.left_out,
        nodes: Rc::new(ways.nodes),
        entry,
    })
}

fn add(item: &mut Item, cost: u64, classes: u64, firings: &[u32; POINTS_MAX]) {
    item.cost += cost;
    if classes != 0 {
        item.classes = classes;
    }
    for (n, more) in item.firings.iter_mut().zip(firings) {
        *n += more;
    }
}
