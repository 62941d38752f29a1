//! The board's PL011: consoles of all VMs and the hypervisor's records, multiplexed, never waited for on an exit.
//!
//! Bytes go to the FIFO while it has room and else into a ring that the transmit interrupt drains. When the ring is full a
//! guest sees its own transmitter full and keeps its byte, so nothing is lost and nothing waits.

use core::cell::UnsafeCell;

use core::sync::atomic::{AtomicU32, Ordering};

use heapless::Deque;
use hyp_abi::VMS_MAX;
use hyp_abi::console::{Demux, Event, Mux, Stream};
use hyp_abi::record::{StreamKind, VmStopped};
use hyp_core::dispatch::Report;

use crate::board::PL011;
use crate::percpu::CPUS;
use crate::turn::Turns;

const DR: u64 = 0;
const FR: u64 = 0x18;
const IBRD: u64 = 0x24;
const LCR_H: u64 = 0x2c;
const CR: u64 = 0x30;
const IMSC: u64 = 0x38;
const MIS: u64 = 0x40;
const ICR: u64 = 0x44;

const FR_RXFE: u32 = 1 << 4;
const FR_TXFF: u32 = 1 << 5;
const INT_RX: u32 = 1 << 4;
const INT_TX: u32 = 1 << 5;
const INT_RT: u32 = 1 << 6;
const LCR_FIFO: u32 = 1 << 4 | 0b11 << 5;
const CR_ON: u32 = 1 | 1 << 8 | 1 << 9;

/// Bytes waiting for the transmitter.
const RING: usize = 4096;
/// Most bytes one console byte becomes (select a stream, escape a byte).
const ENCODED_MAX: usize = 4;
/// Most bytes moved to the FIFO in one exit: the PL011's FIFO is 16 or 32 deep.
const BURST: usize = 16;
/// Records waiting to be sent: one of each VM's end, and as many of restarts.
const REPORTS: usize = 2 * VMS_MAX;
/// A record's next byte joins the ring while fewer wait there: enough for a burst.
const FEED: usize = 8;
/// Kind and length, before the payload.
const HEAD: usize = 3;

/// The console, which all CPUs write to by turns. The longest turn is a console interrupt: [`BURST`] bytes.
pub struct Shared {
    turns: Turns,
    /// Bytes that the ring had room for after the last turn.
    room: AtomicU32,
    uart: UnsafeCell<Uart>,
}

// SAFETY: 1. The content is reached by `with` alone, in turns.
unsafe impl Sync for Shared {}

/// The board's.
pub static CONSOLE: Shared = Shared {
    turns: Turns::new(),
    room: AtomicU32::new(RING as u32),
    uart: UnsafeCell::new(Uart::new()),
};

impl Shared {
    /// Runs `turn` when it is this CPU's turn. `turn` must not ask for another.
    #[inline]
    pub fn with<R>(&self, turn: impl FnOnce(&mut Uart) -> R) -> R {
        self.turns.take();
        // SAFETY: 1. It is this CPU's turn, and nobody else's until it is given back.
        let uart = unsafe { &mut *self.uart.get() };
        let result = turn(uart);
        self.room.store(uart.room() as u32, Ordering::Relaxed);
        self.turns.give();
        result
    }

    /// True if a guest's byte would be taken now, though every CPU had one.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed) as usize >= ENCODED_MAX * CPUS
    }
}

/// A record that is being sent, or waits to be.
struct Waiting {
    head: [u8; HEAD],
    payload: [u8; VmStopped::SIZE],
    len: usize,
    sent: usize,
}

impl Waiting {
    /// The next byte; `None`: all is sent.
    fn next(&mut self) -> Option<u8> {
        let at = self.sent;
        self.sent += 1;
        match at.checked_sub(HEAD) {
            None => self.head.get(at).copied(),
            Some(at) if at < self.len => self.payload.get(at).copied(),
            Some(_) => None,
        }
    }
}

/// The transmitter's state.
pub struct Uart {
    mux: Mux,
    ring: Deque<u8, RING>,
    reports: Deque<Waiting, REPORTS>,
    demux: Demux,
}

impl Uart {
    /// Before [`Uart::init`].
    pub const fn new() -> Self {
        Self {
            mux: Mux::new(),
            ring: Deque::new(),
            reports: Deque::new(),
            demux: Demux::new(),
        }
    }

    /// Enables the device with FIFOs and receive interrupts; the divisor stays as firmware left it where it is set.
    pub fn init(&mut self) {
        PL011.write32(CR, 0);
        if PL011.read32(IBRD) == 0 {
            PL011.write32(IBRD, 13); // 24 MHz / (16 * 115200)
        }
        PL011.write32(LCR_H, LCR_FIFO);
        PL011.write32(ICR, 0x7ff);
        PL011.write32(IMSC, INT_RX | INT_RT);
        PL011.write32(CR, CR_ON);
    }

    /// Bytes that the ring has room for.
    fn room(&self) -> usize {
        self.ring.capacity() - self.ring.len()
    }

    /// Sends one byte of `stream`; bytes that do not fit (see [`Shared::has_room`]) are dropped.
    pub fn put(&mut self, stream: Stream, byte: u8) {
        for &raw in self.mux.encode(stream, byte).as_slice() {
            if self.ring.is_empty() && PL011.read32(FR) & FR_TXFF == 0 {
                PL011.write32(DR, raw.into());
            } else if self.ring.push_back(raw).is_ok() {
                PL011.write32(IMSC, INT_RX | INT_RT | INT_TX);
            }
        }
    }

    /// Has a record sent behind what waits already, a few bytes with each of the transmitter's interrupts. More records than
    /// [`REPORTS`] can only be restarts: they are not told.
    pub fn report(&mut self, report: &Report) {
        let (kind, payload, len) = report.encode();
        let [low, high, ..] = (len as u32).to_le_bytes();
        let keeps_room = matches!(report, Report::Stopped(_)) || self.reports.len() < VMS_MAX;
        if keeps_room {
            let _ = self.reports.push_back(Waiting {
                head: [kind as u8, low, high],
                payload,
                len,
                sent: 0,
            });
        }
        PL011.write32(IMSC, INT_RX | INT_RT | INT_TX);
    }

    /// Sends one record of the hypervisor stream now: only when the machine is about to stop.
    pub fn record(&mut self, kind: StreamKind, payload: &[u8]) {
        self.flush();
        let [low, high, ..] = (payload.len() as u32).to_le_bytes();
        for byte in [kind as u8, low, high] {
            self.put(Stream::Hypervisor, byte);
        }
        for &byte in payload {
            self.put(Stream::Hypervisor, byte);
        }
    }

    /// Serves the interrupt: refills the FIFO. A received byte and the VM it is for; while there are more, the interrupt stays due.
    pub fn interrupt(&mut self) -> Option<(u8, u8)> {
        // The receive interrupts end by reading (DDI 0183 §2.8): cleared here, they would not come back for bytes left in the FIFO.
        PL011.write32(ICR, PL011.read32(MIS) & !(INT_RX | INT_RT));
        self.pump();
        if PL011.read32(FR) & FR_RXFE != 0 {
            return None;
        }
        match self.demux.push(PL011.read32(DR) as u8)? {
            Event::Data(Stream::Vm(vm), byte) => Some((vm, byte)),
            _ => None,
        }
    }

    fn pump(&mut self) {
        for _ in 0..BURST {
            if PL011.read32(FR) & FR_TXFF != 0 {
                return;
            }
            self.feed();
            match self.ring.pop_front() {
                Some(raw) => PL011.write32(DR, raw.into()),
                None => break,
            }
        }
        if self.ring.is_empty() && self.reports.is_empty() {
            PL011.write32(IMSC, INT_RX | INT_RT);
        }
    }

    /// One byte of the first record that waits joins the ring.
    fn feed(&mut self) {
        if self.ring.len() >= FEED {
            return;
        }
        let Some(report) = self.reports.front_mut() else { return };
        match report.next() {
            None => drop(self.reports.pop_front()),
            Some(byte) => {
                for &raw in self.mux.encode(Stream::Hypervisor, byte).as_slice() {
                    let _ = self.ring.push_back(raw);
                }
            }
        }
    }

    /// Waits until everything has left: only when the machine is about to stop.
    pub fn flush(&mut self) {
        while !(self.ring.is_empty() && self.reports.is_empty()) {
            self.feed();
            // Each byte leaves in bounded time, and no VM runs any more.
            while PL011.read32(FR) & FR_TXFF != 0 {}
            if let Some(raw) = self.ring.pop_front() {
                PL011.write32(DR, raw.into());
            }
        }
    }
}
