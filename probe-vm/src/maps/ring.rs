//! Ring buffers: one ring for each CPU, written by probes of that CPU, read by one reader at a time.
//!
//! A record is a header word and its data, padded to 8 bytes; it never wraps, so a program gets one contiguous piece.
//! Where the end of the ring is too near, a discarded record fills it. Positions are byte counts that only grow.
//! A record that finds no room is lost, and the CPU's count of lost records rises; the reader reports it.

use super::def::RING_CONTROL_BYTES;
use super::{Map, MapError, MapKind, Sink, Source, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Records one read looks at, discarded ones included.
pub const RING_RECORDS_MAX: u32 = 64;

/// Bits of a record's header word. The low 29 bits are the length of the data in bytes. Compiled code submits a record
/// by clearing [`record::BUSY`] with release, and discards it by also setting [`record::DISCARDED`].
pub mod record {
    /// Reserved and not yet submitted.
    pub const BUSY: u64 = 1 << 31;
    /// To be skipped.
    pub const DISCARDED: u64 = 1 << 30;
    /// Length of the data.
    pub const LEN: u64 = (1 << 29) - 1;
    /// Bytes of the header, just before the data.
    pub const HEADER_BYTES: u32 = 8;
}

/// Control words of a ring, by byte: the producer's line, then the reader's. Compiled code reserves by them.
pub mod control {
    /// Bytes produced.
    pub const PRODUCED: u32 = 0;
    /// Records lost.
    pub const LOST: u32 = 8;
    /// Bytes consumed.
    pub const CONSUMED: u32 = super::super::CACHE_LINE_BYTES;
    /// Bytes of the control words; records begin behind them.
    pub const BYTES: u32 = super::RING_CONTROL_BYTES;
}
use control::{CONSUMED, LOST, PRODUCED};

const LOST_REPORTED: u32 = super::CACHE_LINE_BYTES + 8;
const CONTROL_WORDS: usize = RING_CONTROL_BYTES as usize / 8;
const _: () = assert!(CONTROL_WORDS == 16 && CONSUMED == 64 && LOST == 8);

/// What `bpf_ringbuf_query` can ask, with Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingQuery {
    /// Bytes not yet consumed.
    Available = 0,
    /// Bytes of the ring.
    Size = 1,
    /// Consumer position.
    Consumed = 2,
    /// Producer position.
    Produced = 3,
}

impl RingQuery {
    /// From the helper's argument.
    pub const fn from_number(n: u64) -> Option<Self> {
        Some(match n {
            0 => Self::Available,
            1 => Self::Size,
            2 => Self::Consumed,
            3 => Self::Produced,
            _ => return None,
        })
    }
}

/// What one step of reading a ring did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOut {
    /// Words written: for each record a word with its length in bytes, then its data padded to 8.
    pub words: u32,
    /// Records written.
    pub records: u32,
    /// Records lost since the last read that reported some.
    pub lost: u64,
    /// There is more to read now.
    pub more: bool,
}

impl<W: Word> Map<'_, W> {
    /// Start of `cpu`'s control words; `None` if this is no ring buffer or there is no such CPU.
    #[inline]
    fn ring_at(&self, cpu: u32) -> Option<u32> {
        (self.geo.def.kind == MapKind::RingBuf && cpu < self.geo.cpus).then(|| cpu * self.geo.cpu_stride)
    }

    /// Reserves `len` bytes on the ring of the CPU this runs on: byte offset of the data. `None`, counted as lost, if
    /// there is no room, or if the record is larger than half the ring (one that may never find room).
    /// `bpf_ringbuf_reserve`.
    #[inline]
    pub fn ring_reserve(&self, cpu: u32, len: u32) -> Option<u32> {
        let ring = self.ring_at(cpu)?;
        let (control, data) = self.words.get(ring as usize / 8..)?.split_at_checked(CONTROL_WORDS)?;
        let [produced, lost, .., consumed, _, _, _, _, _, _, _] = control else {
            return None;
        };
        let size = self.geo.def.entries;
        let head = produced.load(Relaxed);
        let used = head.wrapping_sub(consumed.load(Acquire)) as u32;
        let position = head as u32 & (size - 1);
        let to_end = size - position;
        if len <= size / 2 - record::HEADER_BYTES {
            let need = record::HEADER_BYTES + len.next_multiple_of(8);
            let fill = if need > to_end { to_end } else { 0 };
            if used + fill + need <= size {
                let mut start = position;
                if fill != 0 {
                    let skipped = u64::from(fill - record::HEADER_BYTES) | record::DISCARDED;
                    data.get(position as usize / 8)?.store(skipped, Relaxed);
                    start = 0;
                }
                data.get(start as usize / 8)?
                    .store(u64::from(len) | record::BUSY, Relaxed);
                produced.store(head + u64::from(fill + need), Release);
                return Some(ring + RING_CONTROL_BYTES + start + record::HEADER_BYTES);
            }
        }
        lost.store(lost.load(Relaxed) + 1, Relaxed);
        None
    }

    /// Hands a reserved record to the reader. `data_at` is what [`Map::ring_reserve`] gave. `bpf_ringbuf_submit`.
    #[inline]
    pub fn ring_submit(&self, data_at: u32) {
        self.finish(data_at, 0);
    }

    /// Gives a reserved record up. `bpf_ringbuf_discard`.
    #[inline]
    pub fn ring_discard(&self, data_at: u32) {
        self.finish(data_at, record::DISCARDED);
    }

    #[inline]
    fn finish(&self, data_at: u32, mark: u64) {
        let at = data_at - record::HEADER_BYTES;
        let header = self.get(at, Relaxed);
        self.set(at, header & !record::BUSY | mark, Release);
    }

    /// Appends a record of `len` bytes. `bpf_ringbuf_output`.
    ///
    /// # Errors
    /// `TooBig` without room; the record is counted as lost.
    pub fn ring_output<V: Source + ?Sized>(&self, cpu: u32, data: &V, len: u32) -> Result<(), MapError> {
        let at = self.ring_reserve(cpu, len).ok_or(MapError::TooBig)?;
        self.copy_in::<{ super::limits::VALUE_BYTES_MAX }, V>(at, data, len);
        self.ring_submit(at);
        Ok(())
    }

    /// What `bpf_ringbuf_query` answers for the ring of `cpu`.
    pub fn ring_query(&self, cpu: u32, query: RingQuery) -> u64 {
        let Some(ring) = self.ring_at(cpu) else { return 0 };
        let consumed = self.get(ring + CONSUMED, Acquire);
        let produced = self.get(ring + PRODUCED, Acquire);
        match query {
            RingQuery::Available => produced.wrapping_sub(consumed),
            RingQuery::Size => u64::from(self.geo.def.entries),
            RingQuery::Consumed => consumed,
            RingQuery::Produced => produced,
        }
    }

    /// Takes submitted records of `cpu`'s ring, oldest first, at most [`RING_RECORDS_MAX`], as far as they fit. The
    /// caller sees to it that one reader at a time is in here.
    ///
    /// # Errors
    /// `Invalid` if this is no ring buffer or there is no such CPU; `NoRoom` if not even the first record fits.
    pub fn ring_read<S: Sink + ?Sized>(&self, cpu: u32, sink: &mut S) -> Result<RingOut, MapError> {
        let ring = self.ring_at(cpu).ok_or(MapError::Invalid)?;
        let data = ring + self.geo.values_at;
        let mask = self.geo.def.entries - 1;
        let mut out = RingOut {
            words: 0,
            records: 0,
            lost: 0,
            more: false,
        };
        let mut tail = self.get(ring + CONSUMED, Relaxed);
        for _ in 0..RING_RECORDS_MAX {
            if tail == self.get(ring + PRODUCED, Acquire) {
                break;
            }
            let at = data + (tail as u32 & mask);
            let header = self.get(at, Acquire);
            if header & record::BUSY != 0 {
                break;
            }
            let len = (header & record::LEN) as u32;
            let words = len.div_ceil(8);
            if header & record::DISCARDED == 0 {
                if out.words + 1 + words > sink.room() {
                    if out.records == 0 {
                        return Err(MapError::NoRoom { words: 1 + words });
                    }
                    break;
                }
                sink.put(out.words, u64::from(len));
                for i in 0..words {
                    sink.put(out.words + 1 + i, self.get(at + record::HEADER_BYTES + i * 8, Relaxed));
                }
                out.words += 1 + words;
                out.records += 1;
            }
            tail += u64::from(record::HEADER_BYTES + words * 8);
            self.set(ring + CONSUMED, tail, Release);
        }
        let lost = self.get(ring + LOST, Relaxed);
        out.lost = lost.wrapping_sub(self.get(ring + LOST_REPORTED, Relaxed));
        self.set(ring + LOST_REPORTED, lost, Relaxed);
        out.more = tail != self.get(ring + PRODUCED, Relaxed);
        Ok(out)
    }
}
