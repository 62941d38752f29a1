//! Unloading: the program's code, maps and slot go back to their pools.
//!
//! Its code can be taken back at once: EL2 is not preemptible, so a CPU that handles this call is not inside a probe. With several CPUs,
//! el2 calls [`Probes::unload`] after every other CPU has left EL2 once since the detach.

use hyp_abi::Status;
use probe_vm::points::PointId;

use super::publish::ProbeCode;
use super::{ATTACHMENTS_MAX, Caller, PROGRAMS_MAX, Probes, Refused};
use crate::admit::Admission;

/// Points that lost probes, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disarmed {
    /// Those that lost any.
    pub changed: u32,
    /// Those of them that have none any more.
    pub off: u32,
}

impl<C: ProbeCode> Probes<'_, C> {
    /// ProbeUnload. `Busy` while attached.
    pub fn unload(&mut self, caller: Caller, handle: u64) -> Result<(), Refused> {
        let slot = self.find(caller, handle)?;
        if self.program(slot)?.attachments != 0 {
            return Err(Refused::new(Status::Busy));
        }
        self.drop_program(slot);
        Ok(())
    }

    /// VM `vm` has stopped: all its probes and maps go. → the points that lost one.
    pub fn vm_stopped(&mut self, vm: u32, admission: &mut Admission) -> Disarmed {
        let mut lost = Disarmed::default();
        for point in PointId::ALL {
            for i in (0..ATTACHMENTS_MAX).rev() {
                let Some(armed) = self.armed(point, i) else { continue };
                let owned = self.program(armed.slot()).is_ok_and(|p| p.vm == vm);
                if owned {
                    lost.changed |= 1 << point as u32;
                    lost.off |= u32::from(self.disarm(point, i, admission)) << point as u32;
                }
            }
        }
        for slot in 0..PROGRAMS_MAX {
            if self.program(slot).is_ok_and(|p| p.vm == vm) {
                self.drop_program(slot);
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
