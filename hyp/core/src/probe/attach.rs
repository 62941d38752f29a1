//! Attaching and detaching. Mints [`Armed`].

use hyp_abi::call::FILTER_ANY;
use hyp_abi::record::Pool;
use hyp_abi::{Rights, Status, VMS_MAX};
use probe_vm::jit::chain::{Only, VCPU_MAX};
use probe_vm::points::PointId;

use super::publish::ProbeCode;
use super::{ATTACHMENTS_MAX, Caller, Probes, Refused, State};
use crate::admit::rta::Task;
use crate::admit::{Admission, Refusal};
use crate::grace::Epoch;

/// A probe on a point. Made by [`Probes::attach`] and [`Probes::replace`] alone, from published code and an admission.
#[derive(Clone, Copy, Debug)]
pub struct Armed<C> {
    id: u64,
    slot: u8,
    /// Whose events it sees; everyone's without.
    only: Option<Only>,
    time_bound: u64,
    code: C,
}

impl<C: ProbeCode> Armed<C> {
    /// Whose events it sees; `None`: everyone's.
    pub const fn only(&self) -> Option<Only> {
        self.only
    }

    /// Slot of its program.
    pub(super) const fn slot(&self) -> usize {
        self.slot as usize
    }

    /// The code.
    pub const fn code(&self) -> C {
        self.code
    }
}

/// The probes of one point, in the order of attachment.
#[derive(Clone, Debug)]
pub struct PointArms<C> {
    /// Packed: the first `None` ends it.
    list: [Option<Armed<C>>; ATTACHMENTS_MAX],
    count: usize,
    /// The code that led to the probes before the last change may be run until then.
    changed: Epoch,
}

impl<C: ProbeCode> PointArms<C> {
    pub(super) const fn new() -> Self {
        Self {
            list: [const { None }; ATTACHMENTS_MAX],
            count: 0,
            changed: Epoch::ZERO,
        }
    }

    /// Number of probes.
    #[inline]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The probes.
    pub fn iter(&self) -> impl Iterator<Item = &Armed<C>> {
        self.list.iter().flatten()
    }

    fn remove(&mut self, i: usize) -> Option<Armed<C>> {
        let gone = self.list.get_mut(i)?.take();
        if let Some(rest) = self.list.get_mut(i..) {
            rest.rotate_left(1);
        }
        self.count -= usize::from(gone.is_some());
        gone
    }
}

/// Outcome of an attach or detach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Attachment handle.
    pub id: u64,
    /// The point.
    pub point: PointId,
    /// Its sites must be switched: on at the first probe of a point, off after the last.
    pub switch: bool,
}

impl<C: ProbeCode> Probes<'_, C> {
    /// The probes of a point.
    pub fn arms(&self, point: PointId) -> Option<&PointArms<C>> {
        self.arms.get(point as usize)
    }

    /// ProbeAttach. After this, [`Probes::replace`] and [`Probes::detach`] el2 patches the point and begins a [`crate::grace::Grace::period`].
    /// `filter`: a VM id, in the upper half one more than the vCPU or 0 for all of them; or [`FILTER_ANY`], which means every VM that the
    /// caller may see.
    pub fn attach(
        &mut self,
        caller: Caller,
        handle: u64,
        point: u64,
        filter: u64,
        admission: &mut Admission,
        tasks: &[Task],
    ) -> Result<Attached, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        if u64::from(p.point as u32) != point {
            return Err(Refused::with(Status::InvalidArg, &[2]));
        }
        let point = p.point;
        let only = self.filter(caller, filter)?;
        let Some(published) = &p.published else {
            return Err(Refused::state(self.state(slot)?));
        };
        let arms = self.arms.get(point as usize).ok_or(Refused::new(Status::NotFound))?;
        if arms.count >= ATTACHMENTS_MAX {
            return Err(Refused::no_space(Pool::Attachments, ATTACHMENTS_MAX as u64));
        }
        Refused::until(self.platform, caller.cpu, arms.changed)?;
        let time_bound = published.time_bound();
        let admitted = admission.admit(point, time_bound, None, tasks).map_err(refused)?;
        // Point of no return.
        if !admission.commit(&admitted) {
            return Err(Refused::state(State::Published));
        }
        let armed = Armed {
            id: self.next_handle,
            slot: slot as u8,
            only,
            time_bound,
            code: published.code(),
        };
        self.next_handle += 1;
        let mut switch = false;
        if let Some(arms) = self.arms.get_mut(point as usize)
            && let Some(place) = arms.list.get_mut(arms.count)
        {
            *place = Some(armed);
            switch = arms.count == 0;
            arms.count += 1;
            arms.changed = self.platform.grace.next();
        }
        self.program_mut(slot)?.attachments += 1;
        Ok(Attached {
            id: armed.id,
            point,
            switch,
        })
    }

    /// ProbeReplace: the program `handle` takes the place of attachment `id`, admitted as a difference, same filter and order.
    pub fn replace(
        &mut self,
        caller: Caller,
        id: u64,
        handle: u64,
        admission: &mut Admission,
        tasks: &[Task],
    ) -> Result<Attached, Refused> {
        let (point, i) = self.find_attachment(caller, id)?;
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        if p.point != point {
            return Err(Refused::with(Status::InvalidArg, &[2]));
        }
        let Some(published) = &p.published else {
            return Err(Refused::state(self.state(slot)?));
        };
        let (time_bound, code) = (published.time_bound(), published.code());
        self.settled(caller.cpu, point)?;
        let old = self.armed(point, i).ok_or(Refused::new(Status::NotFound))?;
        let admitted = admission
            .admit(point, time_bound, Some(old.time_bound), tasks)
            .map_err(refused)?;
        // Point of no return.
        if !admission.commit(&admitted) {
            return Err(Refused::state(State::Published));
        }
        let new = Armed {
            id: self.next_handle,
            slot: slot as u8,
            time_bound,
            code,
            ..old
        };
        self.next_handle += 1;
        if let Some(arms) = self.arms.get_mut(point as usize)
            && let Some(place) = arms.list.get_mut(i)
        {
            *place = Some(new);
            arms.changed = self.platform.grace.next();
        }
        self.program_mut(slot)?.attachments += 1;
        self.let_go(usize::from(old.slot));
        Ok(Attached {
            id: new.id,
            point,
            switch: false,
        })
    }

    /// ProbeDetach.
    pub fn detach(&mut self, caller: Caller, id: u64, admission: &mut Admission) -> Result<Attached, Refused> {
        let (point, i) = self.find_attachment(caller, id)?;
        self.settled(caller.cpu, point)?;
        let switch = self.disarm(point, i, admission);
        Ok(Attached { id, point, switch })
    }

    /// Removes probe `i` of `point`; true if it was the last.
    pub(super) fn disarm(&mut self, point: PointId, i: usize, admission: &mut Admission) -> bool {
        let Some(arms) = self.arms.get_mut(point as usize) else {
            return false;
        };
        let Some(gone) = arms.remove(i) else { return false };
        let last = arms.count == 0;
        arms.changed = self.platform.grace.next();
        admission.release(point, gone.time_bound);
        self.let_go(usize::from(gone.slot));
        last
    }

    pub(super) fn armed(&self, point: PointId, i: usize) -> Option<Armed<C>> {
        self.arms
            .get(point as usize)
            .and_then(|a| a.list.get(i))
            .copied()
            .flatten()
    }

    /// Unless the code that led to the probes of `point` before the last change may still be run by another CPU than `cpu`.
    pub(super) fn settled(&self, cpu: u32, point: PointId) -> Result<(), Refused> {
        let changed = self.arms.get(point as usize).map(|a| a.changed);
        Refused::until(self.platform, cpu, changed.unwrap_or_default())
    }

    fn let_go(&mut self, slot: usize) {
        let left = self.platform.grace.next();
        if let Ok(p) = self.program_mut(slot) {
            p.left = left;
            p.attachments = p.attachments.saturating_sub(1);
        }
    }

    /// Whose events an attachment sees.
    fn filter(&self, caller: Caller, filter: u64) -> Result<Option<Only>, Refused> {
        let system = caller.rights.contains(Rights::PROBE_SYSTEM);
        let own = Only {
            vm: caller.vm,
            vcpu: None,
        };
        if filter == FILTER_ANY {
            return Ok((!system).then_some(own));
        }
        let only = Only {
            vm: filter as u32,
            vcpu: ((filter >> 32) as u32).checked_sub(1),
        };
        if only.vm as usize >= VMS_MAX || only.vcpu.is_some_and(|vcpu| vcpu > VCPU_MAX) {
            return Err(Refused::with(Status::InvalidArg, &[3]));
        }
        if only.vm != caller.vm && !system {
            return Err(Refused::with(Status::Denied, &[u64::from(Rights::PROBE_SYSTEM.bits())]));
        }
        Ok(Some(only))
    }

    /// Point and place of attachment `id` that the caller may touch: at most 16 × [`ATTACHMENTS_MAX`] looked at.
    fn find_attachment(&self, caller: Caller, id: u64) -> Result<(PointId, usize), Refused> {
        caller.may_probe()?;
        for (point, arms) in PointId::ALL.iter().zip(&self.arms) {
            for (i, a) in arms.list.iter().enumerate() {
                if let Some(a) = a
                    && a.id == id
                    && self.program(usize::from(a.slot)).is_ok_and(|p| caller.may_touch(p.vm))
                {
                    return Ok((*point, i));
                }
            }
        }
        Err(Refused::new(Status::NotFound))
    }
}

fn refused(r: Refusal) -> Refused {
    match r {
        Refusal::NoTable => Refused::new(Status::NoTable),
        Refusal::Path { path, shortfall, fits } => Refused::with(Status::OverBudget, &[path as u64, shortfall, fits]),
        Refusal::Deadline {
            vm,
            vcpu,
            shortfall,
            fits,
        } => Refused::with(Status::OverDeadline, &[u64::from(vm), shortfall, fits, u64::from(vcpu)]),
    }
}
