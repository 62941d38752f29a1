//! The AArch64 compiler.

pub mod a64;
