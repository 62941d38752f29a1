//! The hypervisor's ELF file as the flat arm64 `Image` that firmware and QEMU load.

use goblin::elf::{Elf, program_header};
use miette::{Result, bail, miette};

/// Offset of `image_size` in the header of an arm64 `Image`.
const IMAGE_SIZE_AT: usize = 16;
const IMAGE_MAGIC_AT: usize = 56;
const IMAGE_MAGIC: &[u8] = b"ARM\x64";
/// The blob starts on a page of its own.
const PAGE: u64 = 4096;
/// A hypervisor with its pools is a few MiB; more means a broken link.
const HYPERVISOR_MAX: u64 = 256 << 20;

/// The flat hypervisor, bss and stacks included.
#[derive(Clone, Debug)]
pub struct Hypervisor {
    /// Everything from the first byte to `__image_end`.
    pub bytes: Vec<u8>,
    /// Physical address of the first byte.
    pub load: u64,
}

impl Hypervisor {
    /// Flattens an ELF file, from `__image_start` to `__image_end`.
    ///
    /// # Errors
    /// The file is no hypervisor.
    pub fn flatten(file: &[u8]) -> Result<Hypervisor> {
        let elf = Elf::parse(file).map_err(|error| miette!("the hypervisor's ELF file is damaged: {error}"))?;
        let start = symbol(&elf, "__image_start")?;
        let end = symbol(&elf, "__image_end")?;
        if end <= start || end - start > HYPERVISOR_MAX || !end.is_multiple_of(PAGE) {
            bail!(
                "the hypervisor's image is from {start:#x} to {end:#x}: it must be whole pages, at most {HYPERVISOR_MAX} bytes"
            );
        }
        let mut bytes = vec![0; (end - start) as usize];
        for segment in elf
            .program_headers
            .iter()
            .filter(|segment| segment.p_type == program_header::PT_LOAD)
        {
            let range = segment.file_range();
            let Some(data) = file.get(range) else {
                bail!("the hypervisor's ELF file is cut off")
            };
            let at = segment.p_paddr.wrapping_sub(start) as usize;
            let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..data.len())) else {
                bail!(
                    "a segment of the hypervisor at {:#x} is outside its image",
                    segment.p_paddr
                );
            };
            place.copy_from_slice(data);
        }
        if bytes.get(IMAGE_MAGIC_AT..IMAGE_MAGIC_AT + 4) != Some(IMAGE_MAGIC) {
            bail!("the hypervisor's image has no arm64 header");
        }
        Ok(Hypervisor { bytes, load: start })
    }

    /// Physical address of the boot configuration: right behind.
    pub fn end(&self) -> u64 {
        self.load + self.bytes.len() as u64
    }

    /// The one image: hypervisor and boot configuration, with the size in the header made right.
    pub fn join(mut self, blob: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(blob);
        let size = self.bytes.len() as u64;
        self.bytes[IMAGE_SIZE_AT..IMAGE_SIZE_AT + 8].copy_from_slice(&size.to_le_bytes());
        self.bytes
    }
}

fn symbol(elf: &Elf, name: &str) -> Result<u64> {
    let found = elf
        .syms
        .iter()
        .find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name));
    found
        .map(|symbol| symbol.st_value)
        .ok_or_else(|| miette!("the hypervisor has no symbol {name}: was it stripped?"))
}
