//! A client's call straight to the server that waits for it, and the reply straight back: the CPU changes hands without
//! the run queue being asked. Anything less simple is for the general way, which finds everything as it was.

use hyp_abi::PathId;
use probe_vm::points::{Block, Cause, Switch};

use super::{Machine, Switched};
use crate::cpu::Cpu;
use crate::vcpu::{Run, Vcpu};

/// The message goes from one to the other, who ends its own hypercall with x0 = 0 and `x1`; the one waits.
#[inline(always)]
fn pass(from: &mut Vcpu, to: &mut Vcpu, x1: u64) {
    to.frame.set_message(from.frame.message());
    to.frame.set_x::<0>(0);
    to.frame.set_x::<1>(x1);
    to.run = Run::Ready;
    from.run = Run::Waiting;
}

/// IpcCall of the running vCPU: the slot that runs next, if a server waits for the call. *Hot.* `hyp-el2` switches registers.
#[inline(always)]
pub fn call<M: Machine>(cpu: &mut Cpu, m: &mut M) -> Option<usize> {
    let slot = cpu.loaded as usize;
    let vcpu = cpu.vcpus.get(slot)?;
    let call = cpu.ipc.direct_call(vcpu.vm.into(), vcpu.frame.x::<1>())?;
    let (to, path) = (call.server, PathId::IpcCall);
    let [client, server] = cpu.vcpus.get_disjoint_mut([slot, to]).ok()?;
    if !cpu.sched.hand_over(slot, to) {
        return None;
    }
    // ---- Nothing is refused from here on. ----
    m.vm_exit(path);
    m.hypercall(path, &client.frame);
    m.ipc_call(call.channel(), server.vm.into(), client.frame.x::<2>(), true);
    cpu.ipc.take_call(slot, &call);
    pass(client, server, call.end);
    changed(m, path, client, server, Block::IpcCall, call.channel());
    Some(to)
}

/// IpcReplyRecv of the running vCPU: the slot that runs next, if its caller waits for the reply and nothing else is there to be
/// received. *Hot.* `hyp-el2` switches registers.
#[inline(always)]
pub fn reply_receive<M: Machine>(cpu: &mut Cpu, m: &mut M) -> Option<usize> {
    let slot = cpu.loaded as usize;
    let vcpu = cpu.vcpus.get(slot)?;
    let reply = cpu.ipc.direct_reply(vcpu.vm.into(), vcpu.frame.x::<1>())?;
    let (to, path) = (reply.caller, PathId::IpcReplyRecv);
    let [server, client] = cpu.vcpus.get_disjoint_mut([slot, to]).ok()?;
    if !cpu.sched.hand_over(slot, to) {
        return None;
    }
    // ---- Nothing is refused from here on. ----
    m.vm_exit(path);
    m.hypercall(path, &server.frame);
    m.ipc_reply(path, reply.channel(), client.vm.into(), server.frame.x::<2>());
    cpu.ipc.take_reply(slot, &reply);
    pass(server, client, 0);
    changed(m, path, server, client, Block::IpcRecv, reply.channel());
    Some(to)
}

/// Tells what both ways have in common.
#[inline(always)]
fn changed<M: Machine>(m: &mut M, path: PathId, from: &Vcpu, to: &Vcpu, block: Block, channel: u32) {
    m.vcpu_block(path, block as u32, channel);
    m.vcpu_wake(path, to.vm.into(), Cause::Ipc as u32, channel);
    m.sched_switch(path, || Switched {
        from: (from.vm.into(), from.index.into()),
        to: (to.vm.into(), to.index.into()),
        reason: Switch::Ipc as u32,
        priority: u32::MAX,
    });
}
