//! The bounds of the hypervisor's paths, worked out from its linked image.

pub mod analyse;
pub mod cases;
pub mod ground;
pub mod model;
pub mod table;
