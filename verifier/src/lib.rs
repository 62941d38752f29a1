#![no_std]
#![forbid(unsafe_code)]
//! eBPF verifier: proves that a program is memory-safe, that it ends, and how many instructions and how much time one
//! run takes at most. All memory comes from the caller, work is done in bounded steps, the environment is data.

pub mod cost;
mod engine;
pub mod env;
pub mod insn;
pub mod interval;
pub mod memory;
pub mod reject;
pub mod scalar;
pub mod tnum;
pub mod value;
pub mod verified;

pub use cost::{CallFacts, CoreModel, CostModel, Edge, UnitCost};
pub use engine::{Step, Verifier};
pub use env::{Env, HelperProto, MapDesc, ObjectLayout, Program};
pub use memory::{Memory, Pool};
pub use reject::{Rejected, Why};
pub use verified::Verified;
