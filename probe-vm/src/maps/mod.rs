//! Maps: what probes count in and guests read.

mod def;

pub use def::{
    CACHE_LINE_BYTES, CHOICES, DefError, F_NO_PREALLOC, F_RDONLY_PROG, Geometry, LOAD, MapDef, MapKind, WAYS, limits,
};
