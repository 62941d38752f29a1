#![no_std]
#![forbid(unsafe_code)]
//! Decides: exit decode, stage 2, vGIC, timers, PSCI, scheduler, IPC, admission, probe life cycle.
