//! Interrupt dispatch: one handler for the guest, called with IRQs masked between acknowledge and end.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::gic;

/// Most interrupts taken in one exception before it returns, so that a stuck line cannot starve the guest silently.
const BATCH: usize = 16;

static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static SPURIOUS: AtomicU64 = AtomicU64::new(0);

/// Makes `handler` the guest's interrupt handler. It is given the INTID.
pub fn set_handler(handler: fn(u32)) {
    HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Interrupt exceptions at which nothing was pending any more.
pub fn spurious() -> u64 {
    SPURIOUS.load(Ordering::Relaxed)
}

pub(crate) fn dispatch() {
    for taken in 0..BATCH {
        let intid = gic::acknowledge();
        if intid >= gic::SPECIAL {
            if taken == 0 {
                SPURIOUS.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let handler = HANDLER.load(Ordering::Acquire);
        assert!(!handler.is_null(), "interrupt {intid} without a handler");
        // SAFETY: the only values stored are null and `fn(u32)` pointers (set_handler).
        let handler: fn(u32) = unsafe { core::mem::transmute(handler) };
        handler(intid);
        gic::end(intid);
    }
}
