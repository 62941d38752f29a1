//! Synchronous calls and notifications over static channels.
//!
//! A channel joins two VMs; the flat end ids of channel c are 2c (A) and 2c + 1 (B), so that an end's partner is `end ^ 1`. A guest names an end by
//! its index in its own VM's list, so it cannot name an end that is not its own.
//!
//! A message is six registers and is never stored here: it stays in the registers of the caller, which is blocked, until the caller of these
//! functions copies it to the receiver. Each function decides and changes the state at once; what it returns tells which vCPU to copy to,
//! block and wake. vCPUs are named by their system-wide index (below [`VCPUS_MAX`]).
//!
//! A server takes the waiting call of the highest caller priority; between equals, the lower index in its list.

mod direct;
mod state;
#[cfg(test)]
mod tests;

use hyp_abi::config::{CHANNELS_MAX, VCPUS_MAX};
use hyp_abi::rights::ChannelRights;
use hyp_abi::{CHANNEL_ENDS_MAX, Status, VMS_MAX};

pub use direct::{DirectCall, DirectReply};
pub use state::EndSpec;
use state::{Call, End, Vm};

/// Ends of all channels.
pub const ENDS_MAX: usize = 2 * CHANNELS_MAX;

const _: () = assert!(VCPUS_MAX <= 32, "waiting vCPUs are bits of a u32");
const _: () = assert!(CHANNEL_ENDS_MAX <= 16, "ends of a VM are bits of a u16");
const _: () = assert!(ENDS_MAX <= u8::MAX as usize);

/// Outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// x0 = status; nothing has changed.
    Refused(Status),
    /// Copy x2–x7 to `server`, whose receive ends with x0 = 0, x1 = `end`; wake it; block the caller.
    Deliver {
        /// vCPU that was waiting to receive.
        server: usize,
        /// Index of the channel end in the server's list.
        end: u64,
    },
    /// No receiver waits: block the caller.
    Queued,
}

/// Outcome of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// x0 = status.
    Refused(Status),
    /// Copy x2–x7 of `from` (which stays blocked); x0 = 0, x1 = `end`.
    Message {
        /// The caller.
        from: usize,
        /// Index of the channel end in the receiver's list.
        end: u64,
    },
    /// x0 = 0, x1 = `end` with the notification flag, x2 = `bits`.
    Notified {
        /// Index of the channel end in the receiver's list.
        end: u64,
        /// What was notified since.
        bits: u64,
    },
    /// Nothing there: block the receiver.
    Block,
}

/// Outcome of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replied {
    /// x0 = status.
    Refused(Status),
    /// Copy x2–x7 to `caller`, whose call ends with x0 = 0, x1 = 0; wake it.
    Deliver {
        /// vCPU that waits for this reply.
        caller: usize,
    },
}

/// Outcome of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// x0 = status.
    Refused(Status),
    /// The bits are stored; the partner has not asked for an interrupt.
    Stored,
    /// The bits are stored; pend SPI `intid` at VM `vm`.
    Interrupt {
        /// Partner VM.
        vm: usize,
        /// SPI that its manifest names.
        intid: u32,
    },
    /// A receive of vCPU `vcpu` ends as [`Received::Notified`]; wake it.
    EndReceive {
        /// vCPU to wake.
        vcpu: usize,
        /// Index of the channel end in its list.
        end: u64,
        /// Bits, taken.
        bits: u64,
    },
    /// A wait of `vcpu` ends with x0 = 0, x1 = `bits`; wake it.
    EndWait {
        /// vCPU to wake.
        vcpu: usize,
        /// Bits, taken.
        bits: u64,
    },
}

/// Outcome of a wait for notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// x0 = status.
    Refused(Status),
    /// x0 = 0, x1 = the bits, taken.
    Bits(u64),
    /// Block the vCPU.
    Block,
}

/// What ChannelInfo tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Partner's VM id.
    pub partner: usize,
    /// Own rights.
    pub rights: ChannelRights,
    /// Partner's rights.
    pub partner_rights: ChannelRights,
    /// SPI of notifications from the partner; 0: none.
    pub intid: u32,
}

/// Why a channel cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// All channels are in use.
    Full,
    /// A VM id is out of range, or both are the same.
    Vm,
    /// A VM has [`CHANNEL_ENDS_MAX`] ends already.
    Ends,
}

/// All channels of the system.
#[derive(Clone, Debug)]
pub struct Ipc {
    channels: usize,
    ends: [End; ENDS_MAX],
    vms: [Vm; VMS_MAX],
}

impl Default for Ipc {
    fn default() -> Self {
        Self::new()
    }
}

impl Ipc {
    /// No channel.
    pub const fn new() -> Self {
        Self {
            channels: 0,
            ends: [const { End::new() }; ENDS_MAX],
            vms: [const { Vm::new() }; VMS_MAX],
        }
    }

    /// Number of the channel whose end `index` of `vm` is, the same at both ends; `u32::MAX` if there is none.
    #[inline]
    pub fn channel(&self, vm: usize, index: u64) -> u32 {
        self.end_of(vm, index).map_or(u32::MAX, |end| end as u32 / 2)
    }

    /// A vCPU of `vm` calls over its channel end `index`. *Hot.*
    #[inline(always)]
    pub fn call(&mut self, vcpu: usize, vm: usize, index: u64) -> Called {
        let Some(own) = self.end_of(vm, index) else {
            return Called::Refused(Status::NotFound);
        };
        let partner = own ^ 1;
        let Some((rights, _)) = self.ends.get(own).map(|e| (e.rights, e.vm)) else {
            return Called::Refused(Status::NotFound);
        };
        if !rights.contains(ChannelRights::CALL) {
            return Called::Refused(Status::Denied);
        }
        let Some(end) = self.ends.get_mut(partner) else {
            return Called::Refused(Status::NotFound);
        };
        let Some(server) = self.vms.get_mut(usize::from(end.vm)) else {
            return Called::Refused(Status::NotFound);
        };
        if !server.alive {
            return Called::Refused(Status::PartnerGone);
        }
        if matches!(end.call, Call::Queued(_) | Call::Served(_)) {
            return Called::Refused(Status::Busy);
        }
        match server.take_receiver() {
            Some(receiver) => {
                end.call = Call::Served(vcpu as u8);
                Called::Deliver {
                    server: receiver,
                    end: u64::from(end.index),
                }
            }
            None => {
                end.call = Call::Queued(vcpu as u8);
                server.queued |= 1 << (end.rank % 16);
                Called::Queued
            }
        }
    }

    /// vCPU of `vm` receives the next call or notification. *Hot.*
    #[inline(always)]
    pub fn recv(&mut self, vcpu: usize, vm: usize, block: bool) -> Received {
        let Some(server) = self.vms.get_mut(vm) else {
            return Received::Refused(Status::NotFound);
        };
        if !server.may_receive {
            return Received::Refused(Status::Denied);
        }
        if server.queued != 0 {
            let rank = server.queued.trailing_zeros() as usize % CHANNEL_ENDS_MAX;
            server.queued &= server.queued - 1;
            let own = usize::from(server.by_rank[rank]);
            if let Some(end) = self.ends.get_mut(own)
                && let Call::Queued(from) = end.call
            {
                end.call = Call::Served(from);
                return Received::Message {
                    from: usize::from(from),
                    end: u64::from(end.index),
                };
            }
        }
        if server.notified != 0 {
            let index = server.notified.trailing_zeros() as usize % CHANNEL_ENDS_MAX;
            server.notified &= server.notified - 1;
            let own = usize::from(server.ends[index]);
            if let Some(end) = self.ends.get_mut(own) {
                return Received::Notified {
                    end: index as u64,
                    bits: core::mem::take(&mut end.bits),
                };
            }
        }
        if !block {
            return Received::Refused(Status::WouldBlock);
        }
        server.receivers |= bit(vcpu);
        Received::Block
    }

    /// A vCPU of `vm` replies over its end `index` to the call it has received there. *Hot.*
    #[inline(always)]
    pub fn reply(&mut self, vm: usize, index: u64) -> Replied {
        let Some(end) = self.end_of(vm, index).and_then(|own| self.ends.get_mut(own)) else {
            return Replied::Refused(Status::NotFound);
        };
        match end.call {
            Call::Served(caller) => {
                end.call = Call::Idle;
                Replied::Deliver {
                    caller: usize::from(caller),
                }
            }
            Call::Orphan => {
                end.call = Call::Idle;
                Replied::Refused(Status::PartnerGone)
            }
            Call::Idle | Call::Queued(_) => Replied::Refused(Status::NotFound),
        }
    }

    /// A vCPU of `vm` notifies its partner at end `index`.
    #[inline]
    pub fn notify(&mut self, vm: usize, index: u64, bits: u64) -> Notified {
        let Some(own) = self.end_of(vm, index) else {
            return Notified::Refused(Status::NotFound);
        };
        if !self
            .ends
            .get(own)
            .is_some_and(|e| e.rights.contains(ChannelRights::NOTIFY))
        {
            return Notified::Refused(Status::Denied);
        }
        let Some(end) = self.ends.get_mut(own ^ 1) else {
            return Notified::Refused(Status::NotFound);
        };
        let Some(partner) = self.vms.get_mut(usize::from(end.vm)) else {
            return Notified::Refused(Status::NotFound);
        };
        if !partner.alive {
            return Notified::Refused(Status::PartnerGone);
        }
        if bits == 0 {
            return Notified::Stored;
        }
        end.bits |= bits;
        if let Some(waiter) = end.waiter.take() {
            partner.notified &= !(1 << (end.index % 16));
            return Notified::EndWait {
                vcpu: usize::from(waiter),
                bits: core::mem::take(&mut end.bits),
            };
        }
        if let Some(vcpu) = partner.take_receiver() {
            partner.notified &= !(1 << (end.index % 16));
            let bits = core::mem::take(&mut end.bits);
            return Notified::EndReceive {
                vcpu,
                end: u64::from(end.index),
                bits,
            };
        }
        partner.notified |= 1 << (end.index % 16);
        match end.intid {
            0 => Notified::Stored,
            intid => Notified::Interrupt {
                vm: usize::from(end.vm),
                intid,
            },
        }
    }

    /// A vCPU of `vm` takes the bits of its end `index`, or waits for some.
    pub fn wait(&mut self, vcpu: usize, vm: usize, index: u64, block: bool) -> Waited {
        let Some(end) = self.end_of(vm, index).and_then(|own| self.ends.get_mut(own)) else {
            return Waited::Refused(Status::NotFound);
        };
        if !end.rights.contains(ChannelRights::NOTIFIED) {
            return Waited::Refused(Status::Denied);
        }
        if end.bits != 0 {
            if let Some(v) = self.vms.get_mut(vm) {
                v.notified &= !(1 << (end.index % 16));
            }
            return Waited::Bits(core::mem::take(&mut end.bits));
        }
        if !block {
            return Waited::Refused(Status::WouldBlock);
        }
        if end.waiter.is_some() {
            return Waited::Refused(Status::Busy);
        }
        end.waiter = Some(vcpu as u8);
        Waited::Block
    }

    /// What the end `index` of `vm` is.
    pub fn info(&self, vm: usize, index: u64) -> Option<Info> {
        let own = self.end_of(vm, index)?;
        let (end, partner) = (self.ends.get(own)?, self.ends.get(own ^ 1)?);
        Some(Info {
            partner: usize::from(partner.vm),
            rights: end.rights,
            partner_rights: partner.rights,
            intid: end.intid,
        })
    }

    /// Number of channel ends of `vm`.
    pub fn end_count(&self, vm: usize) -> usize {
        self.vms.get(vm).map_or(0, |v| usize::from(v.count))
    }

    #[inline(always)]
    fn end_of(&self, vm: usize, index: u64) -> Option<usize> {
        let vm = self.vms.get(vm)?;
        if index >= u64::from(vm.count) {
            return None;
        }
        // The count is at most that: the remainder only tells the compiler.
        Some(usize::from(vm.ends[index as usize % CHANNEL_ENDS_MAX]))
    }
}

#[inline]
const fn bit(vcpu: usize) -> u32 {
    1 << (vcpu % VCPUS_MAX)
}
