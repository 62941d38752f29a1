//! Writing an image: the host's half of the format.

use super::limits::{DATA_BYTES_MAX, FUNCS_MAX, INSNS_MAX, MAPS_MAX};
use super::{Counted, HEADER_BYTES, Image, ImageError, MAGIC, MAP_BYTES, Name, VERSION, at, map_at, pad8};
use crate::maps::MapDef;

/// A map to put into an image.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec<'a> {
    /// Its definition.
    pub def: MapDef,
    /// Handle of a map to share, or 0.
    pub share: u32,
    /// Initial contents of entry 0, at most the value's size; arrays only.
    pub data: &'a [u8],
    /// Its name.
    pub name: Name,
}

/// A program to put into an image.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec<'a> {
    /// Its name.
    pub name: Name,
    /// Name of its point.
    pub point: Name,
    /// Its maps, in the order instructions refer to them.
    pub maps: &'a [MapSpec<'a>],
    /// First instruction of each function, ascending from 0.
    pub funcs: &'a [u32],
    /// Instruction slots.
    pub insns: &'a [[u8; 8]],
}

/// Why a program cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer is shorter than the image.
    Buffer {
        /// Bytes needed.
        needed: usize,
    },
    /// EL2 would refuse the image.
    Image(ImageError),
}

impl ProgramSpec<'_> {
    fn data_bytes(&self) -> usize {
        self.maps.iter().map(|m| pad8(m.data.len())).sum()
    }

    /// Bytes of the encoded image.
    pub fn image_bytes(&self) -> usize {
        HEADER_BYTES
            + self.maps.len() * MAP_BYTES
            + pad8(self.funcs.len() * 4)
            + self.insns.len() * 8
            + self.data_bytes()
    }

    fn check_counts(&self) -> Result<(), ImageError> {
        let counts = [
            (Counted::Insns, self.insns.len(), INSNS_MAX),
            (Counted::Maps, self.maps.len(), MAPS_MAX),
            (Counted::Funcs, self.funcs.len(), FUNCS_MAX),
            (Counted::DataBytes, self.data_bytes(), DATA_BYTES_MAX),
        ];
        for (what, given, max) in counts {
            if given > max {
                let given = u32::try_from(given).unwrap_or(u32::MAX);
                return Err(ImageError::Count {
                    what,
                    given,
                    max: max as u32,
                });
            }
        }
        Ok(())
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Encodes `program` into the front of `out`; gives the bytes used. What it wrote, [`Image::parse`] accepts.
///
/// # Errors
/// The buffer is too short, or the program breaks a limit or rule of the format.
pub fn encode(program: &ProgramSpec<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    program.check_counts().map_err(EncodeError::Image)?;
    let needed = program.image_bytes();
    let out = out.get_mut(..needed).ok_or(EncodeError::Buffer { needed })?;
    out.fill(0);
    put(out, at::VERSION, &VERSION.to_le_bytes());
    put(out, at::HEADER_BYTES, &(HEADER_BYTES as u16).to_le_bytes());
    let words = [
        (at::MAGIC, MAGIC),
        (at::TOTAL_BYTES, needed as u32),
        (at::INSNS, program.insns.len() as u32),
        (at::MAPS, program.maps.len() as u32),
        (at::FUNCS, program.funcs.len() as u32),
        (at::DATA_BYTES, program.data_bytes() as u32),
    ];
    for (at, word) in words {
        put(out, at, &word.to_le_bytes());
    }
    put(out, at::NAME, program.name.bytes());
    put(out, at::POINT, program.point.bytes());

    let maps_at = HEADER_BYTES;
    let funcs_at = maps_at + program.maps.len() * MAP_BYTES;
    let insns_at = funcs_at + pad8(program.funcs.len() * 4);
    let data_at = insns_at + program.insns.len() * 8;
    for (i, pc) in program.funcs.iter().enumerate() {
        put(out, funcs_at + i * 4, &pc.to_le_bytes());
    }
    put(out, insns_at, program.insns.as_flattened());
    let mut used = 0;
    for (i, map) in program.maps.iter().enumerate() {
        put_map(&mut out[maps_at + i * MAP_BYTES..][..MAP_BYTES], map, used);
        put(out, data_at + used, map.data);
        used += pad8(map.data.len());
    }
    Image::parse(out).map_err(EncodeError::Image)?;
    Ok(needed)
}

fn put_map(record: &mut [u8], map: &MapSpec<'_>, data_at: usize) {
    let words = [
        (map_at::KIND, map.def.kind.number()),
        (map_at::KEY_BYTES, map.def.key_bytes),
        (map_at::VALUE_BYTES, map.def.value_bytes),
        (map_at::ENTRIES, map.def.entries),
        (map_at::FLAGS, map.def.flags),
        (map_at::SHARE, map.share),
        (map_at::DATA_AT, data_at as u32),
        (map_at::DATA_BYTES, map.data.len() as u32),
    ];
    for (at, word) in words {
        put(record, at, &word.to_le_bytes());
    }
    put(record, map_at::NAME, map.name.bytes());
}
