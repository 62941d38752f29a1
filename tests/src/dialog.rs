//! A conversation with a VM over its console: wait for words, type a line.

use std::time::{Duration, Instant};

use gnomon::manifest::System;
use gnomon::pack::Packed;
use gnomon::run::{Event, Machine, Options, Outcome};

/// How long one step of a conversation may take: ten times what the slowest does.
const STEP: Duration = Duration::from_secs(100);

/// A running machine that is talked to.
pub struct Dialog {
    machine: Machine,
    names: Vec<String>,
    /// What came so far.
    pub outcome: Outcome,
    /// Bytes of each console that were already looked at.
    seen: Vec<usize>,
}

impl Dialog {
    /// Starts a system.
    pub fn start(system: &System, packed: &Packed, options: &Options) -> Dialog {
        let names: Vec<String> = system.vms.iter().map(|vm| vm.name.clone()).collect();
        let machine = Machine::start(system, packed, options).unwrap_or_else(|error| panic!("{error:?}"));
        Dialog {
            machine,
            outcome: Outcome::of(names.len()),
            seen: vec![0; names.len()],
            names,
        }
    }

    /// Types a line at a VM.
    pub fn say(&mut self, vm: usize, line: &str) {
        for byte in line.bytes().chain([b'\r']) {
            self.machine.type_byte(vm, byte);
        }
    }

    /// Waits until a VM's console has these words behind what was waited for before; gives what came up to them.
    pub fn expect(&mut self, vm: usize, words: &str) -> String {
        let words = words.as_bytes();
        let deadline = Instant::now() + STEP;
        loop {
            let new = &self.outcome.consoles[vm][self.seen[vm]..];
            if let Some(at) = new.windows(words.len()).position(|window| window == words) {
                let text = String::from_utf8_lossy(&new[..at]).into_owned();
                self.seen[vm] += at + words.len();
                return text;
            }
            assert!(
                self.step() && Instant::now() < deadline,
                "VM {vm} never said `{}`\n{}",
                String::from_utf8_lossy(words),
                crate::vm::story(&self.outcome)
            );
        }
    }

    /// Waits until the machine has ended.
    pub fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + STEP;
        while self.step() {
            if Instant::now() >= deadline {
                self.outcome.timed_out = true;
                break;
            }
        }
        self.outcome
    }

    /// Takes in the next event; false if the machine has ended.
    fn step(&mut self) -> bool {
        match self.machine.next(Duration::from_millis(100)) {
            Some(Event::Item(item)) => self.outcome.note(&item, &self.names),
            Some(Event::Ended { stderr }) => {
                self.outcome.qemu_said = stderr;
                return false;
            }
            None => {}
        }
        true
    }
}
