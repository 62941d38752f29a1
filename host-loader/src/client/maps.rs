//! Maps of a loaded program, read and written by hypercall.

use hyp_abi::Call;
use hyp_abi::call::{CURSOR_END, MAP_READ_CLEAR, MAP_READ_PER_CPU};
use hyp_abi::record::MapInfo;

use super::ClientError;
use super::link::{Buffers, Client};

/// Bytes of one read: the hypervisor copies at most its own limit of entries, whatever the buffer holds.
const READ_BYTES: u32 = 64 * 1024;
/// Reads of one map before something is wrong: the largest map at one entry a call.
const READS_MAX: usize = 1 << 17;

/// A map of a loaded program.
#[derive(Clone, Debug)]
pub struct MapHandle {
    /// Handle of the program.
    pub program: u64,
    /// Index of the map in it.
    pub index: u32,
    /// What it is.
    pub info: MapInfo,
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; for a read per CPU the values one after the other, each padded to eight bytes.
    pub value: Vec<u8>,
}

/// A name from its padded bytes.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn padded(bytes: usize) -> usize {
    bytes.div_ceil(8) * 8
}

/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;

impl MapHandle {
    /// A ring buffer: read by records, not by keys.
    pub fn is_ring(&self) -> bool {
        self.info.kind == RINGBUF
    }

    /// Its name.
    pub fn name(&self) -> String {
        text(&self.info.name)
    }

    /// The map of this index of a program.
    pub fn open(client: &mut Client, program: u64, index: u32) -> Result<MapHandle, ClientError> {
        let buffers = Buffers {
            output: Some((3, MapInfo::SIZE as u32)),
            ..Buffers::default()
        };
        let args = [program, index.into(), 0, MapInfo::SIZE as u64];
        let answer = client.call(Call::MapInfo, &args, buffers)?;
        let info = MapInfo::read(&answer.output).ok_or_else(|| ClientError::Protocol("a short MapInfo".into()))?;
        Ok(MapHandle { program, index, info })
    }

    /// All entries, values of several CPUs added up lane by lane, or one after the other. `clear` empties what it reads.
    pub fn read(&self, client: &mut Client, per_cpu: bool, clear: bool) -> Result<Vec<Entry>, ClientError> {
        let mut select = u64::from(self.index);
        let mut value_bytes = padded(self.info.value_size as usize);
        if per_cpu {
            select |= MAP_READ_PER_CPU;
            value_bytes *= self.info.slots.max(1) as usize;
        }
        if clear {
            select |= MAP_READ_CLEAR;
        }
        let key_bytes = padded(self.info.key_size as usize);
        let mut entries = Vec::new();
        let mut cursor = 0;
        for _ in 0..READS_MAX {
            let buffers = Buffers {
                output: Some((4, READ_BYTES)),
                ..Buffers::default()
            };
            let args = [self.program, select, cursor, 0, READ_BYTES.into()];
            let answer = client.call(Call::MapRead, &args, buffers)?;
            let (next, written) = (answer.x[1], answer.x[2] as usize);
            let all = answer.output.chunks_exact((key_bytes + value_bytes).max(1));
            for chunk in all.take(written) {
                let (key, value) = chunk.split_at(key_bytes);
                let value = if per_cpu {
                    value
                } else {
                    &value[..self.info.value_size as usize]
                };
                entries.push(Entry {
                    key: key[..self.info.key_size as usize].to_vec(),
                    value: value.to_vec(),
                });
            }
            if next == CURSOR_END {
                return Ok(entries);
            }
            cursor = next;
        }
        Err(ClientError::Protocol(format!(
            "reading map `{}` has no end",
            self.name()
        )))
    }

    /// Empties the map.
    pub fn clear(&self, client: &mut Client) -> Result<(), ClientError> {
        let mut cursor = 0;
        for _ in 0..READS_MAX {
            let args = [self.program, self.index.into(), cursor];
            cursor = client.call(Call::MapClear, &args, Buffers::default())?.x[1];
            if cursor == CURSOR_END {
                return Ok(());
            }
        }
        Err(ClientError::Protocol(format!(
            "clearing map `{}` has no end",
            self.name()
        )))
    }

    /// Writes an entry.
    pub fn update(&self, client: &mut Client, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        let mut input = key.to_vec();
        input.resize(padded(key.len()), 0);
        let at = input.len() as u32;
        input.extend_from_slice(value);
        let buffers = Buffers {
            input: Some((3, &input)),
            second: Some((4, at)),
            output: None,
        };
        client
            .call(Call::MapUpdate, &[self.program, self.index.into(), 0, 0, 0], buffers)
            .map(drop)
    }

    /// Records of a ring buffer on one CPU, and how many were lost since the last read.
    pub fn ring(&self, client: &mut Client, cpu: u32) -> Result<(Vec<Vec<u8>>, u64), ClientError> {
        let buffers = Buffers {
            output: Some((3, READ_BYTES)),
            ..Buffers::default()
        };
        let select = u64::from(self.index) | u64::from(cpu) << 32;
        let answer = client.call(Call::RingRead, &[self.program, select, 0, READ_BYTES.into()], buffers)?;
        let mut rest = answer.output.get(..answer.x[1] as usize).unwrap_or(&[]);
        let mut records = Vec::new();
        while let Some((head, body)) = rest.split_at_checked(8) {
            let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let Some(record) = body.get(..len) else { break };
            records.push(record.to_vec());
            rest = body.get(padded(len)..).unwrap_or(&[]);
        }
        Ok((records, answer.x[2]))
    }
}
