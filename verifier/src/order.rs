//! Nested components by depth-first search: the weak topological order.

use crate::env::Env;
use crate::graph::Fault;
use crate::graph::{Block, Component, Graph, LOOP_DEPTH, NONE, Phase, successors};
use crate::insn::{Insn, Op};
use crate::memory::Memory;
use crate::reject::{Pool, Why};

impl Graph {
    pub(crate) fn next_sub(&mut self, m: &mut Memory<'_>) {
        let Some(sub) = m
            .subprograms
            .get(self.sub as usize)
            .copied()
            .filter(|_| self.sub < self.subs)
        else {
            self.region = 0;
            self.enter(Phase::NextRegion);
            return;
        };
        // Blocks of one subprogram are consecutive, so the order may reserve a place for each, reached or not.
        let block = m.slots.get(sub.entry as usize).map_or(0, |i| i.block);
        let after = m.slots.get(sub.end as usize).map_or(self.blocks, |i| i.block);
        let after = if sub.end >= self.slots { self.blocks } else { after };
        self.pos = after;
        self.region = 0;
        self.sub += 1;
        if m.blocks.get(block as usize).is_some_and(|b| b.reached) {
            self.start_dfs(m, block);
        }
    }

    pub(crate) fn start_dfs(&mut self, m: &mut Memory<'_>, head: u32) {
        self.phase = Phase::Dfs;
        self.placed = head;
        self.depth_top = 0;
        self.scc_top = 0;
        self.index = 0;
        self.visit(m, head);
    }

    pub(crate) fn visit(&mut self, m: &mut Memory<'_>, block: u32) {
        self.index += 1;
        let index = self.index;
        if let Some(b) = m.blocks.get_mut(block as usize) {
            (b.index, b.low, b.edge, b.on_stack, b.open) = (index, index, 0, true, true);
        }
        let half = self.slots as usize;
        if let Some(cell) = m.stack.get_mut(self.depth_top as usize) {
            *cell = block;
        }
        if let Some(cell) = m.stack.get_mut(half + self.scc_top as usize) {
            *cell = block;
        }
        self.depth_top += 1;
        self.scc_top += 1;
    }

    /// One edge of the depth-first search (Tarjan's components, explicit stacks).
    pub(crate) fn dfs(&mut self, m: &mut Memory<'_>, env: &Env<'_>) -> Result<(), Fault> {
        if self.depth_top == 0 {
            self.phase = if self.region == 0 {
                Phase::Sub
            } else {
                Phase::NextRegion
            };
            return Ok(());
        }
        let v = m.stack.get(self.depth_top as usize - 1).copied().unwrap_or(0);
        let Some(b) = m.blocks.get_mut(v as usize) else {
            return Ok(());
        };
        let (edge, last, comp, sub) = (b.edge, b.last, b.comp, b.sub);
        b.edge = b.edge.saturating_add(1);
        if edge < 2 {
            let t = successors(m.text, last)[usize::from(edge)];
            if t == NONE {
                return Ok(());
            }
            let t = m.slots.get(t as usize).map_or(0, |i| i.block);
            // Edges to the head of the region are the ones removed at this level.
            if t == self.placed && self.region != 0 {
                return Ok(());
            }
            let Some(to) = m.blocks.get(t as usize).copied() else {
                return Ok(());
            };
            if to.comp != comp || to.sub != sub {
                return Ok(());
            }
            if to.index == 0 {
                self.visit(m, t);
            } else if to.on_stack {
                if self.region == 0 && to.open {
                    self.back_edge(m, env, last, to.start)?;
                }
                self.lower(m, v, to.index);
            }
            return Ok(());
        }
        self.depth_top -= 1;
        let low = m.blocks.get_mut(v as usize).map_or(0, |b| {
            b.open = false;
            b.low
        });
        if let Some(parent) = self
            .depth_top
            .checked_sub(1)
            .and_then(|i| m.stack.get(i as usize))
            .copied()
        {
            self.lower(m, parent, low);
        }
        if m.blocks.get(v as usize).is_some_and(|b| b.low == b.index) {
            self.emit(m, v)?;
        }
        Ok(())
    }

    /// Control can go from the instruction at `from` back to `head`, which leads to it.
    fn back_edge(&self, m: &Memory<'_>, env: &Env<'_>, from: u32, head: u32) -> Result<(), Fault> {
        let jumps = Insn::decode(m.text, from).is_ok_and(|i| matches!(i.op, Op::Jump { .. } | Op::Goto { .. }));
        if env.rules.speculation || env.rules.loops_by_jump && !jumps {
            return Err((from, Why::BackEdge { head }));
        }
        Ok(())
    }

    pub(crate) fn lower(&self, m: &mut Memory<'_>, block: u32, to: u32) {
        if let Some(b) = m.blocks.get_mut(block as usize) {
            b.low = b.low.min(to);
        }
    }

    /// The component rooted at `root` is complete: the top of the stack down to `root`.
    pub(crate) fn emit(&mut self, m: &mut Memory<'_>, root: u32) -> Result<(), Fault> {
        let half = self.slots as usize;
        let mut size = 0;
        while size < self.scc_top {
            size += 1;
            if m.stack.get(half + (self.scc_top - size) as usize) == Some(&root) {
                break;
            }
        }
        self.pos = self.pos.saturating_sub(size);
        let block = m.blocks.get(root as usize).copied().unwrap_or(Block::BLANK);
        let own = |t: u32| t != NONE && m.slots.get(t as usize).is_some_and(|i| i.block == root);
        let cycle = size > 1 || successors(m.text, block.last).into_iter().any(own) && root != self.placed_head();
        if !cycle {
            self.scc_top = self.scc_top.saturating_sub(1);
            if let Some(b) = m.blocks.get_mut(root as usize) {
                b.order = self.pos;
                b.on_stack = false;
            }
            if let Some(cell) = m.by_order.get_mut(self.pos as usize) {
                *cell = root;
            }
            return Ok(());
        }
        let depth = 1
            + (block.comp as usize)
                .checked_sub(1)
                .and_then(|i| m.components.get(i))
                .map_or(0, |c| c.depth);
        if depth > LOOP_DEPTH {
            return Err((block.start, Why::LoopsTooDeep { max: LOOP_DEPTH.into() }));
        }
        let limit = m.components.len().min(m.loops.len()) as u32;
        let cell = m.components.get_mut(self.comps as usize).filter(|_| self.comps < limit);
        let cell = cell.ok_or((
            block.start,
            Why::NoSpace {
                pool: Pool::Loops,
                size: limit,
            },
        ))?;
        *cell = Component {
            head: root,
            parent: block.comp,
            base: self.pos,
            end: self.pos + size,
            depth,
        };
        self.comps += 1;
        for _ in 0..size {
            self.scc_top = self.scc_top.saturating_sub(1);
            let member = m.stack.get(half + self.scc_top as usize).copied().unwrap_or(root);
            if let Some(b) = m.blocks.get_mut(member as usize) {
                b.comp = self.comps as u16;
                b.index = 0;
                b.on_stack = false;
            }
        }
        Ok(())
    }

    /// The head of the region searched, whose incoming edges do not count; none at the level of a subprogram.
    pub(crate) fn placed_head(&self) -> u32 {
        if self.region == 0 { NONE } else { self.placed }
    }

    pub(crate) fn next_region(&mut self, m: &mut Memory<'_>) {
        let Some(comp) = m
            .components
            .get(self.region as usize)
            .copied()
            .filter(|_| self.region < self.comps)
        else {
            self.enter(Phase::Uses);
            return;
        };
        self.region += 1;
        self.pos = comp.end;
        self.start_dfs(m, comp.head);
    }
}
