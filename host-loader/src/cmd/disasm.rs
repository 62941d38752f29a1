//! `gnomon disasm`: the instructions of an object's programs.

use std::path::PathBuf;

use miette::{IntoDiagnostic, WrapErr};

use crate::Status;
use crate::obj::{disasm, elf};

/// Print the instructions of an object's programs.
///
/// Every executable section with bytecode is listed, in the notation of LLVM and bpftool.
///
/// Example:
///
///     gnomon disasm exits.bpf.o
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The object, as `clang -target bpf -c` writes it.
    pub file: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let bytes = std::fs::read(&args.file).into_diagnostic().wrap_err_with(|| format!("cannot read {}", args.file.display()))?;
    for section in elf::code_sections(&bytes)? {
        println!("{}:", section.name);
        for line in disasm::lines(&section.slots) {
            println!("{line}");
        }
    }
    Ok(Status::Ok)
}
