//! Hypercalls over channels: copies the words that the decision names, blocks and wakes.

use hyp_abi::call::{NONBLOCKING, RECV_NOTIFIED};
use hyp_abi::{PathId, Status};
use probe_vm::points::{Block, Cause};

use super::{Machine, irq};
use crate::cpu::Cpu;
use crate::ipc::{Called, Notified, Received, Replied, Waited};
use crate::vcpu::Run;

/// First message register.
const WORD0: u32 = 2;

/// Copies the message registers, x2–x7.
#[inline(always)]
fn copy_words(cpu: &mut Cpu, from: usize, to: usize) {
    let Some(words) = cpu.vcpus.get(from).map(|vcpu| vcpu.frame.message()) else {
        return;
    };
    if let Some(vcpu) = cpu.vcpus.get_mut(to) {
        vcpu.frame.set_message(words);
    }
}

#[inline(always)]
fn result(cpu: &mut Cpu, slot: usize, x0: u64, x1: Option<u64>) {
    if let Some(vcpu) = cpu.vcpus.get_mut(slot) {
        vcpu.frame.set_x::<0>(x0);
        if let Some(x1) = x1 {
            vcpu.frame.set_x::<1>(x1);
        }
    }
}

#[inline(always)]
fn block<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, reason: Block, channel: u32) {
    if let Some(vcpu) = cpu.vcpus.get_mut(slot) {
        vcpu.run = Run::Waiting;
    }
    let _ = cpu.sched.block(slot);
    m.vcpu_block(path, reason as u32, channel);
}

#[inline(always)]
fn wake<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, cause: Cause, detail: u32) {
    let Some(vcpu) = cpu.vcpus.get_mut(slot) else { return };
    if vcpu.run == Run::Waiting {
        vcpu.run = Run::Ready;
        let vm = vcpu.vm.into();
        let _ = cpu.sched.wake(slot);
        m.vcpu_wake(path, vm, cause as u32, detail);
    }
}

/// IpcCall of the running vCPU.
#[inline(always)]
pub fn call<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, end: u64, word0: u64) -> PathId {
    m.vm_exit(PathId::IpcCall);
    let outcome = cpu.ipc.call(slot, slot, end);
    let channel = cpu.ipc.channel(slot, end);
    match outcome {
        Called::Refused(status) => result(cpu, slot, status.x0(), None),
        Called::Deliver { server, end } => {
            m.ipc_call(channel, server as u32, word0, true);
            copy_words(cpu, slot, server);
            result(cpu, server, 0, Some(end));
            block(cpu, m, PathId::IpcCall, slot, Block::IpcCall, channel);
            wake(cpu, m, PathId::IpcCall, server, Cause::Ipc, channel);
        }
        Called::Queued => {
            m.ipc_call(channel, u32::MAX, word0, false);
            block(cpu, m, PathId::IpcCall, slot, Block::IpcCall, channel);
        }
    }
    PathId::IpcCall
}

/// IpcRecv of the running vCPU; `path` is IpcReplyRecv's where it is its second half.
#[inline(always)]
pub fn receive<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, flags: u64, path: PathId) -> PathId {
    match cpu.ipc.recv(slot, slot, flags & NONBLOCKING == 0) {
        Received::Refused(status) => result(cpu, slot, status.x0(), None),
        Received::Message { from, end } => {
            copy_words(cpu, from, slot);
            result(cpu, slot, 0, Some(end));
        }
        Received::Notified { end, bits } => {
            result(cpu, slot, 0, Some(end | RECV_NOTIFIED));
            if let Some(vcpu) = cpu.vcpus.get_mut(slot) {
                vcpu.frame.set(WORD0, bits);
            }
        }
        Received::Block => block(cpu, m, path, slot, Block::IpcRecv, u32::MAX),
    }
    path
}

/// IpcReply of the running vCPU: true if it was delivered.
#[inline(always)]
pub fn reply<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, end: u64, word0: u64) -> bool {
    let channel = cpu.ipc.channel(slot, end);
    match cpu.ipc.reply(slot, end) {
        Replied::Refused(status) => {
            result(cpu, slot, status.x0(), None);
            false
        }
        Replied::Deliver { caller } => {
            m.ipc_reply(path, channel, caller as u32, word0);
            copy_words(cpu, slot, caller);
            result(cpu, caller, 0, Some(0));
            wake(cpu, m, path, caller, Cause::Ipc, channel);
            result(cpu, slot, 0, None);
            true
        }
    }
}

/// IpcReplyRecv of the running vCPU.
#[inline(always)]
pub fn reply_receive<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, end: u64, word0: u64) -> PathId {
    m.vm_exit(PathId::IpcReplyRecv);
    if !reply(cpu, m, PathId::IpcReplyRecv, slot, end, word0) {
        return PathId::IpcReplyRecv;
    }
    receive(cpu, m, slot, 0, PathId::IpcReplyRecv)
}

/// Notify of the running vCPU.
pub fn notify<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, end: u64, bits: u64) -> PathId {
    m.vm_exit(PathId::Notify);
    let channel = cpu.ipc.channel(slot, end);
    let outcome = cpu.ipc.notify(slot, end, bits);
    let mut status = Status::Ok;
    match outcome {
        Notified::Refused(refused) => status = refused,
        Notified::Stored => m.notify(channel, u32::MAX, bits, 0),
        Notified::Interrupt { vm, intid } => {
            m.notify(channel, vm as u32, bits, 0);
            irq::notify(cpu, m, PathId::Notify, vm, intid);
        }
        Notified::EndReceive { vcpu, end, bits } => {
            m.notify(channel, vcpu as u32, bits, 0);
            result(cpu, vcpu, 0, Some(end | RECV_NOTIFIED));
            if let Some(v) = cpu.vcpus.get_mut(vcpu) {
                v.frame.set(WORD0, bits);
            }
            wake(cpu, m, PathId::Notify, vcpu, Cause::Notify, channel);
        }
        Notified::EndWait { vcpu, bits } => {
            m.notify(channel, vcpu as u32, bits, 0);
            result(cpu, vcpu, 0, Some(bits));
            wake(cpu, m, PathId::Notify, vcpu, Cause::Notify, channel);
        }
    }
    result(cpu, slot, status.x0(), None);
    PathId::Notify
}

/// NotifyWait of the running vCPU.
pub fn wait<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, end: u64, flags: u64) -> PathId {
    m.vm_exit(PathId::NotifyWait);
    match cpu.ipc.wait(slot, slot, end, flags & NONBLOCKING == 0) {
        Waited::Refused(status) => result(cpu, slot, status.x0(), None),
        Waited::Bits(bits) => result(cpu, slot, 0, Some(bits)),
        Waited::Block => {
            let channel = cpu.ipc.channel(slot, end);
            block(cpu, m, PathId::NotifyWait, slot, Block::Notify, channel);
        }
    }
    PathId::NotifyWait
}
