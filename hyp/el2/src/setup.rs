//! From the boot configuration to VMs that can run. Runs once; a wrong record refuses the boot and says which.

use core::ops::Range;
use core::sync::atomic::AtomicU64;

use hyp_abi::config::{self, Channel, Device, DeviceKind, Header, Segment, Vm};
use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::rights::ChannelRights;
use hyp_abi::{PathId, Rights};
use hyp_core::addr::{Ipa, Pa};
use hyp_core::admit::rta::Task;
use hyp_core::config::{BadConfig, Config, Limits};
use hyp_core::cpu::{Cpu, VCPUS_PER_VM};
use hyp_core::dispatch::fast::{GICD_IPA, GICR_IPA};
use hyp_core::ipc::EndSpec;
use hyp_core::probe::Quota;
use hyp_core::stage2::{ENTRIES, PoolPages, Prot, Stage2, TablePool};
use hyp_core::vgic::{DIST_BYTES, REDIST_BYTES, Vgic};

use crate::machine::{USABLE, list_registers};
use crate::{board, gic, image, memory};

/// Pages of stage-2 tables: a root and three more for each VM, and one for each pass-through device's 2 MiB.
const TABLE_PAGES: usize = 128;
static PAGES: PoolPages<TABLE_PAGES> = PoolPages::new();

type Pool = TablePool<'static, fn(Ipa, u32)>;

/// Nothing has run yet, so no TLB holds anything.
fn nothing_cached(_: Ipa, _: u32) {}

const fn bad(fault: ConfigFault, kind: RecordKind, index: u32) -> BadConfig {
    BadConfig { fault, kind, index }
}

/// Reads and validates the configuration behind the image.
fn configuration() -> Result<Config<'static>, BadConfig> {
    let start = image::end();
    let none = bad(ConfigFault::Magic, RecordKind::Header, 0);
    let header = Header::read(memory::blob(Header::SIZE as u64))
        .filter(|h| h.magic == config::MAGIC)
        .ok_or(none)?;
    let blob = memory::blob(header.total_len);
    let own: [Range<u64>; 3] = [
        board::GICD..board::GICD + DIST_BYTES,
        board::GICR..board::GICR_END,
        board::UART..board::UART + 0x1000,
    ];
    let windows: [Range<u64>; 2] = [GICD_IPA..GICD_IPA + DIST_BYTES, GICR_IPA..GICR_IPA + REDIST_BYTES];
    let limits = Limits {
        ram: board::RAM_BASE..board::RAM_BASE + board::RAM_BYTES,
        hypervisor: board::RAM_BASE..start + header.total_len,
        own_devices: &own,
        gic_windows: &windows,
        cpus: crate::percpu::CPUS as u32,
        vcpus_per_vm: VCPUS_PER_VM,
    };
    Config::validate(blob, &limits)
}

/// Builds every VM of the configuration and puts its vCPU on the run queue. Returns how many.
pub fn build(cpu: &mut Cpu) -> Result<u32, BadConfig> {
    let config = configuration()?;
    let header = *config.header();
    let usable = USABLE & ((1u64 << list_registers()) - 1) as u32;
    let base = core::ptr::from_ref(&PAGES).addr() as u64;
    let pages: &'static [[AtomicU64; ENTRIES]] = &PAGES.0;
    let mut pool: Pool = TablePool::new(pages, Pa(base), nothing_cached);
    cpu.focus = header.focus as u8;
    cpu.slice = if header.slice_ns == 0 {
        u64::MAX
    } else {
        crate::time::ticks_of_ns(header.slice_ns)
    };
    for (vm, index) in config.vms().zip(0..) {
        build_vm(cpu, &config, &mut pool, &vm, index, usable)?;
    }
    for (record, index) in config.vcpus().zip(0..) {
        let range = bad(ConfigFault::TooMany, RecordKind::Vcpu, index);
        let vcpu = cpu.vcpus.get_mut(record.vm as usize).ok_or(range)?;
        vcpu.vm = record.vm as u8;
        if !cpu.sched.add(record.vm as usize, record.priority as u8) {
            return Err(range);
        }
    }
    // Nothing of another VM or of an earlier life may be readable: all of it is cleared, then filled.
    for vm in config.vms() {
        memory::clear(vm.pa_base, vm.mem_size);
    }
    for segment in config.segments() {
        place(cpu, &segment);
    }
    for (record, index) in config.channels().zip(0..) {
        channel(cpu, &config, &record).ok_or(bad(ConfigFault::TooMany, RecordKind::Channel, index))?;
    }
    probing(&config);
    crate::reg::dsb_ish();
    crate::reg::tlbi_alle1is();
    crate::reg::dsb_ish();
    for index in 0..header.vms {
        cpu.start(index as usize);
    }
    Ok(header.vms)
}

/// What the configuration says of probes: quotas, budgets, and the tasks whose deadlines must hold.
fn probing(config: &Config<'_>) {
    let store = crate::probes::store::exclusive();
    for (vm, id) in config.vms().zip(0..) {
        store.probes.set_quota(
            id,
            Quota {
                map_bytes: vm.map_bytes,
                programs: vm.programs,
            },
        );
    }
    for budget in config.budgets() {
        if let Some(path) = PathId::from_number(budget.path) {
            store.admission.set_budget(path, budget.budget);
        }
    }
    // Under the `insns` model a unit is an instruction, which is a nanosecond of virtual time.
    for (vcpu, task) in config.vcpus().zip(store.tasks.iter_mut()) {
        let devices = config
            .devices()
            .filter(|d| d.vm == vcpu.vm && d.kind == DeviceKind::Passthrough as u32)
            .count();
        *task = Task {
            vm: vcpu.vm,
            vcpu: 0,
            cpu: vcpu.cpu,
            priority: vcpu.priority,
            period: vcpu.period_ns,
            deadline: vcpu.deadline_ns,
            budget: vcpu.budget,
            exits: vcpu.exits,
            devices: devices as u32,
        };
        store.task_count += 1;
    }
}

fn build_vm(
    cpu: &mut Cpu,
    config: &Config<'_>,
    pool: &mut Pool,
    record: &Vm,
    index: u32,
    usable: u32,
) -> Result<(), BadConfig> {
    let full = bad(ConfigFault::TooMany, RecordKind::Vm, index);
    let mut stage2 = Stage2::new(pool).map_err(|_| full)?;
    stage2
        .map(
            pool,
            Ipa(record.ipa_base),
            Pa(record.pa_base),
            record.mem_size,
            Prot::RAM,
        )
        .map_err(|_| full)?;
    let vm = cpu.vms.get_mut(index as usize).ok_or(full)?;
    vm.vgic = Vgic::new(VCPUS_PER_VM, usable);
    vm.vgic.link_hardware(27);
    vm.vgic.link_hardware(30);
    vm.ram = record.ipa_base..record.ipa_base + record.mem_size;
    vm.pa_base = record.pa_base;
    vm.entry = record.entry;
    vm.x0 = record.x0;
    vm.rights = Rights::from_bits_truncate(record.rights);
    vm.name = record.name;
    vm.vttbr = stage2.root().0 | u64::from(index + 1) << 48;
    for (record, at) in config.devices().zip(0..).filter(|(d, _)| d.vm == index) {
        device(cpu, pool, &mut stage2, &record).ok_or(bad(ConfigFault::TooMany, RecordKind::Device, at))?;
    }
    Ok(())
}

fn device(cpu: &mut Cpu, pool: &mut Pool, stage2: &mut Stage2, device: &Device) -> Option<()> {
    let owner = cpu.vms.get_mut(device.vm as usize)?;
    if device.kind == DeviceKind::Pl011 as u32 {
        owner.uart_base = device.ipa;
        owner.uart_intid = device.intid;
        return Some(());
    }
    stage2
        .map(pool, Ipa(device.ipa), Pa(device.pa), device.size, Prot::DEVICE)
        .ok()?;
    if device.intid == 0 {
        return Some(());
    }
    owner.vgic.link_hardware(device.intid);
    let edge = device.flags & config::DEVICE_EDGE != 0;
    if edge {
        owner.vgic.set_edge(device.intid);
    }
    *cpu.spi_owner.get_mut(device.intid.checked_sub(32)? as usize)? = device.vm as u8;
    gic::enable_spi(device.intid, edge, 0);
    Some(())
}

/// Puts a segment where the guest expects it; validated, so it lies in the VM's RAM.
fn place(cpu: &Cpu, segment: &Segment) {
    let Some(vm) = cpu.vms.get(segment.vm as usize) else {
        return;
    };
    let Ok(pa) = vm.buffer(segment.ipa, segment.mem_len.max(segment.file_len)) else {
        return;
    };
    memory::place(image::end() + segment.offset, pa, segment.file_len);
}

fn channel(cpu: &mut Cpu, config: &Config<'_>, record: &Channel) -> Option<()> {
    let end = |vm: u32, rights: u32, intid: u32| {
        let priority = config.vcpus().find(|v| v.vm == vm)?.priority as u8;
        Some(EndSpec {
            vm: vm as usize,
            rights: ChannelRights::from_bits_truncate(rights),
            intid,
            priority,
        })
    };
    let a = end(record.a_vm, record.a_rights, record.a_intid)?;
    let b = end(record.b_vm, record.b_rights, record.b_intid)?;
    // A notification is an edge: it pends once, whatever the guest's configuration register says.
    for (vm, intid) in [(record.a_vm, record.a_intid), (record.b_vm, record.b_intid)] {
        if let Some(vm) = cpu.vms.get_mut(vm as usize).filter(|_| intid != 0) {
            vm.vgic.set_edge(intid);
        }
    }
    cpu.ipc.add(a, b).ok()
}
