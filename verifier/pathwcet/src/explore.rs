//! Explores every feasible path of the linked code, with calls inlined and loops unrolled, and keeps the longest.
//!
//! Program points are visited in an order in which every edge goes forward: a point's position is, per call frame, the
//! loops it is in with their iteration numbers, and its block, all compared lexicographically. So the explored graph is
//! acyclic, the longest path to a point is final when the point is visited, and states that meet at a point can be
//! joined. Up to [`Limits::disjuncts`] states per point are kept apart, so that branches on the same value stay
//! correlated.

use crate::alu::{Constants, Machine};
use crate::branch::{assume, assume_mask, assume_zero};
use crate::cfg::{Cfg, CfgError};
use crate::elf::Image;
use crate::inst::{Flow, Inst, Op};
use crate::state::{State, Symbols, Value, covers, join};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Points whose firings are counted along a path.
pub const POINTS_MAX: usize = 16;

/// Counters of the program's own, one for each class of path: the class of a path is the counter it stores to.
#[derive(Debug, Clone, Copy)]
pub struct Classes {
    /// Address of the first counter, 8 bytes wide.
    pub base: Value,
    /// Bytes from one to the next.
    pub stride: u64,
    /// How many.
    pub count: u32,
}

/// Bounds of the exploration itself; reaching one is an error, never a smaller result.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// States kept apart at one point.
    pub disjuncts: usize,
    /// Iterations of one loop instance that are unrolled.
    pub unroll: u32,
    /// Call frames.
    pub depth: usize,
    /// Abstract instructions in all.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            disjuncts: 12,
            unroll: 20_000,
            depth: 64,
            steps: 60_000_000,
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
    /// Call sites through a register whose cost is accounted elsewhere (probe slots): site → cost here.
    pub slots: BTreeMap<u64, u64>,
    /// Probe sites: address of the nop → point number.
    pub sites: BTreeMap<u64, u8>,
    /// Counters that tell paths of different classes apart.
    pub classes: Option<Classes>,
    /// Instructions that read the counter by which the program measures itself.
    pub marks: BTreeSet<u64>,
    /// Time of one instruction.
    pub cost: &'a dyn Fn(&Inst) -> u64,
    /// Treatment of panics.
    pub on_panic: OnPanic,
    /// Bounds of the search.
    pub limits: Limits,
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
    /// A store that may hit the counter of more than one class.
    #[error("{place}: the class this path counts as is not known (call chain: {chain})")]
    Class {
        /// The store.
        place: String,
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

/// One call frame's place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    function: u64,
    /// Return address; `None` in the outermost frame.
    ret: Option<u64>,
    /// Tail-called: returns together with the frame below.
    tail: bool,
    block: usize,
    /// Iteration of each loop the block is in.
    iterations: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Item {
    state: State,
    cost: u64,
    firings: [u32; POINTS_MAX],
    class: Option<u32>,
    /// Cost at the first mark, and between it and the last.
    begin: Option<u64>,
    window: u64,
    node: u32,
}

impl Item {
    /// This item also stands for `other`, whose state it covers.
    fn stand_for(&mut self, other: &Item) {
        raise(&mut self.firings, &other.firings);
        self.window = self.window.max(other.window);
        self.begin = match (self.begin, other.begin) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The longest path of a class so far.
struct Best {
    cost: u64,
    window: u64,
    firings: [u32; POINTS_MAX],
    node: u32,
}

struct Group {
    frames: Rc<Vec<Frame>>,
    items: Vec<Item>,
}

struct Node {
    before: u32,
    start: u64,
    end: u64,
}

const NO_NODE: u32 = u32::MAX;

enum Step {
    Restart,
    Error(ExploreError),
}

impl From<ExploreError> for Step {
    fn from(error: ExploreError) -> Step {
        Step::Error(error)
    }
}

/// Targets found for indirect jumps: site → targets.
type Targets = BTreeMap<u64, BTreeSet<u64>>;

struct Explorer<'a> {
    image: &'a Image,
    query: &'a Query<'a>,
    symbols: Symbols,
    /// Looked up at every step of every path.
    graphs: HashMap<u64, Rc<Cfg>>,
    targets: Targets,
    work: BTreeMap<Vec<u32>, Group>,
    nodes: Vec<Node>,
    best: BTreeMap<Option<u32>, Best>,
    loops: BTreeMap<u64, (u32, bool)>,
    left_out: u64,
    steps: u64,
}

/// A store may hit the counters of several classes.
struct Ambiguous;

impl Classes {
    /// The class whose counter `inst` stores to, if it stores to one.
    fn of(&self, machine: &mut Machine<'_, Image>, inst: &Inst) -> Result<Option<u32>, Ambiguous> {
        let (Op::Store { addr, size, rt2, .. }, all) = (inst.op, self.stride.saturating_mul(self.count.into())) else {
            return Ok(None);
        };
        let at = machine.address(addr);
        if at.base != self.base.base {
            return Ok(None);
        }
        let reach = u64::from(size) * if rt2.is_some() { 2 } else { 1 };
        let offset = at.add.wrapping_sub(self.base.add);
        if at.index == 0 {
            let hit = (0..reach)
                .step_by(8)
                .map(|d| offset.wrapping_add(d))
                .find(|o| *o < all && o % self.stride == 0);
            return Ok(hit.map(|o| (o / self.stride) as u32));
        }
        let range = machine.state.symbol_range(at.index);
        // The counters lie at the start of their object: an index beyond them all hits none.
        match range.lo.checked_add(offset) {
            Some(lo) if lo >= all && lo <= u64::MAX - (range.hi - range.lo) => Ok(None),
            _ => Err(Ambiguous),
        }
    }
}

/// Answers a query. `symbols` made the query's start state.
pub fn explore(image: &Image, query: &Query<'_>, symbols: Symbols) -> Result<Outcome, ExploreError> {
    let mut targets = Targets::new();
    let mut symbols = Some(symbols);
    loop {
        let mut explorer = Explorer {
            image,
            query,
            symbols: symbols.take().unwrap_or_default(),
            graphs: HashMap::new(),
            targets: std::mem::take(&mut targets),
            work: BTreeMap::new(),
            nodes: Vec::new(),
            best: BTreeMap::new(),
            loops: BTreeMap::new(),
            left_out: 0,
            steps: 0,
        };
        match explorer.run() {
            Ok(()) => return explorer.outcome(),
            // A jump table's target was found: the graph of its function is larger than was thought.
            Err(Step::Restart) => {
                targets = std::mem::take(&mut explorer.targets);
                symbols = Some(explorer.symbols);
            }
            Err(Step::Error(error)) => return Err(error),
        }
    }
}

impl Explorer<'_> {
    fn outcome(self) -> Result<Outcome, ExploreError> {
        let mut classes = BTreeMap::new();
        let mut firings = [0; POINTS_MAX];
        for (class, best) in &self.best {
            raise(&mut firings, &best.firings);
            let longest = Longest {
                bound: best.cost,
                window: best.window,
                firings: best.firings,
                path: self.blocks_to(best.node),
            };
            classes.insert(*class, longest);
        }
        let longest = classes.values().max_by_key(|l| l.bound).ok_or(ExploreError::NoEnd)?;
        Ok(Outcome {
            bound: longest.bound,
            firings,
            path: longest.path.clone(),
            classes,
            loops: self.loops,
            left_out: self.left_out,
            steps: self.steps,
        })
    }

    /// The blocks of the path that ends in `node`, in order.
    fn blocks_to(&self, mut node: u32) -> Vec<(u64, u64)> {
        let mut path = Vec::new();
        while let Some(n) = self.nodes.get(node as usize) {
            path.push((n.start, n.end));
            node = n.before;
        }
        path.reverse();
        path
    }

    fn run(&mut self) -> Result<(), Step> {
        let cfg = self.graph(self.query.entry)?;
        let block = cfg.block_at(self.query.entry).unwrap_or(0);
        let first = Frame {
            function: self.query.entry,
            ret: None,
            tail: false,
            block,
            iterations: vec![0; cfg.blocks[block].loops.len()],
        };
        let item = Item {
            state: self.query.start.clone(),
            cost: 0,
            firings: [0; POINTS_MAX],
            class: None,
            begin: None,
            window: 0,
            node: NO_NODE,
        };
        self.push(vec![first], item)?;
        while let Some((_, group)) = self.work.pop_first() {
            let items = self.reduce(group.items);
            for item in items {
                self.block(&group.frames, item)?;
            }
        }
        Ok(())
    }

    fn graph(&mut self, function: u64) -> Result<Rc<Cfg>, ExploreError> {
        if let Some(cfg) = self.graphs.get(&function) {
            return Ok(cfg.clone());
        }
        let cfg = Cfg::build(self.image, function, &self.targets).map_err(|error| ExploreError::Cfg {
            function: self.image.place(function),
            error,
        })?;
        let cfg = Rc::new(cfg);
        self.graphs.insert(function, cfg.clone());
        Ok(cfg)
    }

    fn chain(&self, frames: &[Frame]) -> String {
        let names: Vec<String> = frames.iter().map(|f| self.image.place(f.function)).collect();
        names.join(" → ")
    }

    /// Keeps at most the allowed number of states, the most expensive ones apart.
    fn reduce(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        items.sort_by_key(|i| std::cmp::Reverse(i.cost));
        let mut kept: Vec<Item> = Vec::new();
        for item in items {
            let mut same = kept.iter_mut().filter(|k| k.class == item.class);
            if let Some(k) = same.find(|k| covers(&k.state, &item.state)) {
                k.stand_for(&item);
                continue;
            }
            let mut same = kept.iter_mut().filter(|k| k.class == item.class);
            match same.nth(self.query.limits.disjuncts.saturating_sub(1)) {
                None => kept.push(item),
                Some(last) => {
                    last.state = join(&last.state, &item.state, &mut self.symbols);
                    last.stand_for(&item);
                }
            }
        }
        kept
    }

    fn push(&mut self, frames: Vec<Frame>, mut item: Item) -> Result<(), ExploreError> {
        item.state.collect();
        let mut key = Vec::new();
        for frame in &frames {
            let cfg = self.graph(frame.function)?;
            for (header, iteration) in cfg.blocks[frame.block].loops.iter().zip(&frame.iterations) {
                key.extend([*header as u32, *iteration]);
            }
            key.push(frame.block as u32);
        }
        self.work
            .entry(key)
            .or_insert_with(|| Group {
                frames: Rc::new(frames),
                items: Vec::new(),
            })
            .items
            .push(item);
        Ok(())
    }

    /// Executes one block from one state and pushes what follows.
    fn block(&mut self, frames: &Rc<Vec<Frame>>, item: Item) -> Result<(), Step> {
        let Some(frame) = frames.last() else { return Ok(()) };
        let cfg = self.graph(frame.function)?;
        let block = &cfg.blocks[frame.block];
        let end = block.last().map_or(block.start(), |i| i.pc + 4);
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            before: item.node,
            start: block.start(),
            end,
        });
        let by_table = block
            .last()
            .is_some_and(|i| matches!(i.flow, Flow::JumpReg(_) | Flow::CallReg(_)));
        let mut todo = vec![(0usize, Item { node, ..item })];
        while let Some((mut at, mut item)) = todo.pop() {
            let mut alive = true;
            while let Some(inst) = block.insts.get(at) {
                if at > 0 && self.query.stops.contains(&inst.pc) {
                    self.end(&item);
                    alive = false;
                    break;
                }
                if by_table && let Some(split) = self.split(&item, inst) {
                    todo.extend(split.into_iter().map(|i| (at, i)));
                    alive = false;
                    break;
                }
                self.steps += 1;
                if self.steps > self.query.limits.steps {
                    return Err(ExploreError::TooLarge(self.query.limits.steps, self.image.place(inst.pc)).into());
                }
                if self.query.marks.contains(&inst.pc) {
                    let begin = *item.begin.get_or_insert(item.cost);
                    item.window = item.window.max(item.cost - begin);
                }
                item.cost += (self.query.cost)(inst);
                if let Some(point) = self.query.sites.get(&inst.pc)
                    && let Some(n) = item.firings.get_mut(*point as usize)
                {
                    *n += 1;
                }
                let mut machine = Machine {
                    state: item.state,
                    symbols: &mut self.symbols,
                    constants: self.image,
                };
                let counted = self.query.classes.map_or(Ok(None), |c| c.of(&mut machine, inst));
                machine.apply(inst);
                item.state = machine.state;
                match counted {
                    Ok(class) => item.class = class.or(item.class),
                    Err(Ambiguous) => {
                        return Err(ExploreError::Class {
                            place: self.image.place(inst.pc),
                            chain: self.chain(frames),
                        }
                        .into());
                    }
                }
                at += 1;
            }
            if alive && let Some(last) = block.last() {
                self.follow(frames, &cfg, *last, item)?;
            }
        }
        Ok(())
    }

    /// A load from a constant table in a block that ends in an indirect branch: one state per index.
    fn split(&mut self, item: &Item, inst: &Inst) -> Option<Vec<Item>> {
        /// Larger tables are no switch of this code.
        const TABLE_MAX: u64 = 1024;
        let Op::Load {
            addr, size, rt2: None, ..
        } = inst.op
        else {
            return None;
        };
        let mut machine = Machine {
            state: item.state.clone(),
            symbols: &mut self.symbols,
            constants: self.image,
        };
        let at = machine.address(addr);
        let base_state = machine.state;
        let range = base_state.symbol_range(at.index);
        if at.base != 0 || at.index == 0 || range.count() > TABLE_MAX {
            return None;
        }
        self.image.read_only(range.lo.wrapping_add(at.add), size)?;
        let mut out = Vec::new();
        let mut v = range.lo;
        loop {
            if range.contains(v) {
                let mut state = base_state.clone();
                if state
                    .narrow(
                        Value {
                            base: 0,
                            index: at.index,
                            add: 0,
                        },
                        crate::range::Range::exact(v),
                    )
                    .is_some()
                {
                    pin(&mut state, at.index, v);
                    if let Some(state) = self.table_index(inst, state, at, v) {
                        out.push(Item { state, ..item.clone() });
                    }
                }
            }
            match v.checked_add(range.stride.max(1)) {
                Some(next) if next <= range.hi => v = next,
                _ => break,
            }
        }
        Some(out)
    }

    /// Makes the index register constant, so that the load itself finds a constant address.
    fn table_index(&mut self, inst: &Inst, mut state: State, at: Value, v: u64) -> Option<State> {
        let Op::Load { addr, .. } = inst.op else { return None };
        let target = at.add.wrapping_add(v);
        let mut machine = Machine {
            state: state.clone(),
            symbols: &mut self.symbols,
            constants: self.image,
        };
        if machine.address(addr).as_exact() == Some(target) {
            return Some(machine.state);
        }
        // The index reached the address through an operation that made a new symbol: pin the address itself.
        if let crate::inst::Operand::Extended(reg, ..) | crate::inst::Operand::Shifted(reg, ..) = addr.offset {
            let base = state.get(addr.base).as_exact()?;
            let scale = match addr.offset {
                crate::inst::Operand::Extended(_, _, amount) => amount,
                _ => 0,
            };
            state.set(reg, Value::exact(target.wrapping_sub(base) >> scale));
            return Some(state);
        }
        None
    }

    fn end(&mut self, item: &Item) {
        let best = self.best.entry(item.class).or_insert(Best {
            cost: 0,
            window: 0,
            firings: [0; POINTS_MAX],
            node: NO_NODE,
        });
        raise(&mut best.firings, &item.firings);
        best.window = best.window.max(item.window);
        if item.cost >= best.cost {
            (best.cost, best.node) = (item.cost, item.node);
        }
    }

    fn follow(&mut self, frames: &Rc<Vec<Frame>>, cfg: &Rc<Cfg>, last: Inst, item: Item) -> Result<(), Step> {
        let next = last.pc + 4;
        match last.flow {
            Flow::Next => self.go(frames, cfg, last.pc, next, item)?,
            Flow::Jump(target) => self.go(frames, cfg, last.pc, target, item)?,
            Flow::Cond { cond, target } => {
                let flags = item.state.flags.clone();
                let (yes, no) = (assume(&item.state, &flags, cond), assume(&item.state, &flags, cond ^ 1));
                self.fork(
                    frames,
                    cfg,
                    last.pc,
                    (target, yes),
                    (next, if cond >= 14 { None } else { no }),
                    &item,
                )?;
            }
            Flow::Zero { rt, wide, zero, target } => {
                let value = item.state.get(rt);
                let (yes, no) = (
                    assume_zero(&item.state, value, wide, zero),
                    assume_zero(&item.state, value, wide, !zero),
                );
                self.fork(frames, cfg, last.pc, (target, yes), (next, no), &item)?;
            }
            Flow::Bit { rt, bit, set, target } => {
                let (value, mask) = (item.state.get(rt), 1u64 << bit);
                let (yes, no) = (
                    assume_mask(&item.state, value, mask, !set),
                    assume_mask(&item.state, value, mask, set),
                );
                self.fork(frames, cfg, last.pc, (target, yes), (next, no), &item)?;
            }
            Flow::Call(target) => self.call(frames, last.pc, target, next, item)?,
            Flow::CallReg(reg) => {
                if let Some(cost) = self.query.slots.get(&last.pc) {
                    let mut item = item;
                    item.cost += cost;
                    let mut machine = Machine {
                        state: item.state,
                        symbols: &mut self.symbols,
                        constants: self.image,
                    };
                    machine.apply(&Inst {
                        op: Op::Service,
                        ..last
                    });
                    item.state = machine.state;
                    return Ok(self.go(frames, cfg, last.pc, next, item)?);
                }
                let target = item
                    .state
                    .get(reg)
                    .as_exact()
                    .ok_or_else(|| self.unresolved(last.pc, "blr", frames))?;
                self.call(frames, last.pc, target, next, item)?;
            }
            Flow::JumpReg(reg) => {
                let target = item
                    .state
                    .get(reg)
                    .as_exact()
                    .ok_or_else(|| self.unresolved(last.pc, "br", frames))?;
                if cfg.holds(target) && self.targets.entry(last.pc).or_default().insert(target) {
                    return Err(Step::Restart);
                }
                self.go(frames, cfg, last.pc, target, item)?;
            }
            Flow::Ret(_) => self.ret(frames, item)?,
            Flow::Eret => self.end(&item),
            Flow::Trap => self.panic(frames, last.pc, "a trap instruction")?,
        }
        Ok(())
    }

    fn unresolved(&self, pc: u64, what: &'static str, frames: &[Frame]) -> ExploreError {
        ExploreError::Unresolved {
            place: self.image.place(pc),
            what,
            chain: self.chain(frames),
        }
    }

    fn panic(&mut self, frames: &[Frame], pc: u64, what: &str) -> Result<(), ExploreError> {
        if self.query.on_panic == OnPanic::LeaveOut {
            self.left_out += 1;
            return Ok(());
        }
        Err(ExploreError::Panic {
            place: self.image.place(pc),
            what: what.to_owned(),
            chain: self.chain(frames),
        })
    }

    fn fork(
        &mut self,
        frames: &Rc<Vec<Frame>>,
        cfg: &Rc<Cfg>,
        from: u64,
        yes: (u64, Option<State>),
        no: (u64, Option<State>),
        item: &Item,
    ) -> Result<(), ExploreError> {
        for (target, state) in [yes, no] {
            if let Some(state) = state {
                self.go(frames, cfg, from, target, Item { state, ..item.clone() })?;
            }
        }
        Ok(())
    }

    /// Control goes to `target` in the same function, or leaves it by a tail call.
    fn go(
        &mut self,
        frames: &Rc<Vec<Frame>>,
        cfg: &Rc<Cfg>,
        from: u64,
        target: u64,
        item: Item,
    ) -> Result<(), ExploreError> {
        if self.query.stops.contains(&target) {
            self.end(&item);
            return Ok(());
        }
        let Some(block) = cfg.block_at(target) else {
            return self.enter(frames, from, target, None, item);
        };
        let mut frames = (**frames).clone();
        let Some(frame) = frames.last().cloned() else {
            return Ok(());
        };
        let (old, new) = (&cfg.blocks[frame.block].loops, &cfg.blocks[block].loops);
        let mut iterations: Vec<u32> = Vec::with_capacity(new.len());
        for (i, header) in new.iter().enumerate() {
            let same = old.get(i) == Some(header) && iterations.len() == i;
            let mut n = if same {
                frame.iterations.get(i).copied().unwrap_or(0)
            } else {
                0
            };
            // An edge to the header from inside the loop is a back edge: the next iteration.
            if same && *header == block {
                n += 1;
            }
            iterations.push(n);
        }
        if let Some(header) = new.last().filter(|h| **h == block) {
            let n = iterations.last().copied().unwrap_or(0);
            let pc = cfg.blocks[*header].start();
            let declared = self.query.declared.get(&pc).copied();
            let seen = self.loops.entry(pc).or_insert((0, declared.is_some()));
            if declared.is_some_and(|most| n >= most) {
                return Ok(());
            }
            seen.0 = seen.0.max(n + 1);
            if n >= self.query.limits.unroll {
                let place = self.image.place(pc);
                return Err(ExploreError::Unbounded {
                    place,
                    iterations: n,
                    chain: self.chain(&frames),
                });
            }
        }
        if let Some(last) = frames.last_mut() {
            *last = Frame {
                block,
                iterations,
                ..frame
            };
        }
        self.push(frames, item)
    }

    fn call(
        &mut self,
        frames: &Rc<Vec<Frame>>,
        pc: u64,
        target: u64,
        ret: u64,
        mut item: Item,
    ) -> Result<(), ExploreError> {
        item.state.set(30, Value::exact(ret));
        self.enter(frames, pc, target, Some(ret), item)
    }

    /// Pushes a frame for `target`; `ret` = None for a tail call.
    fn enter(
        &mut self,
        frames: &Rc<Vec<Frame>>,
        pc: u64,
        target: u64,
        ret: Option<u64>,
        item: Item,
    ) -> Result<(), ExploreError> {
        if let Some(symbol) = self.image.symbol_at(target)
            && is_panic(&symbol.name)
        {
            let what = symbol.name.clone();
            return self.panic(frames, pc, &what);
        }
        if frames.len() >= self.query.limits.depth {
            let (place, depth) = (self.image.place(pc), frames.len());
            return Err(ExploreError::Recursion {
                place,
                depth,
                chain: self.chain(frames),
            });
        }
        if self.query.stops.contains(&target) {
            self.end(&item);
            return Ok(());
        }
        let cfg = self.graph(target)?;
        let block = cfg.block_at(target).unwrap_or(0);
        let mut frames = (**frames).clone();
        let iterations = vec![0; cfg.blocks[block].loops.len()];
        frames.push(Frame {
            function: target,
            ret,
            tail: ret.is_none(),
            block,
            iterations,
        });
        self.push(frames, item)
    }

    fn ret(&mut self, frames: &Rc<Vec<Frame>>, item: Item) -> Result<(), ExploreError> {
        let mut frames = (**frames).clone();
        while let Some(frame) = frames.pop() {
            if frame.tail {
                continue;
            }
            let (Some(ret), Some(caller)) = (frame.ret, frames.last()) else {
                break;
            };
            let cfg = self.graph(caller.function)?;
            let frames = Rc::new(frames);
            return self.go(&frames, &cfg, ret - 4, ret, item);
        }
        self.end(&item);
        Ok(())
    }
}

fn raise(into: &mut [u32; POINTS_MAX], from: &[u32; POINTS_MAX]) {
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

/// Replaces a symbol by its one value everywhere.
fn pin(state: &mut State, sym: u32, v: u64) {
    let fix = |value: &mut Value| {
        if value.index == sym {
            *value = Value {
                base: value.base,
                index: 0,
                add: value.add.wrapping_add(v),
            };
        }
    };
    state.regs.iter_mut().for_each(fix);
    state.memory.values_mut().for_each(|(_, value)| fix(value));
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
