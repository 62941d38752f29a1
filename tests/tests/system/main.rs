//! Whole systems in QEMU. Each test is one manifest, run to its end, and what its guests then must have said.

mod boot;
mod commands;
mod conformance;
mod faults;
mod goldens;
mod hostile;
mod linux;
mod platform;
mod probes;
mod several;
mod stranger;
