//! Runtime of the bare-metal guests.
//!
//! A guest is a `no_std` binary for the platform of QEMU's `virt` machine: it runs below Gnomon, below any other
//! hypervisor with that platform, and on the bare machine at EL1. The runtime brings it from the loader's entry (MMU
//! off) to `main` (MMU and caches on, vectors installed, console on, device tree read) and back out with a status.
//! All unsafe code of the guests is here; the guests themselves are safe Rust.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! #![forbid(unsafe_code)]
//! rt::entry!(main);
//! fn main() { rt::println!("hello from EL1"); }
//! ```
#![no_std]

#[cfg(feature = "virtio")]
extern crate alloc;

pub mod access;
mod boot;
pub mod buffer;
pub mod console;
pub mod cpu;
#[cfg(feature = "embassy")]
pub mod embassy;
mod exceptions;
pub mod exit;
pub mod fp;
pub mod gic;
#[cfg(feature = "virtio")]
mod heap;
pub mod hvc;
pub mod irq;
pub mod measure;
mod mmu;
pub mod platform;
pub mod pmu;
#[cfg(feature = "programs")]
pub mod programs;
pub mod psci;
pub mod rng;
pub mod second;
pub mod sweep;
pub mod timer;
#[cfg(feature = "virtio")]
pub mod virtio;
