//! vCPUs of one VM on several CPUs, and a VM that starts again.

use super::*;
use crate::cpu::NO_SLOT;
use crate::exit::sysreg;
use crate::mail::order;
use crate::psci::Power;
use crate::vcpu::Run;

const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const CPU_OFF: u64 = 0x8400_0002;
const SYSTEM_RESET: u64 = 0x8400_0009;
/// MSR ICC_SGI1R_EL1, x3.
const SEND_SGI: u64 = 0x18 << 26 | 1 << 25 | sysreg::SGI1R as u64 | 3 << 5;
/// Instruction abort, translation fault.
const FETCH: u64 = 0x20 << 26 | 1 << 25 | 0b000111;

/// VM 0 has three vCPUs: the second in slot 16 of this CPU, the third in slot 16 of CPU 1.
fn three() -> System {
    let mut s = System::new();
    let known = s.cpu.mail.vm(0).unwrap();
    known.settle(1, 0, 16);
    known.settle(2, 1, 16);
    s.cpu.vms[0].vcpus = 3;
    s.cpu.vms[16] = s.cpu.vms[0].clone();
    (s.cpu.vms[16].alive, s.cpu.vms[16].vcpus) = (false, 3);
    let vcpu = &mut s.cpu.vcpus[16];
    (vcpu.vm, vcpu.id, vcpu.index) = (16, 0, 1);
    assert!(s.cpu.sched.add(16, 10));
    s
}

#[test]
fn cpu_on_starts_a_vcpu_here_and_orders_one_elsewhere() {
    let mut s = three();
    assert_eq!(s.hvc(CPU_ON, &[1, RAM + 64, 7]), PathId::PsciPower);
    assert_eq!(s.x(0, 0), 0);
    assert!(s.cpu.sched.is_ready(16));
    assert_eq!((s.x(16, 0), s.cpu.vcpus[16].el1.elr_el2), (7, RAM + 64));
    s.hvc(CPU_ON, &[2, RAM + 128, 9]);
    let mail = s.cpu.mail;
    assert_eq!((mail.take_slots(1), mail.take(1, 16)), (1 << 16, (0, order::START)));
    assert_eq!(mail.vm(0).unwrap().start(2), (RAM + 128, 9));
    for (index, state) in [(0, 0), (1, 0), (2, 2)] {
        s.hvc(AFFINITY_INFO, &[index, 0]);
        assert_eq!(s.x(0, 0), state, "vCPU {index}");
    }
    s.hvc(CPU_ON, &[1, RAM, 0]);
    assert_eq!(s.x(0, 0), -4i64 as u64, "already on");
    s.hvc(CPU_ON, &[3, RAM, 0]);
    assert_eq!(s.x(0, 0), -2i64 as u64, "no such vCPU");
}

#[test]
fn cpu_off_leaves_the_others_running_and_the_last_ends_the_vm() {
    let mut s = three();
    s.hvc(CPU_ON, &[1, RAM, 0]);
    s.hvc(CPU_OFF, &[]);
    assert_eq!((s.cpu.vcpus[0].run, s.cpu.vms[0].alive), (Run::Off, true));
    s.give_cpu(16);
    s.hvc(CPU_OFF, &[]);
    assert_eq!((s.cpu.vcpus[16].run, s.cpu.vms[0].alive), (Run::Stopped, false));
    assert_eq!(s.board.reports.len(), 1);
}

#[test]
fn sgis_reach_vcpus_here_and_are_mailed_elsewhere() {
    let mut s = three();
    s.hvc(CPU_ON, &[1, RAM, 0]);
    s.cpu.mail.vm(0).unwrap().set_power(2, Power::On);
    let _ = s.cpu.mail.take_slots(1);
    // SGI 5 for all but the sender.
    s.frame(0).set(3, 1 << 40 | 5 << 24);
    assert_eq!(s.exit(SEND_SGI), PathId::SysregSgi);
    assert_eq!(
        (s.cpu.mail.take_slots(1), s.cpu.mail.take(1, 16)),
        (1 << 16, (1 << 5, 0))
    );
    // GICR_ISPENDR0 of the second vCPU, whose SGIs are of group 0 after reset: not for a group 1 SGI.
    let pending = |s: &System| s.cpu.vms[16].vgic.redist_read(0x1_0200, 4, false, &s.board);
    assert_eq!(pending(&s), 0);
    let Cpu { vms, .. } = &mut *s.cpu;
    vms[16].vgic.redist_write(0x1_0080, 4, 0xffff, false, &mut s.board);
    s.exit(SEND_SGI);
    assert_eq!(pending(&s), 1 << 5);
}

#[test]
fn a_reset_vm_starts_again_when_its_memory_is_restored_and_all_are_off() {
    let mut s = three();
    s.cpu.vms[0].restart = true;
    s.cpu.vms[16].restart = true;
    s.hvc(CPU_ON, &[1, RAM, 0]);
    s.cpu.mail.vm(0).unwrap().set_power(2, Power::On);
    s.hvc(SYSTEM_RESET, &[]);
    assert_eq!((s.cpu.loaded, s.cpu.vcpus[16].run), (NO_SLOT, Run::Stopped));
    assert_eq!(s.cpu.mail.take(1, 16).1, order::STOP);
    s.give_cpu(0);
    // The third vCPU has not stopped yet: nothing is touched.
    assert_eq!(s.exit(FETCH), PathId::PsciPower);
    assert_eq!(s.cpu.vcpus[0].restarting, Some(0));
    s.cpu.mail.vm(0).unwrap().set_power(2, Power::Off);
    for piece in 1..=3 {
        s.exit(FETCH);
        assert_eq!(s.cpu.vcpus[0].restarting, Some(piece));
    }
    let _ = s.cpu.sched.take_changed();
    s.exit(FETCH);
    assert!(
        s.cpu.sched.changed,
        "nothing of it is loaded, so it must be chosen again"
    );
    let vcpu = &s.cpu.vcpus[0];
    assert_eq!((vcpu.restarting, vcpu.run, vcpu.el1.elr_el2), (None, Run::Ready, RAM));
    assert!(s.cpu.vms[0].alive && s.cpu.loaded == NO_SLOT && s.cpu.sched.is_ready(0));
    s.give_cpu(0);
    assert_eq!(s.exit(FETCH), PathId::Stage2Fault, "from now on a fault is one");
}

#[test]
fn an_sgi_to_another_cpu_is_mailed_by_the_fast_part() {
    let mut s = three();
    let mail = s.cpu.mail;
    let trap = crate::exit::Esr(SEND_SGI);
    let send = |s: &mut System, value: u64| {
        s.frame(0).set(3, value);
        let pc = s.board.pc;
        let sent = super::super::fast::sgi_elsewhere(&s.cpu.vcpus[0], mail, 0, &mut s.board, trap);
        assert_eq!(s.board.pc, pc + if sent { 4 } else { 0 });
        sent
    };
    assert!(!send(&mut s, 3 << 24 | 1 << 2), "it is off");
    mail.vm(0).unwrap().set_power(1, Power::On);
    mail.vm(0).unwrap().set_power(2, Power::On);
    assert!(!send(&mut s, 3 << 24 | 1 << 1), "of this CPU");
    assert!(!send(&mut s, 3 << 24 | 3 << 1) && !send(&mut s, 3 << 24), "not one");
    assert!(!send(&mut s, 1 << 40 | 3 << 24 | 1 << 2), "all but the sender");
    assert!(send(&mut s, 3 << 24 | 1 << 2));
    assert_eq!((mail.take_slots(1), mail.take(1, 16)), (1 << 16, (1 << 3, 0)));
}

#[test]
fn sgis_from_elsewhere_are_taken_by_the_fast_part_unless_more_came() {
    let mut s = three();
    let mail = s.cpu.mail;
    let take = |s: &mut System| {
        let Cpu { vms, vcpus, .. } = &mut *s.cpu;
        super::super::fast::cross_cpu(&vcpus[16], &mut vms[16], mail, 0, &mut s.board)
    };
    assert!(!take(&mut s), "nothing came");
    let Cpu { vms, .. } = &mut *s.cpu;
    vms[16].vgic.dist_write(0, 4, 0b10, true, &mut s.board);
    vms[16].vgic.redist_write(0x1_0080, 4, 0xffff, true, &mut s.board);
    vms[16].vgic.redist_write(0x1_0100, 4, 0xffff, true, &mut s.board);
    mail.send_sgis(0, 16, 1 << 4);
    mail.send_order(0, 16, order::KEYS);
    assert!(!take(&mut s) && s.board.dropped.is_empty(), "an order, too");
    assert_eq!((mail.take_slots(0), mail.take(0, 16)), (1 << 16, (1 << 4, order::KEYS)));
    mail.send_sgis(0, 16, 1 << 4);
    mail.grace.period();
    assert!(!take(&mut s), "somebody waits for this CPU to pass");
    mail.grace.pass(0, mail.grace.last());
    mail.leave(1);
    assert!(!take(&mut s), "a VM has left probes");
    mail.cleared(1);
    assert!(take(&mut s));
    assert_eq!(
        (s.board.dropped.as_slice(), s.board.deactivated.as_slice()),
        (&[0][..], &[0][..])
    );
    let held = |s: &System| s.board.lrs.iter().filter(|lr| lr.is_pending()).count();
    assert_eq!((held(&s), mail.take_slots(0)), (1, 0));
    mail.send_sgis(0, 16, 1 << 5 | 1 << 6 | 1 << (16 + 7));
    assert!(take(&mut s));
    assert_eq!(held(&s), 3, "both of group 1; SGI 7 is not of group 0");
}
