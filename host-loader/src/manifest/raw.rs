//! The manifest as it is written: every key there is, each with the place where it stands.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::quantity::{Bytes, Nanoseconds};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(default)]
    pub system: System,
    pub vm: Vec<Spanned<Vm>>,
    #[serde(default)]
    pub channel: Vec<Spanned<Channel>>,
    #[serde(default)]
    pub budget: BTreeMap<Spanned<String>, Spanned<u64>>,
}

/// `[system]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct System {
    pub board: Spanned<String>,
    pub cpus: Spanned<u32>,
    pub slice: Nanoseconds,
    pub clock: Option<Spanned<String>>,
    pub focus: Option<Spanned<String>>,
}

impl Default for System {
    fn default() -> Self {
        let nowhere = 0..0;
        System {
            board: Spanned::new(nowhere.clone(), "qemu-virt".into()),
            cpus: Spanned::new(nowhere, 1),
            slice: Nanoseconds(1_000_000),
            clock: None,
            focus: None,
        }
    }
}

/// `[[vm]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    pub name: Spanned<String>,
    pub image: Spanned<String>,
    pub initrd: Option<Spanned<String>>,
    pub initramfs: Option<Spanned<Initramfs>>,
    pub cmdline: Option<String>,
    pub memory: Spanned<Bytes>,
    pub ipa_base: Option<Spanned<Bytes>>,
    pub priority: Option<Spanned<u32>>,
    pub cpu: Option<Spanned<u32>>,
    pub vcpus: Option<Spanned<u32>>,
    pub cpus: Option<Spanned<Vec<u32>>>,
    #[serde(default)]
    pub restart: bool,
    #[serde(default = "uart")]
    pub devices: Vec<Spanned<Device>>,
    #[serde(default)]
    pub rights: Vec<Spanned<String>>,
    #[serde(default)]
    pub probes: Probes,
    pub timing: Option<Spanned<Timing>>,
}

/// What every VM has that says nothing.
fn uart() -> Vec<Spanned<Device>> {
    vec![Spanned::new(0..0, Device::Named("uart".into()))]
}

/// An entry of `devices`.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "\"uart\", or { virtio = \"console\" | \"block\" | \"rng\", dma = \"trusted\" }"
)]
pub enum Device {
    Named(String),
    Virtio(Virtio),
}

/// A virtio device of QEMU, passed through.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Virtio {
    pub virtio: String,
    pub file: Option<String>,
    pub dma: Option<String>,
}

/// `initramfs = { … }`: a RAM disk made of Debian's packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initramfs {
    pub packages: Vec<Spanned<String>>,
    pub init: String,
    pub modules: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// `probes = { … }`: quotas.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    pub map_memory: Bytes,
    pub programs: u32,
}

impl Default for Probes {
    fn default() -> Self {
        Probes {
            map_memory: Bytes(256 << 10),
            programs: 16,
        }
    }
}

/// `timing = { … }`: what the VM's vCPU needs of its CPU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    pub period: Nanoseconds,
    pub deadline: Option<Nanoseconds>,
    pub budget: u64,
    #[serde(default)]
    pub exits: u32,
}

/// `[[channel]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub name: Spanned<String>,
    pub client: Spanned<String>,
    pub server: Spanned<String>,
    #[serde(default = "yes")]
    pub calls: bool,
    pub notify: Option<Spanned<String>>,
    pub client_spi: Option<Spanned<u32>>,
    pub server_spi: Option<Spanned<u32>>,
}

fn yes() -> bool {
    true
}
