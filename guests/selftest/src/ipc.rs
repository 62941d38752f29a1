//! IPC with a `pingpong role=server` VM on channel end `chan`: words, refusals, notifications both ways.

use hyp_abi::{CHANNEL_ENDS_MAX, Call, Status};
use rt::gic::{self, reg};
use rt::hvc::{self, Message};
use rt::{cpu, platform, println};

use crate::{expect, need};

// What the server does, by the first word.
const STOP: u64 = 2;
const NOTIFY_BACK: u64 = 3;

pub fn run() {
    let channel = platform::get().number("chan").unwrap_or(0);
    gic::init();
    let info = need("ChannelInfo", hvc::channel_info(channel));
    words(channel);
    refusals(channel);
    notifications(channel, info.intid);
    need("stop", hvc::ipc_call(channel, [STOP, 0, 0, 0, 0, 0]));
    gone(channel);
}

fn words(channel: u64) {
    for round in 0..200_u64 {
        let message: Message = [round + 100, !round, round << 40, u64::MAX, 0, round * round];
        let reply = need("IpcCall", hvc::ipc_call(channel, message));
        expect!(reply == message, "round {round}: {reply:x?} for {message:x?}");
    }
    // Zeros take the server's tight loop.
    expect!(
        need("IpcCall", hvc::ipc_call(channel, [0; 6])) == [0; 6],
        "zeros come back as something else"
    );
}

fn refusals(channel: u64) {
    for end in [
        CHANNEL_ENDS_MAX as u64 - 1,
        CHANNEL_ENDS_MAX as u64,
        u64::MAX,
        1 << 63 | channel,
    ] {
        for call in [
            Call::IpcCall,
            Call::IpcReply,
            Call::Notify,
            Call::NotifyWait,
            Call::ChannelInfo,
        ] {
            let outcome = hvc::call(call, [end, 1]);
            expect!(outcome.is_err(), "{} on channel {end:#x} is allowed", call.name());
        }
    }
    let reply = hvc::ipc_reply(channel, [0; 6]);
    expect!(reply.is_err(), "replied to nobody");
    let receive = hvc::call(Call::IpcRecv, [hyp_abi::call::NONBLOCKING]);
    expect!(
        receive.is_err_and(|r| matches!(r.status, Status::WouldBlock | Status::Denied)),
        "{receive:x?}"
    );
}

fn take() -> Option<u32> {
    cpu::dsb();
    cpu::isb();
    let intid = gic::acknowledge();
    (intid < gic::SPECIAL).then_some(intid)
}

fn notifications(channel: u64, intid: u32) {
    need("Notify", hvc::notify(channel, 1));
    let none = hvc::notify_wait(channel, false);
    expect!(
        none.is_err_and(|r| r.status == Status::WouldBlock),
        "bits out of nowhere: {none:x?}"
    );
    if intid == 0 {
        println!("ipc: this end has no notification interrupt");
        return;
    }
    gic::enable(intid);
    expect!(take().is_none(), "notified before anyone did");
    for bits in [1, 6] {
        need(
            "ask for a notification",
            hvc::ipc_call(channel, [NOTIFY_BACK, bits, 0, 0, 0, 0]),
        );
    }
    expect!(
        gic::get_bit(reg::ISPENDR, intid),
        "the notification's interrupt is not pending"
    );
    expect!(take() == Some(intid), "the notification's interrupt does not come");
    let bits = need("NotifyWait", hvc::notify_wait(channel, false));
    expect!(bits == 7, "bits {bits:#x} of 1 and 6");
    gic::end(intid);
    expect!(take().is_none(), "a second interrupt for bits that are taken");
    let none = hvc::notify_wait(channel, false);
    expect!(
        none.is_err_and(|r| r.status == Status::WouldBlock),
        "bits come twice: {none:x?}"
    );
    // Bits that are there end a blocking wait at once.
    need(
        "ask for a notification",
        hvc::ipc_call(channel, [NOTIFY_BACK, 1 << 63, 0, 0, 0, 0]),
    );
    expect!(
        need("NotifyWait", hvc::notify_wait(channel, true)) == 1 << 63,
        "bit 63 lost"
    );
}

/// The server stops after its reply; calls to it end with a status, not with a hang.
fn gone(channel: u64) {
    for _ in 0..10_000 {
        match hvc::ipc_call(channel, [100, 0, 0, 0, 0, 0]) {
            Ok(_) => {}
            Err(refused) => {
                expect!(
                    refused.status == Status::PartnerGone,
                    "after the partner's stop: {:?}",
                    refused.status
                );
                return;
            }
        }
    }
    crate::failed(format_args!("the partner answers though it was told to stop"));
}
