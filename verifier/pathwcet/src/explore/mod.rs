//! Explores every feasible path of the linked code, with calls inlined and loops unrolled, and keeps the longest.
//!
//! Program points are visited in an order in which every edge goes forward: a point's position is, per call frame, the
//! loops it is in with their iteration numbers, and its block, all compared lexicographically. So the explored graph is
//! acyclic, the longest path to a point is final when the point is visited, and states that meet at a point can be
//! joined. Up to [`Limits::disjuncts`] states per point are kept apart, so that branches on the same value stay
//! correlated; registers that are not looked at any more do not keep states apart.

mod graphs;
mod place;
mod queue;
mod step;
mod summary;

pub use graphs::Graphs;

use crate::alu::Machine;
use crate::cfg::CfgError;
use crate::elf::Image;
use crate::inst::{Inst, Op};
use crate::range::Range;
use crate::state::{State, Symbols, Value};
use crate::timing::Timing;
use queue::{Explorer, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Points whose firings are counted along a path.
pub const POINTS_MAX: usize = 16;

/// Counters of the program's own, one for each class of path: the class of a path is the counter it stores to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// Address of the first counter, 8 bytes wide.
    pub base: Value,
    /// Bytes from one to the next.
    pub stride: u64,
    /// How many.
    pub count: u32,
}

/// Bounds of the exploration itself; reaching one is an error, never a smaller result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// States kept apart at one point.
    pub disjuncts: usize,
    /// Iterations of one loop instance that are unrolled.
    pub unroll: u32,
    /// Call frames.
    pub depth: usize,
    /// Abstract instructions in all.
    pub steps: u64,
    /// If a loop has no bound, ask again with this many states kept apart (0: do not).
    pub disjuncts_again: usize,
}

/// Iterations of a loop that was not bounded at first.
const UNROLL_AGAIN_MAX: u32 = 1_000;
/// In long loops fewer states are kept apart: from which iteration on, and what part of [`Limits::disjuncts`].
const LONG_LOOPS: [(u32, usize); 2] = [(64, 6), (16, 3)];

impl Limits {
    /// States kept apart where some loop is in its iteration `turn`.
    fn disjuncts_at(&self, turn: u32) -> usize {
        let part = LONG_LOOPS
            .iter()
            .find(|(from, _)| turn >= *from)
            .map_or(1, |(_, part)| *part);
        (self.disjuncts / part).max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            disjuncts: 12,
            unroll: 20_000,
            depth: 64,
            steps: 60_000_000,
            disjuncts_again: 0,
        }
    }
}

/// What to do with code that ends the program: panics and traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPanic {
    /// Reaching it is an error: the path must be free of panics.
    Refuse,
    /// Such paths are left out, and counted.
    LeaveOut,
}

/// One question: the longest path from an entry to its end.
pub struct Query<'a> {
    /// First instruction.
    pub entry: u64,
    /// Addresses that end the path when reached (besides ERET and the final RET).
    pub stops: BTreeSet<u64>,
    /// State assumed at the entry.
    pub start: State,
    /// Declared bounds: loop header → most iterations per entry of the loop.
    pub declared: BTreeMap<u64, u32>,
    /// Probe sites: address of the nop → point number.
    pub sites: BTreeMap<u64, u8>,
    /// A stack pointer of this value is one of that: the top of a stack beside another object, as a stack of its own.
    pub stack: Option<(Value, Value)>,
    /// Counters that tell paths of different classes apart.
    pub classes: Option<Classes>,
    /// Instructions that read the counter by which the program measures itself.
    pub marks: BTreeSet<u64>,
    /// Time of one instruction.
    pub cost: &'a dyn Fn(&Inst) -> u64,
    /// Times of a core; then `cost` is not asked.
    pub timing: Option<Timing>,
    /// Treatment of panics.
    pub on_panic: OnPanic,
    /// Bounds of the search.
    pub limits: Limits,
}

impl<'a> Query<'a> {
    /// The longest path from `entry` to its return, with nothing declared and panics refused.
    pub fn new(entry: u64, start: State, cost: &'a dyn Fn(&Inst) -> u64) -> Self {
        Query {
            entry,
            stops: BTreeSet::new(),
            start,
            declared: BTreeMap::new(),
            sites: BTreeMap::new(),
            stack: None,
            classes: None,
            marks: BTreeSet::new(),
            cost,
            timing: None,
            on_panic: OnPanic::Refuse,
            limits: Limits::default(),
        }
    }
}

/// The longest path of one class.
#[derive(Debug, Clone, Default)]
pub struct Longest {
    /// Bound in the cost model's unit.
    pub bound: u64,
    /// Most between the first and the last mark of any path.
    pub window: u64,
    /// Most firings of each point on any path.
    pub firings: [u32; POINTS_MAX],
    /// Blocks of the worst path in order: address of the first instruction, address after the last.
    pub path: Vec<(u64, u64)>,
}

/// The longest path, and what was learned on the way.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Bound in the cost model's unit.
    pub bound: u64,
    /// Most firings of each point on any path.
    pub firings: [u32; POINTS_MAX],
    /// Blocks of the worst path in order: address of the first instruction, address after the last.
    pub path: Vec<(u64, u64)>,
    /// By class; `None`: paths that store to no class's counter.
    pub classes: BTreeMap<Option<u32>, Longest>,
    /// Loops met: header → (most iterations, declared).
    pub loops: BTreeMap<u64, (u32, bool)>,
    /// Paths left out because they panic.
    pub left_out: u64,
    /// Abstract instructions executed.
    pub steps: u64,
}

/// Why there is no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExploreError {
    /// A function's graph cannot be built.
    #[error("in {function}: {error}")]
    Cfg {
        /// Function.
        function: String,
        /// Reason.
        error: CfgError,
    },
    /// An indirect branch whose target is not known.
    #[error("{place}: target of `{what}` is not resolved (call chain: {chain})")]
    Unresolved {
        /// Site.
        place: String,
        /// blr or br.
        what: &'static str,
        /// Callers.
        chain: String,
    },
    /// A loop that goes on after the most iterations that are unrolled.
    #[error("{place}: no bound for this loop after {iterations} iterations (call chain: {chain}); declare one")]
    Unbounded {
        /// Header.
        place: String,
        /// Its address.
        header: u64,
        /// Iterations explored.
        iterations: u32,
        /// Callers.
        chain: String,
    },
    /// The call depth says recursion.
    #[error("{place}: call depth over {depth}: recursion is not analysed (call chain: {chain})")]
    Recursion {
        /// Call site.
        place: String,
        /// Limit.
        depth: usize,
        /// Callers.
        chain: String,
    },
    /// A panic or trap is reachable.
    #[error("{place}: {what} is reachable (call chain: {chain})")]
    Panic {
        /// Site.
        place: String,
        /// Function or instruction.
        what: String,
        /// Callers.
        chain: String,
    },
    /// The search is too large.
    #[error("over {0} abstract instructions; last at {1}")]
    TooLarge(u64, String),
    /// Every path panics or never ends.
    #[error("no path from the entry reaches an end")]
    NoEnd,
}

impl Classes {
    /// Bytes of all the counters.
    fn bytes(&self) -> u64 {
        self.stride.saturating_mul(self.count.into())
    }

    /// The classes whose counter `inst` may be storing to, as bits: one where the address is known, several where the
    /// index is a number among theirs. An index that may be anything is of another array: code does not leave its arrays.
    fn of(&self, machine: &mut Machine<'_, Image>, inst: &Inst) -> u64 {
        let (Op::Store { addr, size, rt2, .. }, all) = (inst.op, self.stride.saturating_mul(self.count.into())) else {
            return 0;
        };
        let at = machine.address(addr);
        if at.base != self.base.base {
            return 0;
        }
        let reach = u64::from(size) * if rt2.is_some() { 2 } else { 1 };
        let offset = at.add.wrapping_sub(self.base.add);
        let range = match at.index {
            0 => Range::exact(0),
            index => machine.state.symbol_range(index),
        };
        let Some(range) = range.add_const(offset).filter(|r| r.hi < all) else {
            return 0;
        };
        let hit = |class: u32| {
            let counter = u64::from(class) * self.stride;
            (0..reach)
                .step_by(8)
                .any(|d| counter.checked_sub(d).is_some_and(|v| range.contains(v)))
        };
        (0..self.count.min(u64::BITS)).filter(|c| hit(*c)).map(|c| 1 << c).sum()
    }
}

/// Answers a query. `symbols` made the query's start state.
///
/// # Errors
/// There is no bound, or none was found: the error names the place.
pub fn explore(image: &Image, query: &Query<'_>, symbols: Symbols) -> Result<Outcome, ExploreError> {
    explore_with(&mut Graphs::new(image), query, symbols)
}

/// As [`explore`], with the graphs of functions that earlier queries of the same image have built, and what was learned of
/// procedures that call no other. Queries that share them must share one `cost` function, too.
///
/// # Errors
/// There is no bound, or none was found: the error names the place.
pub fn explore_with(graphs: &mut Graphs<'_>, query: &Query<'_>, symbols: Symbols) -> Result<Outcome, ExploreError> {
    let again = query.limits.disjuncts_again;
    match explore_once(graphs, query, symbols, query.limits) {
        Err((ExploreError::Unbounded { .. }, symbols)) if again > query.limits.disjuncts => {
            let limits = Limits {
                disjuncts: again,
                unroll: query.limits.unroll.min(UNROLL_AGAIN_MAX),
                ..query.limits
            };
            explore_once(graphs, query, symbols, limits)
        }
        other => other,
    }
    .map_err(|(error, _)| error)
}

fn explore_once(
    graphs: &mut Graphs<'_>,
    query: &Query<'_>,
    symbols: Symbols,
    limits: Limits,
) -> Result<Outcome, (ExploreError, Symbols)> {
    let mut symbols = symbols;
    graphs.summaries.begin(query, limits);
    loop {
        let mut explorer = Explorer::new(graphs, query, symbols, limits);
        match explorer.run() {
            Ok(()) => return explorer.outcome().map_err(|error| (error, Symbols::default())),
            // A jump table's targets were found: the graph of its function is larger than was thought.
            Err(Step::Restart | Step::InPlace) => symbols = explorer.symbols,
            Err(Step::Error(error)) => return Err((*error, explorer.symbols)),
        }
    }
}

fn raise(into: &mut [u32; POINTS_MAX], from: &[u32; POINTS_MAX]) {
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

/// Functions of `core` that end the program.
pub fn is_panic(name: &str) -> bool {
    [
        "core::panicking::",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
        "core::result::unwrap_failed",
    ]
    .iter()
    .any(|p| name.starts_with(p))
        || name.contains("rust_begin_unwind")
        || (name.starts_with("core::slice") && name.ends_with("_fail"))
        || name.starts_with("core::slice::index::slice_") && name.contains("fail")
        || name.contains("core::cell::panic_")
        || matches!(name, "abort" | "__stack_chk_fail" | "exit" | "_exit")
}
