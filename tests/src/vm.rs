//! Systems for tests: a manifest as text, run in QEMU to its end.

use std::path::Path;
use std::time::Duration;

use gnomon::dist::Dist;
use gnomon::manifest::{self, System, Text};
use gnomon::pack::{self, Packed};
use gnomon::run::{Options, Outcome, run_silently};

use crate::repo;

/// A test that has not ended by then hangs. Ten times what the slowest takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Reads and packs a manifest given as text; file names in it start from the repository's root.
pub fn packed(text: &str) -> (System, Packed) {
    let system = manifest::parse(Text::new(Path::new("test.toml"), text.to_string()), repo::root());
    let system = system.unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    let dist = Dist::find().unwrap_or_else(|_| Dist::at(repo::root().join("target/gnomon")));
    let packed = pack::pack(&system, &dist).unwrap_or_else(|error| panic!("{error:?}"));
    (system, packed)
}

/// Runs a manifest given as text to its end.
pub fn run(text: &str) -> Outcome {
    let (system, packed) = packed(text);
    let options = Options {
        timeout: Some(TIMEOUT),
        ..Options::default()
    };
    run_silently(&system, &packed, &options).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Everything one wants to see when a system did not do as it should.
pub fn story(outcome: &Outcome) -> String {
    let mut story = format!(
        "booted {}, off {}, timed out {}, broken {:?}\n",
        outcome.booted, outcome.off, outcome.timed_out, outcome.broken
    );
    for (vm, stopped) in outcome.stopped.iter().enumerate() {
        story += &format!("VM {vm} stopped: {stopped:x?}\n{}\n", outcome.console(vm));
    }
    story + &outcome.qemu_said
}

/// The lines of a VM's console that start with this word, without it.
pub fn lines<'a>(console: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    console
        .lines()
        .filter_map(move |line| line.trim().strip_prefix(word))
        .map(str::trim)
}
