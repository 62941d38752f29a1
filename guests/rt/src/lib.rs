#![no_std]
//! Runtime of the bare-metal guests.
