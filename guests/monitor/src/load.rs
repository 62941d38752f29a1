//! From an image in memory to a published program: stage, verify by steps, compile by steps.

use hyp_abi::link::LoadReply;
use hyp_abi::{Call, Status};
use rt::hvc::{self, Refused, Registers};

/// Verification units asked for per call; the hypervisor may cap it lower.
const UNITS: u64 = 1024;
/// Steps after which something is wrong: far more than the hypervisor's own limit on a verification's units.
const STEPS_MAX: u32 = 1 << 20;

/// Makes a call that another CPU may be in the way of for a moment.
fn ask<const N: usize>(call: Call, args: [u64; N]) -> Result<Registers, Refused> {
    for _ in 0..STEPS_MAX {
        match hvc::call(call, args) {
            Err(refused) if refused.status == Status::Again => core::hint::spin_loop(),
            answer => return answer,
        }
    }
    hvc::call(call, args)
}

/// Repeats `call` until x1 says that it is finished.
fn finish(call: Call, handle: u64, steps: &mut u32) -> Result<Registers, Refused> {
    while *steps < STEPS_MAX {
        *steps += 1;
        let x = ask(call, [handle, UNITS])?;
        if x[1] != 0 {
            return Ok(x);
        }
    }
    Err(Refused {
        status: Status::TooBig,
        x: [Status::TooBig.x0(), u64::from(STEPS_MAX), 0, 0, 0, 0, 0, 0],
    })
}

/// Loads the image of `len` bytes at `ipa`. A program that is refused is unloaded.
pub fn load(ipa: u64, len: u64) -> LoadReply {
    let mut reply = LoadReply {
        call: Call::ProbeStage as u32,
        ..Default::default()
    };
    let outcome = steps(ipa, len, &mut reply);
    match outcome {
        Ok(x) => reply.x = x,
        Err(refused) => {
            reply.x = refused.x;
            if reply.call != Call::ProbeStage as u32 {
                // The refusal to report is the first one, whatever becomes of this.
                let _ = ask(Call::ProbeUnload, [reply.handle]);
            }
        }
    }
    reply
}

fn steps(ipa: u64, len: u64, reply: &mut LoadReply) -> Result<Registers, Refused> {
    reply.handle = ask(Call::ProbeStage, [ipa, len])?[1];
    reply.call = Call::ProbeVerify as u32;
    let verified = finish(Call::ProbeVerify, reply.handle, &mut reply.steps)?;
    reply.insn_bound = verified[3];
    reply.time_bound = verified[4];
    reply.call = Call::ProbeCompile as u32;
    let mut compile_steps = 0;
    let compiled = finish(Call::ProbeCompile, reply.handle, &mut compile_steps)?;
    reply.code_bytes = compiled[2];
    reply.time_bound = compiled[3];
    Ok(compiled)
}
