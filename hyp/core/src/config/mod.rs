//! Validation of the boot configuration. After it, every index, address and interrupt in the records can be used without a further check.
//!
//! The blob comes with the image, so a fault in it is the packer's and stops the boot, naming the record.

mod check;
#[cfg(test)]
mod tests;

use core::ops::Range;

use crate::bound::Bounded;
use hyp_abi::config::{
    Budget, CHANNELS_MAX, Channel, DEVICES_MAX, Device, Header, SEGMENTS_MAX, Segment, VCPUS_MAX, Vcpu, Vm,
};
use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::{PathId, VMS_MAX};

/// What the machine and the hypervisor's build allow.
#[derive(Clone, Debug)]
pub struct Limits<'a> {
    /// Physical RAM.
    pub ram: Range<u64>,
    /// Physical memory of the hypervisor: image with blob, stacks, tables.
    pub hypervisor: Range<u64>,
    /// Physical device registers that no VM may get (GIC, timer, the hypervisor's UART).
    pub own_devices: &'a [Range<u64>],
    /// IPA windows of the emulated GIC, the same in every VM.
    pub gic_windows: &'a [Range<u64>],
    /// Physical CPUs.
    pub cpus: u32,
    /// vCPUs one VM can have.
    pub vcpus_per_vm: usize,
}

/// The first fault found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadConfig {
    /// What is wrong.
    pub fault: ConfigFault,
    /// In which kind of record.
    pub kind: RecordKind,
    /// Its index.
    pub index: u32,
}

/// A validated configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    blob: &'a [u8],
    header: Header,
    vms_at: usize,
    vcpus_at: usize,
    segments_at: usize,
    devices_at: usize,
    channels_at: usize,
    budgets_at: usize,
}

macro_rules! table {
    ($(#[$m:meta])* $name:ident, $at:ident, $count:ident, $record:ident, $most:expr) => {
        $(#[$m])*
        pub fn $name(&self) -> impl Iterator<Item = $record> + Clone + use<'a> {
            records::<$record, { $most }>(self.blob, self.$at, self.header.$count, $record::SIZE, $record::read)
        }
    };
}

/// Validation has refused more than `MOST`.
fn records<'a, T, const MOST: usize>(
    blob: &'a [u8],
    at: usize,
    count: u32,
    size: usize,
    read: fn(&[u8]) -> Option<T>,
) -> impl Iterator<Item = T> + Clone + use<'a, T, MOST> {
    (0..count as usize)
        .at_most::<MOST>()
        .filter_map(move |i| read(blob.get(at + i * size..)?))
}

impl<'a> Config<'a> {
    /// Validates `blob`, which may be longer than the configuration in it.
    pub fn validate(blob: &'a [u8], limits: &Limits<'_>) -> Result<Self, BadConfig> {
        let config = Self::layout(blob)?;
        config.check(limits)?;
        Ok(config)
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    table!(
        /// VMs by id.
        vms, vms_at, vms, Vm, VMS_MAX
    );
    table!(
        /// vCPUs; of one VM in the order of their index.
        vcpus, vcpus_at, vcpus, Vcpu, VCPUS_MAX
    );
    table!(
        /// Segments.
        segments, segments_at, segments, Segment, SEGMENTS_MAX
    );
    table!(
        /// Devices.
        devices, devices_at, devices, Device, DEVICES_MAX
    );
    table!(
        /// Channels.
        channels, channels_at, channels, Channel, CHANNELS_MAX
    );
    table!(
        /// Budgets.
        budgets, budgets_at, budgets, Budget, PathId::COUNT
    );

    /// The bytes of a segment of this configuration.
    pub fn bytes(&self, segment: &Segment) -> &'a [u8] {
        let start = segment.offset as usize;
        self.blob.get(start..start + segment.file_len as usize).unwrap_or(&[])
    }

    /// Physical address of `ipa` if `bytes` from there lie in the RAM of `vm`.
    pub fn ram_pa(vm: &Vm, ipa: u64, bytes: u64) -> Option<u64> {
        let offset = ipa.checked_sub(vm.ipa_base)?;
        let end = offset.checked_add(bytes)?;
        (end <= vm.mem_size).then_some(vm.pa_base + offset)
    }
}
