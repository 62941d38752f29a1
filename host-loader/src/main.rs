//! The `gnomon` command: see `gnomon --help`, or [`gnomon::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = gnomon::cli::Cli::parse();
    let status = match gnomon::cli::run(cli) {
        Ok(status) => status,
        Err(report) => {
            eprintln!("{report:?}");
            gnomon::Status::BadInput
        }
    };
    ExitCode::from(status.code())
}
