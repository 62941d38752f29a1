//! When no CPU can be inside code that was taken out of its path any more.
//!
//! EL2 is not interrupted, so a CPU that begins a stay has left whatever probe an earlier stay ran. Who takes code out of the paths of all
//! CPUs patches them, begins a [`Grace::period`], and asks later whether it is [`Grace::over`]: whether every other CPU has passed since. A
//! CPU passes where it answers another's interrupt, and where it serves a hypercall on probes, so nothing is added to any other stay. Nobody
//! waits: what asks too early is told to ask again, and the CPUs that have not passed are interrupted.
//!
//! A CPU that passes has synchronised its context first: what it fetches from then on is what was patched before the period.

use core::sync::atomic::{AtomicU64, Ordering};

use hyp_abi::CPUS_MAX;
use probe_vm::maps::Word;

/// A point in time: numbers of periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// Before any change.
    pub const ZERO: Self = Self(0);

    /// Its number: at least 1 for a period that was begun.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The period of this number; 0 is none.
    pub fn from_number(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }
}

/// Periods, and how far each CPU has come.
#[derive(Debug)]
pub struct Grace<W = AtomicU64> {
    /// Periods begun. Written by the one CPU that changes probes.
    begun: W,
    /// The period that each CPU has passed last.
    passed: [W; CPUS_MAX],
    /// CPUs that run, as bits.
    running: W,
}

impl Grace {
    /// One CPU runs.
    pub const fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            passed: [const { AtomicU64::new(0) }; CPUS_MAX],
            running: AtomicU64::new(1),
        }
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Word> Grace<W> {
    /// At boot: CPUs 0 to `cpus` − 1 run.
    pub fn start(&self, cpus: u32) {
        let all = (1_u64 << cpus.min(CPUS_MAX as u32)) - 1;
        self.running.store(all, Ordering::Relaxed);
    }

    /// The period that the changes made from now on must outlast; [`Grace::period`] begins it.
    ///
    /// This and what follows is asked by one CPU at a time, which serves a hypercall on probes.
    pub fn next(&self) -> Epoch {
        Epoch(self.begun.load(Ordering::Relaxed).wrapping_add(1))
    }

    /// The period begun last. Its changes are in memory; a CPU that passes it synchronises its context after asking for it.
    pub fn last(&self) -> Epoch {
        Epoch(self.begun.load(Ordering::Acquire))
    }

    /// All is patched.
    pub fn period(&self) {
        self.begun.store(self.next().0, Ordering::Release);
    }

    /// CPU `cpu` is in no probe, and what it executes from now on it has fetched since `epoch`, which was the last one.
    pub fn pass(&self, cpu: u32, epoch: Epoch) {
        if let Some(passed) = self.passed.get(cpu as usize) {
            passed.store(epoch.0, Ordering::Release);
        }
    }

    /// Whether nobody waits for CPU `cpu` to pass. A period that begins later interrupts it again.
    #[inline]
    pub fn has_passed(&self, cpu: u32) -> bool {
        self.passed
            .get(cpu as usize)
            .is_some_and(|passed| passed.load(Ordering::Relaxed) == self.begun.load(Ordering::Acquire))
    }

    /// Other CPUs than `me` that have not passed since `epoch`, as bits. `me` asks from outside probes.
    pub fn inside(&self, me: u32, epoch: Epoch) -> u32 {
        let begun = self.begun.load(Ordering::Relaxed);
        let mut others = self.running.load(Ordering::Relaxed) & !(1 << (me % u64::BITS));
        for (cpu, passed) in self.passed.iter().enumerate() {
            if begun >= epoch.0 && passed.load(Ordering::Acquire) >= epoch.0 {
                others &= !(1 << cpu);
            }
        }
        others as u32
    }

    /// No CPU can be inside what was taken away before `epoch`.
    pub fn over(&self, me: u32, epoch: Epoch) -> bool {
        self.inside(me, epoch) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cpu_is_never_inside() {
        let grace = Grace::new();
        assert!(grace.over(0, Epoch::default()) && grace.over(0, grace.next()));
    }

    #[test]
    fn a_period_is_over_when_every_other_cpu_has_passed_it() {
        let grace = Grace::new();
        grace.start(3);
        let first = grace.next();
        grace.pass(1, grace.last());
        assert!(grace.has_passed(1));
        grace.period();
        assert!(!grace.has_passed(1));
        assert_eq!(grace.inside(0, first), 0b110, "what passed before does not count");
        grace.pass(1, grace.last());
        assert_eq!(grace.inside(0, first), 0b100);
        assert_eq!(grace.inside(2, first), 0b001, "nor does who began it, for another");
        grace.pass(2, grace.last());
        assert!(grace.over(0, first));
        let second = grace.next();
        grace.period();
        assert!(grace.over(0, first) && !grace.over(0, second));
        grace.pass(CPUS_MAX as u32, grace.last());
    }
}

/// The protocol under every interleaving, by loom.
#[cfg(test)]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64 as Loomed;
    use loom::thread;

    struct Cell(Loomed);

    impl Word for Cell {
        fn load(&self, order: Ordering) -> u64 {
            self.0.load(order)
        }
        fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, order);
        }
        fn swap(&self, value: u64) -> u64 {
            self.0.swap(value, Ordering::AcqRel)
        }
        fn take(&self, old: u64, new: u64) -> bool {
            self.0
                .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        }
    }

    fn cell(value: u64) -> Cell {
        Cell(Loomed::new(value))
    }

    struct System {
        grace: Grace<Cell>,
        /// The branch of a site: leads to the code, or not.
        site: Loomed,
        /// The code: 7, until it is taken back.
        code: Loomed,
    }

    impl System {
        fn new() -> Arc<Self> {
            let grace = Grace {
                begun: cell(0),
                passed: core::array::from_fn(|_| cell(0)),
                running: cell(0b11),
            };
            Arc::new(Self {
                grace,
                site: Loomed::new(1),
                code: Loomed::new(7),
            })
        }

        /// A stay: a site, and the code behind it.
        fn stay(&self) {
            if self.site.load(Ordering::Relaxed) == 1 {
                assert_eq!(self.code.load(Ordering::Relaxed), 7, "run after it was unloaded");
            }
        }
    }

    /// Detach on CPU 0; CPU 1 goes on with its stays; what CPU 0 unloads is run by nobody.
    #[test]
    fn what_is_unloaded_is_run_by_nobody() {
        let unloaded = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = unloaded.clone();
        loom::model(move || {
            let system = System::new();
            let other = {
                let system = system.clone();
                thread::spawn(move || {
                    system.stay();
                    system.grace.pass(1, system.grace.last());
                    system.stay();
                })
            };
            system.site.store(0, Ordering::Relaxed);
            let epoch = system.grace.next();
            system.grace.period();
            if system.grace.over(0, epoch) {
                system.code.store(0, Ordering::Relaxed);
                counted.fetch_add(1, Ordering::Relaxed);
            }
            other.join().unwrap();
        });
        assert!(unloaded.load(Ordering::Relaxed) > 0, "never over, so nothing was tried");
    }
}
