//! Small probes, encoded when the runtime is built, and the hypercalls that bring one to life.

use hyp_abi::call::{CURSOR_END, FILTER_ANY};
use hyp_abi::{Call, Status};

use crate::buffer::Shared;
use crate::hvc::{self, Refused, Registers};

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Units of verification asked for per call.
const UNITS: u64 = 1024;
/// Calls after which a step has no end.
const STEPS_MAX: u32 = 1 << 16;

/// Number of the point called `name`.
///
/// # Panics
/// If there is none.
pub fn point(name: &str) -> usize {
    match POINT_NAMES.iter().position(|n| *n == name) {
        Some(number) => number,
        None => panic!("no point {name}"),
    }
}

/// A published program. Lives until [`Program::unload`].
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its handle.
    pub handle: u64,
    /// Proven bound, eBPF instructions.
    pub insn_bound: u64,
    /// Proven bound, units of path time.
    pub time_bound: u64,
}

/// An attachment.
#[derive(Debug, Clone, Copy)]
pub struct Attachment(pub u64);

fn finish(call: Call, handle: u64) -> Result<Registers, Refused> {
    for _ in 0..STEPS_MAX {
        let x = hvc::call(call, [handle, UNITS])?;
        if x[1] != 0 {
            return Ok(x);
        }
    }
    Err(Refused {
        status: Status::TooBig,
        x: [0; 8],
    })
}

impl Program {
    /// Stages, verifies and compiles an image. A refused program is unloaded.
    ///
    /// # Errors
    /// The first refusal.
    pub fn load(image: &[u8]) -> Result<Self, Refused> {
        let handle = hvc::call(Call::ProbeStage, [image.as_ptr() as u64, image.len() as u64])?[1];
        let steps = || {
            let verified = finish(Call::ProbeVerify, handle)?;
            let compiled = finish(Call::ProbeCompile, handle)?;
            Ok(Self {
                handle,
                insn_bound: verified[3],
                time_bound: compiled[3],
            })
        };
        steps().inspect_err(|_| {
            // The refusal to report is the first one.
            let _ = hvc::call(Call::ProbeUnload, [handle]);
        })
    }

    /// Attaches to the point with number `point`, for events of VM `vm`, or of all.
    ///
    /// # Errors
    /// As the hypervisor refuses: rights, budgets, pools.
    pub fn attach(&self, point: usize, vm: Option<u64>) -> Result<Attachment, Refused> {
        let x = hvc::call(Call::ProbeAttach, [self.handle, point as u64, vm.unwrap_or(FILTER_ANY)])?;
        Ok(Attachment(x[1]))
    }

    /// Unloads; refused while attached.
    ///
    /// # Errors
    /// Busy.
    pub fn unload(&self) -> Result<(), Refused> {
        hvc::call(Call::ProbeUnload, [self.handle]).map(|_| ())
    }

    /// Reads entries of map `map` from the start into `buffer`: number of entries written by the first call, and
    /// whether there are more.
    ///
    /// # Errors
    /// As the hypervisor refuses.
    pub fn read(&self, map: u64, buffer: &mut Shared) -> Result<(u64, bool), Refused> {
        let x = hvc::call(Call::MapRead, [self.handle, map, 0, buffer.ipa(), buffer.len() as u64])?;
        Ok((x[2], x[1] != CURSOR_END))
    }
}

impl Attachment {
    /// Detaches.
    ///
    /// # Errors
    /// NotFound, if it is detached already.
    pub fn detach(self) -> Result<(), Refused> {
        hvc::call(Call::ProbeDetach, [self.0]).map(|_| ())
    }
}
