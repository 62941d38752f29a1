//! Framing of the one physical UART that all VMs' consoles share.
//!
//! Bytes belong to the stream selected last. `ESC n` with n < 0xf0 selects VM n; `ESC 0xfd` selects the hypervisor
//! stream; `ESC 0xfe` is a literal ESC byte of the current stream. The same framing runs the other way: `ESC n` from the
//! host gives the keyboard to VM n. On the hypervisor stream come records: kind byte, length u16 little-endian, payload.

/// Escape byte (ASCII RS, which terminals do not send).
pub const ESC: u8 = 0x1e;
/// Selects the hypervisor stream.
pub const SELECT_HYPERVISOR: u8 = 0xfd;
/// A literal ESC.
pub const LITERAL: u8 = 0xfe;
/// Stream numbers below this are VM ids.
pub const STREAMS_END: u8 = 0xf0;

/// What one received byte means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Data of the current stream.
    Data(Stream, u8),
    /// Another stream is selected.
    Selected(Stream),
    /// ESC followed by a byte that means nothing.
    Bad(u8),
}

/// Whom bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// A VM's console.
    Vm(u8),
    /// The hypervisor's records.
    Hypervisor,
}

/// Decoder state: one per direction.
#[derive(Debug, Clone, Copy)]
pub struct Demux {
    stream: Stream,
    escaped: bool,
}

impl Demux {
    /// Starts on the console of VM 0.
    pub const fn new() -> Self {
        Self {
            stream: Stream::Vm(0),
            escaped: false,
        }
    }

    /// Takes one byte; `None` while an escape is incomplete.
    pub fn push(&mut self, byte: u8) -> Option<Event> {
        if !self.escaped {
            if byte == ESC {
                self.escaped = true;
                return None;
            }
            return Some(Event::Data(self.stream, byte));
        }
        self.escaped = false;
        match byte {
            LITERAL => Some(Event::Data(self.stream, ESC)),
            SELECT_HYPERVISOR => {
                self.stream = Stream::Hypervisor;
                Some(Event::Selected(self.stream))
            }
            n if n < STREAMS_END => {
                self.stream = Stream::Vm(n);
                Some(Event::Selected(self.stream))
            }
            n => Some(Event::Bad(n)),
        }
    }
}

impl Default for Demux {
    fn default() -> Self {
        Self::new()
    }
}

/// Encoder state: remembers the stream selected last.
#[derive(Debug, Clone, Copy)]
pub struct Mux {
    current: u8,
}

/// At most four bytes to send for one byte of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; 4],
    len: u8,
}

impl Encoded {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or(&[])
    }
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len as usize) {
            *slot = byte;
            self.len += 1;
        }
    }
}

impl Mux {
    /// Nothing selected yet: the first byte selects.
    pub const fn new() -> Self {
        Self { current: 0xff }
    }

    /// Encodes one byte of a stream.
    pub fn encode(&mut self, stream: Stream, byte: u8) -> Encoded {
        let mut out = Encoded { bytes: [0; 4], len: 0 };
        let select = match stream {
            Stream::Vm(n) => n,
            Stream::Hypervisor => SELECT_HYPERVISOR,
        };
        if select != self.current {
            self.current = select;
            out.push(ESC);
            out.push(select);
        }
        out.push(byte);
        if byte == ESC {
            out.push(LITERAL);
        }
        out
    }
}

impl Default for Mux {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_stream_comes_back() {
        let (mut mux, mut demux) = (Mux::new(), Demux::new());
        let streams = [
            Stream::Vm(0),
            Stream::Vm(0),
            Stream::Hypervisor,
            Stream::Vm(15),
            Stream::Vm(3),
        ];
        for (i, stream) in streams.iter().cycle().take(2000).enumerate() {
            let byte = (i * 7) as u8;
            let mut got = None;
            for b in mux.encode(*stream, byte).as_slice() {
                if let Some(Event::Data(s, d)) = demux.push(*b) {
                    assert!(got.replace((s, d)).is_none(), "one byte in, one out");
                }
            }
            assert_eq!(got, Some((*stream, byte)));
        }
    }

    #[test]
    fn an_unknown_selector_changes_nothing() {
        let mut demux = Demux::new();
        assert_eq!(demux.push(ESC), None);
        assert_eq!(demux.push(0xf7), Some(Event::Bad(0xf7)));
        assert_eq!(demux.push(b'a'), Some(Event::Data(Stream::Vm(0), b'a')));
    }
}
