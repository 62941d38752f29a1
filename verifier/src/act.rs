//! Activations: the program, called subprograms, loops and callbacks under way, and how hard they are tried.

use crate::loops::Mode;
use crate::store::NIL;
use crate::tags::{Tag, Test};
use crate::value::Val;

/// What an activation covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    Function,
    Loop,
    Callback,
}

/// One activation.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) base: u32,
    pub(crate) end: u32,
    pub(crate) cursor: u32,
    pub(crate) comp: u16,
    pub(crate) head: u32,
    pub(crate) block: u32,
    pub(crate) depth: u8,
    pub(crate) call_pc: u32,
    pub(crate) batch: u16,
    pub(crate) next: u16,
    pub(crate) entry: u16,
    pub(crate) exits: u16,
    pub(crate) previous: u16,
    pub(crate) hypothesis: u16,
    /// What came back is being gathered: from this state of `next` on, into `wider`.
    pub(crate) gathering: bool,
    pub(crate) gathered: u16,
    pub(crate) wider: u16,
    /// All states that entered the loop, joined.
    pub(crate) entered: u16,
    /// A state that came back, in terms of the next iteration; and whether the hypothesis is known not to cover it.
    pub(crate) moved: u16,
    pub(crate) outside: bool,
    /// Places of a state gone through, where that takes several units.
    pub(crate) places: u16,
    /// Most instructions, most time and fewest instructions of a way round, and the dearest path.
    pub(crate) round_cost: (u64, u64, u64, u32),
    pub(crate) ghost: u8,
    pub(crate) round: u8,
    pub(crate) varies: bool,
    pub(crate) trips: u64,
    pub(crate) iterations: u64,
    pub(crate) visits_before: u64,
    pub(crate) insns: u64,
    pub(crate) insns_min: u64,
    pub(crate) time: u64,
    pub(crate) trace: u32,
    pub(crate) count: (u64, u64),
    pub(crate) index: u8,
}

impl Act {
    /// No activation.
    pub const BLANK: Act = Act {
        scope: Scope::Function,
        mode: Mode::Follow,
        base: 0,
        end: 0,
        cursor: 0,
        comp: 0,
        head: 0,
        block: 0,
        depth: 0,
        call_pc: 0,
        batch: NIL,
        next: NIL,
        entry: NIL,
        exits: NIL,
        previous: NIL,
        hypothesis: NIL,
        gathering: false,
        gathered: NIL,
        wider: NIL,
        entered: NIL,
        moved: NIL,
        outside: false,
        places: 0,
        round_cost: (0, 0, 0, 0),
        ghost: 0,
        round: 0,
        varies: false,
        trips: 0,
        iterations: 0,
        visits_before: 0,
        insns: 0,
        insns_min: 0,
        time: 0,
        trace: 0,
        count: (0, 0),
        index: 0,
    };

    pub(crate) fn covers(&self, order: u32) -> bool {
        self.base <= order && order < self.end
    }
}

/// What belongs to an activation and is looked at rarely, apart so that activations are cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Ties {
    pub(crate) tags: [Tag; crate::tags::TAGS],
    pub(crate) tags_len: u8,
    pub(crate) tests: [Test; crate::tags::TESTS],
    pub(crate) tests_len: u8,
    /// Arguments of a callback.
    pub(crate) values: [Val; 5],
}

impl Ties {
    /// None.
    pub const BLANK: Ties = Ties {
        tags: [Tag::BLANK; crate::tags::TAGS],
        tags_len: 0,
        tests: [Test::BLANK; crate::tags::TESTS],
        tests_len: 0,
        values: [Val::UNINIT; 5],
    };

    /// The unknowns tied to the counter.
    pub(crate) fn tags(&self) -> &[Tag] {
        self.tags.get(..usize::from(self.tags_len)).unwrap_or(&[])
    }

    /// The exit tests seen.
    pub(crate) fn tests(&self) -> &[Test] {
        self.tests.get(..usize::from(self.tests_len)).unwrap_or(&[])
    }
}

/// How hard an attempt tries: states kept apart at one place, and the most visits a loop may cost to be followed one
/// iteration at a time although a summary of it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub states: u32,
    pub follow_visits: u64,
}

/// First attempt: joins early and prefers summaries. Second, if the first refuses: keeps paths apart, follows loops.
pub(crate) const EFFORTS: [Effort; 2] = [
    Effort {
        states: 6,
        follow_visits: 20_000,
    },
    Effort {
        states: 48,
        follow_visits: 400_000,
    },
];
