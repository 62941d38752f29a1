//! Points: the named places on the hypervisor's paths where probes run, and what a probe sees there.
//!
//! `table` declares every point once. From that declaration come the `repr(C)` context that EL2 fills,
//! the layout the verifier checks accesses against, `include/gnomon.h`, the BTF blob and `docs/POINTS.md`. A new
//! point is one entry there and one call in EL2.
//!
//! A context starts with the shared [`Header`]. It is read-only and lives in a buffer of the CPU the probe runs
//! on: `vm`, `vcpu` and `cpu` stay there from one firing to the next, so that firing writes only the time and the
//! fields of the point.

mod declare;
mod table;
#[cfg(test)]
mod tests;

pub use table::*;

/// What every context starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Time of the firing, from the counter that guests see too (CNTVCT_EL0, scaled).
    pub time_ns: u64,
    /// VM this CPU was running when the exit began; at `vm_entry` the VM it goes on with.
    pub vm: u32,
    /// Its vCPU.
    pub vcpu: u32,
    /// Physical CPU.
    pub cpu: u32,
    /// Path of this exit (`enum gnomon_path`).
    pub path: u32,
}

/// Bytes of [`Header`].
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Offset of the time.
pub const HEADER_TIME_AT: usize = core::mem::offset_of!(Header, time_ns);
/// Offset of the path.
pub const HEADER_PATH_AT: usize = core::mem::offset_of!(Header, path);
/// Offset of the 64-bit word that holds VM (low half) and vCPU (high half): what attachments filter by.
pub const HEADER_WHO_AT: usize = core::mem::offset_of!(Header, vm);

/// Where in a context its CPU is, as the low half of a word.
pub const HEADER_CPU_AT: usize = core::mem::offset_of!(Header, cpu);
const _: () = assert!(HEADER_CPU_AT % 8 == 0);
const _: () = assert!(HEADER_WHO_AT % 8 == 0 && core::mem::offset_of!(Header, vcpu) == HEADER_WHO_AT + 4);

/// Version of the contexts. Rises when a field moves or changes its meaning; new fields are appended without.
pub const CONTEXT_VERSION: u32 = 1;

/// Bytes of the largest context, so of the buffer each CPU keeps.
pub const CONTEXT_BYTES_MAX: usize = 96;

/// Unit of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number, index, or flag without unit.
    None,
    /// Nanoseconds.
    Ns,
    /// Units of path time: retired instructions under icount, cycles of the core on hardware.
    PathTime,
    /// Bytes.
    Bytes,
    /// An address or register value.
    Address,
}

/// One field of a context.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in Rust and C.
    pub name: &'static str,
    /// Byte offset from the context's start.
    pub offset: u16,
    /// Bytes: 4 or 8.
    pub bytes: u8,
    /// Unit of its value.
    pub unit: Unit,
}

/// One point.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Its number.
    pub id: PointId,
    /// Its name, as in `SEC("probe/<name>")`.
    pub name: &'static str,
    /// Bytes of its context.
    pub bytes: u16,
    /// Its fields, the header's not included.
    pub fields: &'static [Field],
}

/// Fields of the header.
pub const HEADER_FIELDS: [Field; 5] = [
    Field {
        name: "time_ns",
        offset: 0,
        bytes: 8,
        unit: Unit::Ns,
    },
    Field {
        name: "vm",
        offset: 8,
        bytes: 4,
        unit: Unit::None,
    },
    Field {
        name: "vcpu",
        offset: 12,
        bytes: 4,
        unit: Unit::None,
    },
    Field {
        name: "cpu",
        offset: 16,
        bytes: 4,
        unit: Unit::None,
    },
    Field {
        name: "path",
        offset: 20,
        bytes: 4,
        unit: Unit::None,
    },
];

impl PointId {
    /// What is known of the point.
    pub fn point(self) -> &'static Point {
        // Declared in the order of the discriminants, which a test walks.
        &POINTS[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.point().name
    }

    /// The point called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        POINTS.iter().find(|p| p.name == name).map(|p| p.id)
    }

    /// From its number.
    pub fn from_number(n: u32) -> Option<Self> {
        POINTS.get(n as usize).map(|p| p.id)
    }
}
