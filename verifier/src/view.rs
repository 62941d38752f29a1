//! Abstract states shown to tests and tools.

use crate::insn::REGS;
use crate::store::{State, Store};
use crate::value::Val;

/// A look at one abstract state, for tests and tools.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) store: &'a Store<'a>,
    pub(crate) state: &'a State,
    /// Slot of the instruction about to be executed.
    pub pc: u32,
    /// Most instructions executed before it in one run, on the paths this state stands for; relative to the entry of
    /// the innermost loop under summary.
    pub insns: u64,
}

impl View<'_> {
    /// What is known of r0 to r10 of the innermost frame.
    pub fn regs(&self) -> [Val; REGS] {
        self.store.all_regs(self.state)
    }

    /// Frames above the innermost one.
    pub fn depth(&self) -> u8 {
        self.state.depth
    }

    /// What is known of r6 to r9 of frame `n` of the callers.
    pub fn saved(&self, n: u8) -> [Val; 4] {
        let chunk = self.state.saved.get(usize::from(n)).copied().unwrap_or(0);
        self.store.slots(chunk).map(|s| s.val)
    }

    /// Stored values: frame, offset from its r10, bytes, and the value.
    pub fn spills(&self) -> impl Iterator<Item = (u8, i64, u8, Val)> {
        self.state.stack().iter().flat_map(|r| {
            let slots = self.store.slots(r.chunk).iter().enumerate();
            slots.filter(|(_, s)| s.spill > 0).map(|(i, s)| {
                let slot = i64::from(r.at) * crate::store::CHUNK as i64 + i as i64;
                (r.frame, -8 * (slot + 1), s.spill, s.val)
            })
        })
    }
}

/// Told of every abstract state. Passes over a loop that turn out not to count are taken back.
pub trait Observer {
    /// A state is about to be followed over one instruction.
    fn visit(&mut self, view: View<'_>);
    /// A pass begins that may be taken back; passes nest.
    fn begin(&mut self) {}
    /// The innermost pass under way is taken back.
    fn discard(&mut self) {}
    /// The innermost pass under way counts.
    fn commit(&mut self) {}
}

impl Observer for () {
    fn visit(&mut self, _view: View<'_>) {}
}
