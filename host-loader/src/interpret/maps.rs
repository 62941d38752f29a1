//! The maps of an object, in the host's memory.

use std::sync::atomic::AtomicU64;

use probe_vm::maps::{Geometry, Map, ReadMode};

use super::RunError;
use crate::client::Entry;
use crate::env::gnomon;
use crate::obj::{self, Object, Origin};

/// CPUs with values of their own: the interpreter is one.
const CPUS: u32 = 1;
/// Words of the buffer that entries and records are read into: the largest entry fits.
const READ_WORDS: usize = 2 * probe_vm::maps::READ_WORDS_MAX as usize;

struct Made {
    geometry: Geometry,
    words: Vec<AtomicU64>,
}

struct Slot {
    name: String,
    made: Result<Made, String>,
}

/// All maps of an object, as new. One that Gnomon has no kind for, or a size, is an error only where it is used.
pub struct Maps {
    slots: Vec<Slot>,
}

/// What a ring buffer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Submitted, oldest first.
    pub records: Vec<Vec<u8>>,
    /// How many found no room.
    pub lost: u64,
}

fn make(map: &obj::MapDef) -> Result<Made, String> {
    let def = gnomon::map_def(map)?;
    let geometry = def.geometry(CPUS).map_err(|e| format!("{e:?}"))?;
    let words: Vec<AtomicU64> = (0..geometry.bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
    if let (Origin::Data(bytes), Some(map)) = (&map.origin, Map::new(&geometry, &words)) {
        map.initialise(bytes);
    }
    Ok(Made { geometry, words })
}

impl Maps {
    /// The maps of `object`, with the initial values of its variables.
    pub fn new(object: &Object) -> Maps {
        let slot = |m: &obj::MapDef| Slot {
            name: m.name.clone(),
            made: make(m),
        };
        Maps {
            slots: object.maps.iter().map(slot).collect(),
        }
    }

    /// How many the object has.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The object has none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn made(&self, index: usize) -> Result<&Made, RunError> {
        let bad = |name: &str, why: &str| RunError::Map {
            name: name.into(),
            why: why.into(),
        };
        let slot = self.slots.get(index);
        let slot = slot.ok_or_else(|| bad(&index.to_string(), "the object has no such map"))?;
        slot.made.as_ref().map_err(|why| bad(&slot.name, why))
    }

    /// The memory of a map.
    ///
    /// # Errors
    /// It could not be made.
    pub fn words(&self, index: usize) -> Result<&[AtomicU64], RunError> {
        Ok(&self.made(index)?.words)
    }

    /// A map over its memory, if it could be made.
    pub fn map(&self, index: usize) -> Option<Map<'_>> {
        let made = self.made(index).ok()?;
        Map::new(&made.geometry, &made.words)
    }

    /// Entries of a hash, elements of an array; none of a ring buffer.
    pub fn entries(&self, index: usize) -> Vec<Entry> {
        let Some(map) = self.map(index) else { return Vec::new() };
        let def = map.geometry().def;
        let (key_bytes, value_bytes) = (def.key_bytes as usize, def.value_bytes as usize);
        let key_words = map.entry_words(ReadMode::Folded) as usize - map.geometry().value_words() as usize;
        let each = map.entry_words(ReadMode::Folded) as usize;
        let mut buffer = vec![0u64; READ_WORDS];
        let (mut out, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let Ok(read) = map.read(at, ReadMode::Folded, buffer.as_mut_slice()) else {
                break;
            };
            for words in buffer.chunks_exact(each).take(read.entries as usize) {
                let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                let (key, value) = bytes.split_at(8 * key_words);
                out.push(Entry {
                    key: key[..key_bytes].to_vec(),
                    value: value[..value_bytes].to_vec(),
                });
            }
            cursor = read.next;
        }
        out
    }

    /// Takes the records out of a ring buffer; `None` for other maps.
    pub fn take_records(&self, index: usize) -> Option<Records> {
        let map = self.map(index)?;
        let mut out = Records::default();
        let mut buffer = vec![0u64; READ_WORDS];
        loop {
            let read = map.ring_read(0, buffer.as_mut_slice()).ok()?;
            out.lost += read.lost;
            let mut rest = &buffer[..read.words as usize];
            while let Some((len, body)) = rest.split_first() {
                let (len, words) = (*len as usize, (*len as usize).div_ceil(8));
                let bytes: Vec<u8> = body[..words].iter().flat_map(|w| w.to_le_bytes()).take(len).collect();
                out.records.push(bytes);
                rest = &body[words..];
            }
            if !read.more || read.records == 0 {
                return Some(out);
            }
        }
    }
}
