//! Hypercalls: SMCCC fast calls by HVC, and typed wrappers of the Gnomon calls guests use.

use core::arch::asm;

use hyp_abi::rights::ChannelRights;
use hyp_abi::{Call, IPC_WORDS, Status, call};

/// x0 to x7 after a call.
pub type Registers = [u64; 8];

/// One call with x0 to x7 as given.
///
/// A pointer to memory of this guest must not be passed here unless the callee only reads it: [`crate::buffer`] holds
/// the memory that calls may write.
#[inline]
pub fn raw(x: Registers) -> Registers {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7] = x;
    // SAFETY: SMCCC 1.1+: only x0-x3 change, plus the result registers a call documents; other memory effects reach
    // buffers that the arguments name, which callers take from `crate::buffer`.
    unsafe {
        asm!(
            "hvc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            inout("x4") x4, inout("x5") x5, inout("x6") x6, inout("x7") x7,
            options(nostack),
        );
    }
    [x0, x1, x2, x3, x4, x5, x6, x7]
}

/// The same call by SMC.
#[inline]
pub fn raw_smc(x: Registers) -> Registers {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7] = x;
    // SAFETY: as in `raw`.
    unsafe {
        asm!(
            ".inst 0xd4000003", // smc #0, which the target's assembler does not know without EL3
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            inout("x4") x4, inout("x5") x5, inout("x6") x6, inout("x7") x7,
            options(nostack),
        );
    }
    [x0, x1, x2, x3, x4, x5, x6, x7]
}

/// An SMCCC call (PSCI, discovery) with three arguments; x0 of the result.
#[inline]
pub fn smccc(function: u64, args: [u64; 3]) -> u64 {
    raw([function, args[0], args[1], args[2], 0, 0, 0, 0])[0]
}

/// A refused hypercall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub status: Status,
    /// x0 to x7: [`Status`] says what they hold.
    pub x: Registers,
}

/// A Gnomon hypercall with x1 up as given.
///
/// # Errors
/// Whatever status the hypervisor gave.
///
/// # Panics
/// If x0 holds no status: the hypervisor broke its contract.
#[inline]
pub fn call<const N: usize>(call: Call, args: [u64; N]) -> Result<Registers, Refused> {
    const { assert!(N <= 7, "x1 to x7") };
    let mut x = [0; 8];
    for (slot, value) in x.iter_mut().skip(1).zip(args) {
        *slot = value;
    }
    x[0] = call.fid();
    let x = raw(x);
    match Status::from_x0(x[0]) {
        Some(Status::Ok) => Ok(x),
        Some(status) => Err(Refused { status, x }),
        None => panic!("{}: x0 = {:#x} is no status", call.name(), x[0]),
    }
}

/// Whether Gnomon answers below this guest. On the bare machine it does not, nor under another hypervisor.
pub fn present() -> bool {
    let x = raw([u64::from(call::FID_UID), 0, 0, 0, 0, 0, 0, 0]);
    x.iter().zip(call::UID).all(|(got, want)| *got as u32 == want)
}

/// Six words of a message.
pub type Message = [u64; IPC_WORDS];

fn words(x: Registers) -> Message {
    [x[2], x[3], x[4], x[5], x[6], x[7]]
}

/// Calls the partner of a channel end and waits for its reply.
///
/// # Errors
/// As the hypervisor's status: no such channel, no right, partner gone.
#[inline]
pub fn ipc_call(channel: u64, m: Message) -> Result<Message, Refused> {
    call(Call::IpcCall, [channel, m[0], m[1], m[2], m[3], m[4], m[5]]).map(words)
}

/// What ends a receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A call on `channel`, which waits for the reply.
    Call {
        /// Own channel end.
        channel: u64,
        /// Its words.
        message: Message,
    },
    /// Notification bits.
    Notified {
        /// Own channel end.
        channel: u64,
        /// Bits, taken and cleared.
        bits: u64,
    },
}

fn received(x: Registers) -> Received {
    if x[1] & call::RECV_NOTIFIED != 0 {
        Received::Notified {
            channel: x[1] & !call::RECV_NOTIFIED,
            bits: x[2],
        }
    } else {
        Received::Call {
            channel: x[1],
            message: words(x),
        }
    }
}

/// Waits for a call or a notification.
///
/// # Errors
/// As the hypervisor's status.
pub fn ipc_recv() -> Result<Received, Refused> {
    call(Call::IpcRecv, [0]).map(received)
}

/// Answers the caller that waits on `channel`.
///
/// # Errors
/// As the hypervisor's status.
pub fn ipc_reply(channel: u64, m: Message) -> Result<(), Refused> {
    call(Call::IpcReply, [channel, m[0], m[1], m[2], m[3], m[4], m[5]]).map(|_| ())
}

/// Answers, and waits for the next call or notification.
///
/// # Errors
/// As the hypervisor's status.
#[inline]
pub fn ipc_reply_recv(channel: u64, m: Message) -> Result<Received, Refused> {
    call(Call::IpcReplyRecv, [channel, m[0], m[1], m[2], m[3], m[4], m[5]]).map(received)
}

/// ORs `bits` into what the partner has pending.
///
/// # Errors
/// As the hypervisor's status.
#[inline]
pub fn notify(channel: u64, bits: u64) -> Result<(), Refused> {
    call(Call::Notify, [channel, bits]).map(|_| ())
}

/// Takes the pending notification bits of a channel end; waits for some if `block`.
///
/// # Errors
/// As the hypervisor's status; WouldBlock if there are none and `block` is false.
pub fn notify_wait(channel: u64, block: bool) -> Result<u64, Refused> {
    call(Call::NotifyWait, [channel, if block { 0 } else { call::NONBLOCKING }]).map(|x| x[1])
}

/// What ChannelInfo tells.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// VM id of the partner.
    pub partner: u64,
    /// What this end may do.
    pub rights: ChannelRights,
    /// INTID that notifications raise; 0 if none.
    pub intid: u32,
}

/// Looks a channel end up.
///
/// # Errors
/// As the hypervisor's status.
pub fn channel_info(channel: u64) -> Result<Channel, Refused> {
    call(Call::ChannelInfo, [channel]).map(|x| Channel {
        partner: x[1],
        rights: ChannelRights::from_bits_truncate(x[2] as u32),
        intid: x[4] as u32,
    })
}
