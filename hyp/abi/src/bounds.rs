//! The table of path bounds: made by the path analyser from the linked hypervisor, patched into its image, read by EL2 at boot.
//!
//! Layout, little-endian: [`Head`], then `own` (u64 for each path), `fire` (u64 for each point), `firings` (u16 for each path and point, path-major).
//! An image that was not patched holds zeros there: no table.

use crate::PathId;
use crate::config::NAME_LEN;

/// "GNOMONPT", little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"GNOMONPT");
/// Version of this layout.
pub const VERSION: u32 = 1;
/// Points in the table; those above the ones that exist are zero.
pub const POINTS: usize = 16;
/// Bytes of the whole table.
pub const SIZE: usize = Head::SIZE + 8 * PathId::COUNT + 8 * POINTS + 2 * PathId::COUNT * POINTS;

record! {
    /// Head of the table.
    pub struct Head {
        /// [`MAGIC`].
        pub magic: u64,
        /// [`VERSION`].
        pub version: u32,
        /// [`PathId::COUNT`] of the writer.
        pub paths: u32,
        /// [`POINTS`] of the writer.
        pub points: u32,
        /// 0.
        pub pad: u32,
        /// Name of the timing model.
        pub model: [u8; NAME_LEN],
    }
}

/// The table. Times in the unit of the timing model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Name of the timing model, padded with NUL.
    pub model: [u8; NAME_LEN],
    /// P: bound of each path without probes.
    pub own: [u64; PathId::COUNT],
    /// F: cost of firing one probe at each point, the probe itself not counted.
    pub fire: [u64; POINTS],
    /// n: most firings of each point on each path.
    pub firings: [[u16; POINTS]; PathId::COUNT],
}

impl Bounds {
    /// Decodes; `None` if there is no table of this version and shape.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = Head::read(bytes)?;
        let shape = (head.paths as usize, head.points as usize);
        if head.magic != MAGIC || head.version != VERSION || shape != (PathId::COUNT, POINTS) {
            return None;
        }
        let mut at = bytes.get(Head::SIZE..SIZE)?;
        let mut out = Self {
            model: head.model,
            own: [0; PathId::COUNT],
            fire: [0; POINTS],
            firings: [[0; POINTS]; PathId::COUNT],
        };
        for slot in out.own.iter_mut().chain(&mut out.fire) {
            let (value, rest) = at.split_first_chunk()?;
            (*slot, at) = (u64::from_le_bytes(*value), rest);
        }
        for slot in out.firings.iter_mut().flatten() {
            let (value, rest) = at.split_first_chunk()?;
            (*slot, at) = (u16::from_le_bytes(*value), rest);
        }
        Some(out)
    }

    /// Encodes into the first [`SIZE`] bytes; `None` if there are fewer.
    pub fn write(&self, bytes: &mut [u8]) -> Option<()> {
        let head = Head {
            magic: MAGIC,
            version: VERSION,
            paths: PathId::COUNT as u32,
            points: POINTS as u32,
            pad: 0,
            model: self.model,
        };
        head.write(bytes)?;
        let mut at = bytes.get_mut(Head::SIZE..SIZE)?.iter_mut();
        let longs = self.own.iter().chain(&self.fire).flat_map(|v| v.to_le_bytes());
        let shorts = self.firings.iter().flatten().flat_map(|v| v.to_le_bytes());
        for byte in longs.chain(shorts) {
            *at.next()? = byte;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn round_trip_and_zeros_are_no_table() {
        let mut t = Bounds {
            model: *b"insns\0\0\0\0\0\0\0\0\0\0\0",
            own: [7; PathId::COUNT],
            fire: [3; POINTS],
            firings: [[0; POINTS]; PathId::COUNT],
        };
        t.firings[PathId::COUNT - 1][POINTS - 1] = 513;
        let mut bytes = std::vec![0; SIZE];
        assert_eq!(Bounds::read(&bytes), None);
        t.write(&mut bytes).unwrap();
        assert_eq!(Bounds::read(&bytes), Some(t.clone()));
        assert_eq!(t.write(&mut bytes[1..]), None);
        assert_eq!(Bounds::read(&bytes[..SIZE - 1]), None);
        bytes[8] ^= 1;
        assert_eq!(Bounds::read(&bytes), None);
    }
}
