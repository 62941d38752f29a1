//! Keys of the person in front: to the focused VM, but for those after ctrl-a.

use std::cell::Cell;
use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crossterm::terminal;

/// The key that makes the next one ours.
const PREFIX: u8 = 0x01;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A byte for a VM.
    Byte { vm: usize, byte: u8 },
    /// The keyboard now belongs to this VM.
    Focus(usize),
    /// End the machine.
    Quit,
}

/// Which VM has the keyboard, and whether the last key was the prefix.
#[derive(Clone, Copy, Debug)]
struct Focus {
    vm: usize,
    vms: usize,
    prefixed: bool,
}

impl Focus {
    fn take(&mut self, byte: u8) -> Option<Key> {
        if !self.prefixed && byte == PREFIX {
            self.prefixed = true;
            return None;
        }
        if !std::mem::take(&mut self.prefixed) {
            return Some(Key::Byte { vm: self.vm, byte });
        }
        match byte {
            b'x' => Some(Key::Quit),
            b'n' => {
                self.vm = (self.vm + 1) % self.vms.max(1);
                Some(Key::Focus(self.vm))
            }
            _ => Some(Key::Byte { vm: self.vm, byte }),
        }
    }
}

/// The keyboard; dropping it gives the terminal back as it was.
#[derive(Debug)]
pub struct Keyboard {
    bytes: Receiver<u8>,
    focus: Cell<Focus>,
    raw: bool,
}

impl Keyboard {
    /// Starts reading standard input. On a terminal keys come one by one and are not echoed: guests echo.
    pub fn open(focus: usize, vms: usize) -> Keyboard {
        let raw = io::stdin().is_terminal() && terminal::enable_raw_mode().is_ok();
        let (sender, bytes) = channel();
        // The thread sits in read and ends with the process.
        thread::spawn(move || {
            let mut buffer = [0; 256];
            let mut input = io::stdin().lock();
            while let Ok(n @ 1..) = input.read(&mut buffer) {
                if buffer[..n].iter().any(|byte| sender.send(*byte).is_err()) {
                    return;
                }
            }
        });
        Keyboard {
            bytes,
            focus: Cell::new(Focus {
                vm: focus,
                vms,
                prefixed: false,
            }),
            raw,
        }
    }

    /// Whether the terminal is in raw mode.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The next key, if one was pressed.
    pub fn next(&self) -> Option<Key> {
        loop {
            let byte = self.bytes.try_recv().ok()?;
            let mut focus = self.focus.get();
            let key = focus.take(byte);
            self.focus.set(focus);
            if key.is_some() {
                return key;
            }
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if self.raw {
            // Nothing can be done about a terminal that has gone.
            let _ = terminal::disable_raw_mode();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Focus, Key};

    #[test]
    fn keys_after_the_prefix_are_ours() {
        let mut focus = Focus {
            vm: 0,
            vms: 2,
            prefixed: false,
        };
        let keys: Vec<Key> = b"a\x01nb\x01\x01\x01nc\x01x"
            .iter()
            .filter_map(|byte| focus.take(*byte))
            .collect();
        let byte = |vm, byte| Key::Byte { vm, byte };
        assert_eq!(
            keys,
            [
                byte(0, b'a'),
                Key::Focus(1),
                byte(1, b'b'),
                byte(1, 1),
                Key::Focus(0),
                byte(0, b'c'),
                Key::Quit
            ]
        );
    }
}
