//! Probes that the rows are repeated with.

use hyp_abi::Call;
use rt::hvc::{self, Refused};

/// Which probe.
#[derive(Debug, Clone, Copy)]
pub enum Probe {
    /// Returns at once.
    Empty,
    /// Counts exits by path in an array.
    Counting,
}

impl Probe {
    /// All, cheapest first.
    pub const ALL: [Probe; 2] = [Probe::Empty, Probe::Counting];

    /// What the rows' names end in.
    pub const fn suffix(self) -> &'static str {
        match self {
            Probe::Empty => "+empty",
            Probe::Counting => "+counting",
        }
    }
}

/// An attachment and the program behind it.
pub struct Attached {
    handle: u64,
    attachment: u64,
}

/// Loads `probe` and attaches it to every exit.
///
/// # Errors
/// The first call that is refused.
pub fn attach(_probe: Probe) -> Result<Attached, Refused> {
    Err(Refused { status: hyp_abi::Status::NotSupported, x: [0; 8] })
}

impl Attached {
    /// Detaches and unloads.
    pub fn detach(self) {
        for (call, argument) in [(Call::ProbeDetach, self.attachment), (Call::ProbeUnload, self.handle)] {
            if let Err(refused) = hvc::call(call, [argument]) {
                rt::exit::fail("bench", format_args!("{}: {:?}", call.name(), refused.status));
            }
        }
    }
}
