//! Life of a probe: Staged → Verified → Compiled → Published → Admitted → Armed.
//!
//! Each step takes the token of the one before and each token is minted in one file: `Staged` in `stage`, [`verifier::Verified`] in the
//! verifier, `Compiled` in `compile`, `Published` in `publish` (around a code reference that only el2 can make), [`crate::admit::Admitted`] in
//! `admit`, [`Armed`] in `attach`. So nothing can be armed that was not proven, compiled from what was proven, and admitted.
//!
//! One program is worked on at a time, in the memory of one [`Workshop`]; work is done in steps of bounded units, paid for by the guest that asks.
//! A job that its owner leaves alone for [`JOB_IDLE_NS`] can be displaced by another VM. All pools are fixed.
//!
//! Several CPUs may fire probes meanwhile, and one at a time serves these calls. What a probe of another CPU may be inside of is changed
//! only when [`Grace`] says that it is not; a call that comes too early is refused with `Again`.
//!
//! A VM touches its own programs, maps and attachments only, or with the right `PROBE_SYSTEM` all of them.

mod attach;
mod compile;
mod job;
mod maps;
mod publish;
mod ranges;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_grace;
#[cfg(test)]
mod tests_random;
mod unload;
mod workshop;

pub use attach::{Armed, Attached, PointArms};
pub use compile::Compiled;
pub use job::{Compilation, Verification};
pub use maps::MapSlot;
pub use publish::{CodeMemory, ProbeCode, Published};
pub use unload::Disarmed;
pub use workshop::{Desk, Shelf, Workshop};

use core::sync::atomic::AtomicU64;

use hyp_abi::record::{Pool, ProgramInfo};
use hyp_abi::{Rights, Status, VMS_MAX};
use probe_vm::image::{Name, limits};
use probe_vm::jit::{ContextLink, CpuLink, HelperLink, HelperTime, TimeLink};
use probe_vm::points::{POINT_COUNT, PointId};
use verifier::CoreModel;

use crate::grace::{Epoch, Grace};
use job::Job;
use ranges::Ranges;

/// Loaded programs of the system.
pub const PROGRAMS_MAX: usize = 32;
/// Maps of the system.
pub const MAPS_MAX: usize = 64;
/// Probes on one point; they run in the order of attachment.
pub const ATTACHMENTS_MAX: usize = probe_vm::jit::chain::PROBES_MAX;
const _: () = assert!(VMS_MAX as u32 - 1 <= probe_vm::jit::chain::VM_MAX);
/// After this long without a step a job can be displaced by another VM.
pub const JOB_IDLE_NS: u64 = 1_000_000_000;
/// Units of one verify step at most: bounds the stay of `hypercall.probe_verify`, and so the blocking of every deadline. A unit is one abstract
/// instruction, some 2,000 of ours; what goes through whole states counts as several (docs/VERIFIER.md has figures).
pub const VERIFY_UNITS_MAX: u64 = 4;
/// Slots that one compile step works through: bounds the stay of `hypercall.probe_compile`.
pub const COMPILE_SLOTS: u32 = 32;

/// A refusal: x0, and x1 up where the status has details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// x0.
    pub status: Status,
    /// x1–x6.
    pub x: [u64; 6],
}

impl Refused {
    /// A status without details.
    pub const fn new(status: Status) -> Self {
        Self { status, x: [0; 6] }
    }

    /// A status with details in x1, x2, ….
    pub fn with(status: Status, details: &[u64]) -> Self {
        let mut x = [0; 6];
        for (to, from) in x.iter_mut().zip(details) {
            *to = *from;
        }
        Self { status, x }
    }

    fn no_space(pool: Pool, size: u64) -> Self {
        Self::with(Status::NoSpace, &[pool as u64, size])
    }

    fn state(state: State) -> Self {
        Self::with(Status::BadState, &[state as u64])
    }

    /// Unless no CPU can be inside what was changed before `epoch`.
    fn until(platform: &Platform<'_>, cpu: u32, epoch: Epoch) -> Result<(), Self> {
        let inside = platform.grace.inside(cpu, epoch);
        if inside == 0 {
            return Ok(());
        }
        Err(Self::with(Status::Again, &[inside.into()]))
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// VM id.
    pub vm: u32,
    /// Its rights.
    pub rights: Rights,
    /// CPU it calls on.
    pub cpu: u32,
}

impl Caller {
    fn may_probe(&self) -> Result<(), Refused> {
        if self.rights.may_probe() {
            return Ok(());
        }
        Err(Refused::with(Status::Denied, &[u64::from(Rights::PROBE_SELF.bits())]))
    }

    /// Others' objects do not exist for a VM without the right.
    fn may_touch(&self, owner: u32) -> bool {
        owner == self.vm || self.rights.contains(Rights::PROBE_SYSTEM)
    }
}

/// A VM's share of the pools, from the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of map memory.
    pub map_bytes: u64,
    /// Loaded programs.
    pub programs: u32,
}

/// What compiled code is tied to on this machine, and the memories it lives in. Set once at boot.
#[derive(Clone, Copy, Debug)]
pub struct Platform<'w> {
    /// Helper entry points, sorted by number.
    pub helpers: &'w [HelperLink],
    /// Their times.
    pub helper_times: &'w [HelperTime],
    /// Timing model.
    pub core: &'w CoreModel,
    /// How code learns its CPU.
    pub cpu: CpuLink,
    /// Where the context of firings is.
    pub context: ContextLink,
    /// How code reads the time.
    pub time: TimeLink,
    /// FEAT_LSE is there.
    pub lse: bool,
    /// Map memory.
    pub map_words: &'w [AtomicU64],
    /// Address of `map_words` as code sees it.
    pub map_base: u64,
    /// Words of code memory.
    pub code_words: u32,
    /// Address at which word 0 of code memory runs.
    pub code_base: u64,
    /// Physical CPUs.
    pub cpus: u32,
    /// When they have left probes.
    pub grace: &'w Grace,
}

/// States as [`ProgramInfo`] numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum State {
    Staged = 0,
    Verified = 1,
    Compiled = 2,
    Published = 3,
    Attached = 4,
}

/// A program slot. `published` is there once the job is done.
#[derive(Clone, Debug)]
struct Program<C> {
    handle: u64,
    vm: u32,
    name: Name,
    point: PointId,
    insns: u32,
    /// Map slots, in the program's order.
    maps: [u8; limits::MAPS_MAX],
    map_count: usize,
    insn_bound: u64,
    time_bound: u64,
    published: Option<Published<C>>,
    attachments: u32,
    /// Its last attachment ended before: some CPU may be inside until then.
    left: Epoch,
}

/// All probes of the system. `'w`: the memory of jobs.
#[derive(Debug)]
pub struct Probes<'w, C> {
    platform: &'w Platform<'w>,
    quotas: [Quota; VMS_MAX],
    programs: [Option<Program<C>>; PROGRAMS_MAX],
    programs_peak: u32,
    maps: maps::MapTable,
    code: Ranges<{ PROGRAMS_MAX + 1 }>,
    job: Option<Job<'w>>,
    arms: [PointArms<C>; POINT_COUNT],
    next_handle: u64,
}

impl<'w, C: ProbeCode> Probes<'w, C> {
    /// No program, no map.
    pub fn new(platform: &'w Platform<'w>) -> Self {
        Self {
            platform,
            quotas: [Quota::default(); VMS_MAX],
            programs: [const { None }; PROGRAMS_MAX],
            programs_peak: 0,
            maps: maps::MapTable::new(platform.map_words.len()),
            code: Ranges::new(platform.code_words),
            job: None,
            arms: [const { PointArms::new() }; POINT_COUNT],
            next_handle: 1,
        }
    }

    /// Sets the quota of a VM.
    pub fn set_quota(&mut self, vm: u32, quota: Quota) {
        if let Some(q) = self.quotas.get_mut(vm as usize) {
            *q = quota;
        }
    }

    /// Slot of the program `handle` that `caller` may touch.
    fn find(&self, caller: Caller, handle: u64) -> Result<usize, Refused> {
        caller.may_probe()?;
        let hit = |p: &Option<Program<C>>| p.as_ref().is_some_and(|p| p.handle == handle && caller.may_touch(p.vm));
        self.programs.iter().position(hit).ok_or(Refused::new(Status::NotFound))
    }

    fn program(&self, slot: usize) -> Result<&Program<C>, Refused> {
        self.programs
            .get(slot)
            .and_then(|p| p.as_ref())
            .ok_or(Refused::new(Status::NotFound))
    }

    fn program_mut(&mut self, slot: usize) -> Result<&mut Program<C>, Refused> {
        self.programs
            .get_mut(slot)
            .and_then(|p| p.as_mut())
            .ok_or(Refused::new(Status::NotFound))
    }

    fn state(&self, slot: usize) -> Result<State, Refused> {
        let p = self.program(slot)?;
        Ok(match (&p.published, p.attachments) {
            (Some(_), 0) => State::Published,
            (Some(_), _) => State::Attached,
            (None, _) => match &self.job {
                Some(job) if job.slot() == slot => job.state(),
                _ => State::Staged,
            },
        })
    }

    /// ProbeInfo.
    pub fn info(&self, caller: Caller, handle: u64) -> Result<ProgramInfo, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        let mut name = [0; hyp_abi::config::NAME_LEN];
        for (to, from) in name.iter_mut().zip(p.name.bytes()) {
            *to = *from;
        }
        Ok(ProgramInfo {
            state: self.state(slot)? as u32,
            vm: p.vm,
            insns: p.insns,
            maps: p.map_count as u32,
            attachments: p.attachments,
            code_bytes: p.published.as_ref().map_or(0, |c| c.words() * 4),
            insn_bound: p.insn_bound,
            time_bound: p.time_bound,
            name,
        })
    }

    /// Use of a pool: (used, peak, size). Pools that are not the probes' give `None`.
    pub fn pool(&self, pool: Pool) -> Option<(u64, u64, u64)> {
        let programs = self.programs.iter().flatten().count() as u64;
        Some(match pool {
            Pool::Programs => (programs, u64::from(self.programs_peak), PROGRAMS_MAX as u64),
            Pool::Insns => (0, 0, limits::INSNS_MAX as u64),
            Pool::Maps => self.maps.usage(),
            Pool::MapMemory => self.maps.memory_usage(),
            Pool::Code => (
                u64::from(self.code.used()) * 4,
                u64::from(self.code.peak()) * 4,
                u64::from(self.code.size()) * 4,
            ),
            Pool::Attachments => {
                let most = self.arms.iter().map(|a| a.count()).max().unwrap_or(0) as u64;
                (most, most, ATTACHMENTS_MAX as u64)
            }
            Pool::Verifier => (u64::from(self.job.is_some()), 1, 1),
            Pool::Stage2Tables => return None,
        })
    }
}
