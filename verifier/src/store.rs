//! Abstract states in pooled memory: four values a chunk, chunks shared between states and copied on write.

use crate::env::{FRAMES, STACK_BYTES};
use crate::insn::REGS;
use crate::scalar::Scalar;
use crate::value::{Kind, Region, Val};

/// Values per chunk.
pub(crate) const CHUNK: usize = 4;
/// Bytes of stack per chunk: eight a slot.
pub(crate) const CHUNK_BYTES: u32 = 8 * CHUNK as u32;
/// Stack chunks of one state: the whole stack.
pub(crate) const STACK_CHUNKS: usize = (STACK_BYTES / CHUNK_BYTES) as usize;
/// References a program may hold at once.
pub(crate) const REFS: usize = 4;
/// Loops summarised one inside another.
pub(crate) const GHOSTS: usize = 4;
/// Chunks that one instruction, join or fork can need at most: two whole states.
pub(crate) const CHUNK_RESERVE: u32 = 2 * (3 + FRAMES as u32 + STACK_CHUNKS as u32);
/// States that one instruction or hand-over can need at most.
pub(crate) const STATE_RESERVE: u32 = 8;
/// No state.
pub(crate) const NIL: u16 = u16::MAX;

/// A stack slot of eight bytes, or a register (which uses `val` only).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(crate) struct Slot {
    /// What the low `spill` bytes hold.
    pub val: Val,
    /// Bytes of `val` stored: 0 (none), 1, 2, 4 or 8.
    pub spill: u8,
    /// Bytes that were written, a bit each.
    pub init: u8,
    /// Bytes known to be zero, a bit each; a subset of `init`.
    pub zero: u8,
}

/// Four slots with a reference count.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    slots: [Slot; CHUNK],
    refs: u16,
    next: u16,
}

/// One stack chunk of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StackRef {
    pub frame: u8,
    /// Number from the top: 0 holds the bytes −32..−1 of the frame.
    pub at: u8,
    pub chunk: u16,
}

/// Iterations of a loop under summary, inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ghost {
    pub lo: u64,
    pub hi: u64,
}

/// Where states wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum List {
    /// At this block.
    Pending(u32),
    /// For the next iteration of the loop of this activation.
    Next(u16),
    /// Having left the loop of this activation.
    Exits(u16),
}

/// An abstract state: everything a program can observe, and what it cost to get here at most.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// r0–r3, r4–r5, r6–r9.
    pub(crate) regs: [u16; 3],
    /// r6–r9 of each caller.
    pub(crate) saved: [u16; FRAMES - 1],
    pub(crate) stack: [StackRef; STACK_CHUNKS],
    pub(crate) stack_len: u8,
    /// Frames above the current one.
    pub(crate) depth: u8,
    pub(crate) refs_len: u8,
    /// Acquired references: id and slot of the acquiring call.
    pub(crate) refs: [(u32, u32); REFS],
    pub(crate) ghosts: [Ghost; GHOSTS],
    /// Most instructions executed so far.
    pub(crate) insns: u64,
    /// Fewest instructions executed so far.
    pub(crate) insns_min: u64,
    /// Most time so far.
    pub(crate) time: u64,
    /// End of the path that took the most time.
    pub(crate) trace: u32,
    /// Where it goes when it waits in a loop's exit list.
    pub(crate) target: u32,
    /// The list it is on its way to.
    pub(crate) list: List,
    pub(crate) next: u16,
    /// It is parked, not free.
    pub(crate) parked: bool,
    /// Only a mispredicting CPU comes here: what it costs does not count.
    pub(crate) speculative: bool,
}

impl State {
    /// Nothing known, nothing allocated.
    pub const BLANK: State = State {
        regs: [0; 3],
        saved: [0; FRAMES - 1],
        stack: [StackRef {
            frame: 0,
            at: 0,
            chunk: 0,
        }; STACK_CHUNKS],
        stack_len: 0,
        depth: 0,
        refs_len: 0,
        refs: [(0, 0); REFS],
        ghosts: [Ghost { lo: 0, hi: 0 }; GHOSTS],
        insns: 0,
        insns_min: 0,
        time: 0,
        trace: 0,
        target: 0,
        list: List::Pending(0),
        next: NIL,
        parked: false,
        speculative: false,
    };

    /// The live stack chunks.
    pub(crate) fn stack(&self) -> &[StackRef] {
        self.stack.get(..usize::from(self.stack_len)).unwrap_or(&[])
    }

    /// The chunk of `frame` at `at`; 0, the blank one, where nothing was written.
    pub(crate) fn stack_chunk(&self, frame: u8, at: u8) -> u16 {
        let wanted = |s: &&StackRef| s.frame == frame && s.at == at;
        // Most programs write their stack from the top down, so a chunk is where its number says.
        let first = self.stack().get(usize::from(at)).filter(wanted);
        first
            .or_else(|| self.stack().iter().find(wanted))
            .map_or(0, |s| s.chunk)
    }

    pub(crate) fn references(&self) -> &[(u32, u32)] {
        self.refs.get(..usize::from(self.refs_len)).unwrap_or(&[])
    }
}

const BLANK_SLOT: Slot = Slot {
    val: Val::UNINIT,
    spill: 0,
    init: 0,
    zero: 0,
};

impl Chunk {
    /// No value.
    pub const BLANK: Chunk = Chunk {
        slots: [BLANK_SLOT; CHUNK],
        refs: 0,
        next: 0,
    };
}

/// Where register `r` lives: chunk of [`State::regs`] and place in it.
const fn place(r: u8) -> (usize, usize) {
    match r {
        0..=3 => (0, r as usize),
        4 | 5 => (1, r as usize - 4),
        6..=9 => (2, r as usize - 6),
        _ => (1, 3),
    }
}

/// The pools of chunks and states. Chunk 0 is blank and shared by all.
#[derive(Debug)]
pub(crate) struct Store<'m> {
    pub chunks: &'m mut [Chunk],
    pub states: &'m mut [State],
    chunk_free: u16,
    state_free: u16,
    pub chunks_left: u32,
    pub states_left: u32,
    /// A pool ran dry in spite of the reserve: nothing that follows can be trusted.
    pub poisoned: bool,
    /// Takes the writes of a poisoned store.
    spare: [Slot; CHUNK],
}

impl<'m> Store<'m> {
    pub fn new(chunks: &'m mut [Chunk], states: &'m mut [State]) -> Store<'m> {
        Store {
            chunks,
            states,
            chunk_free: 0,
            state_free: NIL,
            chunks_left: 0,
            states_left: 0,
            poisoned: false,
            spare: [BLANK_SLOT; CHUNK],
        }
    }

    /// Frees the chunks and states of these places. A store is of use when that was done with all places, in order.
    pub fn reset(&mut self, from: usize, to: usize) {
        let n = self.chunks.len().min(usize::from(NIL));
        for (i, c) in self.chunks.iter_mut().enumerate().take(n.min(to)).skip(from) {
            c.refs = 0;
            c.next = if i + 1 < n { i as u16 + 1 } else { 0 };
        }
        let m = self.states.len().min(usize::from(NIL));
        for (i, s) in self.states.iter_mut().enumerate().take(m.min(to)).skip(from) {
            s.parked = false;
            s.next = if i + 1 < m { i as u16 + 1 } else { NIL };
        }
        if from == 0 {
            if let Some(c) = self.chunks.first_mut() {
                *c = Chunk::BLANK;
            }
            self.chunk_free = if n > 1 { 1 } else { 0 };
            self.chunks_left = n.saturating_sub(1) as u32;
            self.state_free = if m > 0 { 0 } else { NIL };
            self.states_left = m as u32;
            self.poisoned = false;
        }
    }

    fn chunk(&self, id: u16) -> &Chunk {
        self.chunks.get(usize::from(id)).unwrap_or(&const { Chunk::BLANK })
    }

    /// The four slots of a chunk.
    pub fn slots(&self, id: u16) -> &[Slot; CHUNK] {
        &self.chunk(id).slots
    }

    fn retain(&mut self, id: u16) {
        if id != 0 {
            if let Some(c) = self.chunks.get_mut(usize::from(id)) {
                match c.refs.checked_add(1) {
                    Some(n) => c.refs = n,
                    None => self.poisoned = true,
                }
            }
        }
    }

    pub fn release(&mut self, id: u16) {
        if id == 0 {
            return;
        }
        if let Some(c) = self.chunks.get_mut(usize::from(id)) {
            c.refs = c.refs.saturating_sub(1);
            if c.refs == 0 {
                c.next = self.chunk_free;
                self.chunk_free = id;
                self.chunks_left += 1;
            }
        }
    }

    /// Makes `id` the only user of its chunk and gives the slots.
    pub fn unique(&mut self, id: &mut u16) -> &mut [Slot; CHUNK] {
        if *id == 0 || self.chunk(*id).refs > 1 {
            let slots = *self.slots(*id);
            let fresh = self.chunk_free;
            let next = self.chunk(fresh).next;
            if fresh == 0 {
                self.poisoned = true;
            } else {
                self.release(*id);
                self.chunk_free = next;
                self.chunks_left = self.chunks_left.saturating_sub(1);
                if let Some(c) = self.chunks.get_mut(usize::from(fresh)) {
                    *c = Chunk {
                        slots,
                        refs: 1,
                        next: 0,
                    };
                }
                *id = fresh;
            }
        }
        match self.chunks.get_mut(usize::from(*id)) {
            Some(c) if !self.poisoned => &mut c.slots,
            _ => &mut self.spare,
        }
    }

    /// Another reference to everything `s` holds.
    pub fn fork(&mut self, s: &State) -> State {
        for id in s.regs.iter().chain(&s.saved) {
            self.retain(*id);
        }
        for r in s.stack() {
            self.retain(r.chunk);
        }
        *s
    }

    /// Gives up everything `s` holds.
    pub fn drop_state(&mut self, s: &State) {
        for id in s.regs.iter().chain(&s.saved) {
            self.release(*id);
        }
        for r in s.stack() {
            self.release(r.chunk);
        }
    }

    /// Puts a state into the pool.
    pub fn park(&mut self, s: State) -> u16 {
        let at = self.state_free;
        match self.states.get_mut(usize::from(at)) {
            Some(cell) => {
                self.state_free = cell.next;
                self.states_left = self.states_left.saturating_sub(1);
                *cell = State {
                    next: NIL,
                    parked: true,
                    ..s
                };
                at
            }
            None => {
                self.poisoned = true;
                NIL
            }
        }
    }

    /// Takes a state out of the pool.
    pub fn unpark(&mut self, at: u16) -> State {
        match self.states.get_mut(usize::from(at)) {
            Some(cell) => {
                let s = *cell;
                cell.parked = false;
                cell.next = self.state_free;
                self.state_free = at;
                self.states_left += 1;
                s
            }
            None => State::BLANK,
        }
    }

    /// Drops a list of parked states.
    pub fn drop_list(&mut self, head: &mut u16) {
        while *head != NIL {
            let s = self.unpark(*head);
            self.drop_state(&s);
            *head = s.next;
        }
    }

    /// Register `r` (0 to 10) of the current frame.
    #[inline]
    pub fn reg(&self, s: &State, r: u8) -> Val {
        if r == 10 {
            return Val::frame(s.depth);
        }
        let (c, i) = place(r);
        self.slots(s.regs[c])[i].val
    }

    /// Sets register `r`, 0 to 9.
    #[inline]
    pub fn set_reg(&mut self, s: &mut State, r: u8, v: Val) {
        let (c, i) = place(r);
        self.unique(&mut s.regs[c])[i].val = v;
    }

    /// The chunk that register `r` is in.
    pub fn chunk_of(&self, s: &State, r: u8) -> u16 {
        s.regs[place(r).0]
    }

    /// All registers, for reports.
    pub fn all_regs(&self, s: &State) -> [Val; REGS] {
        core::array::from_fn(|r| self.reg(s, r as u8))
    }

    /// The slots of a stack chunk for writing; allocates the chunk. `None`: the stack is used up.
    pub fn stack_mut(&mut self, s: &mut State, frame: u8, at: u8) -> Option<&mut [Slot; CHUNK]> {
        let found = s.stack().iter().position(|r| r.frame == frame && r.at == at);
        let i = match found {
            Some(i) => i,
            None => {
                let i = usize::from(s.stack_len);
                *s.stack.get_mut(i)? = StackRef { frame, at, chunk: 0 };
                s.stack_len += 1;
                i
            }
        };
        let cell = s.stack.get_mut(i)?;
        Some(self.unique(&mut cell.chunk))
    }

    /// Frees the stack of `frame` and of deeper frames.
    pub fn pop_stack(&mut self, s: &mut State, frame: u8) {
        let mut keep = 0;
        let old = s.stack;
        for r in old.into_iter().take(usize::from(s.stack_len)) {
            if r.frame >= frame {
                self.release(r.chunk);
            } else if let Some(cell) = s.stack.get_mut(keep) {
                *cell = r;
                keep += 1;
            }
        }
        s.stack_len = keep as u8;
    }

    /// Applies `f` to every value the state holds that `wanted` picks; only chunks with such values are copied.
    pub fn update(&mut self, s: &mut State, wanted: impl Fn(&Val) -> bool, mut f: impl FnMut(&mut Slot)) {
        for i in 0..s.regs.len() {
            self.update_chunk(&mut s.regs[i], &wanted, &mut f);
        }
        for chunk in s.saved.iter_mut().take(usize::from(s.depth)) {
            self.update_chunk(chunk, &wanted, &mut f);
        }
        for r in s.stack.iter_mut().take(usize::from(s.stack_len)) {
            self.update_chunk(&mut r.chunk, &wanted, &mut f);
        }
    }

    fn update_chunk(&mut self, id: &mut u16, wanted: &impl Fn(&Val) -> bool, f: &mut impl FnMut(&mut Slot)) {
        if *id == 0 || !self.slots(*id).iter().any(|s| wanted(&s.val)) {
            return;
        }
        for slot in self.unique(id).iter_mut().filter(|s| wanted(&s.val)) {
            f(slot);
        }
    }
}

impl Val {
    /// Not readable.
    pub const UNINIT: Val = Val {
        kind: Kind::Uninit,
        id: 0,
        extra: 0,
        reference: 0,
        delta: 0,
        num: Scalar::UNKNOWN,
    };

    /// A number.
    pub const fn scalar(num: Scalar) -> Val {
        Val {
            kind: Kind::Scalar,
            num,
            ..Val::UNINIT
        }
    }

    /// Any number.
    pub const UNKNOWN: Val = Val::scalar(Scalar::UNKNOWN);

    /// r10 of frame `depth`.
    pub const fn frame(depth: u8) -> Val {
        Val::pointer(Region::Stack(depth))
    }

    /// A pointer to the start of a region.
    pub const fn pointer(region: Region) -> Val {
        Val {
            kind: Kind::Pointer {
                region,
                nullable: false,
            },
            num: Scalar::constant(0),
            ..Val::UNINIT
        }
    }

    /// Whether it is a number.
    #[inline(always)]
    pub const fn is_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar)
    }

    /// Its region, if it is a pointer.
    #[inline(always)]
    pub const fn region(&self) -> Option<Region> {
        match self.kind {
            Kind::Pointer { region, .. } => Some(region),
            _ => None,
        }
    }

    /// Whether it may be null.
    pub const fn nullable(&self) -> bool {
        matches!(self.kind, Kind::Pointer { nullable: true, .. })
    }
}
