#![no_std]
#![forbid(unsafe_code)]
//! eBPF verifier: proves that a program is memory-safe, that it ends, and how many instructions and how much time one
//! run takes at most. All memory comes from the caller, work is done in bounded steps, the environment is data.

mod access;
mod act;
mod args;
mod atomic;
mod branch;
mod call;
mod callback;
mod compare;
pub mod cost;
mod decode;
mod deliver;
mod engine;
pub mod env;
mod exec;
mod flow;
mod graph;
pub mod insn;
pub mod interval;
mod join;
mod liveness;
mod loops;
pub mod memory;
mod order;
mod proof;
mod refine;
pub mod reject;
pub mod scalar;
mod speculation;
mod store;
mod summary;
mod tags;
pub mod tnum;
mod trace;
pub mod value;
pub mod verified;
mod view;
mod weight;

pub use cost::{CallFacts, CoreModel, CostModel, Edge, UnitCost};
pub use engine::{Step, Verifier};
pub use env::{Env, HelperProto, MapDesc, ObjectLayout, Program};
pub use memory::{Memory, Pool};
pub use reject::{Rejected, Why};
pub use value::{Kind, Region, Val};
pub use verified::Verified;
pub use view::{Observer, View};
