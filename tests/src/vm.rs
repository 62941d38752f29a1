//! Systems for tests: a manifest as text, run in QEMU to its end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gnomon::dist::Dist;
use gnomon::manifest::{self, System, Text};
use gnomon::pack::{self, Packed};
use gnomon::run::{Event, Machine, Options, Outcome, run_silently};
use hyp_abi::record::StopCause;

use crate::repo;

/// A test that has not ended by then hangs. Ten times what the slowest takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Reads and packs a manifest given as text; file names in it start from the repository's root.
pub fn packed(text: &str) -> (System, Packed) {
    let system = manifest::parse(Text::new(Path::new("test.toml"), text.to_string()), repo::root());
    let system = system.unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    let packed = pack::pack(&system, &dist()).unwrap_or_else(|error| panic!("{error:?}"));
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

/// Runs a manifest given as text until these VMs have stopped, for systems in which another waits for ever.
pub fn run_until_stopped(vms: &[usize], text: &str) -> Outcome {
    let (system, packed) = packed(text);
    let names: Vec<String> = system.vms.iter().map(|vm| vm.name.clone()).collect();
    let machine = Machine::start(&system, &packed, &Options::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let mut outcome = Outcome::of(names.len());
    let deadline = Instant::now() + TIMEOUT;
    while vms.iter().any(|vm| outcome.stopped[*vm].is_none()) {
        match machine.next(Duration::from_millis(100)) {
            Some(Event::Item(item)) => outcome.note(&item, &names),
            Some(Event::Ended { .. }) => break,
            None => {}
        }
        if Instant::now() >= deadline {
            outcome.timed_out = true;
            break;
        }
    }
    outcome
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

/// `[[vm]]` of a built-in guest with 8 MiB of memory; `more` are further lines.
pub fn guest(name: &str, image: &str, cmdline: &str, more: &str) -> String {
    format!("[[vm]]\nname = \"{name}\"\nimage = \"guest:{image}\"\ncmdline = \"{cmdline}\"\nmemory = \"8M\"\n{more}\n")
}

/// `[[channel]]` with calls, and notifications both ways by SPI 8.
pub fn channel(client: &str, server: &str) -> String {
    format!(
        "[[channel]]\nname = \"{client}\"\nclient = \"{client}\"\nserver = \"{server}\"\n\
         notify = \"both\"\nclient_spi = 8\nserver_spi = 8\n"
    )
}

/// Runs a system that must end well, and whose VM 0 must say `PASS name` last.
pub fn passes(name: &str, manifest: &str) -> Outcome {
    let outcome = run(manifest);
    assert!(outcome.is_good(), "{}", story(&outcome));
    said_pass(name, &outcome, 0);
    outcome
}

/// Asserts that a VM's console has `PASS name` and no `FAIL`.
pub fn said_pass(name: &str, outcome: &Outcome, vm: usize) {
    let console = outcome.console(vm);
    assert!(
        lines(&console, "PASS").any(|line| line == name),
        "VM {vm} never passed\n{}",
        story(outcome)
    );
    assert_eq!(lines(&console, "FAIL").next(), None, "{}", story(outcome));
}

/// Asserts that a VM was stopped for this cause.
pub fn stopped_by(cause: StopCause, outcome: &Outcome, vm: usize) {
    let stopped = outcome.stopped[vm].as_ref().map(|stopped| stopped.cause);
    assert_eq!(stopped, Some(cause as u32), "{}", story(outcome));
}

/// The built hypervisor, guests and probes.
pub fn dist() -> Dist {
    Dist::find().unwrap_or_else(|_| Dist::at(repo::root().join("target/gnomon")))
}

/// The built `gnomon` command.
pub fn gnomon() -> PathBuf {
    let folder = std::env::var_os("GNOMON_DIST").map(PathBuf::from);
    folder
        .unwrap_or_else(|| repo::root().join("target/gnomon"))
        .join("gnomon")
}
