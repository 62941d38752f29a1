//! Wire format of a staged program.
//!
//! The host encodes what it found in an object file; a guest stages the bytes; EL2 copies them once and parses
//! them here. [`Image::parse`] is total: any bytes give an [`Image`] or an [`ImageError`], never a panic, and
//! it does bounded work ([`limits`]). It checks the container only. What the instructions do is the verifier's.
//!
//! Layout, little endian, sections back to back without gaps:
//!
//! | section | bytes | contents |
//! |---|---|---|
//! | header | [`HEADER_BYTES`] | magic, version, sizes and counts, program name, point name |
//! | maps | [`MAP_BYTES`] each | definition, handle of a map to share, initial contents, name |
//! | functions | 4 each, section padded to 8 | first instruction of each function, ascending; entry 0 is the program |
//! | instructions | 8 each | RFC 9669 encoding |
//! | data | padded to 8 | initial contents of maps (`.data`, `.rodata`) |
//!
//! Instructions name maps by index: `lddw` with `src_reg` 1 and the map's index in `imm` is the map, `src_reg` 2
//! with a byte offset in the second `imm` is the address of a value in entry 0 of an array (a global variable).
//! `src_reg` 4 is the address of a function, `imm` counted from the next instruction, as in Linux.

mod encode;
mod name;
#[cfg(test)]
mod tests;

pub use encode::{EncodeError, MapSpec, ProgramSpec, encode};
pub use name::Name;

use crate::maps::{DefError, MapDef, MapKind};

/// Limits of a program image. Every one bounds work or memory at EL2.
pub mod limits {
    /// Instruction slots (an `lddw` takes two). As many as Linux gives unprivileged programs (`BPF_MAXINSNS`).
    pub const INSNS_MAX: usize = 4096;
    /// Maps one program refers to. Linux allows 64; a probe that needs more than 16 is several probes.
    pub const MAPS_MAX: usize = 16;
    /// Functions, the program itself included.
    pub const FUNCS_MAX: usize = 64;
    /// Bytes of a name, of which the last is always NUL.
    pub const NAME_BYTES: usize = 32;
    /// Initial contents of all maps together.
    pub const DATA_BYTES_MAX: usize = 8192;
    /// Size of the largest image, so of the buffer that stages one.
    pub const IMAGE_BYTES_MAX: usize =
        super::HEADER_BYTES + MAPS_MAX * super::MAP_BYTES + FUNCS_MAX * 4 + INSNS_MAX * 8 + DATA_BYTES_MAX;
}

use limits::{DATA_BYTES_MAX, FUNCS_MAX, INSNS_MAX, MAPS_MAX, NAME_BYTES};

/// First word of an image: `GNPB`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"GNPB");
/// Version of this format.
pub const VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 32 + 2 * NAME_BYTES;
/// Bytes of one map record.
pub const MAP_BYTES: usize = 32 + NAME_BYTES;

/// Byte offsets of the header's fields.
mod at {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 4;
    pub const HEADER_BYTES: usize = 6;
    pub const TOTAL_BYTES: usize = 8;
    pub const INSNS: usize = 12;
    pub const MAPS: usize = 16;
    pub const FUNCS: usize = 20;
    pub const DATA_BYTES: usize = 24;
    pub const RESERVED: usize = 28;
    pub const NAME: usize = 32;
    pub const POINT: usize = NAME + super::NAME_BYTES;
}

/// Byte offsets inside a map record.
mod map_at {
    pub const KIND: usize = 0;
    pub const KEY_BYTES: usize = 4;
    pub const VALUE_BYTES: usize = 8;
    pub const ENTRIES: usize = 12;
    pub const FLAGS: usize = 16;
    pub const SHARE: usize = 20;
    pub const DATA_AT: usize = 24;
    pub const DATA_BYTES: usize = 28;
    pub const NAME: usize = 32;
}

/// Why bytes are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Fewer bytes than a header, or than the header claims.
    Truncated {
        /// Bytes that would be needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// More bytes than the header claims.
    TrailingBytes {
        /// Bytes the header claims.
        claimed: usize,
        /// Bytes given.
        given: usize,
    },
    /// The first word is not [`MAGIC`].
    Magic(u32),
    /// Not a version this code reads.
    Version(u16),
    /// A reserved field is not zero.
    Reserved(u32),
    /// More of something than its limit, or none where one is needed.
    Count {
        /// What is counted.
        what: Counted,
        /// How many the image has.
        given: u32,
        /// Most allowed.
        max: u32,
    },
    /// A name is empty, not printable ASCII, or not padded with NUL.
    Name(Named),
    /// Function entries do not start at 0, do not ascend, or lie outside the program.
    Func {
        /// Index of the function.
        index: u32,
        /// Its claimed first instruction.
        pc: u32,
    },
    /// A map's definition is refused.
    Map {
        /// Index of the map.
        index: u32,
        /// Why.
        why: DefError,
    },
    /// A map's initial contents lie outside the data section, exceed the map, or the map takes none.
    MapData {
        /// Index of the map.
        index: u32,
    },
}

/// What [`ImageError::Count`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Instruction slots.
    Insns,
    /// Maps.
    Maps,
    /// Functions.
    Funcs,
    /// Bytes of initial data.
    DataBytes,
}

/// Whose name is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The program.
    Program,
    /// The attach point.
    Point,
    /// The map of this index.
    Map(u32),
}

/// One map of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageMap<'a> {
    /// Kind, sizes, flags: within limits.
    pub def: MapDef,
    /// Handle of a map the loading VM already has, which this program shares; 0 makes a new map.
    pub share: u32,
    /// Initial contents of entry 0; empty for all zeros.
    pub data: &'a [u8],
    /// Name in the source.
    pub name: Name,
}

/// A parsed image. Borrows the staged bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    name: Name,
    point: Name,
    maps: &'a [[u8; MAP_BYTES]],
    funcs: &'a [[u8; 4]],
    insns: &'a [[u8; 8]],
    data: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .map_or(0, |b| u32::from_le_bytes(*b))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .map_or(0, |b| u16::from_le_bytes(*b))
}

const fn pad8(n: usize) -> usize {
    (n + 7) & !7
}

fn count(bytes: &[u8], at: usize, what: Counted, min: u32, max: usize) -> Result<usize, ImageError> {
    let given = u32_at(bytes, at);
    if given < min || given as usize > max {
        return Err(ImageError::Count {
            what,
            given,
            max: max as u32,
        });
    }
    Ok(given as usize)
}

impl<'a> Image<'a> {
    /// Reads an image. Total; at most [`limits::IMAGE_BYTES_MAX`] bytes are looked at.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the layout.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let given = bytes.len();
        if given < HEADER_BYTES {
            return Err(ImageError::Truncated {
                needed: HEADER_BYTES,
                given,
            });
        }
        let magic = u32_at(bytes, at::MAGIC);
        if magic != MAGIC {
            return Err(ImageError::Magic(magic));
        }
        let version = u16_at(bytes, at::VERSION);
        if version != VERSION || u16_at(bytes, at::HEADER_BYTES) as usize != HEADER_BYTES {
            return Err(ImageError::Version(version));
        }
        let reserved = u32_at(bytes, at::RESERVED);
        if reserved != 0 {
            return Err(ImageError::Reserved(reserved));
        }
        let insns = count(bytes, at::INSNS, Counted::Insns, 1, INSNS_MAX)?;
        let maps = count(bytes, at::MAPS, Counted::Maps, 0, MAPS_MAX)?;
        let funcs = count(bytes, at::FUNCS, Counted::Funcs, 1, FUNCS_MAX)?;
        let data = count(bytes, at::DATA_BYTES, Counted::DataBytes, 0, DATA_BYTES_MAX)?;

        // Four bounded counts: the sum cannot overflow.
        let needed = HEADER_BYTES + maps * MAP_BYTES + pad8(funcs * 4) + insns * 8 + pad8(data);
        let claimed = u32_at(bytes, at::TOTAL_BYTES) as usize;
        if given < needed || claimed < needed {
            return Err(ImageError::Truncated {
                needed,
                given: given.min(claimed),
            });
        }
        if given > needed || claimed > needed {
            return Err(ImageError::TrailingBytes {
                claimed: needed,
                given: given.max(claimed),
            });
        }
        let (_, rest) = bytes.split_at(HEADER_BYTES);
        let (map_bytes, rest) = rest.split_at(maps * MAP_BYTES);
        let (func_bytes, rest) = rest.split_at(pad8(funcs * 4));
        let (insn_bytes, data_bytes) = rest.split_at(insns * 8);
        let image = Self {
            name: Name::read(bytes, at::NAME).ok_or(ImageError::Name(Named::Program))?,
            point: Name::read(bytes, at::POINT).ok_or(ImageError::Name(Named::Point))?,
            maps: map_bytes.as_chunks().0,
            funcs: func_bytes.as_chunks().0.get(..funcs).unwrap_or(&[]),
            insns: insn_bytes.as_chunks().0,
            data: data_bytes.get(..data).unwrap_or(&[]),
        };
        image.check_funcs()?;
        for index in 0..maps as u32 {
            image.read_map(index)?;
        }
        Ok(image)
    }

    fn check_funcs(&self) -> Result<(), ImageError> {
        let mut least = 0;
        for (index, pc) in self.funcs().enumerate() {
            let misplaced = if index == 0 { pc != 0 } else { pc < least };
            if misplaced || pc as usize >= self.insns.len() {
                return Err(ImageError::Func {
                    index: index as u32,
                    pc,
                });
            }
            least = pc + 1;
        }
        Ok(())
    }

    fn read_map(&self, index: u32) -> Result<ImageMap<'a>, ImageError> {
        let record = self.maps.get(index as usize).ok_or(ImageError::Count {
            what: Counted::Maps,
            given: index,
            max: self.maps.len() as u32,
        })?;
        let refuse = |why| ImageError::Map { index, why };
        let kind = u32_at(record, map_at::KIND);
        let def = MapDef {
            kind: MapKind::from_number(kind).ok_or(refuse(DefError::Kind(kind)))?,
            key_bytes: u32_at(record, map_at::KEY_BYTES),
            value_bytes: u32_at(record, map_at::VALUE_BYTES),
            entries: u32_at(record, map_at::ENTRIES),
            flags: u32_at(record, map_at::FLAGS),
        };
        def.check().map_err(refuse)?;
        let data_at = u32_at(record, map_at::DATA_AT) as usize;
        let data_bytes = u32_at(record, map_at::DATA_BYTES) as usize;
        let data = self
            .data
            .get(data_at..)
            .and_then(|d| d.get(..data_bytes))
            .filter(|d| d.is_empty() || (def.kind == MapKind::Array && d.len() <= def.value_bytes as usize))
            .ok_or(ImageError::MapData { index })?;
        Ok(ImageMap {
            def,
            share: u32_at(record, map_at::SHARE),
            data,
            name: Name::read(record, map_at::NAME).ok_or(ImageError::Name(Named::Map(index)))?,
        })
    }

    /// Name of the program.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Name of the point it is for, as in `SEC("probe/<point>")`. Not checked against the points there are.
    pub fn point(&self) -> Name {
        self.point
    }

    /// Number of maps, at most [`limits::MAPS_MAX`].
    pub fn map_count(&self) -> usize {
        self.maps.len()
    }

    /// The map of index `index`, or `None` past the last.
    pub fn map(&self, index: usize) -> Option<ImageMap<'a>> {
        self.read_map(u32::try_from(index).ok()?).ok()
    }

    /// All maps in index order.
    pub fn maps(&self) -> impl Iterator<Item = ImageMap<'a>> + '_ {
        (0..self.maps.len()).filter_map(|i| self.map(i))
    }

    /// First instruction of each function: ascending, the first 0.
    pub fn funcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.funcs.iter().map(|b| u32::from_le_bytes(*b))
    }

    /// Instruction slots in RFC 9669 encoding.
    pub fn insns(&self) -> &'a [[u8; 8]] {
        self.insns
    }
}
