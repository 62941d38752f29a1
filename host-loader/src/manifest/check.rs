//! From what is written to what holds: names resolved, limits kept, nothing given twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use board_support::{Board, Region};
use hyp_abi::{PathId, Rights, VMS_MAX, config};
use toml::Spanned;

use super::error::{ManifestError, Text, closest};
use super::quantity::Bytes;
use super::{System, Timing, Virtio, VirtioKind, Vm, placement, raw, sources};

pub(super) type Result<T> = std::result::Result<T, ManifestError>;

/// Stage 2 maps RAM in blocks of 2 MiB.
pub const RAM_GRANULE: u64 = 2 << 20;
/// The scheduler has one queue for each priority, 0 to 31.
const PRIORITY_MAX: u32 = 31;
/// Priority of a VM that says nothing: the middle.
const PRIORITY_DEFAULT: u32 = 16;
/// The guest platform's addresses below RAM belong to its devices.
const GUEST_RAM_MIN: u64 = 0x4000_0000;
/// Highest guest-physical address: 39 bits are what three levels of stage-2 tables translate.
const GUEST_RAM_END: u64 = 1 << 39;

/// The error of a text that is not TOML, or has keys that a manifest does not have.
pub fn syntax(text: &Text, error: &toml::de::Error) -> ManifestError {
    let message = error.message().trim().to_string();
    let words: Vec<&str> = message.split('`').collect();
    let mut fault = text.error(message.lines().next().unwrap_or("not a manifest"));
    if let Some(span) = error.span() {
        fault = fault.at(span, "here");
    }
    match words.as_slice() {
        ["unknown field ", wrong, rest @ ..] => {
            let known: Vec<&str> = rest.iter().copied().skip(1).step_by(2).collect();
            match closest(wrong, known.iter().copied()) {
                Some(right) => fault.advise(format!("did you mean `{right}`?")),
                None => fault.advise(format!("the keys here are {}", known.join(", "))),
            }
        }
        ["missing field ", field, ..] => {
            fault.advise(format!("add `{field} = …`; docs/MANIFEST.md describes every key"))
        }
        _ => fault.advise("docs/MANIFEST.md describes every key"),
    }
}

/// Checks every rule.
pub fn system(text: &Text, raw: raw::Manifest, folder: &Path) -> Result<System> {
    let board = board(text, &raw.system.board)?;
    let cpus = *raw.system.cpus.get_ref();
    if cpus == 0 || cpus > board.cpus_max {
        let message = format!("{} has 1 to {} CPUs, not {cpus}", board.name, board.cpus_max);
        return Err(text.error(message).at(raw.system.cpus.span(), "this many"));
    }
    if raw.vm.is_empty() || raw.vm.len() > VMS_MAX {
        return Err(text.error(format!("a system has 1 to {VMS_MAX} VMs, not {}", raw.vm.len())));
    }
    let names = names(text, raw.vm.iter().map(|vm| &vm.get_ref().name), "VM")?;
    let checker = Checker {
        text,
        board,
        cpus,
        cpus_span: raw.system.cpus.span(),
        folder,
        names,
    };
    let mut transports = 0;
    let mut vms = Vec::new();
    for vm in &raw.vm {
        vms.push(checker.vm(vm.get_ref(), &mut transports)?);
    }
    placement::fits(text, &vms)?;
    let channels = checker.channels(&raw.channel, &vms)?;
    let focus = raw.system.focus.as_ref().map_or(Ok(0), |name| checker.resolve(name))?;
    let budgets = raw
        .budget
        .iter()
        .map(|(path, budget)| checker.budget(path, budget))
        .collect::<Result<_>>()?;
    Ok(System {
        text: text.clone(),
        board,
        cpus,
        slice_ns: raw.system.slice.0,
        clock: sources::clock(text, raw.system.clock.as_ref())?,
        focus,
        vms,
        channels,
        budgets,
    })
}

fn board(text: &Text, name: &Spanned<String>) -> Result<&'static Board> {
    board_support::by_name(name.get_ref()).ok_or_else(|| {
        let known: Vec<&str> = board_support::BOARDS.iter().map(|board| board.name).collect();
        text.error(format!("no board is named `{}`", name.get_ref()))
            .at(name.span(), "here")
            .advise(format!("there are: {}", known.join(", ")))
    })
}

/// Names and their index; each short enough and given once.
pub(super) fn names<'a>(
    text: &Text,
    all: impl Iterator<Item = &'a Spanned<String>>,
    what: &str,
) -> Result<BTreeMap<String, usize>> {
    let mut seen: BTreeMap<String, (usize, Range<usize>)> = BTreeMap::new();
    for (index, name) in all.enumerate() {
        let word = name.get_ref();
        if word.is_empty() || word.len() > config::NAME_LEN || word.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            let message = format!("`{word}` cannot name a {what}");
            return Err(text
                .error(message)
                .at(name.span(), "here")
                .advise(format!("1 to {} bytes without spaces", config::NAME_LEN)));
        }
        if let Some((_, first)) = seen.insert(word.clone(), (index, name.span())) {
            return Err(text
                .error(format!("two {what}s are named `{word}`"))
                .at(first, "first here")
                .at(name.span(), "and again here")
                .advise("give one of them another name"));
        }
    }
    Ok(seen.into_iter().map(|(name, (index, _))| (name, index)).collect())
}

/// What the rules are checked against.
pub(super) struct Checker<'a> {
    pub(super) text: &'a Text,
    pub(super) board: &'static Board,
    pub(super) cpus: u32,
    pub(super) cpus_span: Range<usize>,
    pub(super) folder: &'a Path,
    names: BTreeMap<String, usize>,
}

impl Checker<'_> {
    fn vm(&self, raw: &raw::Vm, transports: &mut u32) -> Result<Vm> {
        let (ipa_base, memory) = self.memory(raw)?;
        let priority = raw
            .priority
            .as_ref()
            .map_or(PRIORITY_DEFAULT, |priority| *priority.get_ref());
        if let Some(place) = raw.priority.as_ref().filter(|_| priority > PRIORITY_MAX) {
            let message = format!("priority {priority} is above {PRIORITY_MAX}, the highest");
            return Err(self
                .text
                .error(message)
                .at(place.span(), "here")
                .advise("0 is the lowest priority"));
        }
        let (cpus, cpus_span) = self.pinned(raw)?;
        let (uart_span, virtio) = self.devices(raw, transports)?;
        Ok(Vm {
            name: raw.name.get_ref().clone(),
            image: self.image(&raw.image)?,
            image_span: raw.image.span(),
            initrd: self.ram_disk(raw)?,
            cmdline: raw.cmdline.clone().unwrap_or_default(),
            ipa_base,
            memory,
            memory_span: raw.memory.span(),
            priority,
            cpus,
            cpus_span,
            restart: raw.restart,
            uart: uart_span.is_some(),
            uart_span: uart_span.unwrap_or_default(),
            virtio,
            rights: self.rights(&raw.rights)?,
            map_bytes: raw.probes.map_memory.0,
            programs: raw.probes.programs,
            timing: raw.timing.as_ref().map(|timing| self.timing(timing)).transpose()?,
        })
    }

    fn memory(&self, raw: &raw::Vm) -> Result<(u64, u64)> {
        let Bytes(memory) = *raw.memory.get_ref();
        if memory == 0 || !memory.is_multiple_of(RAM_GRANULE) {
            let message = format!(
                "{} of memory is not a multiple of {}",
                Bytes(memory),
                Bytes(RAM_GRANULE)
            );
            let next = Bytes(memory.next_multiple_of(RAM_GRANULE).max(RAM_GRANULE));
            return Err(self
                .text
                .error(message)
                .at(raw.memory.span(), "here")
                .advise(format!("say \"{next}\"")));
        }
        let Some(base) = &raw.ipa_base else {
            return Ok((GUEST_RAM_MIN, memory));
        };
        let Bytes(ipa) = *base.get_ref();
        let space = Region {
            base: GUEST_RAM_MIN,
            size: GUEST_RAM_END - GUEST_RAM_MIN,
        };
        if !ipa.is_multiple_of(RAM_GRANULE) || !space.contains(ipa, memory) {
            let message = format!("RAM cannot start at guest-physical address {ipa:#x}");
            return Err(self.text.error(message).at(base.span(), "here").advise(format!(
                "use a multiple of {} from {GUEST_RAM_MIN:#x} (the default) on: the devices of the platform are below",
                Bytes(RAM_GRANULE)
            )));
        }
        Ok((ipa, memory))
    }

    /// Where the uart is asked for, if it is, and the virtio devices.
    fn devices(&self, raw: &raw::Vm, transports: &mut u32) -> Result<(Option<Range<usize>>, Vec<Virtio>)> {
        let mut uart = None;
        let mut virtio = Vec::new();
        for device in &raw.devices {
            match device.get_ref() {
                raw::Device::Named(name) if name == "uart" => {
                    if let Some(first) = uart.replace(device.span()) {
                        return Err(self
                            .text
                            .error("the uart is given twice")
                            .at(first, "first here")
                            .at(device.span(), "and again here"));
                    }
                }
                raw::Device::Named(name) => {
                    return Err(self
                        .text
                        .error(format!("no device is named `{name}`"))
                        .at(device.span(), "here")
                        .advise("devices are \"uart\" and { virtio = …, dma = \"trusted\" }"));
                }
                raw::Device::Virtio(wanted) => {
                    let kind = self.virtio_kind(wanted, &device.span())?;
                    let board = &self.board.transports;
                    if *transports >= board.assignable() {
                        let message = format!("{} has {} transports to give away", self.board.name, board.assignable());
                        return Err(self.text.error(message).at(device.span(), "one too many"));
                    }
                    virtio.push(Virtio {
                        kind,
                        transport: *transports * board.per_page,
                        span: device.span(),
                    });
                    *transports += 1;
                }
            }
        }
        Ok((uart, virtio))
    }

    fn virtio_kind(&self, raw: &raw::Virtio, span: &Range<usize>) -> Result<VirtioKind> {
        if raw.dma.as_deref() != Some("trusted") {
            return Err(self
                .text
                .error("a virtio device does DMA, which no IOMMU of this board confines: it can reach all memory")
                .at(span.clone(), "this one")
                .advise("say `dma = \"trusted\"` if the VM's driver may be trusted with that"));
        }
        let file = || {
            raw.file.as_ref().map(|file| self.folder.join(file)).ok_or_else(|| {
                self.text
                    .error("a block device needs a file")
                    .at(span.clone(), "here")
                    .advise("add `file = \"disk.img\"`")
            })
        };
        match raw.virtio.as_str() {
            "console" => Ok(VirtioKind::Console),
            "rng" => Ok(VirtioKind::Rng),
            "block" => file().map(VirtioKind::Block),
            other => Err(self
                .text
                .error(format!("no virtio device is named `{other}`"))
                .at(span.clone(), "here")
                .advise("there are console, block and rng")),
        }
    }

    fn rights(&self, raw: &[Spanned<String>]) -> Result<Rights> {
        const KNOWN: &[(&str, Rights)] = &[
            ("probe:self", Rights::PROBE_SELF),
            ("probe:system", Rights::PROBE_SYSTEM.union(Rights::PROBE_SELF)),
            ("log", Rights::LOG),
            ("system-off", Rights::SYSTEM_OFF),
        ];
        let mut rights = Rights::empty();
        for word in raw {
            match KNOWN.iter().find(|(name, _)| name == word.get_ref()) {
                Some((_, bits)) => rights |= *bits,
                None => {
                    let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
                    let fault = self.text.error(format!("no right is named `{}`", word.get_ref()));
                    return Err(fault
                        .at(word.span(), "here")
                        .advise(format!("there are: {}", names.join(", "))));
                }
            }
        }
        Ok(rights)
    }

    fn timing(&self, raw: &Spanned<raw::Timing>) -> Result<Timing> {
        let timing = raw.get_ref();
        let (period_ns, deadline_ns) = (timing.period.0, timing.deadline.unwrap_or(timing.period).0);
        if period_ns == 0 || deadline_ns == 0 || deadline_ns > period_ns {
            return Err(self
                .text
                .error("a deadline is after 0 and not after the period")
                .at(raw.span(), "here")
                .advise("deadlines beyond the period are not analysed; leave `deadline` out to use the period"));
        }
        Ok(Timing {
            period_ns,
            deadline_ns,
            budget: timing.budget,
            exits: timing.exits,
        })
    }

    /// The VM of this name.
    pub(super) fn resolve(&self, name: &Spanned<String>) -> Result<usize> {
        self.names.get(name.get_ref()).copied().ok_or_else(|| {
            let fault = self
                .text
                .error(format!("no VM is named `{}`", name.get_ref()))
                .at(name.span(), "here");
            match closest(name.get_ref(), self.names.keys().map(String::as_str)) {
                Some(near) => fault.advise(format!("did you mean `{near}`?")),
                None => fault.advise(format!(
                    "there are: {}",
                    self.names.keys().cloned().collect::<Vec<_>>().join(", ")
                )),
            }
        })
    }

    fn budget(&self, path: &Spanned<String>, budget: &Spanned<u64>) -> Result<(PathId, u64)> {
        match PathId::from_name(path.get_ref()) {
            Some(id) => Ok((id, *budget.get_ref())),
            None => {
                let names = PathId::ALL.iter().map(|path| path.name());
                let fault = self
                    .text
                    .error(format!("no path is named `{}`", path.get_ref()))
                    .at(path.span(), "here");
                Err(match closest(path.get_ref(), names.clone()) {
                    Some(near) => fault.advise(format!("did you mean \"{near}\"?")),
                    None => fault.advise(format!("the paths are {}", names.collect::<Vec<_>>().join(", "))),
                })
            }
        }
    }
}
