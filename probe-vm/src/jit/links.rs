//! What compiled code is tied to: addresses, register conventions and the core's abilities, all as data.

use super::a64::flow::Sys;
use verifier::MapDesc;

/// How code learns which CPU it runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuLink {
    /// There is one CPU; its number is 0.
    Single,
    /// `base` holds the address of this CPU's block; its number is the `u32` at byte `id_offset` there
    /// (a multiple of 4 below 16,384).
    PerCpu {
        /// Register with the block's address (`TPIDR_EL2` at EL2).
        base: Sys,
        /// Offset of the number.
        id_offset: u16,
    },
}

/// How counter ticks become nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// `ticks << n`: counters whose period is a power of two nanoseconds (QEMU's 62.5 MHz: 4; 1 GHz: 0).
    Shift(u8),
    /// `(ticks * mult) >> shift` over 128 bits, `shift` 1–63.
    MulShift {
        /// Multiplier.
        mult: u64,
        /// Right shift.
        shift: u8,
    },
}

/// How `ktime_get_ns` reads the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeLink {
    /// The counter.
    pub counter: Sys,
    /// Its unit.
    pub scale: Scale,
    /// An `ISB` before the read, so that it is not done early.
    pub ordered: bool,
}

/// One map of the program, in the order of the program's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapLink {
    /// What `lddw` of the map yields: a helper's first argument.
    pub handle: u64,
    /// Address of element 0 (of CPU 0) of arrays and per-CPU arrays, of CPU 0's ring of ring buffers; 0: never inlined.
    pub values: u64,
    /// Bytes from one element to the next.
    pub stride: u32,
    /// Bytes from one CPU's elements or ring to the next CPU's; 0 for kinds that are not per CPU.
    pub cpu_stride: u32,
}

/// The time a helper takes at most, a linear form of the map's sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HelperTime {
    /// Helper number.
    pub id: u32,
    /// Map kind this row is for (Linux's numbers); 0: any, or no map argument.
    pub map_kind: u8,
    /// Constant part, from the helper's first instruction to its `ret`.
    pub base: u64,
    /// For each begun 8 bytes of key.
    pub key_word: u64,
    /// For each begun 8 bytes of value, or of the size argument where the helper has one.
    pub value_word: u64,
    /// For each entry of the map's capacity (a bounded probe sequence states its limit in `base` instead).
    pub entry: u64,
}

impl HelperTime {
    /// The bound with this map (`bytes` of memory argument).
    pub fn time(&self, map: Option<&MapDesc>, bytes: u32) -> u64 {
        let words = |bytes: u32| bytes.div_ceil(8) as u64;
        let (key, value, entries) = map.map_or((0, 0, 0), |m| {
            (words(m.key_bytes), words(m.value_bytes), m.entries as u64)
        });
        let terms = [
            self.key_word.saturating_mul(key),
            self.value_word.saturating_mul(value.max(words(bytes))),
            self.entry.saturating_mul(entries),
        ];
        terms.into_iter().fold(self.base, u64::saturating_add)
    }
}

/// Where a helper is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperLink {
    /// Helper number.
    pub id: u32,
    /// Address of `extern "C" fn(r1, r2, r3, r4, r5) -> r0`.
    pub address: u64,
}

/// Where the context of firings is: `context` bytes behind the address in a system register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextLink {
    /// Register with the address of this CPU's block (`TPIDR_EL2` at EL2).
    pub base: Sys,
    /// Offset of the context; one instruction adds it if it is below 4,096, or below 16 Mi and a multiple of that.
    pub offset: u32,
}

/// How compiled code is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// As `extern "C" fn(context: *const u8) -> u64`.
    Function,
    /// From a probe point: x1–x4 are the point's fields, words 3–6 of the context, and w5 is the path. VM, vCPU and CPU
    /// are in the context already; the code adds those of the other words that the program reads. It changes x0–x7,
    /// x12–x17 and the flags, nothing else, and its result is nobody's.
    Point(ContextLink),
}

/// Everything outside the program that its code depends on. The bound a program was verified with holds for
/// the links it was verified with.
#[derive(Clone, Copy, Debug)]
pub struct Links<'l> {
    /// The program's maps.
    pub maps: &'l [MapLink],
    /// Helpers that are called, sorted by number.
    pub helpers: &'l [HelperLink],
    /// Their times; a helper without a row here costs `u64::MAX`, so no budget admits it.
    pub helper_times: &'l [HelperTime],
    /// First and last run address code may be placed at. A helper within reach of `BL` from all of it is
    /// called by one instruction.
    pub window: (u64, u64),
    /// Which CPU.
    pub cpu: CpuLink,
    /// What time.
    pub time: TimeLink,
    /// The core has FEAT_LSE; else atomics are load/store-exclusive loops.
    pub lse: bool,
    /// Who enters the code, and how.
    pub entry: Entry,
    /// What a register call is dispatched to (r1–r5, number in x5). Only conformance builds compile those.
    pub dispatch: u64,
}

impl Links<'_> {
    /// The address of helper `id`.
    pub(crate) fn helper(&self, id: u32) -> Option<u64> {
        let at = self.helpers.binary_search_by_key(&id, |h| h.id).ok()?;
        Some(self.helpers.get(at)?.address)
    }

    /// Whether `BL` reaches `address` from anywhere in the window (C6.2.35: ±128 MiB).
    pub(crate) fn near(&self, address: u64) -> bool {
        const REACH: u64 = (128 << 20) - 4;
        address.abs_diff(self.window.0) < REACH && address.abs_diff(self.window.1) < REACH
    }
}
