//! Memory as the state knows it: words at constant offsets of objects, forgotten when a store may have hit them.

use crate::range::Range;
use crate::state::{State, Sym, Value};

/// Bytes of the widest store that is recorded.
const STORE_BYTES_MAX: u64 = 64;

/// Where a store may write: `reach` bytes from `low` on of the object `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hit {
    pub base: Sym,
    pub exact: bool,
    pub low: u64,
    pub reach: u64,
}

impl State {
    /// The value kept at an address, if exactly `size` bytes are.
    pub fn load(&self, address: Value, size: u8) -> Option<Value> {
        if address.index != 0 {
            return None;
        }
        let (bytes, value) = self.memory.get(&(address.base, address.add))?;
        (*bytes == size).then_some(*value)
    }

    /// Records a store. `size` may be larger than 8 for opaque bytes (`value` = None).
    pub fn store(&mut self, address: Value, size: u8, value: Option<Value>) {
        if let Some(v) = value
            && v.base == self.stack
            && address.base != self.stack
        {
            self.escaped = true;
        }
        let hit = self.hit(address, size);
        self.forget(hit);
        if let Some(value) = value
            && hit.exact
        {
            self.memory.insert((address.base, address.add), (size, value));
        }
    }

    /// The bytes that a store to this address may change.
    pub(crate) fn hit(&self, address: Value, size: u8) -> Hit {
        let exact = address.index == 0;
        let span = if exact {
            Range::exact(0)
        } else {
            self.symbol_range(address.index)
        };
        Hit {
            base: address.base,
            exact,
            low: address.add.wrapping_add(span.lo),
            reach: (span.hi - span.lo).saturating_add(size as u64),
        }
    }

    /// What the stack holds below its pointer is dead: a procedure that returned has no red zone (AAPCS64, 6.4.5.1).
    pub fn forget_below_stack(&mut self) {
        let sp = self.regs[31];
        if sp.base == self.stack && sp.index == 0 {
            let stack = self.stack;
            let is_above = |offset: u64| (offset.wrapping_sub(sp.add) as i64) >= 0;
            self.memory
                .retain(|(base, offset), _| *base != stack || is_above(*offset));
            self.saved.retain(|offset, ()| is_above(*offset));
        }
    }

    /// Forgets what a store may have overwritten.
    pub(crate) fn forget(&mut self, hit: Hit) {
        if !self.disturbs(hit) {
            return;
        }
        let (stack, escaped) = (self.stack, self.escaped);
        let saved = self.saved.clone();
        let ground = std::rc::Rc::clone(&self.ground);
        let known = hit.base == 0 || ground.apart.contains(&hit.base);
        let mut lost = false;
        self.memory.retain(|(base, offset), (bytes, value)| {
            let same = *base == hit.base;
            if !(same && hit.exact) && ground.firm.contains(&(*base, *offset)) {
                return true;
            }
            let keep = if same {
                // Same object: kept unless the byte ranges can meet. Offsets compare as signed distances.
                !(offset.wrapping_sub(hit.low) < hit.reach || hit.low.wrapping_sub(*offset) < *bytes as u64)
            } else if known && (*base == 0 || ground.apart.contains(base)) {
                true
            } else if *base == stack {
                // The stack is reached only by stack addresses while none has escaped; what procedures save, by none.
                !escaped || saved.contains_key(offset)
            } else {
                hit.base == stack && !escaped
            };
            // A stack address that is forgotten may come back from memory as a pointer of unknown origin.
            lost |= !keep && value.base == stack && !(same && hit.exact);
            keep
        });
        self.escaped |= lost;
    }

    /// Whether any entry may be hit: a look at the neighbours where that decides.
    fn disturbs(&self, hit: Hit) -> bool {
        let near = hit.low.checked_sub(STORE_BYTES_MAX);
        let end = hit.low.checked_add(hit.reach);
        let entries = self.memory.entries();
        let others = entries.first().is_some_and(|(k, _)| k.0 != hit.base)
            || entries.last().is_some_and(|(k, _)| k.0 != hit.base);
        let apart = hit.base == self.stack && !self.escaped;
        let (Some(near), Some(end), false) = (near, end, others && !apart) else {
            return true;
        };
        let first = self.memory.at_or_after((hit.base, near));
        entries
            .iter()
            .skip(first)
            .take_while(|((base, offset), _)| *base == hit.base && *offset < end)
            .any(|((_, offset), (bytes, _))| *offset >= hit.low || hit.low - offset < *bytes as u64)
    }
}
