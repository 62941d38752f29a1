//! AArch64 binary path analyser: worst-case execution time per entry.
//!
//! `elf` and `decode` read linked bytes, `cfg` and `wto` order them, `explore` follows abstract states (`state`, `alu`,
//! `branch`, `join`) along every feasible path and keeps the longest; `timing` is what an instruction costs on a core.
//! docs/WCET.md has method, assumptions and results. Invariant: what is not understood is an error, never a smaller number.

pub mod alu;
mod binding;
pub mod branch;
pub mod cfg;
pub mod decode;
pub mod derived;
mod effects;
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
pub mod timing;
pub mod wrap;
pub mod wto;
