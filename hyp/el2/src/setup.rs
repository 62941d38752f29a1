//! From the boot configuration to VMs that can run. Runs once; a wrong record refuses the boot and says which.

use core::ops::Range;
use core::sync::atomic::AtomicU64;

use embassy_time::Duration;
use hyp_abi::config::{self, Channel, Device, DeviceKind, Header, Segment, Vm};
use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::rights::ChannelRights;
use hyp_abi::{PathId, Rights, VMS_MAX};
use hyp_core::addr::{Ipa, Pa};
use hyp_core::admit::rta::{Task, is_shielded};
use hyp_core::config::{BadConfig, Config, Limits};
use hyp_core::cpu::{Cpu, VCPU_SLOTS, rare};
use hyp_core::dispatch::fast::{GICD_IPA, GICR_IPA, UART_IPA};
use hyp_core::ipc::EndSpec;
use hyp_core::mail::VCPUS_PER_VM;
use hyp_core::probe::Quota;
use hyp_core::stage2::{ENTRIES, PoolPages, Prot, Stage2, TablePool};
use hyp_core::vcpu::MPIDR_0;
use hyp_core::vgic::{DIST_BYTES, REDIST_BYTES, Vgic};

use crate::machine::{USABLE, list_registers};
use crate::percpu::Blocks;
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

/// What is known of a VM when its vCPUs are placed.
#[derive(Clone, Copy, Default)]
struct Placed {
    /// vCPUs it has.
    vcpus: u8,
    /// CPU of its first vCPU.
    home: usize,
}

/// Builds every VM of the configuration and puts its first vCPU on the run queue of its CPU. Returns how many VMs and CPUs.
pub fn build(blocks: &mut Blocks) -> Result<(u32, u32), BadConfig> {
    let config = configuration()?;
    let header = *config.header();
    let usable = USABLE & ((1u64 << list_registers()) - 1) as u32;
    let base = core::ptr::from_ref(&PAGES).addr() as u64;
    let pages: &'static [[AtomicU64; ENTRIES]] = &PAGES.0;
    let mut pool: Pool = TablePool::new(pages, Pa(base), nothing_cached);
    let slice = if header.slice_ns == 0 {
        Duration::MAX
    } else {
        Duration::from_ticks(header.slice_ns)
    };
    crate::probes::init(header.cpus);
    for index in 0..header.cpus {
        let state = blocks
            .of(index as usize)
            .ok_or(bad(ConfigFault::NoSuchCpu, RecordKind::Header, index))?;
        state.cpu.id = index;
        state.cpu.several = header.cpus > 1;
        state.cpu.focus = header.focus as u8;
        state.cpu.slice = slice;
        state.board.config = Some(config);
        state.board.redistributor = board::redistributor(index as usize);
    }
    let mut placed = [Placed::default(); VMS_MAX];
    for record in config.vcpus() {
        if let Some(vm) = placed.get_mut(record.vm as usize) {
            if vm.vcpus == 0 {
                vm.home = record.cpu as usize;
            }
            vm.vcpus += 1;
        }
    }
    for (vm, index) in config.vms().zip(0..) {
        let full = bad(ConfigFault::TooMany, RecordKind::Vm, index);
        let place = *placed.get(index as usize).ok_or(full)?;
        let home = blocks.of(place.home).ok_or(full)?;
        build_vm(&mut home.cpu, &config, &mut pool, &vm, index, usable, place)?;
    }
    vcpus(blocks, &config, &placed, usable)?;
    // Nothing of another VM or of an earlier life may be readable: all of it is cleared, then filled.
    for vm in config.vms() {
        memory::clear(vm.pa_base, vm.mem_size);
    }
    for segment in config.segments() {
        if let Some(home) = placed.get(segment.vm as usize).and_then(|place| blocks.of(place.home)) {
            self::place(&home.cpu, &segment);
        }
    }
    for (record, index) in config.channels().zip(0..) {
        let refused = bad(ConfigFault::TooMany, RecordKind::Channel, index);
        let home = |vm: u32| placed.get(vm as usize).map(|place| place.home);
        // A channel's ends are on one CPU: messages are words from one frame to the other.
        let one = home(record.a_vm).filter(|cpu| home(record.b_vm) == Some(*cpu));
        let state = one.and_then(|cpu| blocks.of(cpu)).ok_or(refused)?;
        channel(&mut state.cpu, &config, &record).ok_or(refused)?;
    }
    probing(&config, blocks, header.cpus);
    crate::reg::dsb_ish();
    crate::reg::tlbi_alle1is();
    crate::reg::dsb_ish();
    for (index, place) in placed.iter().enumerate().take(header.vms as usize) {
        if let Some(state) = blocks.of(place.home) {
            state.cpu.start(index);
        }
    }
    Ok((header.vms, header.cpus))
}

/// Gives every vCPU its slot. A vCPU that is not its VM's first gets a view of the VM beside it.
fn vcpus(blocks: &mut Blocks, config: &Config<'_>, placed: &[Placed; VMS_MAX], usable: u32) -> Result<(), BadConfig> {
    let mut seen = [0_u8; VMS_MAX];
    let mut next = [VMS_MAX; crate::percpu::CPUS];
    for (record, number) in config.vcpus().zip(0..) {
        let range = bad(ConfigFault::TooMany, RecordKind::Vcpu, number);
        let (vm, id) = (record.vm as usize, record.vm as u8);
        let (Some(index), Some(place), Some(free)) =
            (seen.get_mut(vm), placed.get(vm), next.get_mut(record.cpu as usize))
        else {
            return Err(range);
        };
        let slot = if *index == 0 { vm } else { *free };
        if slot >= VCPU_SLOTS || usize::from(*index) >= VCPUS_PER_VM {
            return Err(range);
        }
        if *index != 0 {
            *free += 1;
            let view = blocks.of(place.home).and_then(|home| home.cpu.vms.get(vm)).map(view_of);
            let state = blocks.of(record.cpu as usize).ok_or(range)?;
            if let (Some(to), Some(mut view)) = (state.cpu.vms.get_mut(slot), view) {
                view.vgic = new_vgic(usable, *index, place.vcpus);
                *to = view;
            }
        }
        let cpu = &mut blocks.of(record.cpu as usize).ok_or(range)?.cpu;
        let vcpu = cpu.vcpus.get_mut(slot).ok_or(range)?;
        (vcpu.vm, vcpu.id, vcpu.index) = (slot as u8, id, *index);
        vcpu.mpidr = MPIDR_0 | u64::from(*index);
        if !cpu.sched.add(slot, record.priority as u8) {
            return Err(range);
        }
        if let Some(known) = cpu.mail.vm(id) {
            known.settle(*index, record.cpu, slot);
        }
        *index += 1;
    }
    Ok(())
}

/// What a vCPU of another CPU knows of its VM: everything that stays, and neither console nor life.
fn view_of(vm: &hyp_core::cpu::Vm) -> hyp_core::cpu::Vm {
    hyp_core::cpu::Vm {
        alive: false,
        ..vm.clone()
    }
}

/// The interrupt controller's part of vCPU `index` of `vcpus`.
fn new_vgic(usable: u32, index: u8, vcpus: u8) -> Vgic {
    let mut vgic = Vgic::new(usable);
    vgic.set_place(index.into(), vcpus.into());
    vgic.link_hardware(27);
    vgic.link_hardware(30);
    vgic.link_hardware(hyp_core::pmu::INTID);
    vgic
}

/// What the configuration says of probes: quotas, budgets, and the tasks whose deadlines must hold.
fn probing(config: &Config<'_>, blocks: &mut Blocks, cpus: u32) {
    let Some(mut turn) = crate::probes::store::Turn::try_take() else {
        return;
    };
    let store = &mut *turn;
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
    for (number, vcpu) in config.vcpus().enumerate() {
        let of_vm = || config.vcpus().filter(|other| other.vm == vcpu.vm);
        let index = config.vcpus().take(number).filter(|other| other.vm == vcpu.vm).count();
        let devices = config
            .devices()
            .filter(|d| d.vm == vcpu.vm && d.kind == DeviceKind::Passthrough as u32);
        let Some(task) = store.tasks.get_mut(number) else { break };
        // Under the `insns` model a unit is an instruction, which is a nanosecond of virtual time.
        *task = Task {
            vm: vcpu.vm,
            vcpu: index as u32,
            cpu: vcpu.cpu,
            priority: vcpu.priority,
            period: vcpu.period_ns,
            deadline: vcpu.deadline_ns,
            budget: vcpu.budget,
            exits: vcpu.exits,
            devices: if index == 0 { devices.count() as u32 } else { 0 },
            spread: of_vm().any(|other| other.cpu != vcpu.cpu),
        };
        store.task_count += 1;
    }
    shield(blocks, cpus, store.tasks.get(..store.task_count).unwrap_or(&[]));
}

/// Keeps messages of other CPUs from the vCPUs that the analysis of response times says are shielded.
fn shield(blocks: &mut Blocks, cpus: u32, tasks: &[Task]) {
    for index in 0..cpus {
        let Some(state) = blocks.of(index as usize) else {
            continue;
        };
        for vcpu in &mut state.cpu.vcpus {
            let is_it = |t: &&Task| t.cpu == index && t.vm == u32::from(vcpu.id) && t.vcpu == u32::from(vcpu.index);
            let task = tasks.iter().find(is_it);
            vcpu.shielded = cpus > 1 && task.is_some_and(|t| is_shielded(tasks, t));
            if vcpu.shielded {
                state.cpu.rare |= rare::SHIELD;
            }
        }
    }
}

fn build_vm(
    cpu: &mut Cpu,
    config: &Config<'_>,
    pool: &mut Pool,
    record: &Vm,
    index: u32,
    usable: u32,
    place: Placed,
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
    vm.vgic = new_vgic(usable, 0, place.vcpus);
    (vm.id, vm.vcpus, vm.restart) = (index as u8, place.vcpus, record.restart != 0);
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
        // Part of the guest platform: it is at one place in every VM.
        owner.has_uart = device.ipa == UART_IPA;
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
    cpu.give_spi(device.intid, device.vm as u8)?;
    gic::enable_spi(device.intid, edge, cpu.id.into());
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

/// Bytes of memory that one piece of a restart clears or fills.
const PIECE: u64 = 16 << 10;

/// One piece of a VM's memory as at boot. Places are counted through its RAM, which is cleared, and then through its segments'
/// bytes, which are copied. Returns the next place.
pub fn restore(config: &Config<'_>, vm: u8, at: u64) -> Option<u64> {
    let record = config.vms().nth(vm.into())?;
    if let Some(left) = record.mem_size.checked_sub(at).filter(|left| *left != 0) {
        let len = left.min(PIECE);
        memory::clear(record.pa_base + at, len);
        return Some(at + len);
    }
    let mut skip = at - record.mem_size;
    for segment in config.segments().filter(|segment| segment.vm == u32::from(vm)) {
        if skip < segment.file_len {
            let len = (segment.file_len - skip).min(PIECE);
            let pa = Config::ram_pa(&record, segment.ipa + skip, len)?;
            memory::place(image::end() + segment.offset + skip, pa, len);
            return Some(at + len);
        }
        skip -= segment.file_len;
    }
    None
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
