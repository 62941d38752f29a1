//! What the path analyser takes for granted when a stay at EL2 begins: records that the hypervisor leaves in its image as
//! the array [`SYMBOL`], each with the reason beside it in the source.
//!
//! Offsets count from the state of the CPU, to which TPIDR_EL2 points, or from a vCPU's frame, to which SP_EL2 points
//! while the vCPU runs.

/// Name of the array in the image.
pub const SYMBOL: &str = "GNOMON_PATH_FACTS";

/// A counter of finished stays by path: `offset` in the state of path 0's, `lo` bytes from one path to the next, `hi` paths.
pub const COUNTERS: u32 = 1;
/// The frames of the vCPUs: `offset` in the state of slot 0's, `lo` bytes from one to the next, `hi` slots.
pub const FRAMES: u32 = 2;
/// The slot of the loaded vCPU: `size` bytes at `offset` in the state.
pub const LOADED: u32 = 3;
/// `size` bytes at `offset` in the state hold a number in `lo..=hi`.
pub const STATE: u32 = 4;
/// `size` bytes at `offset` from the loaded vCPU's frame hold a number in `lo..=hi`.
pub const VCPU: u32 = 5;
/// As [`STATE`], while a guest runs.
pub const RUNNING: u32 = 6;

/// As [`VCPU`], while that vCPU runs.
pub const VCPU_RUNNING: u32 = 7;

/// One fact; the constants above say what its fields mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Fact {
    /// [`COUNTERS`] to [`VCPU_RUNNING`].
    pub kind: u32,
    /// Bytes of the number: 1, 2, 4 or 8.
    pub size: u32,
    /// Where.
    pub offset: u64,
    /// Least value, or stride.
    pub lo: u64,
    /// Greatest value, or count.
    pub hi: u64,
}

/// Bytes of a [`Fact`].
pub const FACT_BYTES: usize = size_of::<Fact>();

impl Fact {
    /// From its bytes, little-endian; `None` if there are too few.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self {
            kind: word(0)?,
            size: word(4)?,
            offset: long(8)?,
            lo: long(16)?,
            hi: long(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_lies_in_memory() {
        let mut bytes = [0; FACT_BYTES];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = i as u8;
        }
        let fact = Fact::read(&bytes).unwrap();
        assert_eq!((fact.kind, fact.size), (0x0302_0100, 0x0706_0504));
        assert_eq!(fact.hi, 0x1f1e_1d1c_1b1a_1918);
        assert_eq!(Fact::read(&bytes[1..]), None);
    }
}
