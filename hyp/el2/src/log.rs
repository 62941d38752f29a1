//! The log: defmt frames in a bounded ring, read by hypercall or dumped after a fault of our own.
//!
//! A frame that does not fit, or that comes while another CPU writes or reads, is dropped whole and counted: nobody waits for the log.
//! Nothing is formatted here.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyp_abi::record::StreamKind;

use crate::percpu::{self, CPUS};
use crate::turn::Turns;
use crate::uart::Uart;

/// Bytes of the ring: a few hundred frames.
const RING: usize = 16 * 1024;
/// Bytes of the log in one record of the hypervisor stream.
const PIECE: usize = 1024;

struct Log {
    bytes: [u8; RING],
    /// Free-running positions: bytes read, end of the last whole frame, end of what is written.
    read: u32,
    committed: u32,
    written: u32,
    overflow: bool,
    encoder: defmt::Encoder,
}

impl Log {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.written.wrapping_sub(self.read) as usize >= RING {
                self.overflow = true;
                return;
            }
            if let Some(slot) = self.bytes.get_mut(self.written as usize % RING) {
                *slot = byte;
            }
            self.written = self.written.wrapping_add(1);
        }
    }

    fn encode(&mut self, step: impl FnOnce(&mut defmt::Encoder, &mut dyn FnMut(&[u8]))) {
        let mut encoder = core::mem::replace(&mut self.encoder, defmt::Encoder::new());
        step(&mut encoder, &mut |bytes| self.push(bytes));
        self.encoder = encoder;
    }

    fn finish(&mut self) {
        if self.overflow {
            self.written = self.committed;
            LOST.fetch_add(1, Ordering::Relaxed);
            self.overflow = false;
        } else {
            self.committed = self.written;
        }
    }
}

/// One CPU at a time writes a frame or reads.
static TURNS: Turns = Turns::new();
/// Frames lost since the last read.
static LOST: AtomicU64 = AtomicU64::new(0);
/// By CPU: the frame under way has no turn, and goes nowhere.
static DROPPED: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];

/// Whether this CPU's frame goes nowhere.
fn dropped() -> Option<&'static AtomicBool> {
    DROPPED.get(percpu::context().cpu() as usize)
}

/// Does something for the frame under way, if it goes anywhere.
fn frame(step: impl FnOnce(&mut Log)) {
    if dropped().is_some_and(|dropped| !dropped.load(Ordering::Relaxed)) {
        with(step);
    }
}

struct Shared(UnsafeCell<Log>);
// SAFETY: 1. The log is used in turns (`TURNS`), EL2 runs with interrupts masked, and no function here calls out while it holds
// the reference, so two never exist at once.
unsafe impl Sync for Shared {}

static LOG: Shared = Shared(UnsafeCell::new(Log {
    bytes: [0; RING],
    read: 0,
    committed: 0,
    written: 0,
    overflow: false,
    encoder: defmt::Encoder::new(),
}));

fn with<R>(f: impl FnOnce(&mut Log) -> R) -> R {
    // SAFETY: 1. See `Sync` above.
    let log = unsafe { &mut *LOG.0.get() };
    f(log)
}

#[defmt::global_logger]
struct Logger;

// SAFETY: 1. EL2 runs with interrupts masked, and other CPUs that have no turn write nowhere, so acquire and release pair up without nesting, and `write` is
// only called between them, which is what the trait asks for.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        let turn = TURNS.try_take();
        if let Some(dropped) = dropped() {
            dropped.store(!turn, Ordering::Relaxed);
        }
        if !turn {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        frame(|log| log.encode(|encoder, sink| encoder.start_frame(sink)));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        frame(|log| {
            log.encode(|encoder, sink| encoder.end_frame(sink));
            log.finish();
            TURNS.give();
        });
    }

    unsafe fn write(bytes: &[u8]) {
        frame(|log| log.encode(|encoder, sink| encoder.write(bytes, sink)));
    }
}

defmt::timestamp!("{=u64:us}", embassy_time::Instant::now().as_micros());

/// Takes up to `out.len()` bytes of whole or partial frames, oldest first; returns (bytes, frames lost since the last call).
/// Nothing while another CPU writes or reads.
pub fn read(out: &mut [u8]) -> (usize, u64) {
    if !TURNS.try_take() {
        return (0, 0);
    }
    let read = with(|log| {
        let mut taken = 0;
        for slot in out.iter_mut() {
            if log.read == log.committed {
                break;
            }
            *slot = log.bytes.get(log.read as usize % RING).copied().unwrap_or(0);
            log.read = log.read.wrapping_add(1);
            taken += 1;
        }
        (taken, LOST.swap(0, Ordering::Relaxed))
    });
    TURNS.give();
    read
}

/// Sends the whole log on the hypervisor stream: the machine is about to stop.
pub fn dump(uart: &mut Uart) {
    let mut piece = [0; PIECE];
    for _ in 0..RING.div_ceil(PIECE) {
        let (len, _) = read(&mut piece);
        if len == 0 {
            break;
        }
        uart.record(StreamKind::LogDump, piece.get(..len).unwrap_or(&[]));
        uart.flush();
    }
}
