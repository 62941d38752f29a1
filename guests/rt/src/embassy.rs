//! embassy-executor and embassy-time on one CPU: the virtual timer wakes tasks, WFI waits for it.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex, RawRestoreState};
use embassy_executor::{Spawner, raw};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use crate::{cpu, gic, irq, timer};

struct SingleCore;
critical_section::set_impl!(SingleCore);

// SAFETY: a guest has one CPU, so that masking its interrupts excludes everyone else.
unsafe impl critical_section::Impl for SingleCore {
    unsafe fn acquire() -> RawRestoreState {
        cpu::irq_off().was_masked()
    }

    unsafe fn release(was_masked: RawRestoreState) {
        if !was_masked {
            cpu::irq_on();
        }
    }
}

/// embassy-time ticks are nanoseconds here; the virtual count's are a divisor of them.
const _: () = assert!(TICK_HZ == 1_000_000_000);

struct VirtualTimer {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: VirtualTimer = VirtualTimer {
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl VirtualTimer {
    /// Wakes what is due and arms the timer for the next deadline.
    fn advance(&self, cs: CriticalSection) {
        let next = self.queue.borrow(cs).borrow_mut().next_expiration(self.now());
        set_deadline(next);
    }
}

/// A deadline in the past raises the interrupt at once.
fn set_deadline(ns: u64) {
    if ns == u64::MAX {
        timer::disarm();
    } else {
        timer::arm(ns.div_ceil(timer::tick_ns()));
    }
}

impl Driver for VirtualTimer {
    fn now(&self) -> u64 {
        timer::now() * timer::tick_ns()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            if self.queue.borrow(cs).borrow_mut().schedule_wake(at, waker) {
                self.advance(cs);
            }
        });
    }
}

/// Set when a task is woken: the executor has work.
static PENDING: AtomicBool = AtomicBool::new(false);

#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

fn interrupt(intid: u32) {
    assert!(intid == timer::INTID, "unexpected interrupt {intid}");
    critical_section::with(|cs| DRIVER.advance(cs));
}

/// Runs the tasks that `init` spawns, forever; waits in WFI when none is ready.
pub fn run(init: impl FnOnce(Spawner)) -> ! {
    gic::init();
    gic::enable(timer::INTID);
    irq::set_handler(interrupt);
    let executor = raw::Executor::new(core::ptr::null_mut());
    // SAFETY: this function never returns, so that the executor lives as long as any task.
    let executor: &'static raw::Executor = unsafe { &*core::ptr::from_ref(&executor) };
    init(executor.spawner());
    cpu::irq_on();
    loop {
        // SAFETY: called from here only, never from an interrupt or a task.
        unsafe { executor.poll() };
        // Between the test and WFI no interrupt may slip in unseen: masked, it stays pending and ends the WFI.
        let daif = cpu::irq_off();
        if !PENDING.swap(false, Ordering::AcqRel) {
            cpu::wfi();
        }
        cpu::irq_restore(daif);
    }
}
