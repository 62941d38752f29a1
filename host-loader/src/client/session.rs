//! Programs loaded into a running system: load, attach, detach, unload, and what the system says of itself.

use std::collections::HashMap;

use hyp_abi::call::{CURSOR_END, FILTER_ANY};
use hyp_abi::link::LoadReply;
use hyp_abi::record::{PathPeak, PathRecord, PoolRecord, ProgramInfo, VmRecord};
use hyp_abi::{Call, PathId, Status};

use super::link::{Buffers, Client, must_be_ok};
use super::maps::MapHandle;
use super::{ClientError, image};
use crate::env::gnomon;
use crate::obj::{Object, Program};

/// Bytes of one read of a table.
const TABLE_BYTES: u32 = 16 * 1024;
/// Reads of one table before something is wrong.
const READS_MAX: usize = 1024;

/// A loaded program.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its point.
    pub point: String,
    /// Its handle.
    pub handle: u64,
    /// What loading found.
    pub reply: LoadReply,
    /// Its maps.
    pub maps: Vec<MapHandle>,
}

/// Whose events an attachment sees.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Those of this VM.
    pub vm: u32,
    /// Those of this vCPU of it; of all its vCPUs without.
    pub vcpu: Option<u32>,
}

impl Filter {
    /// From `--vm` and `--vcpu`.
    pub fn new(vm: Option<u32>, vcpu: Option<u32>) -> Option<Filter> {
        vm.map(|vm| Filter { vm, vcpu })
    }

    /// As ProbeAttach takes it.
    fn number(self) -> u64 {
        u64::from(self.vm) | self.vcpu.map_or(0, |vcpu| u64::from(vcpu.saturating_add(1)) << 32)
    }
}

/// Programs loaded together: those of one object share its maps.
#[derive(Debug)]
pub struct Session<'c> {
    /// The connection.
    pub client: &'c mut Client,
    shared: HashMap<usize, u32>,
}

impl<'c> Session<'c> {
    /// For the programs of one object.
    pub fn new(client: &'c mut Client) -> Session<'c> {
        Session {
            client,
            shared: HashMap::new(),
        }
    }

    /// Loads one program of `object`. A refusal by the hypervisor's verifier is `ClientError::Refused` with
    /// [`Status::Rejected`].
    pub fn load(&mut self, object: &Object, program: &Program) -> Result<Loaded, ClientError> {
        let encoded = image::encode(object, program, &self.shared)?;
        let reply = self.client.load(&encoded.bytes)?;
        let call = u16::try_from(reply.call)
            .ok()
            .and_then(Call::from_number)
            .unwrap_or(Call::ProbeStage);
        must_be_ok(call, reply.x)?;
        let mut maps = Vec::new();
        for (index, of_object) in encoded.maps.iter().enumerate() {
            let map = MapHandle::open(self.client, reply.handle, index as u32)?;
            self.shared.entry(*of_object).or_insert(map.info.handle);
            maps.push(map);
        }
        let point = program
            .section
            .strip_prefix("probe/")
            .unwrap_or(&program.section)
            .to_string();
        Ok(Loaded {
            name: program.name.clone(),
            point,
            handle: reply.handle,
            reply,
            maps,
        })
    }
}

impl Client {
    /// Attaches a program to a point, for events that pass the filter or for all. Gives the attachment.
    pub fn attach(&mut self, handle: u64, point: &str, only: Option<Filter>) -> Result<u64, ClientError> {
        let number = gnomon::point(&format!("probe/{point}")).map(|p| p as u64);
        let number = number.ok_or_else(|| ClientError::Image {
            program: point.into(),
            why: "no such point".into(),
        })?;
        let filter = only.map_or(FILTER_ANY, Filter::number);
        Ok(self
            .call(Call::ProbeAttach, &[handle, number, filter], Buffers::default())?
            .x[1])
    }

    /// Takes an attachment away.
    pub fn detach(&mut self, attachment: u64) -> Result<(), ClientError> {
        self.call(Call::ProbeDetach, &[attachment], Buffers::default())
            .map(drop)
    }

    /// Unloads a program that is attached nowhere.
    pub fn unload(&mut self, handle: u64) -> Result<(), ClientError> {
        self.call(Call::ProbeUnload, &[handle], Buffers::default()).map(drop)
    }

    /// Puts another program in the place of one that is attached.
    pub fn replace(&mut self, attachment: u64, handle: u64) -> Result<u64, ClientError> {
        Ok(self
            .call(Call::ProbeReplace, &[attachment, handle], Buffers::default())?
            .x[1])
    }

    /// What a loaded program is.
    pub fn program(&mut self, handle: u64) -> Result<ProgramInfo, ClientError> {
        let buffers = Buffers {
            output: Some((2, ProgramInfo::SIZE as u32)),
            ..Buffers::default()
        };
        let answer = self.call(Call::ProbeInfo, &[handle, 0, ProgramInfo::SIZE as u64], buffers)?;
        ProgramInfo::read(&answer.output).ok_or_else(|| ClientError::Protocol("a short ProgramInfo".into()))
    }

    /// The maps of a loaded program.
    pub fn maps(&mut self, handle: u64) -> Result<Vec<MapHandle>, ClientError> {
        let count = self.program(handle)?.maps;
        (0..count).map(|index| MapHandle::open(self, handle, index)).collect()
    }

    /// Every path: counts, times, budget.
    pub fn paths(&mut self) -> Result<Vec<PathRecord>, ClientError> {
        self.table(Call::PathRead, PathRecord::SIZE, PathRecord::read)
    }

    /// The longest exit of each path that was taken, and what was there.
    pub fn peaks(&mut self) -> Result<Vec<PathPeak>, ClientError> {
        let mut peaks = Vec::new();
        for path in PathId::ALL {
            let buffers = Buffers {
                output: Some((2, PathPeak::SIZE as u32)),
                ..Buffers::default()
            };
            let args = [*path as u64, 0, PathPeak::SIZE as u64];
            let answer = self.call(Call::PathPeak, &args, buffers)?;
            peaks.extend(PathPeak::read(&answer.output).filter(|peak| peak.length > 0));
        }
        Ok(peaks)
    }

    /// Every VM.
    pub fn vms(&mut self) -> Result<Vec<VmRecord>, ClientError> {
        self.table(Call::VmRead, VmRecord::SIZE, VmRecord::read)
    }

    /// Every pool.
    pub fn pools(&mut self) -> Result<Vec<PoolRecord>, ClientError> {
        self.table(Call::PoolRead, PoolRecord::SIZE, PoolRecord::read)
    }

    /// Clears count, least, most and sum of every path.
    pub fn reset_paths(&mut self) -> Result<(), ClientError> {
        self.call(Call::PathReset, &[], Buffers::default()).map(drop)
    }

    /// Frames of the hypervisor's log, and how many were lost since the last read.
    pub fn log(&mut self) -> Result<(Vec<u8>, u64), ClientError> {
        let buffers = Buffers {
            output: Some((1, TABLE_BYTES)),
            ..Buffers::default()
        };
        let answer = self.call(Call::LogRead, &[0, TABLE_BYTES.into()], buffers)?;
        let mut frames = answer.output;
        frames.truncate(answer.x[1] as usize);
        Ok((frames, answer.x[2]))
    }

    fn table<T>(&mut self, call: Call, size: usize, read: fn(&[u8]) -> Option<T>) -> Result<Vec<T>, ClientError> {
        let mut rows = Vec::new();
        let mut cursor = 0;
        for _ in 0..READS_MAX {
            let buffers = Buffers {
                output: Some((2, TABLE_BYTES)),
                ..Buffers::default()
            };
            let answer = self.call(call, &[cursor, 0, TABLE_BYTES.into()], buffers)?;
            rows.extend(
                answer
                    .output
                    .chunks_exact(size)
                    .take(answer.x[2] as usize)
                    .filter_map(read),
            );
            if answer.x[1] == CURSOR_END {
                return Ok(rows);
            }
            cursor = answer.x[1];
        }
        Err(ClientError::Protocol(format!("{} has no end", call.name())))
    }
}

impl ClientError {
    /// The status of a refusal, and the registers with its details.
    pub fn status(&self) -> Option<(Status, [u64; 8])> {
        match self {
            ClientError::Refused { status, x, .. } => Some((*status, *x)),
            _ => None,
        }
    }
}
