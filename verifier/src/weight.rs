//! How much a piece of work counts as: steps are made of units that take about as long.

use crate::act::Scope;
use crate::cost::CostModel;
use crate::engine::{Stage, Verifier};
use crate::loops::Mode;
use crate::store::{NIL, State};

/// What joins states, or goes through all their values, counts as this many units.
pub(crate) const HEAVY: u32 = 4;
/// What a jump, call or exit counts as besides.
const JUMP: u32 = 2;
/// Stack chunks that a unit goes through.
const STACK_CHUNKS_A_UNIT: u32 = 4;

impl<C: CostModel> Verifier<'_, '_, C> {
    /// What the next piece of work counts as, as far as can be seen before it: what goes through the stack of a state
    /// counts as more the more of it there is.
    pub(crate) fn expected_weight(&self) -> u32 {
        if !matches!(self.stage, Stage::Follow) {
            return 1;
        }
        let whole = |s: &State| 1 + u32::from(s.stack_len) / STACK_CHUNKS_A_UNIT;
        if self.joining.is_some() {
            return HEAVY;
        }
        if self.inbox.head != NIL {
            return self.store.states.get(usize::from(self.inbox.head)).map_or(1, whole);
        }
        if let Some(s) = &self.cur {
            let code = self.m.text.get(self.pc as usize).map_or(0, |slot| *slot as u8);
            // Jumps, calls and exits (RFC 9669 section 4.3): states fork, are narrowed, change frames.
            return if matches!(code & 7, 5 | 6) { JUMP + whole(s) } else { 1 };
        }
        let act = self.act(self.top());
        let passed = act.batch == NIL && act.cursor >= act.end;
        if act.mode == Mode::Enter || passed && act.scope != Scope::Function {
            HEAVY
        } else {
            1
        }
    }
}
