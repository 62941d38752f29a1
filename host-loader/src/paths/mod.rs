//! The bounds of the hypervisor's paths, worked out from its linked image.

pub mod ground;
