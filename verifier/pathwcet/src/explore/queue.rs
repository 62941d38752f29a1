//! The places still to visit, the states that wait there, and the longest paths found.

use super::graphs::Graphs;
use super::place::{Frame, Place};
use super::{ExploreError, Limits, Longest, Outcome, POINTS_MAX, Query, raise};
use crate::join::{covers, join};
use crate::state::{State, Symbols};
use crate::timing::Resident;
use std::collections::BTreeMap;
use std::rc::Rc;

/// One way to a place: the state there and what the way cost.
#[derive(Clone)]
pub(super) struct Item {
    pub state: State,
    pub cost: u64,
    pub firings: [u32; POINTS_MAX],
    /// Classes it may be of, as bits.
    pub classes: u64,
    /// Cost at the first mark, and between it and the last.
    pub begin: Option<u64>,
    pub window: u64,
    /// What is certainly in the caches.
    pub resident: Resident,
    pub node: u32,
}

impl Item {
    /// The beginning of a path.
    pub fn new(state: State) -> Item {
        Item {
            state,
            cost: 0,
            firings: [0; POINTS_MAX],
            classes: 0,
            begin: None,
            window: 0,
            resident: Resident::default(),
            node: NO_NODE,
        }
    }

    /// This item also stands for `other`, whose state it covers.
    fn stand_for(&mut self, other: &Item) {
        raise(&mut self.firings, &other.firings);
        self.window = self.window.max(other.window);
        self.resident.meet(&other.resident);
        self.begin = match (self.begin, other.begin) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The longest path of a class so far.
#[derive(Clone)]
pub(super) struct Best {
    pub cost: u64,
    window: u64,
    pub firings: [u32; POINTS_MAX],
    pub node: u32,
}

struct Group {
    place: Rc<Place>,
    items: Vec<Item>,
}

/// A piece of a path, and the one before.
pub(super) struct Node {
    before: u32,
    what: Piece,
}

enum Piece {
    /// A block: its first address, and after its last.
    Block(u64, u64),
    /// The path inside a summarised procedure.
    Inside(Rc<Vec<Node>>, u32),
}

const NO_NODE: u32 = u32::MAX;
/// A state is searched for forgotten symbols when it has this many more than last time.
const SYMBOLS_SLACK: usize = 48;

pub(super) enum Step {
    Restart,
    /// A procedure cannot be followed on its own.
    InPlace,
    Error(Box<ExploreError>),
}

impl From<ExploreError> for Step {
    fn from(error: ExploreError) -> Step {
        Step::Error(Box::new(error))
    }
}

pub(super) struct Explorer<'a, 'i> {
    pub graphs: &'a mut Graphs<'i>,
    pub query: &'a Query<'a>,
    pub symbols: Symbols,
    pub limits: Limits,
    work: BTreeMap<Rc<[u32]>, Group>,
    pub nodes: Vec<Node>,
    pub best: BTreeMap<u64, Best>,
    /// Returns from a procedure that is followed on its own.
    pub exits: Option<Vec<Item>>,
    pub loops: BTreeMap<u64, (u32, bool)>,
    pub left_out: u64,
    pub steps: u64,
}

impl<'a, 'i> Explorer<'a, 'i> {
    pub fn new(graphs: &'a mut Graphs<'i>, query: &'a Query<'a>, symbols: Symbols, limits: Limits) -> Self {
        Explorer {
            graphs,
            query,
            symbols,
            limits,
            work: BTreeMap::new(),
            nodes: Vec::new(),
            best: BTreeMap::new(),
            exits: None,
            loops: BTreeMap::new(),
            left_out: 0,
            steps: 0,
        }
    }

    pub fn run(&mut self) -> Result<(), Step> {
        let graph = self.graphs.get(self.query.entry)?;
        let block = graph.cfg.block_at(self.query.entry).unwrap_or(0);
        let iterations = vec![0; graph.cfg.blocks[block].loops.len()];
        let frame = Frame {
            function: self.query.entry,
            graph,
            caller: None,
            above: None,
            tail: false,
            depth: 0,
        };
        let item = Item::new(self.query.start.clone());
        self.push(Place::new(Rc::new(frame), block, iterations), item);
        self.visit()
    }

    /// Visits what waits, until nothing does.
    pub fn visit(&mut self) -> Result<(), Step> {
        while let Some((_, group)) = self.work.pop_first() {
            let most = self.limits.disjuncts_at(group.place.turn);
            let items = self.reduce(group.items, group.place.live(), most);
            for item in self.summarised(&group.place, items)? {
                self.block(&group.place, item)?;
            }
        }
        Ok(())
    }

    pub fn outcome(self) -> Result<Outcome, ExploreError> {
        let mut classes: BTreeMap<Option<u32>, Longest> = BTreeMap::new();
        let mut firings = [0; POINTS_MAX];
        for (of, best) in &self.best {
            raise(&mut firings, &best.firings);
            let each = (0..u64::BITS).filter(|c| of >> c & 1 != 0).map(Some);
            for class in each.chain((*of == 0).then_some(None)) {
                let longest: &mut Longest = classes.entry(class).or_default();
                longest.window = longest.window.max(best.window);
                raise(&mut longest.firings, &best.firings);
                if best.cost > longest.bound {
                    (longest.bound, longest.path) = (best.cost, self.blocks_to(best.node));
                }
            }
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
    fn blocks_to(&self, node: u32) -> Vec<(u64, u64)> {
        let mut path = Vec::new();
        let mut todo = vec![(&self.nodes, node)];
        while let Some((nodes, at)) = todo.pop() {
            let Some(n) = nodes.get(at as usize) else { continue };
            todo.push((nodes, n.before));
            match &n.what {
                Piece::Block(start, end) => path.push((*start, *end)),
                Piece::Inside(inner, last) => todo.push((&**inner, *last)),
            }
        }
        path.reverse();
        path
    }

    /// Notes that `item` goes through a procedure on the path that ends in `last`.
    pub fn pass_inside(&mut self, item: &mut Item, nodes: &Rc<Vec<Node>>, last: u32) {
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            before: item.node,
            what: Piece::Inside(Rc::clone(nodes), last),
        });
        item.node = node;
    }

    /// Notes that `item` goes through a block.
    pub fn pass(&mut self, item: &mut Item, start: u64, end: u64) {
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            before: item.node,
            what: Piece::Block(start, end),
        });
        item.node = node;
    }

    /// Keeps at most the allowed number of states, the most expensive ones apart.
    pub fn reduce(&mut self, mut items: Vec<Item>, live: u64, most: usize) -> Vec<Item> {
        if items.len() < 2 {
            return items;
        }
        items.iter_mut().for_each(|i| i.state.collect());
        items.sort_by_key(|i| std::cmp::Reverse(i.cost));
        let mut kept: Vec<Item> = Vec::new();
        for item in items {
            let mut same = kept.iter_mut().filter(|k| k.classes == item.classes);
            if let Some(k) = same.find(|k| covers(&k.state, &item.state, live)) {
                k.stand_for(&item);
                continue;
            }
            let mut same = kept.iter_mut().filter(|k| k.classes == item.classes);
            match same.nth(most - 1) {
                None => kept.push(item),
                Some(last) => {
                    last.state = join(&last.state, &item.state, live, &mut self.symbols);
                    last.stand_for(&item);
                }
            }
        }
        kept
    }

    pub fn push(&mut self, place: Place, mut item: Item) {
        let live = place.live();
        for reg in (0..31).filter(|r| live >> r & 1 == 0) {
            item.state.regs[reg] = item.state.unknown(&mut self.symbols, 64);
        }
        if item.state.ranges.len() > item.state.collect_at {
            item.state.collect();
            item.state.collect_at = item.state.ranges.len() + SYMBOLS_SLACK;
        }
        let group = self.work.entry(Rc::clone(&place.key)).or_insert_with(|| Group {
            place: Rc::new(place),
            items: Vec::new(),
        });
        group.items.push(item);
    }

    /// A path is at its end.
    pub fn end(&mut self, item: &Item) {
        let best = self.best.entry(item.classes).or_insert(Best {
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
}
