//! All memory the verifier works in, given by the caller.

use crate::cost::CallFacts;
use crate::env::{Lookup, MapDesc, MapKind};
use crate::verified::{LoopBound, Subprogram, WitnessRun};

/// What is known of one instruction slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotInfo {
    flags: u8,
}

impl SlotInfo {
    const VISITED: u8 = 1;

    /// Some abstract state reached the instruction.
    pub fn visited(&self) -> bool {
        self.flags & Self::VISITED != 0
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

/// Everything the verifier writes to.
#[derive(Debug)]
pub struct Memory<'m> {
    pub(crate) text: &'m mut [u64],
    pub(crate) maps: &'m mut [MapDesc],
    pub(crate) slots: &'m mut [SlotInfo],
    pub(crate) sites: &'m mut [Site],
    pub(crate) subprograms: &'m mut [Subprogram],
    pub(crate) loops: &'m mut [LoopBound],
    pub(crate) witness: &'m mut [WitnessRun],
}

/// Memory as one constant-sized object, for a static: programs of up to `INSNS` slots.
#[derive(Debug)]
pub struct Pool<const INSNS: usize> {
    text: [u64; INSNS],
    maps: [MapDesc; MAPS],
    slots: [SlotInfo; INSNS],
    sites: [Site; SITES],
    subprograms: [Subprogram; SUBPROGRAMS],
    loops: [LoopBound; LOOPS],
    witness: [WitnessRun; INSNS],
}

/// Most maps of a program.
pub const MAPS: usize = 64;
/// Most helper call sites of a program.
pub const SITES: usize = 1024;
/// Most subprograms.
pub const SUBPROGRAMS: usize = 128;
/// Most loops.
pub const LOOPS: usize = 256;

impl<const INSNS: usize> Pool<INSNS> {
    /// Blank memory.
    pub const fn new() -> Self {
        const MAP: MapDesc = MapDesc {
            kind: MapKind(0),
            key_bytes: 0,
            value_bytes: 0,
            entries: 0,
            readable: false,
            writable: false,
            direct_value: false,
            lookup: Lookup::Refused,
        };
        const SUB: Subprogram = Subprogram {
            entry: 0,
            end: 0,
            stack_bytes: 0,
            chain_bytes: 0,
            chain_frames: 0,
            callback: false,
        };
        const LOOP: LoopBound = LoopBound {
            head: 0,
            kind: crate::verified::LoopKind::Branch,
            iterations: 0,
            derived: false,
        };
        Pool {
            text: [0; INSNS],
            maps: [MAP; MAPS],
            slots: [SlotInfo { flags: 0 }; INSNS],
            sites: [Site { pc: 0, facts: None }; SITES],
            subprograms: [SUB; SUBPROGRAMS],
            loops: [LOOP; LOOPS],
            witness: [WitnessRun {
                start: 0,
                end: 0,
                count: 0,
                time: 0,
            }; INSNS],
        }
    }

    /// The memory to start a verifier with.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory {
            text: &mut self.text,
            maps: &mut self.maps,
            slots: &mut self.slots,
            sites: &mut self.sites,
            subprograms: &mut self.subprograms,
            loops: &mut self.loops,
            witness: &mut self.witness,
        }
    }
}

impl<const INSNS: usize> Default for Pool<INSNS> {
    fn default() -> Self {
        Self::new()
    }
}
