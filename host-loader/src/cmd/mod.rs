//! One verb a file: `Args` (clap; its doc comment is the manual page) and `run(Args) -> miette::Result<Status>`.

pub mod check;
pub mod conform;
pub mod disasm;
pub mod pack;
pub mod run;
