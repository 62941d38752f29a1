//! AArch64 binary path analyser: worst-case execution time per entry.
pub mod alu;
pub mod branch;
pub mod cfg;
pub mod decode;
pub mod derived;
pub mod elf;
pub mod explore;
pub mod inst;
pub mod join;
pub mod live;
pub mod memory;
pub mod range;
pub mod sorted;
pub mod state;
pub mod tables;
pub mod wrap;
pub mod wto;
