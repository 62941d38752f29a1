//! Gnomon's hypercalls with arguments they should not get.

use hyp_abi::{Call, Status, call};
use rt::exit;
use rt::hvc::{self, Registers};

use crate::tally::Tally;
use crate::values::Values;

/// Makes the call harmless to the test itself: it must come back. Nothing else is taken off it.
fn returns(call: Call, x: &mut Registers) -> bool {
    match call {
        Call::VmExit => false,
        // Waiting for somebody is right when nobody comes; the flag is the caller's to set.
        Call::IpcRecv => {
            x[1] |= call::NONBLOCKING;
            true
        }
        Call::NotifyWait => {
            x[2] |= call::NONBLOCKING;
            true
        }
        // On a channel that is there these would block; on all others they are refused.
        Call::IpcCall | Call::IpcReplyRecv => {
            x[1] |= 1 << 40;
            true
        }
        _ => true,
    }
}

/// One call; whatever comes back must be a status, and registers above the results must be as they were.
pub fn make(call: Call, mut x: Registers, tally: &mut Tally) -> Registers {
    x[0] = call.fid();
    if !returns(call, &mut x) {
        return x;
    }
    let before = x;
    let after = hvc::raw(x);
    tally.hypercalls += 1;
    match Status::from_x0(after[0]) {
        Some(status) => tally.status(status),
        None => exit::fail(
            "hostile",
            format_args!("{} {before:x?}: x0 = {:#x}", call.name(), after[0]),
        ),
    }
    let keeps_x7 = !matches!(call, Call::IpcCall | Call::IpcRecv | Call::IpcReplyRecv);
    if keeps_x7 && after[7] != before[7] {
        exit::fail(
            "hostile",
            format_args!("{} {before:x?} changed x7 to {:#x}", call.name(), after[7]),
        );
    }
    after
}

/// Every call with every edge value in every register, and with every kind of bad buffer.
pub fn systematic(values: &mut Values, tally: &mut Tally) {
    for call in Call::ALL {
        for register in 1..8 {
            for edge in Values::EDGES.into_iter().chain(values.bad_addresses()) {
                let mut x = [0; 8];
                x[register] = edge;
                // A length that makes sense, so that the address decides.
                for length in [3, 4, 5] {
                    if length > register {
                        x[length] = 4096;
                    }
                }
                make(*call, x, tally);
            }
        }
    }
    let gap = |number: u16| Call::from_number(number).is_none();
    for number in (0..=u16::MAX)
        .filter(|n| gap(*n))
        .take(1024)
        .chain([0x7fff, 0xff00, 0xffff])
    {
        unknown(u64::from(call::FID_BASE) | u64::from(number), tally);
    }
    // The same numbers as 32-bit calls, yielding calls, and in every other owner's range.
    for number in [0, 1, 2, 0x10, 0x20, 0x43] {
        for owner in 0..64_u64 {
            for kind in [0, 1 << 30, 1 << 31, 3 << 30] {
                let function = kind | owner << 24 | number;
                if function >> 24 != 0xc6 && !is_arm_service(function) {
                    unknown(function, tally);
                }
            }
        }
    }
}

/// Arm architecture and standard services (owners 0 and 4) exist: they are `power`'s.
fn is_arm_service(function: u64) -> bool {
    function >> 31 & 1 == 1 && matches!(function >> 24 & 0x3f, 0 | 4)
}

fn unknown(function: u64, tally: &mut Tally) {
    let after = hvc::raw([function, 1, 2, 3, 4, 5, 6, 7]);
    tally.unknown += 1;
    // Unknown functions return -1; 32-bit ones in w0.
    if after[0] as i64 != -1 && after[0] as u32 != u32::MAX {
        exit::fail(
            "hostile",
            format_args!("function {function:#x} does not exist and returns {:#x}", after[0]),
        );
    }
    if after[4..] != [4, 5, 6, 7] {
        exit::fail(
            "hostile",
            format_args!("function {function:#x} changed x4-x7 to {:x?}", &after[4..]),
        );
    }
}

/// A random call with random arguments.
pub fn random(values: &mut Values, tally: &mut Tally) {
    let Some(call) = values.rng().pick(Call::ALL) else {
        return;
    };
    let mut x = [0; 8];
    for slot in x.iter_mut().skip(1) {
        *slot = values.any();
    }
    let after = make(call, x, tally);
    if matches!(call, Call::ProbeStage | Call::ProbeAttach) && after[0] == 0 {
        values.handle = after[1];
    }
}
