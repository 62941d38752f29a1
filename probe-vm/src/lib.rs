#![no_std]
#![forbid(unsafe_code)]
//! Program image, points, helpers, maps, AArch64 JIT, reference interpreter.

#[cfg(feature = "conformance")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod env;
pub mod generate;
pub mod image;
pub mod interp;
pub mod jit;
pub mod maps;
pub mod points;
