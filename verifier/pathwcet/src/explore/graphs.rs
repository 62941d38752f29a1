//! Graphs of functions, built when first needed and kept.

use super::summary::Summaries;
use super::{ExploreError, is_panic};
use crate::cfg::{Block, Cfg};
use crate::elf::Image;
use crate::inst::{Flow, Inst, Op, Operand, SP};
use crate::live::{ARGUMENTS, live, uses_and_defs};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Calls that are followed to see which arguments a procedure looks at.
const LIVE_DEPTH_MAX: usize = 64;

/// A function's graph, and the registers live at the start of each block.
pub struct Graph {
    pub cfg: Cfg,
    pub live: Vec<u64>,
    /// Loops whose bounds the program states: header → most times it is reached.
    pub stated: BTreeMap<usize, u32>,
    /// Instructions at the beginning that save the caller's registers.
    pub saves: BTreeSet<u64>,
}

/// The graphs of an image.
pub struct Graphs<'a> {
    pub(super) image: &'a Image,
    graphs: HashMap<u64, Rc<Graph>>,
    arguments: HashMap<u64, u64>,
    /// Targets found for indirect jumps: site → targets.
    targets: BTreeMap<u64, BTreeSet<u64>>,
    /// Procedures followed on their own.
    pub(super) summaries: Summaries,
    plain: HashMap<u64, bool>,
}

impl<'a> Graphs<'a> {
    /// None yet.
    pub fn new(image: &'a Image) -> Self {
        Graphs {
            image,
            graphs: HashMap::new(),
            arguments: HashMap::new(),
            targets: BTreeMap::new(),
            summaries: Summaries::default(),
            plain: HashMap::new(),
        }
    }

    /// The graph of a function.
    pub(super) fn get(&mut self, function: u64) -> Result<Rc<Graph>, ExploreError> {
        self.build(function, 0)
    }

    /// Notes a target of an indirect jump; true if it is new, and graphs of `function` have to be built again.
    pub(super) fn add_target(&mut self, function: u64, site: u64, target: u64) -> bool {
        let is_new = self.targets.entry(site).or_default().insert(target);
        if is_new {
            self.graphs.remove(&function);
        }
        is_new
    }

    /// The procedure, which calls no other, does nothing with its caller's x19–x30 but save and restore them on its stack.
    pub(super) fn is_plain(&mut self, function: u64) -> bool {
        if let Some(known) = self.plain.get(&function) {
            return *known;
        }
        let is_plain = self.get(function).is_ok_and(|graph| saves_only(&graph.cfg));
        self.plain.insert(function, is_plain);
        is_plain
    }

    fn build(&mut self, function: u64, depth: usize) -> Result<Rc<Graph>, ExploreError> {
        if let Some(graph) = self.graphs.get(&function) {
            return Ok(Rc::clone(graph));
        }
        let cfg = Cfg::build(self.image, function, &self.targets).map_err(|error| ExploreError::Cfg {
            function: self.image.place(function),
            error,
        })?;
        let live = live(&cfg, &mut |callee| self.arguments(callee, depth + 1));
        let stated = stated(&cfg, self.image);
        let saves = saves(&cfg);
        let graph = Rc::new(Graph {
            cfg,
            live,
            stated,
            saves,
        });
        self.graphs.insert(function, Rc::clone(&graph));
        Ok(graph)
    }

    /// Registers live at a function's entry.
    fn arguments(&mut self, function: u64, depth: usize) -> u64 {
        if let Some(known) = self.arguments.get(&function) {
            return *known;
        }
        if self.image.symbol_at(function).is_some_and(|s| is_panic(&s.name)) {
            return 0;
        }
        // Recursion meets the assumption.
        self.arguments.insert(function, ARGUMENTS);
        if depth > LIVE_DEPTH_MAX {
            return ARGUMENTS;
        }
        let found = self.build(function, depth).ok().and_then(|g| g.live.first().copied());
        let found = found.unwrap_or(ARGUMENTS);
        self.arguments.insert(function, found);
        found
    }
}

/// Stores of x19–x30 relative to the stack pointer, in the first block and before the registers are written.
fn saves(cfg: &Cfg) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
    let mut left = CALLEE_SAVED;
    for inst in cfg.blocks.first().map_or(&[][..], |b| &b.insts) {
        if let Op::Store { rt, rt2, addr, size: 8 } = inst.op
            && addr.base == SP
            // Not where the pointer moves only after the store.
            && addr.writeback.is_none_or(|by| addr.offset == Operand::Imm(by as u64))
            && [Some(rt), rt2].into_iter().flatten().all(|r| r < 32 && left >> r & 1 == 1)
        {
            out.insert(inst.pc);
        }
        left &= !uses_and_defs(inst).1;
    }
    out
}

/// The header is reached once more than the body is passed.
fn stated(cfg: &Cfg, image: &Image) -> BTreeMap<usize, u32> {
    let mut out: BTreeMap<usize, u32> = BTreeMap::new();
    for bound in image.loop_bounds() {
        let holds = |b: &&Block| bound.at >= b.start() && bound.at < b.start() + 4 * b.insts.len() as u64;
        if let Some(header) = cfg.blocks.iter().find(holds).and_then(|b| b.loops.last()) {
            let most = bound.most.saturating_add(1);
            out.entry(*header).and_modify(|m| *m = most.max(*m)).or_insert(most);
        }
    }
    out
}

/// x19–x30.
const CALLEE_SAVED: u64 = 0x7ff8_0000;

/// Where a register of the caller may still be unwritten, it is only stored relative to the stack pointer.
fn saves_only(cfg: &Cfg) -> bool {
    let mut unwritten = vec![0u64; cfg.blocks.len()];
    let Some(first) = unwritten.first_mut() else {
        return true;
    };
    *first = CALLEE_SAVED;
    let mut changed = true;
    while changed {
        changed = false;
        for (at, block) in cfg.blocks.iter().enumerate() {
            let mut left = unwritten[at];
            for inst in &block.insts {
                if left != 0 && uses(inst) & left != 0 {
                    return false;
                }
                left &= !uses_and_defs(inst).1;
            }
            for next in &block.succs {
                let more = unwritten[*next] | left;
                changed |= more != unwritten[*next];
                unwritten[*next] = more;
            }
        }
    }
    true
}

/// Registers that are looked at other than to be saved or to return.
fn uses(inst: &Inst) -> u64 {
    match (inst.op, inst.flow) {
        (Op::Store { addr, .. }, _) if addr.base == SP => 0,
        (_, Flow::Ret(_)) => 0,
        _ => uses_and_defs(inst).0,
    }
}
