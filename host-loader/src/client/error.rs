//! Why a request to a running system failed.

use hyp_abi::record::Pool;
use hyp_abi::{Call, PathId, Rights, Status};
use miette::Diagnostic;
use thiserror::Error;

/// Why a request failed.
#[derive(Debug, Error, Diagnostic)]
pub enum ClientError {
    /// No one listens there.
    #[error("cannot reach a monitor at {path}: {error}")]
    #[diagnostic(help("start a system with `gnomon run SYSTEM.toml --link {path}`"))]
    Connect {
        /// Path of the socket.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("the monitor does not answer: {0}")]
    #[diagnostic(help("the system may have ended; its own output says how"))]
    Io(#[from] std::io::Error),
    /// The answer is not one.
    #[error("the monitor's answer makes no sense: {0}")]
    Protocol(String),
    /// The hypervisor speaks another version.
    #[error("the hypervisor speaks ABI version {theirs}, this command {ours}")]
    Version {
        /// Of the hypervisor.
        theirs: u32,
        /// Of this command.
        ours: u32,
    },
    /// The hypervisor refused the call.
    #[error("{}", describe(*call, *status, x))]
    Refused {
        /// The call.
        call: Call,
        /// What it said.
        status: Status,
        /// x0 to x7 after it.
        x: [u64; 8],
    },
    /// A program cannot become an image.
    #[error("program `{program}` cannot be loaded: {why}")]
    Image {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
}

/// A refusal in one line, with the details its registers carry.
fn describe(call: Call, status: Status, x: &[u64; 8]) -> String {
    let detail = match status {
        Status::NoSpace => {
            let pool = Pool::ALL
                .into_iter()
                .find(|p| *p as u64 == x[1])
                .map_or("a pool", Pool::name);
            format!(": {pool} full, {} is all there is", x[2])
        }
        Status::InvalidArg => format!(": register x{}", x[1]),
        Status::Denied => {
            let missing = Rights::from_bits_truncate(x[1] as u32);
            let names: Vec<String> = missing.iter_names().map(|(n, _)| n.to_lowercase()).collect();
            format!(": the monitor's VM lacks {}", names.join(", "))
        }
        Status::BadState => format!(": it is in state {}", x[1]),
        Status::Rejected => format!(": at instruction {}, reason {}", x[1], x[2]),
        Status::OverBudget => {
            format!(
                ": path {} lacks {} units; a program of at most {} would fit",
                path_name(x[1]),
                x[2],
                x[3]
            )
        }
        Status::OverDeadline => {
            format!(
                ": VM {} would be late by {}; a program of at most {} would fit",
                x[1], x[2], x[3]
            )
        }
        Status::TooBig => format!(": the limit is {}", x[1]),
        Status::BadImage => format!(": at byte {}, reason {}", x[1], x[2]),
        _ => String::new(),
    };
    format!("{}: {}{detail}", call.name(), status.text())
}

/// The name of a path by its number.
pub fn path_name(number: u64) -> String {
    let known = u32::try_from(number).ok().and_then(PathId::from_number);
    known.map_or_else(|| format!("{number}"), |p| p.name().to_string())
}
