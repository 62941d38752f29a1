//! What is known of an accepted program. Only the verifier's final step makes a [`Verified`].

use crate::cost::CallFacts;
use crate::env::MapDesc;

/// One subprogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subprogram {
    /// Slot of its first instruction.
    pub entry: u32,
    /// Slot after its last.
    pub end: u32,
    /// Stack bytes its own frame uses: the lowest accessed offset from r10, rounded up to 8.
    pub stack_bytes: u32,
    /// Stack bytes of it and of the deepest chain of calls below it, each frame rounded up to
    /// [`crate::env::STACK_ROUND`].
    pub chain_bytes: u32,
    /// Frames of that chain, itself included.
    pub chain_frames: u32,
    /// It is called by a helper, not by a call instruction.
    pub callback: bool,
}

/// What repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopKind {
    /// A cycle in the control flow graph.
    #[default]
    Branch,
    /// A callback run by the helper call at the head.
    Callback,
}

/// The bound of one loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopBound {
    /// Slot of its head (for callbacks: of the helper call).
    pub head: u32,
    /// What repeats.
    pub kind: LoopKind,
    /// Most times the head is executed for one entry from outside (callbacks: most calls of the callback).
    pub iterations: u64,
    /// The bound was derived from a counter, not by following each iteration.
    pub derived: bool,
}

/// One step of the worst path: a straight run of instructions and how often it is executed on that path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WitnessRun {
    /// Slot of the first instruction.
    pub start: u32,
    /// Slot after the last.
    pub end: u32,
    /// Executions on the worst path.
    pub count: u64,
    /// Time of all these executions, in the cost model's unit, helpers included.
    pub time: u64,
}

/// An accepted program. Its fields are private to this crate: a `Verified` is proof that the text it holds, with these
/// maps and in the environment given, is memory-safe and ends within its bounds.
#[derive(Debug)]
pub struct Verified<'v> {
    pub(crate) text: &'v [u64],
    pub(crate) maps: &'v [MapDesc],
    pub(crate) subprograms: &'v [Subprogram],
    pub(crate) loops: &'v [LoopBound],
    pub(crate) witness: &'v [WitnessRun],
    pub(crate) slots: &'v [crate::memory::SlotInfo],
    pub(crate) sites: &'v [crate::memory::Site],
    pub(crate) totals: Totals,
}

/// Figures of a whole program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Most eBPF instructions one run executes, those of called subprograms and callbacks included; a 64-bit immediate
    /// load counts as one.
    pub insn_bound: u64,
    /// Most time one run takes, in the cost model's unit.
    pub time_bound: u64,
    /// Bit n: some run may read of the 64-bit word n of the context (bit 63: of any word from 63 on).
    pub context_words: u64,
    /// Stack bytes of the deepest chain of frames, each rounded up to [`crate::env::STACK_ROUND`].
    pub stack_bytes: u32,
    /// Most frames alive at once.
    pub frames: u32,
    /// Abstract instruction visits it took.
    pub visits: u64,
    /// Units of work it took, see [`crate::Verifier::step`].
    pub units: u64,
}

impl<'v> Verified<'v> {
    /// The instruction slots.
    pub fn text(&self) -> &'v [u64] {
        self.text
    }

    /// The maps, as given.
    pub fn maps(&self) -> &'v [MapDesc] {
        self.maps
    }

    /// Bounds, stack, effort.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Most eBPF instructions one run executes.
    pub fn insn_bound(&self) -> u64 {
        self.totals.insn_bound
    }

    /// Most time one run takes, in the cost model's unit.
    pub fn time_bound(&self) -> u64 {
        self.totals.time_bound
    }

    /// Subprograms sorted by entry; the first is the program itself.
    pub fn subprograms(&self) -> &'v [Subprogram] {
        self.subprograms
    }

    /// Loops sorted by head.
    pub fn loops(&self) -> &'v [LoopBound] {
        self.loops
    }

    /// The worst path by time, as straight runs with counts, sorted by slot. Its counts weighted with the cost model
    /// sum up to the time bound unless a loop's worst iterations cannot all happen in one run.
    pub fn witness(&self) -> &'v [WitnessRun] {
        self.witness
    }

    /// Whether the slot holds an instruction some run might execute.
    pub fn reachable(&self, pc: u32) -> bool {
        self.slots.get(pc as usize).is_some_and(|s| s.visited())
    }

    /// What is proven of the helper call at `pc`; `None` where there is none or it is never reached.
    pub fn call_facts(&self, pc: u32) -> Option<CallFacts> {
        let at = self.sites.binary_search_by_key(&pc, |s| s.pc).ok()?;
        self.sites.get(at).and_then(|s| s.facts)
    }
}
