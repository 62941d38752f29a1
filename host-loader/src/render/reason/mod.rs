//! Why a program is refused, in words: what happened, what is needed, a hint.

mod calls;
mod limits;
mod memory;
mod pointers;
mod shape;

use verifier::reject::Rejected;

use super::{Scene, value};

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What the instruction would do.
    pub message: String,
    /// What would make it acceptable.
    pub help: Option<String>,
    /// The register it is about.
    pub register: Option<u8>,
}

impl Reason {
    fn new(message: impl Into<String>) -> Reason {
        Reason {
            message: message.into(),
            help: None,
            register: None,
        }
    }

    fn of(mut self, register: u8) -> Reason {
        self.register = Some(register);
        self
    }

    fn help(mut self, text: impl Into<String>) -> Reason {
        self.help = Some(text.into());
        self
    }
}

/// Puts a refusal in words.
pub fn reason(scene: &Scene<'_>, r: &Rejected) -> Reason {
    let mut reason = of_why(scene, r);
    if r.speculative {
        reason.message.push_str(", where only a mispredicting CPU comes");
    }
    reason
}

fn of_why(scene: &Scene<'_>, r: &Rejected) -> Reason {
    shape::shape(scene, &r.why)
        .or_else(|| memory::memory(scene, &r.why))
        .or_else(|| pointers::pointers(scene, &r.why))
        .or_else(|| calls::calls(scene, r))
        .unwrap_or_else(|| limits::limits(scene, &r.why))
}
