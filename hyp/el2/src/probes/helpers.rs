//! Helpers: what compiled probes call. Arguments are what the verifier proved of them.

use hyp_core::probe::MapSlot;
use hyp_core::probe_vm::env::helper;
use hyp_core::probe_vm::jit::HelperLink;
use hyp_core::probe_vm::maps::{MapError, RingQuery, Source, UpdateFlag, record};

use super::store::{self, MAP_WORDS};
use crate::percpu;

/// Helpers with entry points here; the JIT inlines the others.
pub const COUNT: usize = 9;

/// Bytes behind a pointer that a probe passed.
struct Passed(u64);

impl Passed {
    /// The aligned word at `address`.
    #[inline(always)]
    fn aligned(address: u64) -> u64 {
        // SAFETY: 1. The word is aligned and holds at least one byte that the verifier proved readable for the helper: of the
        // stack, context or map value of the running probe. 2. So it lies in a page that is mapped, and bytes beside the
        // proven ones are masked or shifted away before anything depends on them. 3. Volatile: other CPUs may write it.
        unsafe { (address as *const u64).read_volatile() }
    }
}

impl Passed {
    /// The word at `address`, which need not be aligned: the compiler, which must not assume that, would load bytes.
    #[inline(always)]
    fn unaligned(address: u64) -> u64 {
        let word;
        // SAFETY: 1. All 8 bytes were proven readable for the helper. 2. EL2's memory is normal and SCTLR_EL2.A is 0, so
        // any alignment is good (Arm ARM B2.5.2).
        unsafe {
            core::arch::asm!("ldr {}, [{}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
        };
        word
    }
}

impl Source for Passed {
    #[inline(always)]
    fn word(&self, at: u32, bytes: u32) -> u64 {
        let start = self.0 + u64::from(at);
        if bytes == 8 {
            return Self::unaligned(start);
        }
        let offset = start & 7;
        let mut word = Self::aligned(start & !7) >> (8 * offset);
        if offset + u64::from(bytes) > 8 {
            // Here the offset is not 0, so the shift is below 64.
            word |= Self::aligned((start & !7) + 8) << (64 - 8 * offset);
        }
        word & (u64::MAX >> ((64 - 8 * bytes) & 63))
    }
}

fn map(handle: u64) -> Option<&'static MapSlot> {
    store::named(handle)
}

fn address(slot: &MapSlot, offset: u32) -> u64 {
    store::map_base() + slot.offset() + u64::from(offset)
}

fn status(result: Result<(), MapError>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(error) => error.errno() as u64,
    }
}

const EINVAL: u64 = -22i64 as u64;

/// The CPU that fires.
#[inline(always)]
fn cpu() -> u32 {
    percpu::context().cpu()
}

extern "C" fn map_lookup(handle: u64, key: u64) -> u64 {
    let Some(slot) = map(handle) else { return 0 };
    let found = slot
        .map(MAP_WORDS.words())
        .and_then(|map| map.lookup(cpu(), &Passed(key)));
    found.map_or(0, |offset| address(slot, offset))
}

extern "C" fn map_update(handle: u64, key: u64, value: u64, flags: u64) -> u64 {
    let Some(map) = map(handle).and_then(|slot| slot.map(MAP_WORDS.words())) else {
        return EINVAL;
    };
    let Some(flag) = UpdateFlag::from_number(flags) else {
        return EINVAL;
    };
    status(map.update(cpu(), &Passed(key), &Passed(value), flag))
}

extern "C" fn map_delete(handle: u64, key: u64) -> u64 {
    let Some(map) = map(handle).and_then(|slot| slot.map(MAP_WORDS.words())) else {
        return EINVAL;
    };
    status(map.delete(&Passed(key)))
}

extern "C" fn trace_printk(format: u64, bytes: u64, a: u64, b: u64, c: u64) -> u64 {
    let mut text = [0; hyp_core::probe_vm::env::FORMAT_BYTES_MAX as usize];
    let len = (bytes as usize).min(text.len());
    for (at, byte) in (0..).zip(text.iter_mut().take(len)) {
        *byte = Passed(format).word(at, 1) as u8;
    }
    let text = text.get(..len).unwrap_or(&[]);
    defmt::info!("trace_printk {=[u8]:a} {=u64} {=u64} {=u64}", text, a, b, c);
    len as u64
}

extern "C" fn ring_output(handle: u64, data: u64, bytes: u64, _flags: u64) -> u64 {
    let Some(map) = map(handle).and_then(|slot| slot.map(MAP_WORDS.words())) else {
        return EINVAL;
    };
    status(map.ring_output(cpu(), &Passed(data), bytes as u32))
}

extern "C" fn ring_reserve(handle: u64, bytes: u64, _flags: u64) -> u64 {
    let Some(slot) = map(handle) else { return 0 };
    let at = slot
        .map(MAP_WORDS.words())
        .and_then(|map| map.ring_reserve(cpu(), bytes as u32));
    at.map_or(0, |offset| address(slot, offset))
}

/// The header word of the record at `data`, in map memory.
fn finish(data: u64, bits: u64) -> u64 {
    let offset = data.wrapping_sub(store::map_base()).wrapping_sub(8);
    if let Some(word) = MAP_WORDS.words().get((offset / 8) as usize) {
        use core::sync::atomic::Ordering;
        let header = word.load(Ordering::Relaxed);
        word.store(header & !record::BUSY | bits, Ordering::Release);
    }
    0
}

extern "C" fn ring_submit(data: u64, _flags: u64) -> u64 {
    finish(data, 0)
}

extern "C" fn ring_discard(data: u64, _flags: u64) -> u64 {
    finish(data, record::DISCARDED)
}

extern "C" fn ring_query(handle: u64, what: u64) -> u64 {
    let Some(map) = map(handle).and_then(|slot| slot.map(MAP_WORDS.words())) else {
        return 0;
    };
    RingQuery::from_number(what).map_or(0, |query| map.ring_query(cpu(), query))
}

/// Entry points, by number.
pub fn links() -> [HelperLink; COUNT] {
    let at = |id: u32, function: *const ()| HelperLink {
        id,
        address: function.addr() as u64,
    };
    [
        at(helper::MAP_LOOKUP, map_lookup as *const ()),
        at(helper::MAP_UPDATE, map_update as *const ()),
        at(helper::MAP_DELETE, map_delete as *const ()),
        at(helper::TRACE_PRINTK, trace_printk as *const ()),
        at(helper::RING_OUTPUT, ring_output as *const ()),
        at(helper::RING_RESERVE, ring_reserve as *const ()),
        at(helper::RING_SUBMIT, ring_submit as *const ()),
        at(helper::RING_DISCARD, ring_discard as *const ()),
        at(helper::RING_QUERY, ring_query as *const ()),
    ]
}
