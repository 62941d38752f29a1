//! Map definitions, their limits, and where everything lies in a map's memory.

/// Limits of maps. Memory itself is limited by the owner's quota in the manifest.
pub mod limits {
    /// Bytes of a key. Keys are hashed and compared in the worst case of every lookup.
    pub const KEY_BYTES_MAX: u32 = 64;
    /// Bytes of a value: one histogram of 64 buckets with a header, and small enough that copying one in a
    /// helper stays within what a path can afford.
    pub const VALUE_BYTES_MAX: u32 = 1024;
    /// Bytes of the value of a one-entry array, which is how compilers' data sections arrive.
    pub const SECTION_BYTES_MAX: u32 = 8192;
    /// Entries of a map.
    pub const ENTRIES_MAX: u32 = 65536;
    /// Bytes of a ring buffer, for each CPU.
    pub const RING_BYTES_MAX: u32 = 1 << 20;
    /// Least bytes of a ring buffer: a few records.
    pub const RING_BYTES_MIN: u32 = 256;
    /// CPUs with slots of their own in per-CPU kinds.
    pub const CPUS_MAX: u32 = 8;
}

use limits::{
    CPUS_MAX, ENTRIES_MAX, KEY_BYTES_MAX, RING_BYTES_MAX, RING_BYTES_MIN, SECTION_BYTES_MAX, VALUE_BYTES_MAX,
};

/// Kinds of maps, with the numbers of Linux's `enum bpf_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_HASH`
    PerCpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_RINGBUF`; one ring for each CPU
    RingBuf = 27,
}

impl MapKind {
    /// All kinds.
    pub const ALL: [MapKind; 5] = [
        Self::Hash,
        Self::Array,
        Self::PerCpuHash,
        Self::PerCpuArray,
        Self::RingBuf,
    ];

    /// From Linux's number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::Hash,
            2 => Self::Array,
            5 => Self::PerCpuHash,
            6 => Self::PerCpuArray,
            27 => Self::RingBuf,
            _ => return None,
        })
    }

    /// Linux's number.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Every CPU has values of its own.
    pub const fn is_per_cpu(self) -> bool {
        matches!(self, Self::PerCpuArray | Self::PerCpuHash)
    }

    /// Array or per-CPU array: key is a 4-byte index, every entry exists.
    pub const fn is_array(self) -> bool {
        matches!(self, Self::Array | Self::PerCpuArray)
    }

    /// Hash or per-CPU hash.
    pub const fn is_hash(self) -> bool {
        matches!(self, Self::Hash | Self::PerCpuHash)
    }

    /// Name as bpftool prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Array => "array",
            Self::PerCpuHash => "percpu_hash",
            Self::PerCpuArray => "percpu_array",
            Self::RingBuf => "ringbuf",
        }
    }
}

/// Map flag: memory need not be allocated in advance. Accepted and without effect: all map memory is.
pub const F_NO_PREALLOC: u32 = 1 << 0;
/// Map flag: programs may not write values (`BPF_F_RDONLY_PROG`; `.rodata`).
pub const F_RDONLY_PROG: u32 = 1 << 7;

/// A map as its program defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapDef {
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key; 4 for arrays, 0 for ring buffers.
    pub key_bytes: u32,
    /// Bytes of a value; 0 for ring buffers.
    pub value_bytes: u32,
    /// Capacity; for a ring buffer its bytes on each CPU, a power of two.
    pub entries: u32,
    /// [`F_NO_PREALLOC`], [`F_RDONLY_PROG`].
    pub flags: u32,
}

/// Why a definition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefError {
    /// Not a kind there is.
    Kind(u32),
    /// Bytes of the key.
    KeyBytes(u32),
    /// Bytes of the value.
    ValueBytes(u32),
    /// Capacity.
    Entries(u32),
    /// Flags.
    Flags(u32),
    /// Number of CPUs (not the program's fault).
    Cpus(u32),
}

impl MapDef {
    /// Is this a definition a map can be made of?
    ///
    /// # Errors
    /// The first field out of range.
    pub const fn check(&self) -> Result<(), DefError> {
        let section = matches!(self.kind, MapKind::Array) && self.entries == 1;
        let value_max = if section { SECTION_BYTES_MAX } else { VALUE_BYTES_MAX };
        let ring = matches!(self.kind, MapKind::RingBuf);
        let key_good = if ring {
            self.key_bytes == 0
        } else if self.kind.is_array() {
            self.key_bytes == 4
        } else {
            self.key_bytes >= 1 && self.key_bytes <= KEY_BYTES_MAX
        };
        if !key_good {
            return Err(DefError::KeyBytes(self.key_bytes));
        }
        let value_good = if ring {
            self.value_bytes == 0
        } else {
            self.value_bytes >= 1 && self.value_bytes <= value_max
        };
        if !value_good {
            return Err(DefError::ValueBytes(self.value_bytes));
        }
        let entries_good = if ring {
            self.entries.is_power_of_two() && self.entries >= RING_BYTES_MIN && self.entries <= RING_BYTES_MAX
        } else {
            self.entries >= 1 && self.entries <= ENTRIES_MAX
        };
        if !entries_good {
            return Err(DefError::Entries(self.entries));
        }
        let allowed = match self.kind {
            MapKind::Hash | MapKind::PerCpuHash => F_NO_PREALLOC | F_RDONLY_PROG,
            MapKind::Array => F_RDONLY_PROG,
            MapKind::PerCpuArray | MapKind::RingBuf => 0,
        };
        if self.flags & !allowed != 0 {
            return Err(DefError::Flags(self.flags));
        }
        Ok(())
    }
}

/// Slots of a hash bucket. A key lives in one of two buckets, so this bounds every search.
pub const WAYS: u32 = 8;
/// Buckets a key may live in.
pub const CHOICES: u32 = 2;
/// Entries per bucket that the number of buckets is chosen for: 5 of 8. With two choices and the emptier one
/// taken, a bucket overflows before the map is full about never (measured in the tests), and if it does the
/// update gets `-E2BIG` as for a full map.
pub const LOAD: u32 = 5;

/// Bytes that separate what different CPUs write, so that they share no cache line.
pub const CACHE_LINE_BYTES: u32 = 64;

/// Where everything of one map lies in its memory. All offsets are bytes from the map's start and multiples
/// of 8; compiled code adds the map's address.
///
/// * array: value `i` at `values + i · stride`;
/// * per-CPU array: on CPU `c` at `values + c · cpu_stride + i · stride`;
/// * hash: slot `s` has its state word and key at `slots + s · slot_bytes` and its value as in an array;
/// * ring buffer: on CPU `c` the control words at `c · cpu_stride`, records from `values` further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The definition.
    pub def: MapDef,
    /// CPUs with values of their own: 1 for shared kinds.
    pub cpus: u32,
    /// Values: entries of arrays, slots of hashes.
    pub slots: u32,
    /// Hash buckets; 0 for other kinds.
    pub buckets: u32,
    /// Where hash slots start.
    pub slots_at: u32,
    /// Bytes of a hash slot: state word and key.
    pub slot_bytes: u32,
    /// Where values (of CPU 0) start.
    pub values_at: u32,
    /// Bytes from one value to the next.
    pub stride: u32,
    /// Bytes from one CPU's values (or ring) to the next CPU's.
    pub cpu_stride: u32,
    /// Bytes of the whole map.
    pub bytes: u32,
}

const fn round_up(n: u64, to: u32) -> u64 {
    n.next_multiple_of(to as u64)
}

/// Bytes of control words in front of each CPU's ring: producer, consumer and counts on lines of their own.
pub(super) const RING_CONTROL_BYTES: u32 = 2 * CACHE_LINE_BYTES;
/// Bytes of control words in front of a hash: lock and count.
pub(super) const HASH_CONTROL_BYTES: u32 = CACHE_LINE_BYTES;

impl MapDef {
    /// Lays the map out for `cpus` physical CPUs.
    ///
    /// # Errors
    /// The definition is refused ([`MapDef::check`]), or `cpus` is 0 or above [`limits::CPUS_MAX`], or the map
    /// is larger than 4 GiB.
    pub fn geometry(&self, cpus: u32) -> Result<Geometry, DefError> {
        self.check()?;
        if cpus == 0 || cpus > CPUS_MAX {
            return Err(DefError::Cpus(cpus));
        }
        let ring = self.kind == MapKind::RingBuf;
        let own = if self.kind.is_per_cpu() || ring { cpus } else { 1 };
        let (slots, buckets) = if self.kind.is_hash() {
            let buckets = if self.entries <= WAYS {
                1
            } else {
                self.entries.div_ceil(LOAD).max(2)
            };
            (buckets * WAYS, buckets)
        } else if ring {
            (0, 0)
        } else {
            (self.entries, 0)
        };
        // Largest intermediate: slots < 2^17, stride ≤ 8192, 8 CPUs: far below 2^64.
        let slot_bytes = if self.kind.is_hash() {
            8 + round_up(self.key_bytes.into(), 8)
        } else {
            0
        };
        let slots_at = if self.kind.is_hash() {
            u64::from(HASH_CONTROL_BYTES)
        } else {
            0
        };
        let values_at = if ring {
            u64::from(RING_CONTROL_BYTES)
        } else {
            round_up(slots_at + u64::from(slots) * slot_bytes, CACHE_LINE_BYTES)
        };
        let stride = round_up(self.value_bytes.into(), 8);
        let cpu_bytes = if ring {
            values_at + u64::from(self.entries)
        } else {
            u64::from(slots) * stride
        };
        let cpu_stride = round_up(cpu_bytes, CACHE_LINE_BYTES);
        let shared_bytes = if ring { 0 } else { values_at };
        let bytes = shared_bytes + cpu_stride * u64::from(own);
        if bytes > u64::from(u32::MAX) {
            return Err(DefError::Entries(self.entries));
        }
        Ok(Geometry {
            def: *self,
            cpus: own,
            slots,
            buckets,
            slots_at: slots_at as u32,
            slot_bytes: slot_bytes as u32,
            values_at: values_at as u32,
            stride: stride as u32,
            cpu_stride: cpu_stride as u32,
            bytes: bytes as u32,
        })
    }
}

impl Geometry {
    /// Byte offset of value `slot` on CPU `cpu` (0 for shared kinds); `None` past the last.
    #[inline]
    pub fn value_at(&self, cpu: u32, slot: u32) -> Option<u32> {
        (cpu < self.cpus && slot < self.slots).then(|| {
            self.values_at
                .wrapping_add(cpu.wrapping_mul(self.cpu_stride))
                .wrapping_add(slot.wrapping_mul(self.stride))
        })
    }

    /// 64-bit words of a key, the last padded with zeros.
    pub fn key_words(&self) -> u32 {
        self.def.key_bytes.div_ceil(8)
    }

    /// 64-bit words of a value.
    pub fn value_words(&self) -> u32 {
        self.stride / 8
    }
}
