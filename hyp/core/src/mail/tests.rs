//! Words between CPUs, taken once.

use super::*;

#[test]
fn what_is_sent_is_taken_once() {
    let mail = Mail::new();
    mail.send_sgis(1, 17, 1 << 3);
    mail.send_sgis(1, 17, 1 << 5);
    mail.send_order(1, 2, order::STOP);
    assert_eq!(mail.take_slots(0), 0, "nobody else's");
    assert_eq!(mail.take_slots(1), 1 << 17 | 1 << 2);
    assert_eq!(mail.take(1, 17), (1 << 3 | 1 << 5, 0));
    assert_eq!(mail.take(1, 2), (0, order::STOP));
    assert_eq!((mail.take_slots(1), mail.take(1, 17)), (0, (0, 0)));
    mail.send_sgis(1, 17, 1);
    assert!(mail.only_sgis(1, 17) && !mail.only_sgis(1, 16) && !mail.only_sgis(0, 17));
    mail.send_order(1, 3, order::STOP);
    assert!(!mail.only_sgis(1, 17));
    assert_eq!(
        (mail.take_sgis(1, 17), mail.take_slots(1)),
        (1, 1 << 3),
        "the order is still there"
    );
    mail.send_sgis(9, 0, 1);
    mail.send_order(0, SLOTS, 1);
    assert_eq!(mail.take_slots(0), 0, "no such CPU, no such slot");
}

#[test]
fn a_vcpu_is_claimed_once() {
    let mail = Mail::new();
    let vm = mail.vm(3).unwrap();
    assert_eq!(vm.place(1), None);
    vm.settle(1, 2, 16);
    assert_eq!(vm.place(1), Some((2, 16)));
    assert!(vm.claim(1, 0x100, 7) && vm.reach(1).is_none());
    assert!(!vm.claim(1, 0x200, 8));
    assert_eq!((vm.power(1), vm.start(1)), (Power::OnPending, (0x100, 7)));
    vm.set_power(1, Power::On);
    assert_eq!(vm.reach(1), Some((2, 16)));
    assert!(!vm.claim(1, 0, 0) && !vm.claim(VCPUS_PER_VM, 0, 0));
    assert_eq!(vm.power(VCPUS_PER_VM), Power::Off);
}

#[test]
fn an_access_travels_and_its_answer_comes_back() {
    let mail = Mail::new();
    let asked = Asked {
        ipa: 0x800_0104,
        size: 4,
        write: Some(5),
    };
    mail.ask(0, 2, 1, asked);
    assert_eq!((mail.take_vms(0), mail.take_asking(0, 2)), (1 << 2, 1 << 1));
    let vm = mail.vm(2).unwrap();
    assert_eq!(vm.asked(1), Some(asked));
    vm.answer(1, 77);
    assert_eq!(vm.answered(1), 77);
}

#[test]
fn keys_are_a_queue_that_loses_the_newest() {
    let mail = Mail::new();
    let vm = mail.vm(0).unwrap();
    for round in 0..3 {
        for n in 0..KEYS + 10 {
            vm.type_key((n + round) as u8);
        }
        for n in 0..KEYS {
            assert_eq!(vm.take_key(), Some((n + round) as u8));
        }
        assert_eq!(vm.take_key(), None);
    }
}
