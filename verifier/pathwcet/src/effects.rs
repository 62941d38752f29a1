//! What a procedure looked at and changed beyond its registers, noted while it is followed on its own.

use crate::memory::Hit;
use crate::state::Sym;
use hashbrown::HashSet;

/// The notes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    stores: HashSet<Hit>,
    written: HashSet<u16>,
    loads: Vec<Load>,
    blurred: HashSet<Sym>,
}

/// Memory that nothing was known of when it was loaded: the unknown it was taken as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub base: Sym,
    pub offset: u64,
    pub size: u8,
    pub value: Sym,
}

/// Loads that are noted: what was known of them at a call is known behind it, too.
const LOADS_MAX: usize = 512;

impl Log {
    /// Notes where a store may have gone.
    pub fn store(&mut self, hit: Hit) {
        self.stores.insert(hit);
    }

    /// Notes a system register that was written.
    pub fn write(&mut self, key: u16) {
        self.written.insert(key);
    }

    /// Notes a load of unknown memory.
    pub fn load(&mut self, load: Load) {
        if self.loads.len() < LOADS_MAX {
            self.loads.push(load);
        }
    }

    /// Notes that an address of this object was stored, or mixed with others.
    pub fn blur(&mut self, base: Sym) {
        self.blurred.insert(base);
    }

    /// Loads of unknown memory.
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// Whether an address of the object was stored or mixed with others.
    pub fn is_blurred(&self, base: Sym) -> bool {
        self.blurred.contains(&base)
    }

    /// System registers written.
    pub fn written(&self) -> impl Iterator<Item = u16> {
        self.written.iter().copied()
    }

    /// Where stores may have gone, neighbours joined; `None` if any went through a base that `known` does not know.
    pub fn stores(&self, known: &dyn Fn(Sym) -> bool) -> Option<Vec<Hit>> {
        let mut all: Vec<Hit> = self.stores.iter().copied().collect();
        if !all.iter().all(|hit| known(hit.base)) {
            return None;
        }
        all.sort_unstable();
        let mut out: Vec<Hit> = Vec::new();
        for hit in all {
            match out.last_mut() {
                Some(last)
                    if (last.base, last.exact) == (hit.base, hit.exact)
                        && hit.low.wrapping_sub(last.low) <= last.reach =>
                {
                    let end = (hit.low - last.low).saturating_add(hit.reach);
                    last.reach = last.reach.max(end);
                }
                _ => out.push(hit),
            }
        }
        Some(out)
    }
}
