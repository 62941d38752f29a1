#![no_std]
#![forbid(unsafe_code)]
//! One const per board, timing models per core, QEMU arguments, link memory.
