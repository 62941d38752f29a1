//! All memory the verifier works in, given by the caller.

pub use crate::act::{Act, Ties};
pub use crate::graph::{Block, Component};
pub use crate::store::{Chunk, State};
pub use crate::trace::Node;

use crate::cost::CallFacts;
use crate::env::{Lookup, MapDesc, MapKind};
use crate::verified::{LoopBound, LoopKind, Subprogram, WitnessRun};

/// What is known of one instruction slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotInfo {
    pub(crate) flags: u8,
    /// Region kind the memory access here goes to, once seen.
    pub(crate) access: u8,
    pub(crate) block: u32,
    /// How the addition here has to be contained against speculation, see `speculation.rs`; 0: not seen yet.
    pub(crate) contained: u32,
}

impl SlotInfo {
    pub(crate) const VISITED: u8 = 1;
    pub(crate) const START: u8 = 2;
    pub(crate) const LEADER: u8 = 4;
    pub(crate) const ENTRY: u8 = 8;
    pub(crate) const CALLBACK: u8 = 16;

    /// Some abstract state reached the instruction.
    pub fn visited(&self) -> bool {
        self.flags & Self::VISITED != 0
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// One helper call site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Slot of the call.
    pub pc: u32,
    /// What is proven of it.
    pub facts: Option<CallFacts>,
}

/// Everything the verifier writes to. Lengths are the limits: a program that needs more of a pool is refused, naming it.
#[derive(Debug)]
pub struct Memory<'m> {
    pub(crate) text: &'m mut [u64],
    pub(crate) maps: &'m mut [MapDesc],
    pub(crate) slots: &'m mut [SlotInfo],
    pub(crate) blocks: &'m mut [Block],
    pub(crate) by_order: &'m mut [u32],
    pub(crate) stack: &'m mut [u32],
    pub(crate) sites: &'m mut [Site],
    pub(crate) subprograms: &'m mut [Subprogram],
    pub(crate) components: &'m mut [Component],
    pub(crate) loops: &'m mut [LoopBound],
    pub(crate) nodes: &'m mut [Node],
    pub(crate) witness: &'m mut [WitnessRun],
    pub(crate) counts: &'m mut [u64],
    pub(crate) acts: &'m mut [Act],
    pub(crate) ties: &'m mut [Ties],
    pub(crate) chunks: &'m mut [Chunk],
    pub(crate) states: &'m mut [State],
}

/// Most maps of a program.
pub const MAPS: usize = 64;
/// Most helper call sites of a program.
pub const SITES: usize = 512;
/// Most subprograms.
pub const SUBPROGRAMS: usize = 128;
/// Most loops.
pub const LOOPS: usize = 256;
/// Subprograms, loops and callbacks entered one inside another.
pub const ACTS: usize = 32;
/// Abstract states waiting at once.
pub const STATES: usize = 384;
/// Quadruples of abstract values; a state shares what it has in common with others.
pub const CHUNKS: usize = 768;

const NO_MAP: MapDesc = MapDesc {
    kind: MapKind(0),
    key_bytes: 0,
    value_bytes: 0,
    entries: 0,
    readable: false,
    writable: false,
    direct_value: false,
    lookup: Lookup::Refused,
};
const NO_SUB: Subprogram = Subprogram {
    entry: 0,
    end: 0,
    stack_bytes: 0,
    chain_bytes: 0,
    chain_frames: 0,
    callback: false,
};
const NO_LOOP: LoopBound = LoopBound {
    head: 0,
    kind: LoopKind::Branch,
    iterations: 0,
    derived: false,
};

/// Memory as one constant-sized object, for a static: programs of up to `INSNS` slots. `TRACE` is the room for the worst
/// path, `INSNS` if it is wanted, 0 if not; without it no step has to tidy that room up.
#[derive(Debug)]
pub struct Pool<const INSNS: usize, const TRACE: usize = INSNS> {
    text: [u64; INSNS],
    maps: [MapDesc; MAPS],
    slots: [SlotInfo; INSNS],
    blocks: [Block; INSNS],
    by_order: [u32; INSNS],
    stack: [[u32; INSNS]; 2],
    sites: [Site; SITES],
    subprograms: [Subprogram; SUBPROGRAMS],
    components: [Component; LOOPS],
    loops: [LoopBound; LOOPS],
    nodes: [Node; TRACE],
    witness: [WitnessRun; TRACE],
    counts: [u64; TRACE],
    acts: [Act; ACTS],
    ties: [Ties; ACTS],
    chunks: [Chunk; CHUNKS],
    states: [State; STATES],
}

impl<const INSNS: usize, const TRACE: usize> Pool<INSNS, TRACE> {
    /// Blank memory.
    pub const fn new() -> Self {
        Pool {
            text: [0; INSNS],
            maps: [NO_MAP; MAPS],
            slots: [SlotInfo {
                flags: 0,
                access: 0,
                block: 0,
                contained: 0,
            }; INSNS],
            blocks: [Block::BLANK; INSNS],
            by_order: [0; INSNS],
            stack: [[0; INSNS]; 2],
            sites: [Site { pc: 0, facts: None }; SITES],
            subprograms: [NO_SUB; SUBPROGRAMS],
            components: [Component::BLANK; LOOPS],
            loops: [NO_LOOP; LOOPS],
            nodes: [Node::BLANK; TRACE],
            witness: [WitnessRun {
                start: 0,
                end: 0,
                count: 0,
                time: 0,
            }; TRACE],
            counts: [0; TRACE],
            acts: [Act::BLANK; ACTS],
            ties: [Ties::BLANK; ACTS],
            chunks: [Chunk::BLANK; CHUNKS],
            states: [State::BLANK; STATES],
        }
    }

    /// The memory to start a verifier with.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory {
            text: &mut self.text,
            maps: &mut self.maps,
            slots: &mut self.slots,
            blocks: &mut self.blocks,
            by_order: &mut self.by_order,
            stack: self.stack.as_flattened_mut(),
            sites: &mut self.sites,
            subprograms: &mut self.subprograms,
            components: &mut self.components,
            loops: &mut self.loops,
            nodes: &mut self.nodes,
            witness: &mut self.witness,
            counts: &mut self.counts,
            acts: &mut self.acts,
            ties: &mut self.ties,
            chunks: &mut self.chunks,
            states: &mut self.states,
        }
    }
}

impl<const INSNS: usize, const TRACE: usize> Default for Pool<INSNS, TRACE> {
    fn default() -> Self {
        Self::new()
    }
}

/// A macro instead of a constructor: the host keeps the vectors, the verifier borrows them; this crate has no heap.
/// `verifier::heap_memory!(let memory = slots)` declares the vectors and the [`Memory`] for a program of `slots` slots.
#[macro_export]
macro_rules! heap_memory {
    (let $memory:ident = $slots:expr) => {
        let (slots, small) = (($slots as usize).max(1), 64 + ($slots as usize) / 4);
        let mut text = vec![0u64; slots];
        let mut maps = vec![$crate::memory::blank_map(); $crate::memory::MAPS];
        let mut infos = vec![$crate::memory::SlotInfo::default(); slots];
        let mut blocks = vec![$crate::memory::Block::BLANK; slots];
        let mut by_order = vec![0u32; slots];
        let mut stack = vec![0u32; 2 * slots];
        let mut sites = vec![$crate::memory::Site::default(); small];
        let mut subprograms = vec![$crate::verified::Subprogram::default(); small];
        let mut components = vec![$crate::memory::Component::BLANK; small];
        let mut loops = vec![$crate::verified::LoopBound::default(); small];
        let mut nodes = vec![$crate::memory::Node::BLANK; slots + 1024];
        let mut witness = vec![$crate::verified::WitnessRun::default(); slots];
        let mut counts = vec![0u64; slots];
        let mut acts = vec![$crate::memory::Act::BLANK; $crate::memory::ACTS];
        let mut ties = vec![$crate::memory::Ties::BLANK; $crate::memory::ACTS];
        let mut chunks = vec![$crate::memory::Chunk::BLANK; $crate::memory::CHUNKS];
        let mut states = vec![$crate::memory::State::BLANK; $crate::memory::STATES];
        let $memory = $crate::memory::Memory::from_slices(
            (&mut text, &mut maps, &mut infos, &mut blocks, &mut by_order, &mut stack),
            (&mut sites, &mut subprograms, &mut components, &mut loops),
            (
                &mut nodes,
                &mut witness,
                &mut counts,
                &mut acts,
                &mut ties,
                &mut chunks,
                &mut states,
            ),
        );
    };
}

/// A map no program can use.
pub const fn blank_map() -> MapDesc {
    NO_MAP
}

type Shape<'m> = (
    &'m mut [u64],
    &'m mut [MapDesc],
    &'m mut [SlotInfo],
    &'m mut [Block],
    &'m mut [u32],
    &'m mut [u32],
);
type Tables<'m> = (
    &'m mut [Site],
    &'m mut [Subprogram],
    &'m mut [Component],
    &'m mut [LoopBound],
);
type Work<'m> = (
    &'m mut [Node],
    &'m mut [WitnessRun],
    &'m mut [u64],
    &'m mut [Act],
    &'m mut [Ties],
    &'m mut [Chunk],
    &'m mut [State],
);

impl<'m> Memory<'m> {
    /// Memory from separate slices: text, maps, slots, blocks, order, stack (twice the slots); sites, subprograms,
    /// components, loops; trace nodes, witness, counts, activations and their ties, chunks, states.
    pub fn from_slices(shape: Shape<'m>, tables: Tables<'m>, work: Work<'m>) -> Memory<'m> {
        let (text, maps, slots, blocks, by_order, stack) = shape;
        let (sites, subprograms, components, loops) = tables;
        let (nodes, witness, counts, acts, ties, chunks, states) = work;
        Memory {
            text,
            maps,
            slots,
            blocks,
            by_order,
            stack,
            sites,
            subprograms,
            components,
            loops,
            nodes,
            witness,
            counts,
            acts,
            ties,
            chunks,
            states,
        }
    }

    /// Bytes of all pools together.
    pub fn bytes(&self) -> usize {
        size_of_val(self.text)
            + size_of_val(self.maps)
            + size_of_val(self.slots)
            + size_of_val(self.blocks)
            + size_of_val(self.by_order)
            + size_of_val(self.stack)
            + size_of_val(self.sites)
            + size_of_val(self.subprograms)
            + size_of_val(self.components)
            + size_of_val(self.loops)
            + size_of_val(self.nodes)
            + size_of_val(self.witness)
            + size_of_val(self.counts)
            + size_of_val(self.acts)
            + size_of_val(self.ties)
            + size_of_val(self.chunks)
            + size_of_val(self.states)
    }
}

/// A whole verification of 4,096 slots works in 1 MiB.
const _: () = assert!(size_of::<Pool<4096>>() <= 1 << 20);
