#![no_std]
#![forbid(unsafe_code)]
//! Program image, points, helpers, maps, AArch64 JIT, reference interpreter.

#[cfg(test)]
extern crate std;

pub mod image;
pub mod interp;
pub mod jit;
pub mod maps;
pub mod points;
