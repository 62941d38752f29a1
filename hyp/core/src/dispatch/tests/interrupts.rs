//! Physical interrupts, and who runs after them.

use embassy_time::Duration;

use super::*;
use crate::dispatch::fast::{MAINTENANCE, PHYSICAL_TIMER, VIRTUAL_TIMER};
use crate::dispatch::{Next, irq, schedule};
use crate::vcpu::Run;

const HYP_TIMER: u32 = 26;

impl System {
    fn interrupt(&mut self, intid: u32) -> PathId {
        irq::serve(&mut self.cpu, &mut self.board, intid)
    }

    /// Interrupt `intid` of VM `slot` is on, group 1.
    fn enable(&mut self, slot: usize, intid: u32, loaded: bool) {
        let (vm, board) = (&mut self.cpu.vms[slot], &mut self.board);
        let (word, bit) = (4 * (intid / 32), 1 << (intid % 32));
        vm.vgic.dist_write(0, 4, 0b10, loaded, board);
        if intid < 32 {
            vm.vgic.redist_write(0x1_0080, 4, bit, loaded, board);
            vm.vgic.redist_write(0x1_0100, 4, bit, loaded, board);
        } else {
            vm.vgic.dist_write(0x80 + word, 4, bit, loaded, board);
            vm.vgic.dist_write(0x100 + word, 4, bit, loaded, board);
        }
    }

    fn waits(&mut self, slot: usize) {
        self.cpu.vcpus[slot].run = Run::Wfi;
        self.cpu.vcpus[slot].el1.vmcr = 0xf8 << 24 | 0b10;
        let _ = self.cpu.sched.block(slot);
    }
}

#[test]
fn a_timer_goes_to_its_vcpu_linked_to_the_physical_one() {
    let mut s = System::new();
    s.enable(0, VIRTUAL_TIMER, true);
    assert_eq!(s.interrupt(VIRTUAL_TIMER), PathId::IrqVtimer);
    let lr = s
        .board
        .lrs
        .iter()
        .find(|lr| lr.is_pending())
        .expect("a list register holds it");
    assert_eq!((lr.intid(), lr.is_hw()), (VIRTUAL_TIMER, true));
    assert_eq!(s.board.dropped, [VIRTUAL_TIMER]);
    assert!(s.board.deactivated.is_empty(), "that is the guest's to do");
    let path = s.interrupt(PHYSICAL_TIMER);
    assert_eq!(path, PathId::IrqVtimer);
}

#[test]
fn spurious_and_unknown_interrupts_change_nothing() {
    let mut s = System::new();
    assert_eq!(s.interrupt(1023), PathId::IrqOther);
    assert!(s.board.dropped.is_empty(), "nothing was acknowledged");
    assert_eq!(s.interrupt(9), PathId::IrqOther);
    assert_eq!((&s.board.dropped[..], &s.board.deactivated[..]), (&[9][..], &[9][..]));
    assert_eq!(s.interrupt(MAINTENANCE), PathId::IrqMaintenance);
}

#[test]
fn a_devices_interrupt_goes_to_its_owner_wherever_that_is() {
    let mut s = System::new();
    s.cpu.give_spi(35, 1);
    s.cpu.vms[1].vgic.link_hardware(35);
    s.enable(1, 35, false);
    s.waits(1);
    assert_eq!(s.interrupt(35), PathId::IrqDevice);
    assert_eq!(s.cpu.vcpus[1].run, Run::Ready, "it wakes");
    assert_eq!(
        s.cpu.vms[1].vgic.saved().full(),
        1,
        "with the interrupt in a saved list register"
    );
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::IrqDevice), Next::Switch(1));
    // Nobody's: off for good.
    assert_eq!(s.interrupt(77), PathId::IrqDevice);
    assert_eq!(s.board.disabled, [77]);
    assert!(s.board.deactivated.contains(&77));
}

#[test]
fn the_alarm_wakes_who_waits_for_a_timer() {
    let mut s = System::new();
    s.waits(1);
    s.cpu.wakeups.set(1, Some(Instant::from_ticks(500)));
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::Wfi), Next::Same);
    assert_eq!(s.board.alarm, Some(500));
    s.board.now = 499;
    s.interrupt(HYP_TIMER);
    assert_eq!(s.cpu.vcpus[1].run, Run::Wfi, "not yet");
    s.board.now = 500;
    assert_eq!(s.interrupt(HYP_TIMER), PathId::IrqTimer);
    assert_eq!(s.cpu.vcpus[1].run, Run::Ready);
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::IrqTimer), Next::Switch(1));
}

#[test]
fn a_time_slice_ends_among_equals() {
    let mut s = System::new();
    let _ = s.cpu.sched.block(1);
    assert!(s.cpu.sched.add(2, 10));
    s.cpu.vcpus[2].run = Run::Ready;
    let _ = s.cpu.sched.wake(2);
    (s.cpu.slice, s.cpu.since) = (Duration::from_ticks(100), Instant::from_ticks(1000));
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::IrqTimer), Next::Same);
    assert_eq!(s.board.alarm, Some(1100));
    s.board.now = 1100;
    s.interrupt(HYP_TIMER);
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::IrqTimer), Next::Switch(2));
}

#[test]
fn typed_bytes_reach_the_vm_they_are_for() {
    let mut s = System::new();
    s.board.typed = std::vec![(1, b'a'), (9, b'b')];
    assert_eq!(s.interrupt(UART_SPI), PathId::IrqUart);
    assert_eq!(s.cpu.vms[1].uart.read(0) & 0xff, u32::from(b'a'));
    assert_eq!(
        s.cpu.vms[0].uart.read(0x18) >> 4 & 1,
        1,
        "the other's receiver is empty"
    );
}

#[test]
fn nobody_ready_is_idle() {
    let mut s = System::new();
    s.waits(0);
    s.waits(1);
    assert_eq!(schedule(&mut s.cpu, &mut s.board, PathId::Wfi), Next::Idle);
    assert!(s.cpu.idle);
}
