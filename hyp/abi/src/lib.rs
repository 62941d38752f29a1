//! The contract between guests, the hypervisor and host tools.
//!
//! Everything that crosses a boundary is here, once: hypercall numbers and their registers ([`call`]),
//! status codes ([`status`]), the names of paths ([`path`]), rights ([`rights`]), the boot configuration that
//! `gnomon pack` writes and EL2 validates ([`config`]), the records a guest reads by hypercall ([`record`]), the
//! framing of the shared console ([`console`]) and of the monitor's link to the host ([`link`]).
//!
//! Nothing here has behaviour beyond encoding and decoding; every decoder is total: random bytes give `None`.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod wire;

pub mod bounds;
pub mod call;
pub mod config;
pub mod config_fault;
pub mod console;
pub mod facts;
pub mod link;
pub mod path;
pub mod record;
pub mod rights;
pub mod status;

pub use call::Call;
pub use path::PathId;
pub use rights::Rights;
pub use status::Status;

/// Version of this contract: major in bits 31..16, minor in 15..0. Guests and tools refuse another major.
pub const ABI_VERSION: u32 = 1 << 16;

/// Most VMs in one system. The console framing (one byte per VM, 0xf0 and up reserved) and the fixed pools of
/// EL2 rest on it.
pub const VMS_MAX: usize = 16;

/// Most physical CPUs.
pub const CPUS_MAX: usize = 8;

/// Most channel ends one VM can hold; a channel end is named by its index in the VM's own list.
pub const CHANNEL_ENDS_MAX: usize = 16;

/// Words carried by an IPC message, in x2–x7.
pub const IPC_WORDS: usize = 6;
