//! Response-time analysis of the vCPUs with a declared period (Joseph and Pandya 1986, with blocking and interrupt interference).
//!
//! A vCPU i with own execution C, period T and deadline D on its CPU meets the deadline if the smallest t > 0 with demand(t) ≤ t is at most D:
//!
//! demand(t) = block + job(i) + once + Σ over j of the same or a higher priority on this CPU of ⌈t / T(j)⌉ · job(j)
//!
//! * job(i) = C(i) + release + sleep + exits(i) · exit: what the guest runs, plus EL2's stays that the job itself causes.
//! * block: EL2 is not preemptible, so any one stay may just have begun.
//! * once: each other vCPU's timer, and each device interrupt of others, can strike once before its VM runs: a wake-up that is not
//!   followed by its vCPU running leaves that timer off, a device interrupt stays active until its VM ends it.
//!
//! Messages of other CPUs interrupt only for a VM whose vCPUs are on several CPUs, or bring typed bytes. While a *shielded* vCPU runs
//! they wait ([`is_shielded`]): one that has a period, and whose CPU has such a VM at lower priorities at most. To any other vCPU
//! they can come at any rate, so nothing is proven, unless they are its own VM's alone: those count as its `exits`.
//!
//! An equal or higher priority on the same CPU without a declared period can take the CPU for ever: then nothing is proven.
//! A vCPU whose deadline does not hold before the change is not looked at: a probe cannot break what does not hold.

use hyp_abi::PathId;

/// Most tasks that are analysed, so that a decision stays one bounded stay at EL2.
pub const TASKS_MAX: usize = 32;
/// Steps of the iteration. It converges in a few unless the load is near 1; beyond this many the deadline counts as missed.
pub const STEPS_MAX: usize = 16;

/// A vCPU. Times in units of the timing model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// VM.
    pub vm: u32,
    /// Index in the VM.
    pub vcpu: u32,
    /// Physical CPU.
    pub cpu: u32,
    /// 0 (lowest) to 31.
    pub priority: u32,
    /// Period; 0: none declared.
    pub period: u64,
    /// Deadline after release.
    pub deadline: u64,
    /// Own execution for each period.
    pub budget: u64,
    /// Most exits for each period that the guest's own code causes, besides its release and its wait; of a VM on several CPUs also
    /// those that its other vCPUs cause on this one's.
    pub exits: u32,
    /// Interrupts of devices passed to this VM, which come to its first vCPU.
    pub devices: u32,
    /// The VM has vCPUs on several CPUs.
    pub spread: bool,
}

impl Task {
    /// No vCPU.
    pub const NONE: Self = Self {
        vm: 0,
        vcpu: 0,
        cpu: 0,
        priority: 0,
        period: 0,
        deadline: 0,
        budget: 0,
        exits: 0,
        devices: 0,
        spread: false,
    };
}

/// base + slope · x, where x is the cost of one firing of the probe in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// At x = 0.
    pub base: u64,
    /// Firings.
    pub slope: u64,
}

impl Linear {
    const fn constant(base: u64) -> Self {
        Self { base, slope: 0 }
    }

    fn plus(self, o: Self) -> Self {
        Self {
            base: self.base.saturating_add(o.base),
            slope: self.slope.saturating_add(o.slope),
        }
    }

    fn times(self, k: u64) -> Self {
        Self {
            base: self.base.saturating_mul(k),
            slope: self.slope.saturating_mul(k),
        }
    }

    /// At least both, for every x.
    fn max(self, o: Self) -> Self {
        Self {
            base: self.base.max(o.base),
            slope: self.slope.max(o.slope),
        }
    }

    fn at(self, x: u64) -> u64 {
        self.base.saturating_add(self.slope.saturating_mul(x))
    }
}

/// EL2's stays, as the analysis needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Longest stay of all.
    block: Linear,
    /// Timer of a vCPU that waits: wake-up and switch.
    wake: Linear,
    /// Its interrupt when it runs.
    release: Linear,
    /// WFI.
    sleep: Linear,
    /// Longest stay that a guest causes by a synchronous exception in normal work.
    exit: Linear,
    /// Device interrupt.
    device: Linear,
    /// Message of another CPU.
    message: Linear,
}

/// Synchronous exits of normal work. Loading probes, reading maps and faults are not part of a periodic job.
const EXITS: [PathId; 16] = [
    PathId::HypercallInfo,
    PathId::HypercallYield,
    PathId::IpcCall,
    PathId::IpcRecv,
    PathId::IpcReply,
    PathId::IpcReplyRecv,
    PathId::Notify,
    PathId::NotifyWait,
    PathId::Psci,
    PathId::MmioGicd,
    PathId::MmioGicr,
    PathId::MmioUart,
    PathId::SysregSgi,
    PathId::Sysreg,
    PathId::Wfi,
    PathId::Fpsimd,
];

impl Costs {
    /// From the cost of each path.
    pub fn of(path: impl Fn(PathId) -> Linear) -> Self {
        let longest = |of: &[PathId]| of.iter().fold(Linear::default(), |m, p| m.max(path(*p)));
        Self {
            block: longest(PathId::ALL),
            wake: path(PathId::IrqTimer),
            release: path(PathId::IrqVtimer),
            sleep: path(PathId::Wfi),
            exit: longest(&EXITS),
            device: path(PathId::IrqDevice).max(path(PathId::IrqUart)),
            message: path(PathId::IrqOther),
        }
    }

    fn job(&self, t: &Task) -> Linear {
        let own = Linear::constant(t.budget);
        let exit = if t.spread {
            self.exit.max(self.message)
        } else {
            self.exit
        };
        own.plus(self.wake)
            .plus(self.release)
            .plus(self.sleep)
            .plus(exit.times(u64::from(t.exits)))
    }
}

/// A deadline that would be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// VM.
    pub vm: u32,
    /// vCPU in the VM.
    pub vcpu: u32,
    /// Demand at the deadline beyond it.
    pub shortfall: u64,
    /// Largest cost of one firing with which it would surely be met; 0: none.
    pub fits: u64,
}

/// Checks that every task whose deadline holds at `now` keeps it when one firing of the new probe costs `x` on top of `base`.
pub fn check(tasks: &[Task], now: &Costs, base: &Costs, x: u64) -> Result<(), Miss> {
    for task in tasks.iter().take(TASKS_MAX).filter(|t| t.period != 0) {
        let Some(others) = demand_parts(tasks, task) else {
            continue;
        };
        if response(tasks, task, &others, now, 0).is_none() || response(tasks, task, &others, base, x).is_some() {
            continue;
        }
        let at_deadline = demand(tasks, task, &others, base, task.deadline);
        return Err(Miss {
            vm: task.vm,
            vcpu: task.vcpu,
            shortfall: at_deadline.at(x).saturating_sub(task.deadline).max(1),
            fits: fits(tasks, task, &others, base),
        });
    }
    Ok(())
}

/// Worst response time of `task`, probe cost included; `None` if its deadline is not proven.
pub fn response_time(tasks: &[Task], task: &Task, costs: &Costs) -> Option<u64> {
    response(tasks, task, &demand_parts(tasks, task)?, costs, 0)
}

/// Interference that does not depend on time: one timer of each other vCPU, one interrupt of each device of others.
struct Once {
    timers: u64,
    devices: u64,
}

/// Whether messages of other CPUs wait while `task` runs: see above. EL2 does what this says.
pub fn is_shielded(tasks: &[Task], task: &Task) -> bool {
    let outranked = |o: &Task| !o.spread || o.cpu != task.cpu || o.priority < task.priority;
    task.period != 0 && !task.spread && tasks.iter().take(TASKS_MAX).all(outranked)
}

/// `None` if something of the same or a higher priority has no period, or another VM's messages can come at any rate.
fn demand_parts(tasks: &[Task], task: &Task) -> Option<Once> {
    let mut once = Once { timers: 0, devices: 0 };
    for o in tasks
        .iter()
        .take(TASKS_MAX)
        .filter(|o| o.cpu == task.cpu && !is_same(o, task))
    {
        if o.priority >= task.priority && o.period == 0 {
            return None;
        }
        if o.spread && o.vm != task.vm && !is_shielded(tasks, task) {
            return None;
        }
        once.timers += 1;
        once.devices += u64::from(o.devices);
    }
    Some(once)
}

fn is_same(a: &Task, b: &Task) -> bool {
    (a.vm, a.vcpu) == (b.vm, b.vcpu)
}

fn demand(tasks: &[Task], task: &Task, once: &Once, costs: &Costs, t: u64) -> Linear {
    let own = costs
        .block
        .plus(costs.job(task))
        .plus(costs.device.times(u64::from(task.devices)));
    let mut sum = own
        .plus(costs.wake.times(once.timers))
        .plus(costs.device.times(once.devices));
    for o in tasks.iter().take(TASKS_MAX) {
        if o.cpu == task.cpu && o.priority >= task.priority && o.period != 0 && !is_same(o, task) {
            sum = sum.plus(costs.job(o).times(t.div_ceil(o.period)));
        }
    }
    sum
}

fn response(tasks: &[Task], task: &Task, once: &Once, costs: &Costs, x: u64) -> Option<u64> {
    let mut t = 1;
    for _ in 0..STEPS_MAX {
        let next = demand(tasks, task, once, costs, t).at(x);
        if next <= t {
            return Some(t);
        }
        if next > task.deadline {
            return None;
        }
        t = next;
    }
    None
}

/// Largest x with demand(t) ≤ t at the deadline or at the last release before it of an interfering task. Enough for the deadline to be
/// met, so a probe of that cost is admitted; the exact limit may be a little higher.
fn fits(tasks: &[Task], task: &Task, once: &Once, costs: &Costs) -> u64 {
    let at = |t: u64| {
        let d = demand(tasks, task, once, costs, t);
        let room = t.checked_sub(d.base)?;
        Some(room.checked_div(d.slope).unwrap_or(u64::MAX))
    };
    let mut best = at(task.deadline).unwrap_or(0);
    for o in tasks.iter().take(TASKS_MAX) {
        if o.cpu == task.cpu && o.priority >= task.priority && o.period != 0 && !is_same(o, task) {
            let last = task.deadline / o.period * o.period;
            best = best.max(at(last).unwrap_or(0));
        }
    }
    best
}
