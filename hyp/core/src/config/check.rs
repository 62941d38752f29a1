//! The checks, one function for each kind of record.

use core::ops::Range;

use hyp_abi::config::{Budget, Channel, Segment, Vcpu};
use hyp_abi::config::{
    CHANNELS_MAX, DEVICE_DMA_TRUSTED, DEVICE_EDGE, DEVICES_MAX, Device, DeviceKind, Header, MAGIC, SEGMENTS_MAX,
    VCPUS_MAX, VERSION, Vm,
};
use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::rights::ChannelRights;
use hyp_abi::{PathId, Rights, VMS_MAX};

use super::{BadConfig, Config, Limits};
use crate::addr::PAGE_BYTES;
use crate::sched::PRIORITIES;
use crate::stage2::IPA_END;
use crate::vgic::INTIDS;

/// RAM of VMs comes in 2 MiB pieces, so that stage 2 maps it by blocks.
const RAM_ALIGN: u64 = 2 << 20;

type Check = Result<(), BadConfig>;

fn bad(fault: ConfigFault, kind: RecordKind, index: usize) -> BadConfig {
    BadConfig {
        fault,
        kind,
        index: index as u32,
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// `start..start + bytes`, `None` on wrap-around.
fn range(start: u64, bytes: u64) -> Option<Range<u64>> {
    Some(start..start.checked_add(bytes)?)
}

fn vm_ipa(vm: &Vm) -> Range<u64> {
    vm.ipa_base..vm.ipa_base + vm.mem_size
}

/// IPA pages that a device takes.
fn device_pages(d: &Device) -> Option<Range<u64>> {
    let r = range(d.ipa, d.size)?;
    Some(r.start & !(PAGE_BYTES - 1)..r.end.checked_add(PAGE_BYTES - 1)? & !(PAGE_BYTES - 1))
}

impl<'a> Config<'a> {
    pub(super) fn layout(blob: &'a [u8]) -> Result<Self, BadConfig> {
        let head = |fault| bad(fault, RecordKind::Header, 0);
        let header = Header::read(blob).ok_or(head(ConfigFault::Length))?;
        if header.magic != MAGIC {
            return Err(head(ConfigFault::Magic));
        }
        if header.version != VERSION {
            return Err(head(ConfigFault::Version));
        }
        let counts = [
            (header.vms, VMS_MAX, Vm::SIZE),
            (header.vcpus, VCPUS_MAX, Vcpu::SIZE),
            (header.segments, SEGMENTS_MAX, Segment::SIZE),
            (header.devices, DEVICES_MAX, Device::SIZE),
            (header.channels, CHANNELS_MAX, Channel::SIZE),
            (header.budgets, PathId::COUNT, Budget::SIZE),
        ];
        let mut at = [0; 6];
        let mut next = Header::SIZE;
        for (slot, (count, max, size)) in at.iter_mut().zip(counts) {
            if count as usize > max {
                return Err(head(ConfigFault::TooMany));
            }
            *slot = next;
            next += count as usize * size;
        }
        if header.tables_len as usize != next || header.total_len > blob.len() as u64 || header.total_len < next as u64
        {
            return Err(head(ConfigFault::Length));
        }
        if header.vms == 0 || header.focus >= header.vms {
            return Err(head(ConfigFault::NoSuchVm));
        }
        let [vms_at, vcpus_at, segments_at, devices_at, channels_at, budgets_at] = at;
        Ok(Self {
            blob,
            header,
            vms_at,
            vcpus_at,
            segments_at,
            devices_at,
            channels_at,
            budgets_at,
        })
    }

    pub(super) fn check(&self, limits: &Limits<'_>) -> Check {
        if self.header.cpus == 0 || self.header.cpus > limits.cpus {
            return Err(bad(ConfigFault::NoSuchCpu, RecordKind::Header, 0));
        }
        for (i, vm) in self.vms().enumerate() {
            self.check_vm(i, &vm, limits).map_err(|f| bad(f, RecordKind::Vm, i))?;
        }
        for (i, vcpu) in self.vcpus().enumerate() {
            self.check_vcpu(&vcpu).map_err(|f| bad(f, RecordKind::Vcpu, i))?;
        }
        for (i, _) in self.vms().enumerate() {
            match self.vcpus().filter(|v| v.vm as usize == i).count() {
                0 => return Err(bad(ConfigFault::NoVcpu, RecordKind::Vm, i)),
                n if n > limits.vcpus_per_vm => return Err(bad(ConfigFault::TooMany, RecordKind::Vm, i)),
                _ => {}
            }
        }
        for (i, s) in self.segments().enumerate() {
            self.check_segment(&s).map_err(|f| bad(f, RecordKind::Segment, i))?;
        }
        for (i, d) in self.devices().enumerate() {
            self.check_device(i, &d, limits)
                .map_err(|f| bad(f, RecordKind::Device, i))?;
        }
        for (i, c) in self.channels().enumerate() {
            self.check_channel(i, &c).map_err(|f| bad(f, RecordKind::Channel, i))?;
        }
        for (i, b) in self.budgets().enumerate() {
            if PathId::from_number(b.path).is_none() || self.budgets().take(i).any(|o| o.path == b.path) {
                return Err(bad(ConfigFault::Path, RecordKind::Budget, i));
            }
        }
        Ok(())
    }

    fn vm(&self, id: u32) -> Result<Vm, ConfigFault> {
        self.vms().nth(id as usize).ok_or(ConfigFault::NoSuchVm)
    }

    fn check_vm(&self, i: usize, vm: &Vm, limits: &Limits<'_>) -> Result<(), ConfigFault> {
        if (vm.ipa_base | vm.pa_base | vm.mem_size) & (RAM_ALIGN - 1) != 0 || vm.mem_size == 0 || vm.entry & 3 != 0 {
            return Err(ConfigFault::Alignment);
        }
        let ipa = range(vm.ipa_base, vm.mem_size)
            .filter(|r| r.end <= IPA_END)
            .ok_or(ConfigFault::OutOfRange)?;
        let pa = range(vm.pa_base, vm.mem_size).ok_or(ConfigFault::OutOfRange)?;
        if pa.start < limits.ram.start || pa.end > limits.ram.end {
            return Err(ConfigFault::OutOfRange);
        }
        let taken = |o: Vm| overlap(&pa, &(o.pa_base..o.pa_base + o.mem_size));
        if overlap(&pa, &limits.hypervisor)
            || self.vms().take(i).any(taken)
            || limits.gic_windows.iter().any(|w| overlap(&ipa, w))
        {
            return Err(ConfigFault::Overlap);
        }
        if !ipa.contains(&vm.entry) {
            return Err(ConfigFault::OutsideVm);
        }
        if Rights::from_bits(vm.rights).is_none() || vm.restart > 1 {
            return Err(ConfigFault::UnknownBits);
        }
        Ok(())
    }

    fn check_vcpu(&self, v: &Vcpu) -> Result<(), ConfigFault> {
        self.vm(v.vm)?;
        if v.cpu >= self.header.cpus {
            return Err(ConfigFault::NoSuchCpu);
        }
        if v.priority as usize >= PRIORITIES {
            return Err(ConfigFault::Priority);
        }
        // No period: no deadline and no budget either; else 0 < deadline ≤ period.
        let fits = if v.period_ns == 0 {
            v.deadline_ns == 0
        } else {
            v.deadline_ns != 0 && v.deadline_ns <= v.period_ns
        };
        if fits { Ok(()) } else { Err(ConfigFault::Deadline) }
    }

    fn check_segment(&self, s: &Segment) -> Result<(), ConfigFault> {
        let vm = self.vm(s.vm)?;
        let bytes = range(s.offset, s.file_len).ok_or(ConfigFault::Length)?;
        if bytes.end > self.header.total_len || s.offset < u64::from(self.header.tables_len) || s.file_len > s.mem_len {
            return Err(ConfigFault::Length);
        }
        Self::ram_pa(&vm, s.ipa, s.mem_len)
            .map(|_| ())
            .ok_or(ConfigFault::OutsideVm)
    }

    fn check_device(&self, i: usize, d: &Device, limits: &Limits<'_>) -> Result<(), ConfigFault> {
        let vm = self.vm(d.vm)?;
        let passthrough = d.kind == DeviceKind::Passthrough as u32;
        if (!passthrough && d.kind != DeviceKind::Pl011 as u32) || d.flags & !(DEVICE_DMA_TRUSTED | DEVICE_EDGE) != 0 {
            return Err(ConfigFault::UnknownBits);
        }
        let pages = device_pages(d)
            .filter(|p| p.end <= IPA_END && d.size != 0)
            .ok_or(ConfigFault::OutOfRange)?;
        let mine = |o: &Device| o.vm == d.vm;
        let same_pages = |o: Device| device_pages(&o).is_some_and(|p| overlap(&p, &pages));
        let taken = overlap(&pages, &vm_ipa(&vm))
            || limits.gic_windows.iter().any(|w| overlap(&pages, w))
            || self.devices().take(i).filter(mine).any(same_pages);
        if taken {
            return Err(ConfigFault::Overlap);
        }
        if passthrough {
            self.check_physical(i, d, limits)?;
        } else if d.ipa & (PAGE_BYTES - 1) != 0 {
            return Err(ConfigFault::Alignment);
        }
        self.check_spi(d.vm, d.intid, i, 0)
    }

    /// A device passed through: its registers are nobody else's, its interrupt either.
    fn check_physical(&self, i: usize, d: &Device, limits: &Limits<'_>) -> Result<(), ConfigFault> {
        let off = PAGE_BYTES - 1;
        if d.pa & off != d.ipa & off {
            return Err(ConfigFault::Alignment);
        }
        let at_pa = |d: &Device| device_pages(&Device { ipa: d.pa, ..*d });
        let pa = at_pa(d).filter(|r| r.end <= 1 << 48).ok_or(ConfigFault::OutOfRange)?;
        let earlier = || {
            self.devices()
                .take(i)
                .filter(|o| o.kind == DeviceKind::Passthrough as u32)
        };
        let taken = overlap(&pa, &limits.ram)
            || limits.own_devices.iter().any(|o| overlap(&pa, o))
            || earlier().any(|o| at_pa(&o).is_some_and(|p| overlap(&p, &pa)));
        if taken {
            return Err(ConfigFault::Overlap);
        }
        if d.intid != 0 && earlier().any(|o| o.intid == d.intid) {
            return Err(ConfigFault::Interrupt);
        }
        Ok(())
    }

    /// An interrupt of `vm`: 0 or an SPI that no device before `devices` and no channel before `channels` has.
    fn check_spi(&self, vm: u32, intid: u32, devices: usize, channels: usize) -> Result<(), ConfigFault> {
        if intid == 0 {
            return Ok(());
        }
        let by_device = self.devices().take(devices).any(|o| o.vm == vm && o.intid == intid);
        let by_channel = self
            .channels()
            .take(channels)
            .any(|c| (c.a_vm == vm && c.a_intid == intid) || (c.b_vm == vm && c.b_intid == intid));
        if !(32..INTIDS as u32).contains(&intid) || by_device || by_channel {
            return Err(ConfigFault::Interrupt);
        }
        Ok(())
    }

    fn check_channel(&self, i: usize, c: &Channel) -> Result<(), ConfigFault> {
        self.vm(c.a_vm)?;
        self.vm(c.b_vm)?;
        if c.a_vm == c.b_vm {
            return Err(ConfigFault::SelfChannel);
        }
        let rights = |bits| ChannelRights::from_bits(bits).ok_or(ConfigFault::UnknownBits);
        let (a, b) = (rights(c.a_rights)?, rights(c.b_rights)?);
        for (one, other) in [(a, b), (b, a)] {
            let unserved = one.contains(ChannelRights::CALL) && !other.contains(ChannelRights::SERVE);
            let unheard = one.contains(ChannelRights::NOTIFY) && !other.contains(ChannelRights::NOTIFIED);
            if unserved || unheard {
                return Err(ConfigFault::ChannelRights);
            }
        }
        for vm in [c.a_vm, c.b_vm] {
            let ends = self
                .channels()
                .take(i + 1)
                .filter(|o| o.a_vm == vm || o.b_vm == vm)
                .count();
            if ends > hyp_abi::CHANNEL_ENDS_MAX {
                return Err(ConfigFault::TooMany);
            }
        }
        let devices = self.header.devices as usize;
        self.check_spi(c.a_vm, c.a_intid, devices, i)?;
        self.check_spi(c.b_vm, c.b_intid, devices, i)
    }
}
