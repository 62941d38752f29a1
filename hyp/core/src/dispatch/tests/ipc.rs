//! Channels by hypercall, and the short way against the general one.

use hyp_abi::call::RECV_NOTIFIED;

use super::*;
use crate::dispatch::{Next, direct, schedule};
use crate::testrng::{Rng, steps};
use crate::vcpu::Run;

#[test]
fn a_call_and_its_reply_carry_six_words() {
    let mut s = System::new();
    s.give_cpu(1);
    s.call(Call::IpcRecv, &[0]);
    assert_eq!(s.cpu.vcpus[1].run, Run::Waiting);
    s.give_cpu(0);
    assert_eq!(
        s.hvc(Call::IpcCall.fid(), &[0, 11, 12, 13, 14, 15, 16]),
        PathId::IpcCall
    );
    assert_eq!((s.cpu.vcpus[0].run, s.cpu.vcpus[1].run), (Run::Waiting, Run::Ready));
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 7].map(|n| s.x(1, n)),
        [0, 0, 11, 12, 13, 14, 15, 16]
    );
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::IpcCall), Next::Switch(1));
    s.cpu.loaded = 1;
    assert_eq!(
        s.hvc(Call::IpcReply.fid(), &[0, 21, 22, 23, 24, 25, 26]),
        PathId::IpcReply
    );
    assert_eq!([0, 1, 2, 7].map(|n| s.x(0, n)), [0, 0, 21, 26]);
    assert_eq!((s.x(1, 0), s.cpu.vcpus[0].run), (0, Run::Ready));
    assert_eq!(s.call(Call::IpcReply, &[0]), Some(Status::NotFound), "once");
}

#[test]
fn a_notification_ends_a_receive_or_interrupts() {
    let mut s = System::new();
    s.give_cpu(1);
    s.call(Call::IpcRecv, &[0]);
    s.give_cpu(0);
    assert_eq!(s.call(Call::Notify, &[0, 0x30]), Some(Status::Ok));
    assert_eq!((s.x(1, 0), s.x(1, 1), s.x(1, 2)), (0, RECV_NOTIFIED, 0x30));
    assert_eq!(s.cpu.vcpus[1].run, Run::Ready);
    assert_eq!(s.call(Call::Notify, &[0, 1]), Some(Status::Ok));
    assert_eq!(s.call(Call::Notify, &[1, 1]), Some(Status::NotFound));
    s.give_cpu(1);
    assert_eq!(s.call(Call::NotifyWait, &[0, 1]), Some(Status::Ok));
    assert_eq!(s.x(1, 1), 1);
}

#[test]
fn a_partner_that_stops_ends_the_wait() {
    let mut s = System::new();
    s.call(Call::IpcCall, &[0]);
    assert_eq!(s.cpu.vcpus[0].run, Run::Waiting);
    s.give_cpu(1);
    s.hvc(Call::VmExit.fid(), &[0]);
    assert_eq!(Status::from_x0(s.x(0, 0)), Some(Status::PartnerGone));
    assert_eq!(s.cpu.vcpus[0].run, Run::Ready);
}

/// What can be seen of a system: run states and registers, who is next, who is loaded.
type Seen = (Vec<(Run, Vec<u64>)>, Option<usize>, u32);

fn seen(s: &System) -> Seen {
    let vcpus = s.cpu.vcpus.iter().take(2).map(|v| {
        // x0 of one that waits is written when the wait ends, whatever it was.
        let first = u32::from(v.run == Run::Waiting);
        (v.run, (first..31).map(|n| v.frame.get(n)).collect())
    });
    let vcpus = vcpus.collect();
    (vcpus, s.cpu.sched.clone().next(), s.cpu.loaded)
}

/// The short way does what the general one does, or nothing.
#[test]
fn the_short_way_is_the_general_one() {
    let mut rng = Rng::new("direct", 31);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..steps(300) {
        let mut s = System::new();
        for _ in 0..40 {
            let Some(slot) = s.cpu.sched.next() else { break };
            s.cpu.loaded = slot as u32;
            let call = rng.pick(&[
                Call::IpcCall,
                Call::IpcReplyRecv,
                Call::IpcReplyRecv,
                Call::IpcRecv,
                Call::Notify,
            ]);
            let end = u64::from(rng.chance(5));
            s.frame(slot).set(0, call.fid());
            for n in 1..8 {
                let value = if n == 1 { end } else { rng.next() >> 60 };
                s.frame(slot).set(n, value);
            }
            let mut short = System {
                cpu: s.cpu.clone(),
                board: s.board.clone(),
                probes: Probes::default(),
            };
            let to = match call {
                Call::IpcCall => direct::call(&mut short.cpu, &mut short.board),
                Call::IpcReplyRecv => direct::reply_receive(&mut short.cpu, &mut short.board),
                _ => None,
            };
            let before = seen(&s);
            let (x0, others): (u64, Vec<u64>) = (s.x(slot, 0), (1..8).map(|n| s.x(slot, n)).collect());
            if to.is_none() {
                assert_eq!(seen(&short), before, "what is refused has changed nothing");
                refused += 1;
            }
            s.hvc(x0, &others);
            let next = schedule(&mut s.cpu, &mut s.board, PathId::IpcCall);
            if let Some(to) = to {
                assert_eq!(next, Next::Switch(to));
                assert_eq!(seen(&short), seen(&s));
                taken += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
