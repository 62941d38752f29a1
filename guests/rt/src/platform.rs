//! What the device tree says: boot arguments, RAM, virtio-mmio devices.

use core::cell::UnsafeCell;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

use crate::{console, mmu};

/// Most virtio-mmio transports listed; the `virt` machine has 32.
pub const VIRTIO_MAX: usize = 32;

/// Where the guest runs.
#[derive(Clone, Copy)]
pub struct Platform {
    bootargs: &'static str,
    /// Start and size of RAM, bytes.
    pub ram: (usize, usize),
    /// Address and size of the initrd; size 0 if there is none.
    pub initrd: (usize, usize),
    device_tree: (usize, usize),
    virtio: [(usize, u32); VIRTIO_MAX],
    virtio_count: usize,
}

struct Slot(UnsafeCell<Platform>);

// SAFETY: written once in `init`, before `main` and with interrupts masked; only read after.
unsafe impl Sync for Slot {}

static PLATFORM: Slot = Slot(UnsafeCell::new(Platform {
    bootargs: "",
    ram: (0, 0),
    initrd: (0, 0),
    device_tree: (0, 0),
    virtio: [(0, 0); VIRTIO_MAX],
    virtio_count: 0,
}));

/// The platform the guest was started on.
pub fn get() -> &'static Platform {
    // SAFETY: see `Slot`.
    unsafe { &*PLATFORM.0.get() }
}

impl Platform {
    /// The value of the word `key=value` in the boot arguments; "" for a bare `key`.
    pub fn option(&self, key: &str) -> Option<&'static str> {
        self.bootargs.split_ascii_whitespace().find_map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name == key).then_some(value)
        })
    }

    /// A number (decimal, or hexadecimal after 0x) among the boot arguments.
    ///
    /// # Panics
    /// If the value is there and is no number.
    pub fn number(&self, key: &str) -> Option<u64> {
        let text = self.option(key)?;
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        match parsed {
            Ok(number) => Some(number),
            Err(_) => panic!("bootargs: {key}={text} is no number"),
        }
    }

    /// Address and INTID of every virtio-mmio transport in the device tree.
    pub fn virtio(&self) -> &[(usize, u32)] {
        self.virtio.get(..self.virtio_count).unwrap_or(&[])
    }
}

/// The largest piece of RAM that holds neither the image, nor the device tree, nor the initrd: start and size.
pub fn spare_ram() -> (usize, usize) {
    let (image_start, _, _, image_end) = mmu::image();
    let platform = get();
    let (ram, size) = platform.ram;
    let mut taken = [
        (image_start, image_end - image_start),
        platform.device_tree,
        platform.initrd,
        (ram + size, 0),
    ];
    taken.sort_unstable();
    let mut best = (ram, 0);
    let mut free_from = ram;
    for (start, bytes) in taken.into_iter().filter(|(start, _)| *start >= ram) {
        if start.saturating_sub(free_from) > best.1 {
            best = (free_from, start - free_from);
        }
        free_from = free_from.max((start + bytes).next_multiple_of(4096));
    }
    best
}

/// Whether `address..address + bytes` touches memory that Rust objects or references live in.
pub(crate) fn is_taken(address: usize, bytes: usize) -> bool {
    let (image_start, _, _, image_end) = mmu::image();
    let platform = get();
    let end = address.saturating_add(bytes);
    [
        (image_start, image_end - image_start),
        platform.device_tree,
        platform.initrd,
    ]
    .into_iter()
    .any(|(start, size)| address < start.saturating_add(size) && end > start)
}

const MAGIC: u32 = 0xd00d_feed;

/// Start of RAM of the `virt` machine.
const VIRT_RAM: usize = 0x4000_0000;

/// QEMU leaves x0 alone for an ELF and puts its tree at the start of RAM.
fn find(dtb: usize) -> Option<usize> {
    let ram = mmu::image().0 - 0x20_0000;
    [dtb, ram, VIRT_RAM].into_iter().find(|&address| {
        // SAFETY: a mapped, aligned word, read as plain bytes. Below a hypervisor x0 is right and the rest not tried.
        address != 0 && address % 4 == 0 && u32::from_be(unsafe { (address as *const u32).read_volatile() }) == MAGIC
    })
}

pub(crate) fn init(dtb: usize) {
    console::init();
    let Some(address) = find(dtb) else {
        panic!("no device tree at {dtb:#x}");
    };
    // SAFETY: there is a tree at `address`; the loader keeps it apart from the image, and nobody writes to it.
    let tree: Fdt<'static> = match unsafe { Fdt::from_raw(address as *const u8) } {
        Ok(tree) => tree,
        Err(error) => panic!("device tree: {error}"),
    };
    let mut platform = read(tree);
    platform.device_tree = (address, tree.data().len());
    mmu::map_ram(platform.ram.0, platform.ram.1);
    // SAFETY: see `Slot`.
    unsafe { *PLATFORM.0.get() = platform }
}

/// Big-endian cells of a property as one number; how Linux reads `linux,initrd-start`, too.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn read(tree: Fdt<'static>) -> Platform {
    let mut platform = *get();
    for node in tree.root().children() {
        let reg = node.reg().ok().flatten().and_then(|mut regs| regs.next());
        let reg = reg.and_then(|reg| Some((reg.address::<u64>().ok()? as usize, reg.size::<u64>().ok()? as usize)));
        let name = node.name_without_address();
        if name == "memory" {
            platform.ram = reg.unwrap_or(platform.ram);
        } else if name == "chosen" {
            if let Some(bootargs) = node.property("bootargs") {
                platform.bootargs = bootargs.value_as::<&'static str>().unwrap_or("");
            }
            let start = node.property("linux,initrd-start").map_or(0, |p| number(p.value()));
            let end = node.property("linux,initrd-end").map_or(0, |p| number(p.value()));
            platform.initrd = (start, end.saturating_sub(start));
        } else if name == "virtio_mmio"
            && let (Some((address, _)), Some(interrupts)) = (reg, node.property("interrupts"))
            && let Some(slot) = platform.virtio.get_mut(platform.virtio_count)
        {
            // Cells of a GICv3 interrupt: kind (0 = SPI), number, flags.
            let spi = interrupts.value().get(4..8).map_or(0, number) as u32;
            *slot = (address, spi + 32);
            platform.virtio_count += 1;
        }
    }
    platform
}

/// The initrd's bytes; empty if there is none.
pub fn initrd() -> &'static [u8] {
    let (start, size) = get().initrd;
    let (base, ram) = get().ram;
    if size == 0 || start < base || start.saturating_add(size) > base.saturating_add(ram) {
        return &[];
    }
    // SAFETY: inside RAM, put there by the loader apart from the image; nobody writes to it.
    unsafe { core::slice::from_raw_parts(start as *const u8, size) }
}
