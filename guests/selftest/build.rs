//! Passes the runtime's linker script.

/// Start of the RAM this guest is linked for.
const RAM_BASE: u64 = 0x4000_0000;

include!("../rt/build-script.rs");
