//! The boot configuration in bytes: header, tables in the header's order, then page-aligned data.

use hyp_abi::config::{self, Budget, Channel, Device, Header, Segment, Vcpu, Vm};

/// Segment data starts on a page, so that EL2 copies whole pages.
const PAGE: usize = 4096;

/// The tables, before they are laid out. Segments' offsets are set when their data is added.
#[derive(Debug, Default)]
pub struct Blob {
    /// The header; counts and lengths are filled in by [`Blob::bytes`].
    pub header: Header,
    /// VMs.
    pub vms: Vec<Vm>,
    /// vCPUs.
    pub vcpus: Vec<Vcpu>,
    /// Segments, `offset` counted from the start of the data.
    segments: Vec<Segment>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Channels.
    pub channels: Vec<Channel>,
    /// Budgets.
    pub budgets: Vec<Budget>,
    data: Vec<u8>,
}

impl Blob {
    /// Adds bytes for a VM's RAM.
    pub fn add(&mut self, vm: usize, ipa: u64, bytes: &[u8], mem_len: u64) {
        let offset = self.data.len() as u64;
        let file_len = bytes.len() as u64;
        self.segments.push(Segment {
            vm: vm as u32,
            pad: 0,
            offset,
            ipa,
            file_len,
            mem_len,
        });
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(PAGE), 0);
    }

    /// Segments so far.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    fn tables_len(&self) -> usize {
        Header::SIZE
            + self.vms.len() * Vm::SIZE
            + self.vcpus.len() * Vcpu::SIZE
            + self.segments.len() * Segment::SIZE
            + self.devices.len() * Device::SIZE
            + self.channels.len() * Channel::SIZE
            + self.budgets.len() * Budget::SIZE
    }

    /// Bytes of the whole blob.
    pub fn total_len(&self) -> u64 {
        (self.tables_len().next_multiple_of(PAGE) + self.data.len()) as u64
    }

    /// The blob.
    pub fn bytes(&self) -> Vec<u8> {
        let header = Header {
            magic: config::MAGIC,
            version: config::VERSION,
            tables_len: self.tables_len() as u32,
            total_len: self.total_len(),
            vms: self.vms.len() as u32,
            vcpus: self.vcpus.len() as u32,
            segments: self.segments.len() as u32,
            devices: self.devices.len() as u32,
            channels: self.channels.len() as u32,
            budgets: self.budgets.len() as u32,
            ..self.header
        };
        let data_at = self.tables_len().next_multiple_of(PAGE) as u64;
        let mut out = vec![0; data_at as usize];
        let mut at = 0;
        macro_rules! put {
            ($record:ty, $records:expr) => {
                for record in $records {
                    record
                        .write(&mut out[at..])
                        .expect("tables_len counts every record");
                    at += <$record>::SIZE;
                }
            };
        }
        put!(Header, [header]);
        put!(Vm, &self.vms);
        put!(Vcpu, &self.vcpus);
        put!(
            Segment,
            self.segments.iter().map(|segment| Segment {
                offset: segment.offset + data_at,
                ..*segment
            })
        );
        put!(Device, &self.devices);
        put!(Channel, &self.channels);
        put!(Budget, &self.budgets);
        out.extend_from_slice(&self.data);
        out
    }
}
