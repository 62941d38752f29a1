//! The two steps of a round trip between a client and a server that waits, decided first and carried out second: what
//! [`Ipc::call`] does when a receiver waits, and [`Ipc::reply`] and [`Ipc::recv`] when nothing else is there to be received.

use hyp_abi::rights::ChannelRights;

use super::state::Call;
use super::{ENDS_MAX, Ipc, bit};
use crate::sched::SLOTS;

/// A call that a waiting receiver can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectCall {
    /// vCPU that waits.
    pub server: usize,
    /// Index of the channel end in the server's list.
    pub end: u64,
    /// The serving end.
    flat: usize,
    vm: usize,
}

/// A reply whose caller waits for it, by a server that will wait then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectReply {
    /// vCPU that waits for the reply.
    pub caller: usize,
    flat: usize,
    vm: usize,
}

impl DirectCall {
    /// Number of the channel.
    pub const fn channel(&self) -> u32 {
        self.flat as u32 / 2
    }
}

impl DirectReply {
    /// Number of the channel.
    pub const fn channel(&self) -> u32 {
        self.flat as u32 / 2
    }
}

impl Ipc {
    /// What a call by `vm` over its end `index` would do, if that is to go straight to a receiver. *Hot.* Changes nothing.
    #[inline(always)]
    pub fn direct_call(&self, vm: usize, index: u64) -> Option<DirectCall> {
        let own = self.end_of(vm, index)?;
        let flat = (own ^ 1) % ENDS_MAX;
        if !self.ends[own % ENDS_MAX].rights.contains(ChannelRights::CALL) {
            return None;
        }
        let end = &self.ends[flat];
        let vm = usize::from(end.vm);
        let server = self.vms.get(vm)?;
        // Receivers wait at living VMs alone.
        if server.receivers == 0 || matches!(end.call, Call::Queued(_) | Call::Served(_)) {
            return None;
        }
        Some(DirectCall {
            server: server.receivers.trailing_zeros() as usize % SLOTS,
            end: u64::from(end.index),
            flat,
            vm,
        })
    }

    /// Carries out what [`Self::direct_call`] found, for `vcpu`.
    #[inline(always)]
    pub fn take_call(&mut self, vcpu: usize, call: &DirectCall) {
        if let Some(server) = self.vms.get_mut(call.vm) {
            server.receivers &= !bit(call.server);
        }
        self.ends[call.flat % ENDS_MAX].call = Call::Served(vcpu as u8);
    }

    /// What a reply by `vm` over its end `index` and a receive after it would do, if that is to wake the caller and to wait. *Hot.* Changes nothing.
    #[inline(always)]
    pub fn direct_reply(&self, vm: usize, index: u64) -> Option<DirectReply> {
        let flat = self.end_of(vm, index)? % ENDS_MAX;
        let server = self.vms.get(vm)?;
        let Call::Served(caller) = self.ends[flat].call else {
            return None;
        };
        if !server.may_receive || server.queued | server.notified != 0 {
            return None;
        }
        Some(DirectReply {
            caller: usize::from(caller),
            flat,
            vm,
        })
    }

    /// Carries out what [`Self::direct_reply`] found, for the server's `vcpu`.
    #[inline(always)]
    pub fn take_reply(&mut self, vcpu: usize, reply: &DirectReply) {
        if let Some(server) = self.vms.get_mut(reply.vm) {
            server.receivers |= bit(vcpu);
        }
        self.ends[reply.flat % ENDS_MAX].call = Call::Idle;
    }
}
