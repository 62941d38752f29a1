//! The worst path, kept as a tree of what was executed.

/// What one piece of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The block of this number, executed `count` times.
    Block(u32),
    /// The path that ends at this node and began at the loop's head, `count` times.
    Loop(u32),
}

/// One piece of a path and what came before it. Node 0 is the empty path.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub(crate) piece: Piece,
    pub(crate) parent: u32,
    pub(crate) count: u64,
}

impl Node {
    /// Nothing.
    pub const BLANK: Node = Node {
        piece: Piece::Block(0),
        parent: 0,
        count: 0,
    };
}

use crate::engine::Verifier;

impl<C> Verifier<'_, '_, C> {
    pub(crate) fn trace_reset(&mut self) {}
    pub(crate) fn trace_block(&mut self, _block: u32) {}
    pub(crate) fn trace_loop(&mut self, _entry: u32, _round: u32, _times: u64, _out: u32) -> u32 {
        0
    }
    pub(crate) fn finish_trace(&mut self) {}
    pub(crate) fn witness_len(&self) -> usize {
        0
    }
}
