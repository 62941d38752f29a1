//! One image of one system: hypervisor, boot configuration, guests, device trees and RAM disks.

mod blob;
pub mod guest;
mod hypervisor;
mod place;

use std::path::{Path, PathBuf};

use hyp_abi::PathId;
use hyp_abi::config::{self, DeviceKind, NAME_LEN};
use miette::{Result, WrapErr, miette};

use crate::debian;
use crate::dist::Dist;
use crate::fdt;
use crate::manifest::quantity::Bytes;
use crate::manifest::{ImageSource, ManifestError, RamDisk, System, Vm};
use blob::Blob;
use guest::{Guest, GuestError, Piece};
use hypervisor::Hypervisor;
use place::{Refusal, Wish};

/// QEMU keeps a RAM disk away from a kernel of unknown bss: half of RAM, at most this.
const INITRD_OFFSET_MAX: u64 = 128 << 20;
/// A device tree may be written to by the guest: it has a block of its own, as QEMU gives it.
const FDT_ALIGN: u64 = 2 << 20;
/// A RAM disk starts on a page.
const INITRD_ALIGN: u64 = 4096;

/// A packed system.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The arm64 `Image`, ready to boot.
    pub image: Vec<u8>,
    /// Where each VM is, by id.
    pub placed: Vec<Placed>,
    /// Bytes of the hypervisor in it.
    pub hypervisor_len: u64,
}

/// Where a VM is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Placed {
    /// Name.
    pub name: String,
    /// Guest-physical base of its RAM.
    pub ipa_base: u64,
    /// Physical base of its RAM.
    pub pa_base: u64,
    /// Bytes of RAM.
    pub memory: u64,
    /// Where it starts.
    pub entry: u64,
    /// Guest-physical address of its device tree.
    pub fdt: u64,
}

/// Packs a system.
///
/// # Errors
/// A file that cannot be read or is no image, or RAM that does not fit: the error shows the line of the manifest.
pub fn pack(system: &System, dist: &Dist) -> Result<Packed> {
    let path = dist.hypervisor();
    let file = std::fs::read(&path).map_err(|error| {
        miette!(
            help = "run `cargo xtask build`",
            "cannot read the hypervisor {}: {error}",
            path.display()
        )
    })?;
    let hypervisor = Hypervisor::flatten(&file).wrap_err_with(|| path.display().to_string())?;
    let configuration = configuration(system, dist, hypervisor.end())?;
    let hypervisor_len = hypervisor.bytes.len() as u64;
    Ok(Packed {
        image: hypervisor.join(&configuration.bytes),
        placed: configuration.placed,
        hypervisor_len,
    })
}

/// A system without its hypervisor.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The boot configuration with everything it points into.
    pub bytes: Vec<u8>,
    /// Where each VM is, by id.
    pub placed: Vec<Placed>,
}

/// Loads every guest and lays out the boot configuration that will lie at physical address `at`.
///
/// # Errors
/// As [`pack`].
pub fn configuration(system: &System, dist: &Dist, at: u64) -> Result<Configuration> {
    let mut blob = Blob::default();
    blob.header.cpus = system.cpus;
    blob.header.focus = system.focus as u32;
    blob.header.slice_ns = system.slice_ns;
    let mut placed = Vec::new();
    for (id, vm) in system.vms.iter().enumerate() {
        placed.push(add_vm(system, dist, &mut blob, id, vm)?);
    }
    add_channels(system, &mut blob);
    let budget = |(path, budget): &(PathId, u64)| config::Budget {
        path: *path as u32,
        pad: 0,
        budget: *budget,
    };
    blob.budgets = system.budgets.iter().map(budget).collect();
    if blob.segments() > config::SEGMENTS_MAX {
        let (have, most) = (blob.segments(), config::SEGMENTS_MAX);
        return Err(miette!("the images have {have} segments; a system has at most {most}"));
    }
    place_all(system, &mut blob, &mut placed, at)?;
    Ok(Configuration {
        bytes: blob.bytes(),
        placed,
    })
}

fn place_all(system: &System, blob: &mut Blob, placed: &mut [Placed], config_at: u64) -> Result<(), ManifestError> {
    let wish = |vm: &Vm| Wish {
        ipa: vm.ipa_base,
        size: vm.memory,
        identity: vm.is_identity_mapped(),
    };
    let wishes: Vec<Wish> = system.vms.iter().map(wish).collect();
    let reserved_end = config_at + blob.total_len();
    let bases = place::place(system.board, reserved_end, &wishes).map_err(|(id, why)| no_place(system, id, why))?;
    for (id, base) in bases.into_iter().enumerate() {
        placed[id].pa_base = base;
        blob.vms[id].pa_base = base;
    }
    Ok(())
}

fn no_place(system: &System, id: usize, why: Refusal) -> ManifestError {
    let vm = &system.vms[id];
    let ram = &system.board.ram;
    let message = format!("there is no physical memory for `{}`", vm.name);
    let fault = system.text.error(message).at(vm.memory_span.clone(), "this much");
    match why {
        Refusal::NoRam => fault.advise(format!(
            "a VM with a DMA device has its RAM at its own addresses: set `ipa_base` between {:#x} and {:#x}",
            ram.base,
            ram.end()
        )),
        Refusal::Hypervisor { end } => fault.advise(format!(
            "a VM with a DMA device has its RAM at its own addresses, and the hypervisor is there: set `ipa_base` to {:#x} or more",
            end.next_multiple_of(FDT_ALIGN)
        )),
        Refusal::Vm(other) => {
            let other = &system.vms[other];
            fault.at(other.memory_span.clone(), "overlaps this").advise(format!(
                "both have DMA devices and so their own addresses: move one away from {:#x}–{:#x}",
                other.ipa_base,
                other.ipa_base + other.memory
            ))
        }
        Refusal::Full { largest } => fault.advise(format!("the largest free piece has {}", Bytes(largest))),
    }
}

/// Loads one VM's files and adds its records; its physical base comes later.
fn add_vm(system: &System, dist: &Dist, blob: &mut Blob, id: usize, vm: &Vm) -> Result<Placed> {
    let guest = load(system, dist, vm)?;
    let entry = guest.entry;
    let image_end = guest.end();
    for piece in &guest.pieces {
        blob.add(id, piece.ipa, &piece.bytes, piece.mem_len);
    }
    let initrd = initrd(system, dist, vm, image_end)?;
    let bounds = initrd.as_ref().map(|piece| (piece.ipa, piece.end()));
    let tree = fdt::tree(system.board, vm, vm.cpus.len() as u32, bounds)
        .map_err(|error| miette!("no device tree for `{}`: {error}", vm.name))?;
    let fdt = bounds
        .map_or(second_half(vm, image_end), |(_, end)| end)
        .next_multiple_of(FDT_ALIGN);
    fits(system, vm, fdt + tree.len() as u64, "its device tree")?;
    if let Some(piece) = initrd {
        blob.add(id, piece.ipa, &piece.bytes, piece.mem_len);
    }
    blob.add(id, fdt, &tree, tree.len() as u64);
    blob.vms.push(config::Vm {
        name: name(&vm.name),
        ipa_base: vm.ipa_base,
        pa_base: 0,
        mem_size: vm.memory,
        entry,
        x0: fdt,
        rights: vm.rights.bits(),
        restart: vm.restart.into(),
        map_bytes: vm.map_bytes,
        programs: vm.programs,
        pad: 0,
    });
    add_vcpus(blob, id as u32, vm);
    add_devices(system, blob, id as u32, vm);
    Ok(Placed {
        name: vm.name.clone(),
        ipa_base: vm.ipa_base,
        pa_base: 0,
        memory: vm.memory,
        entry,
        fdt,
    })
}

/// What a VM declares of its timing is of its first vCPU.
fn add_vcpus(blob: &mut Blob, id: u32, vm: &Vm) {
    for (index, cpu) in vm.cpus.iter().enumerate() {
        let timing = vm.timing.as_ref().filter(|_| index == 0);
        blob.vcpus.push(config::Vcpu {
            vm: id,
            cpu: *cpu,
            priority: vm.priority,
            exits: timing.map_or(0, |timing| timing.exits),
            period_ns: timing.map_or(0, |timing| timing.period_ns),
            deadline_ns: timing.map_or(0, |timing| timing.deadline_ns),
            budget: timing.map_or(0, |timing| timing.budget),
        });
    }
}

fn load(system: &System, dist: &Dist, vm: &Vm) -> Result<Guest> {
    let path = match &vm.image {
        ImageSource::BuiltIn(name) => dist.guest(name),
        ImageSource::File(path) => path.clone(),
        ImageSource::Debian(source) => {
            let kernel = debian::kernel(source, &dist.cache());
            let kernel = kernel.map_err(|error| not_there(system, vm, vm.image_span.clone(), "the image", &error))?;
            return read_guest(system, vm, &kernel, &source.to_string());
        }
    };
    let bytes = std::fs::read(&path).map_err(|error| {
        let fault = system.text.error(format!("cannot read the image of `{}`", vm.name));
        let fault = fault.at(vm.image_span.clone(), format!("{}: {error}", path.display()));
        match &vm.image {
            ImageSource::BuiltIn(_) => fault.advise(format!("built-in guests are: {}", dist.guests().join(", "))),
            _ => fault.advise("paths start from the manifest's folder"),
        }
    })?;
    let bytes = debian::unpack(bytes).map_err(|error| {
        let fault = system
            .text
            .error(format!("`{}` cannot run this image: {error}", vm.name));
        let fault = fault.at(vm.image_span.clone(), path.display().to_string());
        fault.advise("build or copy the file again")
    })?;
    read_guest(system, vm, &bytes, &path.display().to_string())
}

fn read_guest(system: &System, vm: &Vm, bytes: &[u8], name: &str) -> Result<Guest> {
    let guest = guest::read(bytes, vm.ipa_base, vm.memory).map_err(|error| {
        let fault = system
            .text
            .error(format!("`{}` cannot run this image: {error}", vm.name));
        let fault = fault.at(vm.image_span.clone(), name);
        match error {
            GuestError::OutsideRam { .. } => fault.at(vm.memory_span.clone(), "has this much").advise(error.help()),
            _ => fault.advise(error.help()),
        }
    })?;
    Ok(guest)
}

/// What Debian's packages should have brought.
fn not_there(
    system: &System,
    vm: &Vm,
    span: std::ops::Range<usize>,
    what: &str,
    why: &miette::Report,
) -> ManifestError {
    let causes: Vec<String> = why.chain().map(ToString::to_string).collect();
    let fault = system.text.error(format!("{what} of `{}` cannot be had", vm.name));
    let fault = fault.at(span, causes.join(": "));
    match why.help() {
        Some(help) => fault.advise(help.to_string()),
        None => fault,
    }
}

/// Where things behind the image go: as QEMU's loader, far from a bss that a flat binary does not tell of.
fn second_half(vm: &Vm, image_end: u64) -> u64 {
    image_end.max(vm.ipa_base + (vm.memory / 2).min(INITRD_OFFSET_MAX))
}

fn initrd(system: &System, dist: &Dist, vm: &Vm, image_end: u64) -> Result<Option<Piece>> {
    let Some((disk, span)) = &vm.initrd else {
        return Ok(None);
    };
    let bytes = match disk {
        RamDisk::File(path) => std::fs::read(path).map_err(|error| {
            let fault = system.text.error(format!("cannot read the RAM disk of `{}`", vm.name));
            fault
                .at(span.clone(), format!("{}: {error}", path.display()))
                .advise("paths start from the manifest's folder")
        })?,
        RamDisk::Made(made) => debian::initramfs(made, &dist.cache())
            .map_err(|error| not_there(system, vm, span.clone(), "the RAM disk", &error))?,
    };
    let piece = Piece::new(second_half(vm, image_end).next_multiple_of(INITRD_ALIGN), bytes);
    fits(system, vm, piece.end(), "its RAM disk")?;
    Ok(Some(piece))
}

fn fits(system: &System, vm: &Vm, end: u64, what: &str) -> Result<(), ManifestError> {
    let ram_end = vm.ipa_base + vm.memory;
    if end <= ram_end {
        return Ok(());
    }
    let fault = system
        .text
        .error(format!("`{}` has no room for {what} behind its image", vm.name));
    let needed = (end - vm.ipa_base).next_multiple_of(FDT_ALIGN);
    Err(fault
        .at(vm.memory_span.clone(), "this much")
        .advise(format!("give it at least {}", Bytes(needed))))
}

fn add_devices(system: &System, blob: &mut Blob, vm: u32, from: &Vm) {
    let board = system.board;
    if from.uart {
        let uart = &board.uart;
        blob.devices.push(config::Device {
            vm,
            kind: DeviceKind::Pl011 as u32,
            ipa: uart.registers.base,
            pa: 0,
            size: uart.registers.size,
            intid: uart.intid,
            flags: 0,
        });
    }
    for device in &from.virtio {
        let row = &board.transports;
        // The page that the transport is in; its neighbours there have no device behind them.
        let page = row.base + u64::from(device.transport) * row.stride;
        blob.devices.push(config::Device {
            vm,
            kind: DeviceKind::Passthrough as u32,
            ipa: page,
            pa: page,
            size: u64::from(row.per_page) * row.stride,
            intid: row.first_intid + device.transport,
            flags: config::DEVICE_DMA_TRUSTED | config::DEVICE_EDGE,
        });
    }
}

fn add_channels(system: &System, blob: &mut Blob) {
    blob.channels
        .extend(system.channels.iter().map(|channel| config::Channel {
            name: name(&channel.name),
            a_vm: channel.client as u32,
            b_vm: channel.server as u32,
            a_rights: channel.client_rights.bits(),
            b_rights: channel.server_rights.bits(),
            a_intid: channel.client_intid,
            b_intid: channel.server_intid,
        }));
}

/// A name that the manifest has checked, padded.
fn name(text: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// Reads a manifest and packs it: what `pack` and `run` begin with.
///
/// # Errors
/// As [`crate::manifest::read`] and [`pack`].
pub fn pack_file(path: &Path) -> Result<(System, Packed)> {
    let system = crate::manifest::read(path)?;
    let packed = pack(&system, &Dist::find()?)?;
    Ok((system, packed))
}

/// The file that `pack` writes when it is not told: the manifest's name with `.img`.
pub fn default_output(manifest: &Path) -> PathBuf {
    PathBuf::from(manifest.with_extension("img").file_name().unwrap_or_default())
}
