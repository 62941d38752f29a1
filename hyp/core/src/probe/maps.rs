//! Map slots and map memory. A map lives while a loaded program uses it.

use core::sync::atomic::{AtomicU64, Ordering};

use hyp_abi::Status;
use hyp_abi::record::{MapInfo, Pool};
use probe_vm::env::describe;
use probe_vm::image::{Image, Name, limits};
use probe_vm::jit::MapLink;
use probe_vm::maps::{Geometry, Map, MapKind};
use verifier::MapDesc;

use super::publish::{CodeMemory, ProbeCode};
use super::ranges::Ranges;
use super::{Caller, MAPS_MAX, Platform, Probes, Refused};

/// Words cleared by one unit of a verify step.
pub(super) const CLEAR_WORDS: u32 = 64;

/// One map. Its handle, as programs pass it to helpers and as images name it to share it, is its slot + 1.
#[derive(Clone, Copy, Debug)]
pub struct MapSlot {
    /// Owner.
    pub vm: u32,
    /// Name in the program that brought it.
    pub name: Name,
    /// Where things lie.
    pub geometry: Geometry,
    /// First word in map memory.
    at: u32,
    /// Programs that use it.
    users: u32,
}

/// Maps a program takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub slots: [u8; limits::MAPS_MAX],
    pub count: usize,
    /// Bit i: map i is new, so its memory must be cleared and filled.
    pub fresh: u32,
}

#[derive(Clone, Debug)]
pub(super) struct MapTable {
    slots: [Option<MapSlot>; MAPS_MAX],
    memory: Ranges<MAPS_MAX>,
    peak: u64,
}

impl MapTable {
    pub fn new(words: usize) -> Self {
        Self {
            slots: [None; MAPS_MAX],
            memory: Ranges::new(words as u32),
            peak: 0,
        }
    }

    pub fn usage(&self) -> (u64, u64, u64) {
        (self.slots.iter().flatten().count() as u64, self.peak, MAPS_MAX as u64)
    }

    pub fn memory_usage(&self) -> (u64, u64, u64) {
        (
            u64::from(self.memory.used()) * 8,
            u64::from(self.memory.peak()) * 8,
            u64::from(self.memory.size()) * 8,
        )
    }

    pub fn get(&self, slot: u8) -> Option<&MapSlot> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    /// Takes the maps of `image` for `vm`: shares or makes each. All or none.
    pub fn take(&mut self, vm: u32, image: &Image<'_>, quota: u64, cpus: u32) -> Result<Taken, Refused> {
        let mut taken = Taken {
            slots: [0; limits::MAPS_MAX],
            count: 0,
            fresh: 0,
        };
        for (i, map) in image.maps().enumerate().take(limits::MAPS_MAX) {
            let slot = if map.share != 0 {
                self.share(vm, map.share, &map.def, cpus)
            } else {
                let geometry = map
                    .def
                    .geometry(cpus)
                    .map_err(|_| Refused::with(Status::BadImage, &[i as u64, 8]));
                geometry
                    .and_then(|g| self.make(vm, map.name, g, quota))
                    .inspect(|_| taken.fresh |= 1 << i)
            };
            match slot {
                Ok(s) => taken.slots[i % limits::MAPS_MAX] = s,
                Err(e) => {
                    self.release(&taken.slots, taken.count);
                    return Err(e);
                }
            }
            taken.count = i + 1;
        }
        self.peak = self.peak.max(self.usage().0);
        Ok(taken)
    }

    /// Sharing needs the same owner and the same definition.
    fn share(&mut self, vm: u32, handle: u32, def: &probe_vm::maps::MapDef, cpus: u32) -> Result<u8, Refused> {
        let not_found = Refused::new(Status::NotFound);
        let i = (handle as usize).checked_sub(1).ok_or(not_found)?;
        let slot = self
            .slots
            .get_mut(i)
            .and_then(|s| s.as_mut())
            .filter(|s| s.vm == vm)
            .ok_or(not_found)?;
        if def.geometry(cpus).ok() != Some(slot.geometry) {
            return Err(Refused::with(Status::InvalidArg, &[1]));
        }
        slot.users += 1;
        Ok(i as u8)
    }

    fn make(&mut self, vm: u32, name: Name, geometry: Geometry, quota: u64) -> Result<u8, Refused> {
        let own: u64 = self
            .slots
            .iter()
            .flatten()
            .filter(|s| s.vm == vm)
            .map(|s| u64::from(s.geometry.bytes))
            .sum();
        if own + u64::from(geometry.bytes) > quota {
            return Err(Refused::no_space(Pool::MapMemory, quota));
        }
        let free = self
            .slots
            .iter()
            .position(|s| s.is_none())
            .ok_or(Refused::no_space(Pool::Maps, MAPS_MAX as u64))?;
        let words = geometry.bytes / 8;
        let at = self
            .memory
            .take(words)
            .ok_or(Refused::no_space(Pool::MapMemory, u64::from(self.memory.size()) * 8))?;
        if let Some(slot) = self.slots.get_mut(free) {
            *slot = Some(MapSlot {
                vm,
                name,
                geometry,
                at,
                users: 1,
            });
        }
        Ok(free as u8)
    }

    /// Gives up the first `count` of `slots`.
    pub fn release(&mut self, slots: &[u8], count: usize) {
        for s in slots.iter().take(count) {
            let Some(place) = self.slots.get_mut(usize::from(*s)) else {
                continue;
            };
            let Some(slot) = place else { continue };
            slot.users = slot.users.saturating_sub(1);
            if slot.users == 0 {
                self.memory.shrink(slot.at, 0);
                *place = None;
            }
        }
    }

    /// What the verifier and the compiler need to know of a map.
    pub fn describe(&self, slot: u8, map_base: u64) -> Option<(MapDesc, MapLink)> {
        let s = self.get(slot)?;
        let g = &s.geometry;
        let map_at = map_base + s.offset();
        let link = MapLink {
            handle: u64::from(slot) + 1,
            values: match g.def.kind {
                MapKind::RingBuf => map_at,
                kind if kind.is_array() => map_at + u64::from(g.values_at),
                _ => 0,
            },
            stride: g.stride,
            cpu_stride: if g.def.kind.is_per_cpu() || g.def.kind == MapKind::RingBuf {
                g.cpu_stride
            } else {
                0
            },
        };
        Some((describe(&g.def), link))
    }
}

impl MapSlot {
    /// Its words in map memory.
    pub fn words<'m>(&self, memory: &'m [AtomicU64]) -> &'m [AtomicU64] {
        let at = self.at as usize;
        memory.get(at..at + self.geometry.bytes as usize / 8).unwrap_or(&[])
    }

    /// Byte offset of the map in map memory.
    pub const fn offset(&self) -> u64 {
        self.at as u64 * 8
    }

    /// The map over its words.
    pub fn map<'m>(&'m self, memory: &'m [AtomicU64]) -> Option<Map<'m>> {
        Map::new(&self.geometry, self.words(memory))
    }
}

/// Clears the words of the fresh maps of a program bit by bit, then fills in their initial contents.
#[derive(Debug)]
pub(super) struct Clearing {
    pub taken: Taken,
    map: usize,
    word: u32,
}

impl Clearing {
    pub const fn new(taken: Taken) -> Self {
        Self { taken, map: 0, word: 0 }
    }

    /// One unit. True when all is done.
    pub fn step(&mut self, maps: &MapTable, platform: &Platform<'_>, image: &[u8]) -> bool {
        if self.map >= self.taken.count {
            return true;
        }
        let slot = self.taken.slots.get(self.map).and_then(|s| maps.get(*s));
        let fresh = self.taken.fresh >> (self.map % 32) & 1 != 0;
        let Some(slot) = slot.filter(|_| fresh) else {
            self.map += 1;
            return false;
        };
        let words = slot.words(platform.map_words);
        let rest = words.get(self.word as usize..).unwrap_or(&[]);
        for w in rest.iter().take(CLEAR_WORDS as usize) {
            w.store(0, Ordering::Relaxed);
        }
        self.word += CLEAR_WORDS;
        if self.word as usize >= words.len() {
            let data = Image::parse(image)
                .ok()
                .and_then(|i| i.map(self.map))
                .map_or(&[][..], |m| m.data);
            if let (false, Some(map)) = (data.is_empty(), slot.map(platform.map_words)) {
                map.initialise(data);
            }
            self.word = 0;
            self.map += 1;
        }
        false
    }
}

impl<C: ProbeCode> Probes<'_, C> {
    /// The map of index `index` of a program, for reads and updates by hypercall. Its operations are in [`MapSlot::map`]. Maps of a program that is
    /// not verified yet are not shown: their memory may still hold another's values.
    pub fn map(&self, caller: Caller, handle: u64, index: u64) -> Result<&MapSlot, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        if p.published.is_none() {
            return Err(Refused::state(self.state(slot)?));
        }
        let i = usize::try_from(index)
            .ok()
            .filter(|i| *i < p.map_count)
            .ok_or(Refused::with(Status::InvalidArg, &[2]))?;
        p.maps
            .get(i)
            .and_then(|m| self.maps.get(*m))
            .ok_or(Refused::new(Status::NotFound))
    }

    /// Makes the maps that the program in `slot` alone uses known to helpers.
    pub(super) fn name_maps(&self, slot: usize, memory: &mut impl CodeMemory<Code = C>) {
        let Ok(p) = self.program(slot) else { return };
        for id in p.maps.iter().take(p.map_count) {
            if let Some(map) = self.maps.get(*id).filter(|m| m.users == 1) {
                memory.name_map(u64::from(*id) + 1, map);
            }
        }
    }

    /// MapInfo.
    pub fn map_info(&self, caller: Caller, handle: u64, index: u64) -> Result<MapInfo, Refused> {
        let slot = self.find(caller, handle)?;
        let p = self.program(slot)?;
        let i = usize::try_from(index)
            .ok()
            .filter(|i| *i < p.map_count)
            .ok_or(Refused::with(Status::InvalidArg, &[2]))?;
        let id = p.maps.get(i).copied().unwrap_or(0);
        let m = self.maps.get(id).ok_or(Refused::new(Status::NotFound))?;
        let mut name = [0; hyp_abi::config::NAME_LEN];
        for (to, from) in name.iter_mut().zip(m.name.bytes()) {
            *to = *from;
        }
        let g = &m.geometry;
        Ok(MapInfo {
            kind: g.def.kind.number(),
            key_size: g.def.key_bytes,
            value_size: g.def.value_bytes,
            max_entries: g.def.entries,
            slots: g.cpus,
            handle: u32::from(id) + 1,
            name,
        })
    }
}
