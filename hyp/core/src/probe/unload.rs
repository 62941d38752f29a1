//! Unloading: the program's code, maps and slot go back to their pools.
//!
//! Its code is taken back when no CPU can be inside (see [`crate::grace`]): the CPU that handles this call is not, because EL2 is not
//! preemptible, and of the others those that have passed since the detach are not.

use hyp_abi::Status;
use probe_vm::points::PointId;

use super::publish::ProbeCode;
use super::{ATTACHMENTS_MAX, Caller, PROGRAMS_MAX, Probes, Refused};
use crate::admit::Admission;

/// What a VM's end has done to points: bits by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disarmed {
    /// Those that lost any.
    pub changed: u32,
    /// Those of them that have none any more.
    pub off: u32,
    /// Nothing of the VM is left. Else a CPU may be inside: el2 patches what changed, begins a grace period and asks again.
    pub done: bool,
}

impl<C: ProbeCode> Probes<'_, C> {
    /// ProbeUnload. `Busy` while attached; `Again` while another CPU may be inside.
    pub fn unload(&mut self, caller: Caller, handle: u64) -> Result<(), Refused> {
        let slot = self.find(caller, handle)?;
        if self.program(slot)?.attachments != 0 {
            return Err(Refused::new(Status::Busy));
        }
        Refused::until(self.platform, caller.cpu, self.program(slot)?.left)?;
        self.drop_program(slot);
        Ok(())
    }

    /// VM `vm` has stopped, and CPU `cpu` takes its probes and maps away.
    pub fn vm_stopped(&mut self, cpu: u32, vm: u32, admission: &mut Admission) -> Disarmed {
        let mut lost = Disarmed {
            done: true,
            ..Disarmed::default()
        };
        for point in PointId::ALL {
            let settled = self.settled(cpu, point).is_ok();
            for i in (0..ATTACHMENTS_MAX).rev() {
                let Some(armed) = self.armed(point, i) else { continue };
                let owned = self.program(armed.slot()).is_ok_and(|p| p.vm == vm);
                lost.done &= !owned || settled;
                if owned && settled {
                    lost.changed |= 1 << point as u32;
                    lost.off |= u32::from(self.disarm(point, i, admission)) << point as u32;
                }
            }
        }
        for slot in 0..PROGRAMS_MAX {
            let Some(p) = self.programs.get(slot).and_then(|p| p.as_ref()).filter(|p| p.vm == vm) else {
                continue;
            };
            if p.attachments == 0 && Refused::until(self.platform, cpu, p.left).is_ok() {
                self.drop_program(slot);
            } else {
                lost.done = false;
            }
        }
        lost
    }

    /// Frees a slot with all that belongs to it. The program is not attached.
    pub(super) fn drop_program(&mut self, slot: usize) {
        if let Some(job) = self.job.take_if(|j| j.slot() == slot)
            && let Some(at) = job.code()
        {
            self.code.shrink(at, 0);
        }
        let Some(p) = self.programs.get_mut(slot).and_then(|p| p.take()) else {
            return;
        };
        if let Some(published) = &p.published {
            self.code.shrink(published.at(), 0);
        }
        self.maps.release(&p.maps, p.map_count);
    }
}
