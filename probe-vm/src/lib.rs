#![no_std]
#![forbid(unsafe_code)]
//! Program image, points, helpers, maps, AArch64 JIT, reference interpreter.

pub mod interp;
pub mod jit;
