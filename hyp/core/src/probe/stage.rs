//! Staging: the bytes of an image are copied once, so that what is verified is what was looked at. Mints [`Staged`].

use hyp_abi::Status;
use hyp_abi::record::Pool;
use probe_vm::image::{HEADER_BYTES, Image, ImageError, limits};
use probe_vm::points::PointId;

use super::job::Job;
use super::publish::ProbeCode;
use super::workshop::Workshop;
use super::{Caller, JOB_IDLE_NS, PROGRAMS_MAX, Probes, Program, Refused};
use crate::grace::Epoch;

/// A parsed image whose text is in the workshop. Made by [`Probes::stage`] alone.
#[derive(Debug)]
pub(super) struct Staged<'w> {
    pub image: &'w [u8],
    pub text: &'w [u64],
    pub point: PointId,
    _sealed: (),
}

impl<'w, C: ProbeCode> Probes<'w, C> {
    /// ProbeStage: an image of `bytes` bytes that `copy` fetches from the caller's memory, once. → program handle.
    ///
    /// `workshop` is called if no job holds it; `copy` gets exactly `bytes` bytes to fill and says whether the guest's buffer was good
    /// (else the first bad IPA).
    pub fn stage(
        &mut self,
        caller: Caller,
        bytes: u64,
        now_ns: u64,
        workshop: impl FnOnce() -> Workshop<'w>,
        copy: impl FnOnce(&mut [u8]) -> Result<(), u64>,
    ) -> Result<u64, Refused> {
        caller.may_probe()?;
        if bytes > limits::IMAGE_BYTES_MAX as u64 {
            return Err(Refused::with(Status::TooBig, &[limits::IMAGE_BYTES_MAX as u64]));
        }
        if bytes == 0 {
            // As any image shorter than its header.
            return Err(bad_image(ImageError::Truncated {
                needed: HEADER_BYTES,
                given: 0,
            }));
        }
        self.make_way(caller, now_ns)?;
        let slot = self.free_slot(caller)?;
        let Workshop { image, text, desk } = workshop();
        let image = image
            .get_mut(..bytes as usize)
            .ok_or(Refused::with(Status::TooBig, &[0]))?;
        copy(image).map_err(|ipa| Refused::with(Status::BadAddress, &[ipa]))?;
        let image: &'w [u8] = image;
        let parsed = Image::parse(image).map_err(bad_image)?;
        let point =
            PointId::from_name(parsed.point().as_str()).ok_or(Refused::with(Status::BadImage, &[64, POINT_UNKNOWN]))?;
        let slots = parsed.insns().len();
        let text = text
            .get_mut(..slots)
            .ok_or(Refused::no_space(Pool::Insns, limits::INSNS_MAX as u64))?;
        for (to, from) in text.iter_mut().zip(parsed.insns()) {
            *to = u64::from_le_bytes(*from);
        }
        let quota = self.quotas.get(caller.vm as usize).map_or(0, |q| q.map_bytes);
        let taken = self.maps.take(caller.vm, &parsed, quota, self.platform.cpus)?;
        let staged = Staged {
            image,
            text,
            point,
            _sealed: (),
        };
        let job = Job::start(slot, staged, now_ns, self.platform, &self.maps, &taken, desk);
        let handle = self.next_handle;
        self.next_handle += 1;
        if let Some(p) = self.programs.get_mut(slot) {
            *p = Some(Program {
                handle,
                vm: caller.vm,
                name: parsed.name(),
                point,
                insns: slots as u32,
                maps: taken.slots,
                map_count: taken.count,
                insn_bound: 0,
                time_bound: 0,
                published: None,
                attachments: 0,
                left: Epoch::default(),
            });
        }
        self.job = Some(job);
        self.programs_peak = self.programs_peak.max(self.programs.iter().flatten().count() as u32);
        Ok(handle)
    }

    /// Ends a job in the way: the caller's own, or one that has been left alone.
    fn make_way(&mut self, caller: Caller, now_ns: u64) -> Result<(), Refused> {
        let Some(job) = &self.job else { return Ok(()) };
        let slot = job.slot();
        let idle = now_ns.saturating_sub(job.touched_ns()) >= JOB_IDLE_NS;
        if self.program(slot).is_ok_and(|p| p.vm != caller.vm) && !idle {
            return Err(Refused::no_space(Pool::Verifier, 1));
        }
        self.drop_program(slot);
        Ok(())
    }

    fn free_slot(&self, caller: Caller) -> Result<usize, Refused> {
        let quota = self.quotas.get(caller.vm as usize).map_or(0, |q| q.programs);
        let own = self.programs.iter().flatten().filter(|p| p.vm == caller.vm).count();
        if own >= quota as usize {
            return Err(Refused::no_space(Pool::Programs, u64::from(quota)));
        }
        self.programs
            .iter()
            .position(|p| p.is_none())
            .ok_or(Refused::no_space(Pool::Programs, PROGRAMS_MAX as u64))
    }
}

/// Reason codes of BadImage, in x2.
const POINT_UNKNOWN: u64 = 9;

/// x1: where in the image (0 where the fault has no place), x2: reason.
fn bad_image(e: ImageError) -> Refused {
    let (at, reason) = match e {
        ImageError::Truncated { needed, .. } => (needed as u64, 0),
        ImageError::TrailingBytes { claimed, .. } => (claimed as u64, 1),
        ImageError::Magic(_) => (0, 2),
        ImageError::Version(_) => (4, 3),
        ImageError::Reserved(_) => (28, 4),
        ImageError::Count { .. } => (12, 5),
        ImageError::Name(_) => (32, 6),
        ImageError::Func { index, .. } => (u64::from(index), 7),
        ImageError::Map { index, .. } | ImageError::MapData { index } => (u64::from(index), 8),
    };
    Refused::with(Status::BadImage, &[at, reason])
}
