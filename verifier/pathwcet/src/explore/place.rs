//! Where control is: calls, loops with their iterations, block.

use super::graphs::Graph;
use crate::elf::Image;
use std::rc::Rc;

/// One call.
pub(super) struct Frame {
    pub function: u64,
    pub graph: Rc<Graph>,
    /// Where it was called, and the return address; `None` in the outermost frame.
    pub caller: Option<(Rc<Place>, u64)>,
    /// The call that a procedure followed on its own was first met at.
    pub above: Option<Rc<Place>>,
    /// Tail-called: returns together with its caller.
    pub tail: bool,
    pub depth: usize,
}

/// One block of one iteration of one call.
pub(super) struct Place {
    pub frame: Rc<Frame>,
    pub block: usize,
    /// Iteration of each loop the block is in.
    pub iterations: Vec<u32>,
    /// Highest iteration number of any loop around, callers' ones too.
    pub turn: u32,
    /// Position: places are visited in its lexical order.
    pub key: Rc<[u32]>,
}

impl Place {
    pub fn new(frame: Rc<Frame>, block: usize, iterations: Vec<u32>) -> Place {
        let outer: &[u32] = frame.caller.as_ref().map_or(&[], |(place, _)| &place.key);
        let loops = &frame.graph.cfg.blocks[block].loops;
        let around = frame.caller.as_ref().map_or(0, |(place, _)| place.turn);
        let turn = iterations.iter().copied().fold(around, u32::max);
        let mut key = Vec::with_capacity(outer.len() + 2 * loops.len() + 2);
        key.extend_from_slice(outer);
        // One block may leave for several functions: their places are not the same.
        key.push((frame.function >> 2) as u32);
        for (header, iteration) in loops.iter().zip(&iterations) {
            key.extend([*header as u32, *iteration]);
        }
        key.push(block as u32);
        Place {
            frame,
            block,
            iterations,
            turn,
            key: key.into(),
        }
    }

    /// Registers that can still matter here.
    pub fn live(&self) -> u64 {
        self.frame
            .graph
            .live
            .get(self.block)
            .copied()
            .unwrap_or(crate::live::ALL)
    }

    /// The calls that led here, for people.
    pub fn chain(&self, image: &Image) -> String {
        let mut names = Vec::new();
        let mut frame = Some(&self.frame);
        while let Some(f) = frame {
            names.push(image.place(f.function));
            let caller = f.caller.as_ref().map(|(place, _)| place).or(f.above.as_ref());
            frame = caller.map(|place| &place.frame);
        }
        names.reverse();
        names.join(" → ")
    }
}
