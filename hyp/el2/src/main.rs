#![no_std]
#![no_main]
//! Gnomon's EL2: boot, vectors, world switch, registers, code memory. It does what `hyp-core` decides.
//!
//! All unsafe code of the hypervisor is in this crate; docs/SAFETY.md has the arguments its comments refer to.

mod board;
mod boot;
mod epitaph;
mod facts;
mod gic;
mod image;
mod log;
mod machine;
mod memory;
mod mmio;
mod mmu;
mod percpu;
mod pmu;
mod points;
mod power;
mod probes;
mod reg;
mod setup;
mod sites;
mod state;
mod time;
mod turn;
mod uart;
mod vectors;
mod world;
