//! What can stop a verb, each with what the reader should do next.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The result of a step of a verb.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a verb stopped.
#[derive(Debug)]
pub enum Failure {
    /// Programs or files are missing and may not or cannot be installed; already listed on stderr.
    Missing { packages: Vec<String>, hint: &'static str },
    /// A command could not be started.
    Start { command: String, error: io::Error },
    /// A command ran and failed; its output is on stderr already.
    Command { command: String, status: String },
    /// A file could not be read or written.
    File { path: PathBuf, error: io::Error },
    /// A child ended with this status, having said why: pass it on unchanged.
    Passed(u8),
    /// The tests ran and some failed.
    Tests { passed: u64, failed: u64 },
    /// Anything said best in its own words.
    Said(String),
}

impl Failure {
    /// The exit status of the whole command.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Missing { .. } => 2,
            Failure::Passed(status) => *status,
            _ => 1,
        }
    }

    /// Wraps an I/O error with the path it happened on.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
        let path = path.into();
        move |error| Failure::File { path, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Missing { packages, hint } => write!(f, "missing: {}. {hint}", packages.join(" ")),
            Failure::Start { command, error } => write!(f, "cannot start `{command}`: {error}"),
            Failure::Command { command, status } => write!(f, "`{command}` failed ({status})"),
            Failure::File { path, error } => write!(f, "{}: {error}", path.display()),
            Failure::Passed(status) => write!(f, "ended with status {status}"),
            Failure::Tests { passed, failed } => write!(f, "{failed} of {} tests failed", passed + failed),
            Failure::Said(words) => f.write_str(words),
        }
    }
}
