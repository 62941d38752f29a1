//! The one UART taken apart again: each VM's console, and the hypervisor's records.

mod print;
mod report;
pub mod syndrome;

use hyp_abi::console::{Demux, Event as Framing, Stream};
use hyp_abi::record::{Epitaph, StreamKind, VmStopped};

pub use print::Printer;
pub use report::{describe, is_fault};

/// Bytes before a record's payload: kind, and length in two bytes.
const HEAD: usize = 3;

/// What the hypervisor reports of itself and of VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// EL2 is up.
    Booted {
        /// Its ABI version.
        abi: u32,
        /// How many VMs it has.
        vms: u32,
    },
    /// A VM has stopped.
    Stopped(Box<VmStopped>),
    /// A VM starts again.
    Restarted {
        /// VM id.
        vm: u32,
    },
    /// The last VM has stopped.
    SystemOff,
    /// defmt frames of the log ring.
    Log(Vec<u8>),
    /// EL2 itself failed.
    Epitaph(Epitaph),
    /// The boot configuration is refused.
    BadConfig {
        /// Why.
        code: u32,
        /// Which table.
        record: u32,
        /// Which entry of it.
        index: u32,
    },
    /// A record that this program does not know.
    Unknown {
        /// Kind byte.
        kind: u8,
        /// The rest.
        payload: Vec<u8>,
    },
}

/// What a byte of the UART completes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A byte of a VM's console.
    Byte {
        /// VM id.
        vm: usize,
        /// The byte.
        byte: u8,
    },
    /// A record.
    Record(Record),
}

/// Decoder of the UART's bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    demux: Demux,
    record: Vec<u8>,
}

impl Decoder {
    /// Takes one byte.
    pub fn push(&mut self, byte: u8) -> Option<Item> {
        match self.demux.push(byte)? {
            Framing::Data(Stream::Vm(vm), byte) => Some(Item::Byte { vm: vm.into(), byte }),
            Framing::Data(Stream::Hypervisor, byte) => self.record_byte(byte).map(Item::Record),
            Framing::Selected(_) | Framing::Bad(_) => None,
        }
    }

    fn record_byte(&mut self, byte: u8) -> Option<Record> {
        self.record.push(byte);
        let [kind, low, high, payload @ ..] = self.record.as_slice() else {
            return None;
        };
        if payload.len() < usize::from(u16::from_le_bytes([*low, *high])) {
            return None;
        }
        let record = record(*kind, payload);
        self.record.clear();
        Some(record)
    }

    /// Bytes of a record that has not ended: a sign that the hypervisor stopped in the middle.
    pub fn unfinished(&self) -> usize {
        self.record.len().saturating_sub(HEAD)
    }
}

fn record(kind: u8, payload: &[u8]) -> Record {
    let word = |at: usize| Some(u32::from_le_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let known = StreamKind::from_byte(kind).and_then(|kind| match kind {
        StreamKind::Booted => Some(Record::Booted {
            abi: word(0)?,
            vms: word(4)?,
        }),
        StreamKind::VmStopped => VmStopped::read(payload).map(|stopped| Record::Stopped(Box::new(stopped))),
        StreamKind::SystemOff => Some(Record::SystemOff),
        StreamKind::VmRestarted => word(0).map(|vm| Record::Restarted { vm }),
        StreamKind::LogDump => Some(Record::Log(payload.to_vec())),
        StreamKind::Epitaph => Epitaph::read(payload).map(Record::Epitaph),
        StreamKind::BadConfig => Some(Record::BadConfig {
            code: word(0)?,
            record: word(4)?,
            index: word(8)?,
        }),
    });
    known.unwrap_or_else(|| Record::Unknown {
        kind,
        payload: payload.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use hyp_abi::console::{Mux, Stream};
    use hyp_abi::record::{StreamKind, VmStopped};

    use super::{Decoder, Item, Record};

    fn send(mux: &mut Mux, decoder: &mut Decoder, stream: Stream, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        for byte in bytes {
            items.extend(
                mux.encode(stream, *byte)
                    .as_slice()
                    .iter()
                    .filter_map(|byte| decoder.push(*byte)),
            );
        }
        items
    }

    #[test]
    fn a_record_may_be_interrupted_by_a_console() {
        let (mut mux, mut decoder) = (Mux::new(), Decoder::default());
        let stopped = VmStopped {
            vm: 3,
            esr: 0x9200_0046,
            ..Default::default()
        };
        let mut wire = vec![StreamKind::VmStopped as u8, 0, 0];
        wire[1..3].copy_from_slice(&(VmStopped::SIZE as u16).to_le_bytes());
        wire.resize(3 + VmStopped::SIZE, 0);
        stopped.write(&mut wire[3..]).unwrap();
        let (first, rest) = wire.split_at(100);
        assert_eq!(send(&mut mux, &mut decoder, Stream::Hypervisor, first), []);
        let byte = |byte| Item::Byte { vm: 2, byte };
        assert_eq!(
            send(&mut mux, &mut decoder, Stream::Vm(2), b"h\x1e"),
            [byte(b'h'), byte(0x1e)]
        );
        let items = send(&mut mux, &mut decoder, Stream::Hypervisor, rest);
        assert_eq!(items, [Item::Record(Record::Stopped(Box::new(stopped)))]);
        assert_eq!(decoder.unfinished(), 0);
    }

    #[test]
    fn a_short_or_unknown_record_is_kept_as_bytes() {
        let (mut mux, mut decoder) = (Mux::new(), Decoder::default());
        for kind in [StreamKind::VmStopped as u8, 99] {
            let items = send(&mut mux, &mut decoder, Stream::Hypervisor, &[kind, 2, 0, 7, 8]);
            assert_eq!(
                items,
                [Item::Record(Record::Unknown {
                    kind,
                    payload: vec![7, 8]
                })]
            );
        }
        let items = send(
            &mut mux,
            &mut decoder,
            Stream::Hypervisor,
            &[StreamKind::SystemOff as u8, 0, 0],
        );
        assert_eq!(items, [Item::Record(Record::SystemOff)]);
    }
}
