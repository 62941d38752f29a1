//! Control flow graph of one function: blocks, an order in which every forward edge goes forward, natural loops.

use crate::decode::{DecodeError, decode};
use crate::elf::Image;
use crate::inst::{Flow, Inst};
use std::collections::{BTreeMap, BTreeSet};

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

/// A function's graph. Block indices are their reverse postorder; block 0 is the entry.
#[derive(Debug, Clone)]
pub struct Cfg {
    /// First address.
    pub entry: u64,
    /// Blocks in reverse postorder.
    pub blocks: Vec<Block>,
    by_start: BTreeMap<u64, usize>,
    extent: (u64, u64),
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
    /// A loop with two entries: no header dominates it.
    #[error("irreducible loop: {from:#x} jumps back to {to:#x}, which does not dominate it")]
    Irreducible {
        /// Source of the edge.
        from: u64,
        /// Target.
        to: u64,
    },
}

/// Most instructions of one function: far above anything sensible, it stops a walk through data.
const FUNCTION_INSNS_MAX: usize = 200_000;

impl Cfg {
    /// Builds the graph from `entry`; `extra` gives targets found for indirect jumps (site → targets).
    pub fn build(image: &Image, entry: u64, extra: &BTreeMap<u64, BTreeSet<u64>>) -> Result<Cfg, CfgError> {
        let extent = image
            .symbol_at(entry)
            .map_or((entry, u64::MAX), |s| (s.address, s.address + s.size));
        let inside = |pc: u64| pc >= extent.0 && pc < extent.1;
        let mut insts: BTreeMap<u64, Inst> = BTreeMap::new();
        let mut leaders = BTreeSet::from([entry]);
        let mut todo = vec![entry];
        while let Some(start) = todo.pop() {
            let mut pc = start;
            while !insts.contains_key(&pc) {
                let word = image.word(pc).ok_or(CfgError::NoCode(pc))?;
                let inst = decode(pc, word)?;
                insts.insert(pc, inst);
                if insts.len() > FUNCTION_INSNS_MAX {
                    return Err(CfgError::NoCode(pc));
                }
                let (next, target) = edges(&inst, extra.get(&pc));
                for t in target.into_iter().filter(|t| inside(*t)) {
                    leaders.insert(t);
                    todo.push(t);
                }
                let Some(next) = next else { break };
                if inst.ends_block() {
                    leaders.insert(next);
                }
                if !inside(next) {
                    break;
                }
                pc = next;
            }
        }
        Self::assemble(entry, extent, &insts, &leaders, extra)
    }

    fn assemble(
        entry: u64,
        extent: (u64, u64),
        insts: &BTreeMap<u64, Inst>,
        leaders: &BTreeSet<u64>,
        extra: &BTreeMap<u64, BTreeSet<u64>>,
    ) -> Result<Cfg, CfgError> {
        let starts: Vec<u64> = leaders.iter().copied().filter(|l| insts.contains_key(l)).collect();
        let index: BTreeMap<u64, usize> = starts.iter().enumerate().map(|(i, s)| (*s, i)).collect();
        let mut blocks = Vec::with_capacity(starts.len());
        for start in &starts {
            let mut body = Vec::new();
            let mut pc = *start;
            while let Some(inst) = insts.get(&pc) {
                body.push(*inst);
                pc += 4;
                if inst.ends_block() || leaders.contains(&pc) {
                    break;
                }
            }
            let mut succs = Vec::new();
            if let Some(last) = body.last() {
                let (next, targets) = edges(last, extra.get(&last.pc));
                for t in next.into_iter().chain(targets) {
                    if let Some(i) = index.get(&t)
                        && !succs.contains(i)
                    {
                        succs.push(*i);
                    }
                }
            }
            blocks.push(Block {
                insts: body,
                succs,
                loops: Vec::new(),
            });
        }
        let root = index.get(&entry).copied().ok_or(CfgError::NoCode(entry))?;
        let order = reverse_postorder(&blocks, root);
        let mut rank = vec![usize::MAX; blocks.len()];
        for (r, b) in order.iter().enumerate() {
            rank[*b] = r;
        }
        let mut sorted: Vec<Block> = order.iter().map(|b| blocks[*b].clone()).collect();
        for block in &mut sorted {
            block.succs = block.succs.iter().map(|s| rank[*s]).collect();
        }
        let by_start = sorted.iter().enumerate().map(|(i, b)| (b.start(), i)).collect();
        let mut cfg = Cfg {
            entry,
            blocks: sorted,
            by_start,
            extent,
        };
        cfg.find_loops()?;
        Ok(cfg)
    }

    /// Block that starts at `pc`.
    pub fn block_at(&self, pc: u64) -> Option<usize> {
        self.by_start.get(&pc).copied()
    }

    /// The address is within the function's extent.
    pub fn holds(&self, pc: u64) -> bool {
        pc >= self.extent.0 && pc < self.extent.1
    }

    /// Headers of all loops.
    pub fn headers(&self) -> Vec<usize> {
        let set: BTreeSet<usize> = self.blocks.iter().flat_map(|b| b.loops.iter().copied()).collect();
        set.into_iter().collect()
    }

    fn predecessors(&self) -> Vec<Vec<usize>> {
        let mut preds = vec![Vec::new(); self.blocks.len()];
        for (b, block) in self.blocks.iter().enumerate() {
            for s in &block.succs {
                preds[*s].push(b);
            }
        }
        preds
    }

    /// Natural loops by dominators (Cooper, Harvey and Kennedy's iteration over reverse postorder).
    fn find_loops(&mut self) -> Result<(), CfgError> {
        let preds = self.predecessors();
        let idom = dominators(&preds);
        let dominates = |a: usize, mut b: usize| {
            while b > a {
                b = idom[b];
            }
            a == b
        };
        let mut bodies: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (b, block) in self.blocks.iter().enumerate() {
            for s in block.succs.iter().copied().filter(|s| *s <= b) {
                if !dominates(s, b) {
                    let from = block.last().map_or(0, |i| i.pc);
                    return Err(CfgError::Irreducible {
                        from,
                        to: self.blocks[s].start(),
                    });
                }
                let body = bodies.entry(s).or_insert_with(|| BTreeSet::from([s]));
                let mut todo = vec![b];
                while let Some(x) = todo.pop() {
                    if body.insert(x) {
                        todo.extend(&preds[x]);
                    }
                }
            }
        }
        // Outer loops have smaller headers: a header is before everything it dominates.
        for (header, body) in &bodies {
            for b in body {
                self.blocks[*b].loops.push(*header);
            }
        }
        Ok(())
    }
}

/// Fall-through and explicit targets of an instruction within its function.
fn edges(inst: &Inst, extra: Option<&BTreeSet<u64>>) -> (Option<u64>, Vec<u64>) {
    let next = inst.pc.wrapping_add(4);
    match inst.flow {
        Flow::Next | Flow::Call(_) | Flow::CallReg(_) => (Some(next), vec![]),
        Flow::Jump(t) => (None, vec![t]),
        Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => (Some(next), vec![target]),
        Flow::JumpReg(_) => (None, extra.map_or(vec![], |s| s.iter().copied().collect())),
        Flow::Ret(_) | Flow::Eret | Flow::Trap => (None, vec![]),
    }
}

fn reverse_postorder(blocks: &[Block], root: usize) -> Vec<usize> {
    let mut seen = vec![false; blocks.len()];
    let mut order = Vec::new();
    let mut stack = vec![(root, 0usize)];
    seen[root] = true;
    while let Some((b, next)) = stack.pop() {
        match blocks[b].succs.get(next) {
            Some(s) => {
                stack.push((b, next + 1));
                if !seen[*s] {
                    seen[*s] = true;
                    stack.push((*s, 0));
                }
            }
            None => order.push(b),
        }
    }
    order.reverse();
    order
}

fn dominators(preds: &[Vec<usize>]) -> Vec<usize> {
    let none = usize::MAX;
    let mut idom = vec![none; preds.len()];
    if let Some(first) = idom.first_mut() {
        *first = 0;
    }
    let mut changed = true;
    while changed {
        changed = false;
        for b in 1..preds.len() {
            let mut new = none;
            for p in preds[b].iter().copied().filter(|p| idom[*p] != none) {
                new = if new == none { p } else { intersect(&idom, p, new) };
            }
            if idom[b] != new {
                idom[b] = new;
                changed = true;
            }
        }
    }
    idom
}

fn intersect(idom: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while a > b {
            a = idom[a];
        }
        while b > a {
            b = idom[b];
        }
    }
    a
}
