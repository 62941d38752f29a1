#![no_std]
#![forbid(unsafe_code)]
//! eBPF decode, control flow, abstract domains, checks and bounds.
