//! The verifier's cost model, by lowering each instruction without writing it.

use super::emit::Emit;
use super::links::Links;
use super::lower::Lower;
use super::plan::{INLINE, Plan};
use verifier::cost::{CallFacts, CoreModel, CostModel, Edge};
use verifier::env::MapDesc;
use verifier::insn::{Insn, Op};

/// States what the compiler's code costs on a core. A query lowers one instruction: bounded work, no memory.
#[derive(Clone, Copy, Debug)]
pub struct JitCost<'a> {
    plan: &'a Plan<'a>,
    links: &'a Links<'a>,
    core: &'a CoreModel,
}

impl<'a> JitCost<'a> {
    /// Costs of the code that `plan` and `links` lead to, on `core`. The plan must be complete.
    pub fn new(plan: &'a Plan<'a>, links: &'a Links<'a>, core: &'a CoreModel) -> Self {
        JitCost { plan, links, core }
    }

    fn metered(&self, pc: u32, what: impl FnOnce(&mut Lower<'a, '_>) -> bool) -> (u64, u64) {
        let mut lower = Lower::new(self.plan, self.links, Emit::meter(self.core));
        lower.func = self.plan.func(pc);
        lower.pc = pc;
        // What cannot be emitted must not be admitted: it costs more than any budget.
        if what(&mut lower) {
            (lower.emit.time, lower.iteration)
        } else {
            (u64::MAX, u64::MAX)
        }
    }

    fn frame_time(&self, entry: u32) -> u64 {
        let both = |l: &mut Lower<'a, '_>| {
            l.prologue();
            l.epilogue();
            true
        };
        self.metered(entry, both).0
    }

    fn epilogue_time(&self, pc: u32) -> u64 {
        let leave = |l: &mut Lower<'a, '_>| {
            l.epilogue();
            true
        };
        self.metered(pc, leave).0
    }
}

impl CostModel for JitCost<'_> {
    fn program(&self) -> u64 {
        let abort = |l: &mut Lower<'_, '_>| {
            l.abort();
            true
        };
        self.frame_time(0).saturating_add(self.metered(0, abort).0)
    }

    fn context(&self, words: u64) -> u64 {
        let provide = |l: &mut Lower<'_, '_>| {
            l.provide(words);
            true
        };
        self.metered(0, provide).0
    }

    fn frame(&self, entry: u32) -> u64 {
        self.frame_time(entry)
    }

    fn insn(&self, pc: u32, insn: &Insn, _edge: Edge) -> u64 {
        // Every word of a branch's code is executed whichever way it goes, so the edges cost the same.
        match insn.op {
            // The words of the exit are emitted here; the exit accounts for them.
            Op::Goto { target } if self.metered(pc, |l| l.ends_at_exit(target)).0 != u64::MAX => 0,
            // `program` and `frame` account for the epilogue.
            Op::Exit => {
                let whole = self.metered(pc, |l| l.slot(pc).is_ok()).0;
                whole.saturating_sub(self.epilogue_time(pc))
            }
            _ => self.metered(pc, |l| l.slot(pc).is_ok()).0,
        }
    }

    fn helper(&self, pc: u32, facts: &CallFacts, map: Option<&MapDesc>) -> u64 {
        if self.plan.flag(pc, INLINE) {
            return 0;
        }
        let rows = self.links.helper_times.iter().filter(|row| row.id == facts.helper);
        let mut worst = None;
        for row in rows {
            let fits = |m: &&MapDesc| row.map_kind == 0 || row.map_kind == m.kind.0;
            let time = match map {
                Some(m) if fits(&m) => Some(row.time(Some(m), facts.bytes_max)),
                Some(_) => None,
                None if row.map_kind == 0 => {
                    let largest = self.plan.maps.iter().map(|m| row.time(Some(m), facts.bytes_max)).max();
                    Some(largest.unwrap_or(0).max(row.time(None, facts.bytes_max)))
                }
                None => self
                    .plan
                    .maps
                    .iter()
                    .filter(fits)
                    .map(|m| row.time(Some(m), facts.bytes_max))
                    .max(),
            };
            worst = worst.max(time);
        }
        worst.unwrap_or(u64::MAX)
    }

    fn iteration(&self, pc: u32, _helper: u32) -> u64 {
        self.metered(pc, |l| l.slot(pc).is_ok()).1
    }
}
