//! Programs of random bytes, of random instructions in a good container, and good programs with a few bits wrong. Those that pass
//! the verifier are attached, fired, and read: a proven program cannot do harm.

use hyp_abi::{Call, Status};
use rt::buffer::{Buffer, Shared};
use rt::programs;
use rt::psci;
use rt::rng::Rng;

use crate::calls;
use crate::tally::Tally;
use crate::values::Values;

/// Largest image made here.
const IMAGE_MAX: usize = 4096;
static IMAGE: Buffer<IMAGE_MAX> = Buffer::new();
/// Verification calls before giving a program up.
const STEPS_MAX: u32 = 64;
/// Where the container's instruction section starts at the latest, for mutations that aim at instructions.
const HEADER: usize = 96;

/// Makes images and loads them.
pub struct Loader {
    image: Shared,
}

impl Loader {
    /// The only one.
    pub fn new() -> Self {
        Self { image: IMAGE.take() }
    }

    /// Loads one image, and unloads it.
    pub fn random(&mut self, rng: &mut Rng, values: &mut Values, tally: &mut Tally) {
        let len = make(rng, &mut self.image);
        tally.accepted += u64::from(load(self.image.ipa(), len as u64, values, tally));
    }
}

fn make(rng: &mut Rng, image: &mut Shared) -> usize {
    let template = match rng.below(3) {
        0 => rng.pick(programs::EMPTY),
        1 => rng.pick(programs::COUNTING),
        _ => rng.pick(programs::RECORDING),
    };
    let template = template.unwrap_or(&[]);
    let bytes = image.bytes_mut();
    match rng.below(4) {
        0 => {
            let len = rng.below(IMAGE_MAX as u64) as usize;
            for slot in bytes.iter_mut().take(len) {
                *slot = rng.next() as u8;
            }
            len
        }
        kind => {
            for (slot, byte) in bytes.iter_mut().zip(template) {
                *slot = *byte;
            }
            let from = if kind == 1 { 0 } else { HEADER };
            let span = template.len().saturating_sub(from).max(1) as u64;
            for _ in 0..rng.below(6) {
                let at = from + rng.below(span) as usize;
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = if rng.below(2) == 0 {
                        rng.next() as u8
                    } else {
                        *slot ^ 1 << rng.below(8)
                    };
                }
            }
            template.len()
        }
    }
}

/// Whether the program was accepted.
fn load(ipa: u64, len: u64, values: &mut Values, tally: &mut Tally) -> bool {
    tally.loads += 1;
    let staged = calls::make(Call::ProbeStage, [0, ipa, len, 0, 0, 0, 0, 0], tally);
    if Status::from_x0(staged[0]) != Some(Status::Ok) {
        return false;
    }
    let handle = staged[1];
    let published = finish(Call::ProbeVerify, handle, tally) && finish(Call::ProbeCompile, handle, tally);
    if published {
        let point = values.rng().below(programs::POINT_NAMES.len() as u64);
        let attached = calls::make(Call::ProbeAttach, [0, handle, point, u64::MAX, 0, 0, 0, 0], tally);
        psci::version();
        if Status::from_x0(attached[0]) == Some(Status::Ok) {
            calls::make(Call::ProbeDetach, [0, attached[1], 0, 0, 0, 0, 0, 0], tally);
        }
    }
    calls::make(Call::ProbeUnload, [0, handle, 0, 0, 0, 0, 0, 0], tally);
    published
}

fn finish(call: Call, handle: u64, tally: &mut Tally) -> bool {
    for _ in 0..STEPS_MAX {
        let x = calls::make(call, [0, handle, 256, 0, 0, 0, 0, 0], tally);
        if Status::from_x0(x[0]) != Some(Status::Ok) {
            return false;
        }
        if x[1] != 0 {
            return true;
        }
    }
    false
}
