//! What `hyp-core` needs of the machine to run probes: memory, code pages, helpers, and the hypercalls on them.

mod code;
pub mod fire;
mod guest;
mod helpers;
mod services;
pub mod store;

pub use services::Probing;

/// Sets everything up for so many CPUs; once, at boot, before the first guest runs.
pub fn init(cpus: u32) {
    store::init(cpus);
    fire::init();
}
