//! Turns: what all CPUs use, one after the other.
//!
//! Tickets are served in order, so a CPU waits for at most one turn of each other CPU. A turn is short and ends with the exit that
//! began it: EL2 is not interrupted, and whoever holds a turn asks for no other of the same kind.

use core::sync::atomic::{AtomicU32, Ordering};

/// Hands out turns.
pub struct Turns {
    next: AtomicU32,
    serving: AtomicU32,
}

impl Turns {
    /// Nobody's turn.
    pub const fn new() -> Self {
        Self {
            next: AtomicU32::new(0),
            serving: AtomicU32::new(0),
        }
    }

    /// Waits for this CPU's turn: at most (CPUs − 1) turns of the others.
    #[inline]
    pub fn take(&self) {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            core::hint::spin_loop();
        }
    }

    /// Takes a turn if it is nobody's; else false, and nothing is waited for.
    pub fn try_take(&self) -> bool {
        let now = self.serving.load(Ordering::Acquire);
        self.next
            .compare_exchange(now, now.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Ends this CPU's turn.
    #[inline]
    pub fn give(&self) {
        let served = self.serving.load(Ordering::Relaxed);
        self.serving.store(served.wrapping_add(1), Ordering::Release);
    }
}
