//! Control flow graph of one function: blocks in an order in which every edge goes forward or back to the head of a loop.

use crate::decode::{DecodeError, decode};
use crate::elf::Image;
use crate::explore::is_panic;
use crate::inst::{Flow, Inst};
use crate::tables::guess;
use crate::wto::weak_order;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A basic block: one entry, control leaves at its last instruction only.
#[derive(Debug, Clone)]
pub struct Block {
    /// Instructions, in order.
    pub insts: Vec<Inst>,
    /// Successors inside the function (calls fall through to their return site).
    pub succs: Vec<usize>,
    /// Loop headers this block is inside of, outermost first (a header is inside its own loop).
    pub loops: Vec<usize>,
}

impl Block {
    /// Address of the first instruction.
    pub fn start(&self) -> u64 {
        self.insts.first().map_or(0, |i| i.pc)
    }
    /// Last instruction.
    pub fn last(&self) -> Option<&Inst> {
        self.insts.last()
    }
}

/// A function's graph. Block indices are their weak topological order; block 0 is the entry.
#[derive(Debug, Clone)]
pub struct Cfg {
    /// Blocks in order.
    pub blocks: Vec<Block>,
    by_start: BTreeMap<u64, usize>,
    /// Heads of loops that can be entered elsewhere than at their head.
    pub entered: BTreeSet<usize>,
    extent: Range<u64>,
}

/// Why a graph cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CfgError {
    /// A word without a meaning.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Control runs to an address without code.
    #[error("control reaches {0:#x}, where there is no code")]
    NoCode(u64),
}

/// Most instructions of one function: far above anything sensible, it stops a walk through data.
const FUNCTION_INSNS_MAX: usize = 200_000;

impl Cfg {
    /// Builds the graph from `entry`; `known` gives targets found for indirect jumps (site → targets).
    pub fn build(image: &Image, entry: u64, known: &Targets) -> Result<Cfg, CfgError> {
        let extent = image
            .symbol_at(entry)
            .map_or(entry..u64::MAX, |s| s.address..s.address + s.size);
        let mut code = Code {
            image,
            extent,
            insts: BTreeMap::new(),
            leaders: BTreeSet::from([entry]),
            targets: known.clone(),
        };
        code.walk(vec![entry])?;
        code.resolve_tables()?;
        Self::assemble(entry, &code)
    }

    fn assemble(entry: u64, code: &Code<'_>) -> Result<Cfg, CfgError> {
        let leaders = code.leaders.iter().copied();
        let starts: Vec<u64> = leaders.filter(|l| code.insts.contains_key(l)).collect();
        let index: BTreeMap<u64, usize> = starts.iter().enumerate().map(|(i, s)| (*s, i)).collect();
        let mut blocks = Vec::with_capacity(starts.len());
        for start in &starts {
            let mut insts = Vec::new();
            let mut pc = *start;
            while let Some(inst) = code.insts.get(&pc) {
                insts.push(*inst);
                pc += 4;
                if inst.ends_block() || code.leaders.contains(&pc) {
                    break;
                }
            }
            let mut succs = Vec::new();
            if let Some(last) = insts.last() {
                let (next, targets) = code.edges(last);
                for i in next.into_iter().chain(targets).filter_map(|t| index.get(&t)) {
                    if !succs.contains(i) {
                        succs.push(*i);
                    }
                }
            }
            blocks.push(Block {
                insts,
                succs,
                loops: Vec::new(),
            });
        }
        let root = index.get(&entry).copied().ok_or(CfgError::NoCode(entry))?;
        let succs: Vec<Vec<usize>> = blocks.iter().map(|b| b.succs.clone()).collect();
        let weak = weak_order(&succs, root);
        let mut rank = vec![usize::MAX; blocks.len()];
        for (r, b) in weak.order.iter().enumerate() {
            rank[*b] = r;
        }
        let renamed = |old: &[usize]| old.iter().map(|b| rank[*b]).collect::<Vec<usize>>();
        let sorted: Vec<Block> = weak
            .order
            .iter()
            .map(|b| Block {
                insts: std::mem::take(&mut blocks[*b].insts),
                succs: renamed(&succs[*b]),
                loops: renamed(&weak.heads[*b]),
            })
            .collect();
        Ok(Cfg {
            by_start: sorted.iter().enumerate().map(|(i, b)| (b.start(), i)).collect(),
            entered: weak.entered.iter().map(|b| rank[*b]).collect(),
            blocks: sorted,
            extent: code.extent.clone(),
        })
    }

    /// Block that starts at `pc`.
    pub fn block_at(&self, pc: u64) -> Option<usize> {
        self.by_start.get(&pc).copied()
    }

    /// The graph knows that control can go from a block to `target`.
    pub fn has_edge(&self, block: usize, target: u64) -> bool {
        self.block_at(target)
            .is_some_and(|b| self.blocks[block].succs.contains(&b))
    }

    /// The address is within the function's extent.
    pub fn holds(&self, pc: u64) -> bool {
        self.extent.contains(&pc)
    }
}

/// Targets of indirect jumps: site → targets.
pub type Targets = BTreeMap<u64, BTreeSet<u64>>;

/// A function's instructions as far as control is known to reach them.
struct Code<'a> {
    image: &'a Image,
    extent: Range<u64>,
    insts: BTreeMap<u64, Inst>,
    leaders: BTreeSet<u64>,
    targets: Targets,
}

impl Code<'_> {
    fn inside(&self, pc: u64) -> bool {
        self.extent.contains(&pc)
    }

    /// Follows control from `todo`.
    fn walk(&mut self, mut todo: Vec<u64>) -> Result<(), CfgError> {
        while let Some(start) = todo.pop() {
            let mut pc = start;
            while !self.insts.contains_key(&pc) {
                let word = self.image.word(pc).ok_or(CfgError::NoCode(pc))?;
                let inst = decode(pc, word)?;
                self.insts.insert(pc, inst);
                if self.insts.len() > FUNCTION_INSNS_MAX {
                    return Err(CfgError::NoCode(pc));
                }
                let (next, targets) = self.edges(&inst);
                let targets: Vec<u64> = targets.into_iter().filter(|t| self.inside(*t)).collect();
                for t in targets {
                    self.leaders.insert(t);
                    todo.push(t);
                }
                let Some(next) = next else { break };
                if inst.ends_block() {
                    self.leaders.insert(next);
                }
                if !self.inside(next) {
                    break;
                }
                pc = next;
            }
        }
        Ok(())
    }

    /// Looks for the targets of jump tables right before their branches.
    fn resolve_tables(&mut self) -> Result<(), CfgError> {
        let mut asked = BTreeSet::new();
        loop {
            let is_open = |i: &&Inst| matches!(i.flow, Flow::JumpReg(_)) && !self.targets.contains_key(&i.pc);
            let Some(site) = self
                .insts
                .values()
                .filter(is_open)
                .map(|i| i.pc)
                .find(|pc| !asked.contains(pc))
            else {
                return Ok(());
            };
            asked.insert(site);
            let mut into: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for inst in self.insts.values() {
                let (next, targets) = self.edges(inst);
                let next = next.filter(|n| self.leaders.contains(n));
                next.into_iter()
                    .chain(targets)
                    .for_each(|t| into.entry(t).or_default().push(inst.pc));
            }
            let found = guess(self.image, &self.insts, &self.leaders, &into, site);
            let found: BTreeSet<u64> = found.into_iter().filter(|t| self.inside(*t) && t % 4 == 0).collect();
            if !found.is_empty() {
                self.leaders.extend(&found);
                self.targets.insert(site, found.clone());
                // A target may lie inside what was one block.
                self.walk(found.into_iter().collect())?;
            }
        }
    }

    /// Fall-through and explicit targets of an instruction within its function.
    fn edges(&self, inst: &Inst) -> (Option<u64>, Vec<u64>) {
        let next = inst.pc.wrapping_add(4);
        match inst.flow {
            // Nothing comes back from a panic: what follows the call may be no code.
            Flow::Call(target) if self.image.symbol_at(target).is_some_and(|s| is_panic(&s.name)) => (None, vec![]),
            Flow::Next | Flow::Call(_) | Flow::CallReg(_) => (Some(next), vec![]),
            Flow::Jump(t) => (None, vec![t]),
            Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => {
                (Some(next), vec![target])
            }
            Flow::JumpReg(_) => (
                None,
                self.targets
                    .get(&inst.pc)
                    .map_or(vec![], |s| s.iter().copied().collect()),
            ),
            Flow::Ret(_) | Flow::Eret | Flow::Trap => (None, vec![]),
        }
    }
}
