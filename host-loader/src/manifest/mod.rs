//! The manifest: one TOML file that describes one whole system.
//!
//! [`raw`] is what can be written, [`check`](mod@check) turns it into a [`System`] in which every name is resolved and every rule holds,
//! [`ManifestError`] is what is said otherwise. docs/MANIFEST.md is the manual.

mod channels;
mod check;
mod error;
mod placement;
pub mod quantity;
mod raw;
mod sources;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};

use board_support::Board;
use hyp_abi::rights::ChannelRights;
use hyp_abi::{PathId, Rights};

use crate::debian::{Initramfs, Source};
pub use error::{ManifestError, Text};

/// A whole system, every rule checked.
#[derive(Debug)]
pub struct System {
    /// The text it was read from, for later errors about files it names.
    pub text: Text,
    /// The board.
    pub board: &'static Board,
    /// Physical CPUs to use.
    pub cpus: u32,
    /// Round-robin slice, ns.
    pub slice_ns: u64,
    /// What virtual time follows, unless the command line says otherwise.
    pub clock: Clock,
    /// VM that gets the keyboard first.
    pub focus: usize,
    /// VMs, by id.
    pub vms: Vec<Vm>,
    /// Channels, in the order of the file.
    pub channels: Vec<Channel>,
    /// Budgets of paths, in the unit of the board's timing model.
    pub budgets: Vec<(PathId, u64)>,
}

/// Where a guest's image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A guest that is built with Gnomon: `guest:NAME`.
    BuiltIn(String),
    /// A file.
    File(PathBuf),
    /// The kernel in a package of Debian: `debian:PACKAGE` or `debian:SUITE/PACKAGE`.
    Debian(Source),
}

/// Where a RAM disk comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RamDisk {
    /// A file.
    File(PathBuf),
    /// Made of packages of Debian and an init script.
    Made(Initramfs),
}

/// What virtual time follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The count of instructions: exact and repeatable.
    #[default]
    Instructions,
    /// The host's clock: for systems that a person uses.
    Host,
}

/// One VM.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Name, at most [`hyp_abi::config::NAME_LEN`] bytes.
    pub name: String,
    /// Its image, and where the manifest says so.
    pub image: ImageSource,
    /// Place of `image` in the text.
    pub image_span: Range<usize>,
    /// Initial RAM disk, and its place in the text.
    pub initrd: Option<(RamDisk, Range<usize>)>,
    /// Kernel command line.
    pub cmdline: String,
    /// Guest-physical base of RAM.
    pub ipa_base: u64,
    /// Bytes of RAM.
    pub memory: u64,
    /// Place of `memory` in the text.
    pub memory_span: Range<usize>,
    /// Fixed priority, 0 (lowest) to 31.
    pub priority: u32,
    /// Physical CPU of each vCPU.
    pub cpus: Vec<u32>,
    /// Where the manifest says so.
    pub cpus_span: Range<usize>,
    /// Starts again on SYSTEM_RESET.
    pub restart: bool,
    /// Emulated PL011.
    pub uart: bool,
    /// Where the manifest says so.
    pub uart_span: Range<usize>,
    /// virtio devices passed through.
    pub virtio: Vec<Virtio>,
    /// Rights.
    pub rights: Rights,
    /// Quota of map memory, bytes.
    pub map_bytes: u64,
    /// Quota of programs.
    pub programs: u32,
    /// What its vCPU needs of the CPU, if it says so.
    pub timing: Option<Timing>,
}

impl Vm {
    /// Physical CPU of the first vCPU: the VM's channels, devices and console are served there.
    pub fn home(&self) -> u32 {
        self.cpus.first().copied().unwrap_or(0)
    }

    /// Whether a device of it does DMA, so that its RAM must lie where the guest thinks it lies.
    pub fn is_identity_mapped(&self) -> bool {
        !self.virtio.is_empty()
    }
}

/// Need of CPU time, checked when probes are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// ns between releases.
    pub period_ns: u64,
    /// ns from release to completion.
    pub deadline_ns: u64,
    /// Own execution time per period, in the unit of the timing model.
    pub budget: u64,
    /// Most exits per period that the guest's own code causes, besides its release and its wait.
    pub exits: u32,
}

/// What QEMU puts behind a virtio-mmio transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtioKind {
    /// A console: the link to `gnomon` on the host.
    Console,
    /// A disk backed by a file.
    Block(PathBuf),
    /// Random numbers.
    Rng,
}

/// A virtio device passed through to a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtio {
    /// What it is.
    pub kind: VirtioKind,
    /// Transport number on the board.
    pub transport: u32,
    /// Place in the text.
    pub span: Range<usize>,
}

/// A channel; the client is end A.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Name.
    pub name: String,
    /// VM id of the client.
    pub client: usize,
    /// VM id of the server.
    pub server: usize,
    /// Rights of the client's end.
    pub client_rights: ChannelRights,
    /// Rights of the server's end.
    pub server_rights: ChannelRights,
    /// INTID that pends at the client when the server notifies; 0: none.
    pub client_intid: u32,
    /// INTID that pends at the server when the client notifies; 0: none.
    pub server_intid: u32,
}

/// Reads and checks a manifest. Relative paths in it start from its own folder.
///
/// # Errors
/// The file cannot be read, or breaks a rule: the error shows the line and what to do.
pub fn read(path: &Path) -> miette::Result<System> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        miette::miette!(
            help = "give the path of a manifest such as systems/demo.toml",
            "cannot read {}: {error}",
            path.display()
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(parse(Text::new(path, text), folder)?)
}

/// Parses and checks the text of a manifest.
///
/// # Errors
/// The first rule that it breaks.
pub fn parse(text: Text, folder: &Path) -> Result<System, ManifestError> {
    let raw: raw::Manifest = toml::from_str(text.as_str()).map_err(|error| check::syntax(&text, &error))?;
    check::system(&text, raw, folder)
}
