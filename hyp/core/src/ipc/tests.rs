//! Directed cases, and random traffic against a model with queues.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::*;
use crate::ipc::state::EndSpec;
use crate::testrng::{Rng, steps};

const ALL: ChannelRights = ChannelRights::all();

fn spec(vm: usize, rights: ChannelRights, intid: u32, priority: u8) -> EndSpec {
    EndSpec {
        vm,
        rights,
        intid,
        priority,
    }
}

/// VM 0 serves VMs 1 (priority 5) and 2 (priority 9); vCPU n belongs to VM n.
fn star() -> Ipc {
    let mut ipc = Ipc::new();
    let serve = ChannelRights::SERVE | ChannelRights::NOTIFIED;
    let client = ChannelRights::CALL | ChannelRights::NOTIFY;
    ipc.add(spec(0, serve, 0, 20), spec(1, client, 0, 5)).unwrap();
    ipc.add(spec(0, serve, 160, 20), spec(2, client, 0, 9)).unwrap();
    ipc
}

#[test]
fn a_call_meets_a_waiting_server_and_the_reply_comes_back() {
    let mut ipc = star();
    assert_eq!(ipc.recv(0, 0, true), Received::Block);
    assert_eq!(ipc.call(1, 1, 0), Called::Deliver { server: 0, end: 0 });
    assert_eq!(ipc.call(1, 1, 0), Called::Refused(Status::Busy));
    assert_eq!(ipc.reply(0, 1), Replied::Refused(Status::NotFound));
    assert_eq!(ipc.reply(0, 0), Replied::Deliver { caller: 1 });
    assert_eq!(ipc.reply(0, 0), Replied::Refused(Status::NotFound));
}

#[test]
fn queued_calls_are_taken_by_priority_of_the_caller() {
    let mut ipc = star();
    assert_eq!(ipc.call(1, 1, 0), Called::Queued);
    assert_eq!(ipc.call(2, 2, 0), Called::Queued);
    assert_eq!(ipc.reply(0, 0), Replied::Refused(Status::NotFound), "not received yet");
    assert_eq!(ipc.recv(0, 0, false), Received::Message { from: 2, end: 1 });
    assert_eq!(ipc.recv(0, 0, true), Received::Message { from: 1, end: 0 });
    assert_eq!(ipc.recv(0, 0, false), Received::Refused(Status::WouldBlock));
}

#[test]
fn rights_and_names_are_checked() {
    let mut ipc = star();
    assert_eq!(ipc.call(0, 0, 0), Called::Refused(Status::Denied));
    assert_eq!(ipc.call(1, 1, 1), Called::Refused(Status::NotFound));
    assert_eq!(ipc.call(1, 99, 0), Called::Refused(Status::NotFound));
    assert_eq!(ipc.call(1, 1, u64::MAX), Called::Refused(Status::NotFound));
    assert_eq!(ipc.recv(1, 1, true), Received::Refused(Status::Denied));
    assert_eq!(ipc.notify(0, 0, 1), Notified::Refused(Status::Denied));
    assert_eq!(ipc.wait(1, 1, 0, true), Waited::Refused(Status::Denied));
    let info = ipc.info(0, 1).unwrap();
    assert_eq!((info.partner, info.intid), (2, 160));
    assert_eq!(ipc.info(0, 2), None);
    assert_eq!(ipc.end_count(0), 2);
}

#[test]
fn notifications_wake_a_waiter_a_receiver_or_pend_an_interrupt() {
    let mut ipc = star();
    assert_eq!(ipc.notify(2, 0, 3), Notified::Interrupt { vm: 0, intid: 160 });
    assert_eq!(ipc.notify(2, 0, 4), Notified::Interrupt { vm: 0, intid: 160 });
    assert_eq!(ipc.notify(1, 0, 8), Notified::Stored);
    assert_eq!(ipc.notify(1, 0, 0), Notified::Stored);
    assert_eq!(ipc.wait(0, 0, 1, true), Waited::Bits(7));
    assert_eq!(ipc.recv(0, 0, true), Received::Notified { end: 0, bits: 8 });
    assert_eq!(ipc.wait(0, 0, 1, false), Waited::Refused(Status::WouldBlock));
    assert_eq!(ipc.wait(0, 0, 1, true), Waited::Block);
    assert_eq!(ipc.wait(3, 0, 1, true), Waited::Refused(Status::Busy));
    assert_eq!(ipc.notify(2, 0, 1), Notified::EndWait { vcpu: 0, bits: 1 });
    assert_eq!(ipc.recv(0, 0, true), Received::Block);
    assert_eq!(
        ipc.notify(2, 0, 2),
        Notified::EndReceive {
            vcpu: 0,
            end: 1,
            bits: 2
        }
    );
    assert_eq!(ipc.recv(0, 0, false), Received::Refused(Status::WouldBlock));
}

#[test]
fn a_stopped_server_wakes_its_callers() {
    let mut ipc = star();
    ipc.recv(0, 0, true);
    ipc.call(1, 1, 0);
    ipc.call(2, 2, 0);
    let mut woken = Vec::new();
    for end in 0..4 {
        ipc.stopped(0, end, |v, s| woken.push((v, s)));
    }
    assert_eq!(woken, [(1, Status::PartnerGone), (2, Status::PartnerGone)]);
    assert_eq!(ipc.call(1, 1, 0), Called::Refused(Status::PartnerGone));
    assert_eq!(ipc.notify(1, 0, 1), Notified::Refused(Status::PartnerGone));
    ipc.started(0);
    assert_eq!(ipc.call(1, 1, 0), Called::Queued);
}

#[test]
fn a_stopped_client_leaves_no_call() {
    let mut ipc = star();
    ipc.call(1, 1, 0);
    ipc.call(2, 2, 0);
    assert_eq!(ipc.recv(0, 0, true), Received::Message { from: 2, end: 1 });
    ipc.stopped(1, 0, |_, _| panic!("nobody waits for a client"));
    ipc.stopped(2, 0, |_, _| panic!("nobody waits for a client"));
    assert_eq!(ipc.recv(0, 0, false), Received::Refused(Status::WouldBlock));
    assert_eq!(ipc.reply(0, 1), Replied::Refused(Status::PartnerGone));
    assert_eq!(ipc.reply(0, 1), Replied::Refused(Status::NotFound));
    ipc.wait(0, 0, 0, true);
}

#[test]
fn set_up_is_bounded() {
    let mut ipc = Ipc::new();
    assert_eq!(ipc.add(spec(1, ALL, 0, 0), spec(1, ALL, 0, 0)), Err(AddError::Vm));
    assert_eq!(ipc.add(spec(1, ALL, 0, 0), spec(VMS_MAX, ALL, 0, 0)), Err(AddError::Vm));
    for i in 0..CHANNEL_ENDS_MAX {
        assert_eq!(ipc.add(spec(0, ALL, 0, 0), spec(1 + i % 8, ALL, 0, 0)), Ok(()));
    }
    assert_eq!(ipc.add(spec(0, ALL, 0, 0), spec(15, ALL, 0, 0)), Err(AddError::Ends));
    for i in CHANNEL_ENDS_MAX..CHANNELS_MAX {
        assert_eq!(
            ipc.add(spec(9 + i % 3, ALL, 0, 0), spec(12 + i % 4, ALL, 0, 0)),
            Ok(()),
            "{i}"
        );
    }
    assert_eq!(ipc.add(spec(5, ALL, 0, 0), spec(6, ALL, 0, 0)), Err(AddError::Full));
}

/// Why a vCPU of the model is blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wait {
    Call,
    Recv,
    Notify,
}

/// Conservation: a blocked vCPU is woken exactly by what it waits for, a call is answered once or refused, bits are never lost nor doubled.
#[test]
fn random_traffic_conserves_calls_and_bits() {
    let mut rng = Rng::new("ipc", 7);
    for _ in 0..steps(300) {
        let mut ipc = Ipc::new();
        let vms = 2 + rng.below(4) as usize;
        for _ in 0..1 + rng.below(8) {
            let (a, b) = (rng.below(vms as u64) as usize, rng.below(vms as u64) as usize);
            let _ = ipc.add(spec(a, ALL, rng.pick(&[0, 99]), a as u8), spec(b, ALL, 0, b as u8));
        }
        let mut blocked: BTreeMap<usize, Wait> = BTreeMap::new();
        let mut dead: BTreeSet<usize> = BTreeSet::new();
        // (server VM, end) → caller, for calls received and not answered.
        let mut served: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        let (mut sent, mut got) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..400 {
            let vm = rng.below(vms as u64) as usize;
            let index = rng.below(4);
            if dead.contains(&vm) {
                if rng.chance(30) {
                    ipc.started(vm);
                    dead.remove(&vm);
                }
                continue;
            }
            let idle = !blocked.contains_key(&vm);
            let partner = ipc.info(vm, index).map(|i| i.partner);
            match rng.below(20) {
                0..=5 if idle => match ipc.call(vm, vm, index) {
                    Called::Deliver { server, end } => {
                        assert_eq!(blocked.remove(&server), Some(Wait::Recv));
                        assert_eq!(Some(server), partner);
                        assert_eq!(served.insert((server, end), vm), None);
                        blocked.insert(vm, Wait::Call);
                    }
                    Called::Queued => {
                        assert_ne!(blocked.get(&partner.unwrap()), Some(&Wait::Recv));
                        blocked.insert(vm, Wait::Call);
                    }
                    Called::Refused(s) => match s {
                        Status::NotFound => assert_eq!(partner, None),
                        Status::PartnerGone => assert!(dead.contains(&partner.unwrap())),
                        other => panic!("{other:?}: one vCPU cannot have two calls"),
                    },
                },
                6..=11 if idle => match ipc.recv(vm, vm, rng.chance(70)) {
                    Received::Message { from, end } => {
                        assert_eq!(blocked.get(&from), Some(&Wait::Call));
                        assert_eq!(served.insert((vm, end), from), None);
                    }
                    Received::Notified { end, bits } => note(&mut got, (vm, end), bits),
                    Received::Block => {
                        blocked.insert(vm, Wait::Recv);
                    }
                    Received::Refused(s) => {
                        assert!(s == Status::WouldBlock || (s == Status::Denied && ipc.end_count(vm) == 0))
                    }
                },
                12..=15 if idle => match (ipc.reply(vm, index), served.remove(&(vm, index))) {
                    (Replied::Deliver { caller }, Some(want)) => {
                        assert_eq!(caller, want);
                        assert_eq!(blocked.remove(&caller), Some(Wait::Call));
                    }
                    (Replied::Refused(Status::NotFound), None) => {}
                    (Replied::Refused(Status::PartnerGone), None) => {}
                    other => panic!("{other:?}"),
                },
                16 | 17 if idle => {
                    let bits = 1 << rng.below(8);
                    let before = pending(&sent, &got, &ipc, vm, index);
                    let result = ipc.notify(vm, index, bits);
                    if let (Some(p), false) = (partner, matches!(result, Notified::Refused(_))) {
                        let end = partner_end(&ipc, vm, index);
                        // A bit that is pending already merges.
                        note(&mut sent, (p, end), bits & !before);
                    }
                    match result {
                        Notified::EndWait { vcpu, bits } => {
                            assert_eq!(blocked.remove(&vcpu), Some(Wait::Notify));
                            note(&mut got, (vcpu, partner_end(&ipc, vm, index)), bits);
                        }
                        Notified::EndReceive { vcpu, end, bits } => {
                            assert_eq!(blocked.remove(&vcpu), Some(Wait::Recv));
                            note(&mut got, (vcpu, end), bits);
                        }
                        Notified::Interrupt { vm, intid } => assert_eq!((Some(vm), intid), (partner, 99)),
                        Notified::Stored => {}
                        Notified::Refused(s) => assert!(s == Status::NotFound || s == Status::PartnerGone),
                    }
                }
                18 if idle => match ipc.wait(vm, vm, index, rng.chance(50)) {
                    Waited::Bits(b) => note(&mut got, (vm, index), b),
                    Waited::Block => {
                        blocked.insert(vm, Wait::Notify);
                    }
                    Waited::Refused(s) => assert!(s == Status::WouldBlock || s == Status::NotFound),
                },
                19 if rng.chance(20) => {
                    for end in 0..CHANNEL_ENDS_MAX {
                        ipc.stopped(vm, end, |v, s| {
                            assert_eq!(s, Status::PartnerGone);
                            assert!(matches!(blocked.remove(&v), Some(Wait::Call | Wait::Notify)));
                        });
                    }
                    blocked.remove(&vm);
                    dead.insert(vm);
                    served.retain(|(server, _), caller| *server != vm && *caller != vm);
                    sent.retain(|(v, _), _: &mut [u32; 8]| *v != vm);
                    got.retain(|(v, _), _: &mut [u32; 8]| *v != vm);
                }
                _ => {}
            }
        }
        for (key, taken) in &got {
            for (s, g) in sent[key].iter().zip(taken) {
                assert!(g <= s && s - g <= 1, "bits lost or doubled");
            }
        }
    }
}

type Counts = BTreeMap<(usize, u64), [u32; 8]>;

fn note(counts: &mut Counts, key: (usize, u64), bits: u64) {
    let c = counts.entry(key).or_default();
    for (i, n) in c.iter_mut().enumerate() {
        *n += (bits >> i & 1) as u32;
    }
}

/// Bits sent to the partner of (vm, index) and not taken yet.
fn pending(sent: &Counts, got: &Counts, ipc: &Ipc, vm: usize, index: u64) -> u64 {
    let Some(info) = ipc.info(vm, index) else { return 0 };
    let key = (info.partner, partner_end(ipc, vm, index));
    let (s, g) = (
        sent.get(&key).copied().unwrap_or_default(),
        got.get(&key).copied().unwrap_or_default(),
    );
    (0..8).filter(|i| s[*i] > g[*i]).map(|i| 1 << i).sum()
}

fn partner_end(ipc: &Ipc, vm: usize, index: u64) -> u64 {
    let own = ipc.end_of(vm, index).unwrap();
    u64::from(ipc.ends[own ^ 1].index)
}
