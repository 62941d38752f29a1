//! One QEMU process.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use board_support::qemu;
use hyp_abi::console::{Mux, Stream};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use tempfile::TempDir;

use super::{Options, arguments};
use crate::console::{Decoder, Item};
use crate::manifest::System;
use crate::pack::Packed;

/// What a machine does.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something came over the UART.
    Item(Item),
    /// QEMU has ended; what it said on its standard error.
    Ended {
        /// All of it.
        stderr: String,
    },
}

/// A running machine; dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    child: Mutex<Child>,
    keys: Mutex<(ChildStdin, Mux)>,
    events: Mutex<Receiver<Event>>,
    /// Holds the image while QEMU may read it.
    _folder: TempDir,
}

impl Machine {
    /// Starts QEMU with a packed system.
    ///
    /// # Errors
    /// QEMU is not installed or the image cannot be written.
    pub fn start(system: &System, packed: &Packed, options: &Options) -> Result<Machine> {
        let folder = tempfile::tempdir()
            .into_diagnostic()
            .wrap_err("no folder for the image")?;
        let image = folder.path().join("system.img");
        std::fs::write(&image, &packed.image)
            .into_diagnostic()
            .wrap_err("cannot write the image")?;
        let mut child = mortal(qemu::PROGRAM)
            .args(arguments(system, &image, options))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                miette!(
                    help = "cargo xtask installs it",
                    "cannot start {}: {error}",
                    qemu::PROGRAM
                )
            })?;
        let (Some(keys), Some(uart), Some(words)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(miette!("{} has no standard streams", qemu::PROGRAM));
        };
        let (sender, events) = channel();
        thread::spawn(move || listen(uart, words, &sender));
        Ok(Machine {
            child: Mutex::new(child),
            keys: Mutex::new((keys, Mux::new())),
            events: Mutex::new(events),
            _folder: folder,
        })
    }

    /// What it does next; `None` if that is nothing for this long.
    pub fn next(&self, timeout: Duration) -> Option<Event> {
        let events = self.events.lock().ok()?;
        match events.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Ended { stderr: String::new() }),
        }
    }

    /// Types one byte at a VM's console. A machine that has ended takes no bytes.
    pub fn type_byte(&self, vm: usize, byte: u8) {
        let Ok(mut keys) = self.keys.lock() else { return };
        let (stdin, mux) = &mut *keys;
        let encoded = mux.encode(Stream::Vm(vm as u8), byte);
        // The other end is gone only when QEMU has ended, which is reported as an event.
        let _ = stdin.write_all(encoded.as_slice()).and_then(|()| stdin.flush());
    }

    /// Ends the machine at once.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn stop(&self) -> io::Result<()> {
        match self.child.lock() {
            Ok(mut child) => child.kill(),
            Err(_) => Ok(()),
        }
    }
}

/// A command that does not outlive the thread that starts it, however that ends: util-linux's `setpriv` asks the kernel for a
/// SIGKILL at the parent's death and becomes the program. Where there is none (it is part of every Debian), the command alone,
/// which [`Machine`]'s drop still ends.
fn mortal(program: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    // A program that is not there must fail as itself.
    if !is_there("setpriv") || !is_there(program) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Decodes what comes until there is no more.
fn listen(mut uart: impl Read, mut words: impl Read + Send, sender: &Sender<Event>) {
    let stderr = thread::scope(|scope| {
        let stderr = scope.spawn(move || {
            let mut text = Vec::new();
            // What could be read is worth showing even if the rest could not.
            let _ = words.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut decoder = Decoder::default();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = uart.read(&mut buffer) {
            for item in buffer[..n].iter().filter_map(|byte| decoder.push(*byte)) {
                if sender.send(Event::Item(item)).is_err() {
                    break;
                }
            }
        }
        stderr.join().unwrap_or_default()
    });
    // Nobody listens any more if this fails.
    let _ = sender.send(Event::Ended { stderr });
}
