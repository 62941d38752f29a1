//! One verb a file: `Args` (clap; its doc comment is the manual page) and `run(Args) -> miette::Result<Status>`.

pub mod attach;
pub mod budget;
pub mod check;
pub mod conform;
pub mod demo;
pub mod detach;
pub mod disasm;
pub mod fetch;
pub mod link;
pub mod load;
pub mod pack;
pub mod paths;
pub mod read;
pub mod report;
pub mod run;
pub mod wcet;
