//! Probes that the rows are repeated with.

use hyp_abi::{Call, Rights};
use rt::hvc::{self, Refused};
use rt::programs::{self, Attachment, Program};

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
    program: Program,
    attachment: Attachment,
}

/// Loads `probe` and attaches it to every exit.
///
/// # Errors
/// The first call that is refused.
pub fn attach(probe: Probe) -> Result<Attached, Refused> {
    let point = programs::point("vm_exit");
    let images = match probe {
        Probe::Empty => programs::EMPTY,
        Probe::Counting => programs::COUNTING,
    };
    let program = Program::load(images[point])?;
    // The filter costs instructions; with the right to see everyone it is left out.
    let info = hvc::call(Call::VmInfo, [])?;
    let everyone = info[2] & u64::from(Rights::PROBE_SYSTEM.bits()) != 0;
    let attachment = program.attach(point, (!everyone).then_some(info[1]))?;
    Ok(Attached { program, attachment })
}

impl Attached {
    /// Detaches and unloads.
    pub fn detach(self) {
        if let Err(refused) = self.attachment.detach().and_then(|()| self.program.unload()) {
            rt::exit::fail("bench", format_args!("detach: {:?}", refused.status));
        }
    }
}
