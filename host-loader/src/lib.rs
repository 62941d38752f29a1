//! The library behind the `gnomon` command; `xtask` and the tests drive the same code.
//!
//! A verb is one file of [`cmd`]: its clap arguments (whose doc comment is the manual page), and `run`, which turns raw
//! flags into validated arguments and those into a [`Status`].
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod cmd;
pub mod console;
pub mod debian;
pub mod dist;
pub mod env;
pub mod fdt;
pub mod interpret;
pub mod manifest;
pub mod obj;
pub mod pack;
pub mod paths;
pub mod render;
pub mod run;
pub mod timing;
pub mod verify;

/// How a verb ended, short of an error: the exit status of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0: done, accepted, no virtual machine faulted.
    Ok,
    /// 1: the input was understood and the answer is no (a program refused, a virtual machine faulted).
    Refused,
    /// 2: the input was not understood. Errors (`miette::Report`) end with the same status.
    BadInput,
}

impl Status {
    /// The exit status of the process.
    pub fn code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Refused => 1,
            Status::BadInput => 2,
        }
    }
}
