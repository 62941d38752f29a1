//! What each CPU has counted of its paths, for the others to read: a copy that the CPU makes where it passes a grace period.
//!
//! The counts themselves belong to their CPU alone, so that counting costs nothing. Who wants all of them begins a
//! [`crate::grace::Grace`] period and asks again when it is over: then every copy is younger than the question.

use core::sync::atomic::{AtomicU64, Ordering};

use hyp_abi::{CPUS_MAX, PathId, VMS_MAX};

use crate::cpu::PathStat;
use crate::grace::Epoch;

/// A question that nobody came back for is forgotten after this long: a second.
const FORGOTTEN_NS: u64 = 1_000_000_000;

/// Why a VM wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// PathRead.
    Read,
    /// PathReset.
    Reset,
    /// The first ProbeAttach: what paths take without probes.
    Attach,
}

const QUESTIONS: usize = 3;

/// Copies of all CPUs.
#[derive(Debug)]
pub struct Reports {
    cpus: [[Copied; PathId::COUNT]; CPUS_MAX],
    /// By VM and question: the period it waits for, 0 without one, and when it was asked.
    asked: [[[AtomicU64; 2]; QUESTIONS]; VMS_MAX],
    /// Times that all counts were cleared.
    resets: AtomicU64,
}

#[derive(Debug)]
struct Copied {
    count: AtomicU64,
    sum: AtomicU64,
    /// Least, and span << 32.
    extremes: AtomicU64,
}

impl Copied {
    const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            extremes: AtomicU64::new(u32::MAX as u64),
        }
    }
}

impl Reports {
    /// Nothing counted, nothing asked.
    pub const fn new() -> Self {
        Self {
            cpus: [const { [const { Copied::new() }; PathId::COUNT] }; CPUS_MAX],
            asked: [const { [const { [const { AtomicU64::new(0) }; 2] }; QUESTIONS] }; VMS_MAX],
            resets: AtomicU64::new(0),
        }
    }

    /// CPU `cpu` copies what it has counted.
    pub fn publish(&self, cpu: u32, paths: &[PathStat; PathId::COUNT]) {
        let Some(copies) = self.cpus.get(cpu as usize) else {
            return;
        };
        for (to, from) in copies.iter().zip(paths) {
            to.count.store(from.count, Ordering::Relaxed);
            to.sum.store(from.sum, Ordering::Relaxed);
            to.extremes
                .store(u64::from(from.span) << 32 | u64::from(from.min), Ordering::Relaxed);
        }
    }

    /// What CPU `cpu` had counted of `path` when it last passed.
    pub fn of(&self, cpu: usize, path: PathId) -> PathStat {
        let Some(copy) = self.cpus.get(cpu).and_then(|c| c.get(path as usize)) else {
            return PathStat::new();
        };
        let extremes = copy.extremes.load(Ordering::Relaxed);
        PathStat {
            count: copy.count.load(Ordering::Relaxed),
            sum: copy.sum.load(Ordering::Relaxed),
            min: extremes as u32,
            span: (extremes >> 32) as u32,
        }
    }

    /// The period that the question of `vm` waits for, if one is under way at `now_ns`.
    pub fn asked(&self, vm: u8, question: Question, now_ns: u64) -> Option<Epoch> {
        let [epoch, when] = self.asked.get(usize::from(vm))?.get(question as usize)?;
        let recent = now_ns.saturating_sub(when.load(Ordering::Relaxed)) < FORGOTTEN_NS;
        Epoch::from_number(epoch.load(Ordering::Relaxed)).filter(|_| recent)
    }

    /// `vm` waits for `epoch` from now on; `None`: it has its answer.
    pub fn ask(&self, vm: u8, question: Question, epoch: Option<Epoch>, now_ns: u64) {
        if let Some([asked, when]) = self.asked.get(usize::from(vm)).and_then(|q| q.get(question as usize)) {
            when.store(now_ns, Ordering::Relaxed);
            asked.store(epoch.map_or(0, Epoch::number), Ordering::Relaxed);
        }
    }

    /// All CPUs are to clear their counts when they pass.
    pub fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Release);
    }

    /// How often they were to.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_waits_for_its_period_and_is_forgotten() {
        let reports = Reports::new();
        let epoch = Epoch::from_number(3);
        reports.ask(1, Question::Read, epoch, 100);
        assert_eq!(reports.asked(1, Question::Read, 200), epoch);
        assert_eq!(reports.asked(1, Question::Reset, 200), None);
        assert_eq!(reports.asked(2, Question::Read, 200), None);
        assert_eq!(reports.asked(1, Question::Read, 100 + FORGOTTEN_NS), None);
        reports.ask(1, Question::Read, None, 200);
        assert_eq!(reports.asked(1, Question::Read, 200), None);
    }

    #[test]
    fn copies_add_up() {
        let reports = Reports::new();
        let mut paths = [PathStat::new(); PathId::COUNT];
        let wfi = PathId::Wfi as usize;
        for spent in [40, 60] {
            if paths[wfi].add(spent) {
                paths[wfi].extreme(spent);
            }
        }
        reports.publish(1, &paths);
        assert_eq!(reports.of(1, PathId::Wfi), paths[wfi]);
        assert_eq!(reports.of(0, PathId::Wfi), PathStat::new());
        let mut mine = PathStat::new();
        if mine.add(90) {
            mine.extreme(90);
        }
        let all = mine.with(reports.of(1, PathId::Wfi)).with(PathStat::new());
        assert_eq!((all.count, all.sum, all.min, all.max()), (3, 190, 40, 90));
        assert_eq!(PathStat::new().with(PathStat::new()), PathStat::new());
    }
}
