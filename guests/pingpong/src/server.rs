//! The first word of a call says what to do:
//! 0 echoes in a tight loop; 1 replies the count (second word) at which the last notification's handler was entered, then waits for the next notification in WFI with
//! interrupts on; 2 stops; 3 notifies the caller with the bits of the second word, then replies.

use hyp_abi::{Status, call};
use rt::hvc::{self, Received};
use rt::{exit, measure, println, timer};

const ARM: u64 = 1;
const STOP: u64 = 2;
const NOTIFY_BACK: u64 = 3;

/// Serves until told to stop or the partner is gone.
pub fn run(channel: u64) {
    let mut stamp = 0;
    let mut served = 0_u64;
    let mut notified = 0_u64;
    let mut next = hvc::ipc_recv();
    loop {
        next = match next {
            Ok(Received::Call { channel: from, message }) => {
                served += 1;
                match message[0] {
                    ARM => {
                        reply(from, [ARM, stamp, 0, 0, 0, 0]);
                        stamp = measure::wait_stamp().0;
                        notified += u64::from(hvc::notify_wait(channel, false).is_ok());
                        hvc::ipc_recv()
                    }
                    STOP => {
                        reply(from, message);
                        break;
                    }
                    NOTIFY_BACK => {
                        if let Err(refused) = hvc::notify(from, message[1]) {
                            exit::fail("pingpong server", format_args!("notify: {:?}", refused.status));
                        }
                        hvc::ipc_reply_recv(from, message)
                    }
                    // Answered by the tight loop's first reply, which carries six zeros as the caller's own words do.
                    0 if message == [0; 6] => decode(measure::serve_ipc(from)),
                    _ => hvc::ipc_reply_recv(from, message),
                }
            }
            Ok(Received::Notified { .. }) => {
                notified += 1;
                hvc::ipc_recv()
            }
            Err(refused) if refused.status == Status::PartnerGone => break,
            Err(refused) => exit::fail("pingpong server", format_args!("receive: {:?}", refused.status)),
        };
    }
    println!(
        "@server {{\"served\":{served},\"notified\":{notified},\"ns\":{}}}",
        timer::now_ns()
    );
}

fn reply(channel: u64, message: hvc::Message) {
    if let Err(refused) = hvc::ipc_reply(channel, message) {
        exit::fail("pingpong server", format_args!("reply: {:?}", refused.status));
    }
}

fn decode(x: hvc::Registers) -> Result<Received, hvc::Refused> {
    match Status::from_x0(x[0]) {
        Some(Status::Ok) if x[1] & call::RECV_NOTIFIED != 0 => Ok(Received::Notified {
            channel: x[1] & !call::RECV_NOTIFIED,
            bits: x[2],
        }),
        Some(Status::Ok) => Ok(Received::Call {
            channel: x[1],
            message: [x[2], x[3], x[4], x[5], x[6], x[7]],
        }),
        Some(status) => Err(hvc::Refused { status, x }),
        None => exit::fail("pingpong server", format_args!("x0 = {:#x} is no status", x[0])),
    }
}
