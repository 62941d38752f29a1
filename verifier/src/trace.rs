//! The worst path, kept as a tree of what was executed: every state holds the end of the path that took the most time.
//!
//! The tree lives in a fixed pool. When that is full, what no state refers to goes; if that is not enough, paths are
//! folded into one node per block with its count, which is all the witness needs.

use crate::cost::CostModel;
use crate::engine::Verifier;
use crate::verified::WitnessRun;

/// What one piece of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The block of this number.
    Block(u32),
    /// The way round a loop that ends at this node.
    Loop(u32),
}

/// One piece of a path, how often, and what came before it. Node 0 is the empty path.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub(crate) piece: Piece,
    pub(crate) parent: u32,
    pub(crate) forward: u32,
    pub(crate) count: u64,
}

impl Node {
    /// Nothing.
    pub const BLANK: Node = Node {
        piece: Piece::Block(0),
        parent: 0,
        forward: 0,
        count: 0,
    };
}

/// Loops inside loops whose ways round are unfolded at once.
const UNFOLD_MAX: usize = 64;

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn trace_reset(&mut self) {
        self.nodes = 1;
    }

    fn node(&self, at: u32) -> Node {
        self.m.nodes.get(at as usize).copied().unwrap_or(Node::BLANK)
    }

    /// The current state enters a block.
    pub(crate) fn trace_block(&mut self, block: u32) {
        let Some(s) = &self.cur else { return };
        let parent = self.node(s.trace);
        let node = if s.trace != 0 && parent.piece == Piece::Block(block) {
            Node {
                count: parent.count.saturating_add(1),
                ..parent
            }
        } else {
            Node {
                piece: Piece::Block(block),
                parent: s.trace,
                count: 1,
                ..Node::BLANK
            }
        };
        let at = self.push_node(node);
        if let Some(s) = &mut self.cur {
            s.trace = at;
        }
    }

    /// A path into a loop, `times` ways round, and a way out, as one path.
    pub(crate) fn trace_loop(&mut self, entry: u32, round: u32, times: u64, out: u32) -> u32 {
        let round = Node {
            piece: Piece::Loop(round),
            parent: entry,
            count: times,
            ..Node::BLANK
        };
        let at = self.push_node(round);
        self.push_node(Node {
            piece: Piece::Loop(out),
            parent: at,
            count: 1,
            ..Node::BLANK
        })
    }

    /// Adds a node; 0, the empty path, where no room can be made. Room is made between units only, since a unit holds
    /// states that no root refers to.
    fn push_node(&mut self, node: Node) -> u32 {
        let at = self.nodes;
        match self.m.nodes.get_mut(at as usize) {
            Some(cell) => {
                *cell = node;
                self.nodes += 1;
                at
            }
            None => 0,
        }
    }

    /// Makes room before it is needed.
    pub(crate) fn trace_room(&mut self) {
        let size = self.m.nodes.len() as u32;
        if size == 0 {
            return;
        }
        let reserve = (size / 16).min(1024);
        if self.nodes + reserve < size {
            return;
        }
        self.collect();
        if self.nodes > size / 2 {
            self.fold_roots();
            self.collect();
        }
        if self.nodes > size - size / 4 {
            self.each_root(|trace, _| *trace = 0);
            self.collect();
        }
    }

    /// Applies `f` to every reference into the tree.
    fn each_root(&mut self, mut f: impl FnMut(&mut u32, &[Node])) {
        let nodes = &*self.m.nodes;
        if let Some(s) = &mut self.cur {
            f(&mut s.trace, nodes);
        }
        for s in self.store.states.iter_mut().filter(|s| s.parked) {
            f(&mut s.trace, nodes);
        }
        for a in self.m.acts.iter_mut().take(self.acts) {
            f(&mut a.trace, nodes);
        }
        f(&mut self.worst.2, nodes);
    }

    /// Drops what nothing refers to. Parents come before their children, so one sweep down marks and one up moves.
    fn collect(&mut self) {
        let live = self.nodes as usize;
        for n in self.m.nodes.iter_mut().take(live) {
            n.forward = 0;
        }
        let states = self.store.states.iter().filter(|s| s.parked).map(|s| s.trace);
        let acts = self.m.acts.iter().take(self.acts).map(|a| a.trace);
        let cur = self.cur.iter().map(|s| s.trace);
        for at in states.chain(acts).chain(cur).chain([self.worst.2]) {
            if let Some(n) = self.m.nodes.get_mut(at as usize) {
                n.forward = 1;
            }
        }
        for at in (1..live).rev() {
            let node = self.node(at as u32);
            if node.forward == 0 {
                continue;
            }
            let inner = if let Piece::Loop(end) = node.piece { end } else { 0 };
            for to in [node.parent, inner] {
                if let Some(n) = self.m.nodes.get_mut(to as usize) {
                    n.forward = 1;
                }
            }
        }
        // The empty path stays where it is.
        if let Some(n) = self.m.nodes.get_mut(0) {
            n.forward = 0;
        }
        let mut kept = 1u32;
        for at in 1..live {
            let mut node = self.node(at as u32);
            if node.forward == 0 {
                continue;
            }
            node.parent = self.node(node.parent).forward;
            if let Piece::Loop(end) = node.piece {
                node.piece = Piece::Loop(self.node(end).forward);
            }
            // The place it moves to is at or below its own, so nothing unread is overwritten but its forward.
            if let Some(old) = self.m.nodes.get_mut(at) {
                old.forward = kept;
            }
            if let Some(to) = self.m.nodes.get_mut(kept as usize) {
                let forward = to.forward;
                *to = node;
                to.forward = if kept as usize == at { kept } else { forward };
            }
            kept += 1;
        }
        self.each_root(|trace, nodes| *trace = nodes.get(*trace as usize).map_or(0, |n| n.forward));
        self.nodes = kept;
    }

    /// Sums up the path that ends at `end` in the counts by block, which must be blank.
    fn count_path(&mut self, end: u32) {
        let mut stack = [(0u32, 0u64); UNFOLD_MAX];
        stack[0] = (end, 1);
        let mut depth = 1;
        while depth > 0 {
            depth -= 1;
            let Some((mut at, times)) = stack.get(depth).copied() else {
                break;
            };
            while at != 0 {
                let node = self.node(at);
                let count = node.count.saturating_mul(times);
                match node.piece {
                    Piece::Block(b) => {
                        if let Some(c) = self.m.counts.get_mut(b as usize) {
                            *c = c.saturating_add(count);
                        }
                    }
                    Piece::Loop(0) => {}
                    Piece::Loop(end) => {
                        // The rest of this path waits below the inner one.
                        let room = stack.get_mut(depth..).and_then(|s| s.first_chunk_mut::<2>());
                        if let (Some(room), true) = (room, count > 0) {
                            *room = [(node.parent, times), (end, count)];
                            depth += 2;
                            break;
                        }
                    }
                }
                at = node.parent;
            }
        }
    }

    fn blank_counts(&mut self) {
        for c in self.m.counts.iter_mut().take(self.graph.blocks as usize) {
            *c = 0;
        }
    }

    /// Writes the counts as a path of one node per block.
    fn fold_counts(&mut self) -> u32 {
        let mut end = 0;
        for b in 0..self.graph.blocks {
            let count = self.m.counts.get(b as usize).copied().unwrap_or(0);
            if count > 0 {
                end = self.push_node(Node {
                    piece: Piece::Block(b),
                    parent: end,
                    count,
                    ..Node::BLANK
                });
            }
        }
        end
    }

    fn fold(&mut self, end: u32) -> u32 {
        if end == 0 {
            return 0;
        }
        self.blank_counts();
        self.count_path(end);
        self.fold_counts()
    }

    fn fold_roots(&mut self) {
        if let Some(end) = self.cur.as_ref().map(|s| s.trace) {
            let folded = self.fold(end);
            if let Some(s) = &mut self.cur {
                s.trace = folded;
            }
        }
        for i in 0..self.store.states.len() {
            let Some(end) = self.store.states.get(i).filter(|s| s.parked).map(|s| s.trace) else {
                continue;
            };
            let folded = self.fold(end);
            if let Some(s) = self.store.states.get_mut(i) {
                s.trace = folded;
            }
        }
        for i in 0..self.acts {
            let folded = self.fold(self.act(i).trace);
            self.act_mut(i).trace = folded;
        }
        self.worst.2 = self.fold(self.worst.2);
    }

    /// The witness from the worst path's end.
    pub(crate) fn finish_trace(&mut self) {
        self.witness = 0;
        if self.m.nodes.is_empty() {
            return;
        }
        self.blank_counts();
        self.count_path(self.worst.2);
        for b in 0..self.graph.blocks {
            let count = self.m.counts.get(b as usize).copied().unwrap_or(0);
            let block = self.block(b);
            if count == 0 {
                continue;
            }
            let end = block.last + crate::insn::Insn::decode(self.m.text, block.last).map_or(1, |i| i.slots());
            let time = self.block_time(block.start, end).saturating_mul(count);
            if let Some(cell) = self.m.witness.get_mut(self.witness) {
                *cell = WitnessRun {
                    start: block.start,
                    end,
                    count,
                    time,
                };
                self.witness += 1;
            }
        }
    }

    /// Time of one execution of a block, leaving by its dearer edge.
    fn block_time(&self, start: u32, end: u32) -> u64 {
        use crate::cost::Edge;
        use crate::insn::{Callee, Insn, Op};
        let (mut pc, mut sum) = (start, 0u64);
        while pc < end {
            let Ok(insn) = Insn::decode(self.m.text, pc) else { break };
            let mut time = self.cost.insn(pc, &insn, Edge::Next);
            match insn.op {
                Op::Jump { .. } => time = time.max(self.cost.insn(pc, &insn, Edge::Taken)),
                Op::Goto { .. } => time = self.cost.insn(pc, &insn, Edge::Taken),
                Op::Call(Callee::Local(target)) => time = time.saturating_add(self.cost.frame(target)),
                Op::Call(Callee::Helper(_)) => time = time.saturating_add(self.site_time(pc)),
                _ => {}
            }
            sum = sum.saturating_add(time);
            pc += insn.slots();
        }
        sum
    }
}
