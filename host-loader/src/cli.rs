//! The command line: one variant a verb, each verb's arguments in its own file under [`crate::cmd`].

use clap::{Parser, Subcommand};

use crate::{Status, cmd};

/// Measure a hypervisor with small proven programs.
///
/// Gnomon runs eBPF probes on the hot paths of a type-1 hypervisor, after proving that each is safe and how long it can
/// run, and that every path it sits on keeps its time budget.
#[derive(Parser, Debug)]
#[command(name = "gnomon", version, about, long_about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs of the command. A variant has no doc comment of its own: it would hide its arguments', the manual page.
#[derive(Subcommand, Debug)]
#[expect(missing_docs)]
pub enum Verb {
    Load(cmd::load::Args),
    Attach(cmd::attach::Args),
    Read(cmd::read::Args),
    Detach(cmd::detach::Args),
    Unload(cmd::detach::UnloadArgs),
    Report(cmd::report::Args),
    Check(cmd::check::Args),
    Budget(cmd::budget::Args),
    Conform(cmd::conform::Args),
    Demo(cmd::demo::Args),
    Disasm(cmd::disasm::Args),
    Fetch(cmd::fetch::Args),
    Pack(cmd::pack::Args),
    Run(cmd::run::Args),
    Wcet(cmd::wcet::Args),
    Paths(cmd::paths::Args),
}

/// Runs the verb that was parsed.
pub fn run(cli: Cli) -> miette::Result<Status> {
    match cli.verb {
        Verb::Load(args) => cmd::load::run(args),
        Verb::Attach(args) => cmd::attach::run(args),
        Verb::Read(args) => cmd::read::run(args),
        Verb::Detach(args) => cmd::detach::run(args),
        Verb::Unload(args) => cmd::detach::unload(args),
        Verb::Report(args) => cmd::report::run(args),
        Verb::Check(args) => cmd::check::run(args),
        Verb::Budget(args) => cmd::budget::run(args),
        Verb::Conform(args) => cmd::conform::run(args),
        Verb::Demo(args) => cmd::demo::run(args),
        Verb::Disasm(args) => cmd::disasm::run(args),
        Verb::Fetch(args) => cmd::fetch::run(args),
        Verb::Pack(args) => cmd::pack::run(args),
        Verb::Run(args) => cmd::run::run(args),
        Verb::Wcet(args) => cmd::wcet::run(args),
        Verb::Paths(args) => cmd::paths::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(
                help.contains("Example"),
                "`gnomon {} --help` has no example",
                verb.get_name()
            );
        }
    }
}
