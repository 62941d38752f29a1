//! Guest images: ELF, Linux `Image`, or flat binary, told apart by their first bytes.

use goblin::elf::{Elf, header, program_header};
use goblin::pe;

/// Offset of the magic number in a Linux `Image` (Documentation/arch/arm64/booting.rst of Linux).
const IMAGE_MAGIC_AT: usize = 56;
const IMAGE_MAGIC: &[u8] = b"ARM\x64";
const IMAGE_TEXT_OFFSET_AT: usize = 8;
const IMAGE_SIZE_AT: usize = 16;
const IMAGE_FLAGS_AT: usize = 24;
/// In the flags: the kernel is big-endian.
const IMAGE_BIG_ENDIAN: u64 = 1;
/// Where an `Image` that UEFI can start says where its PE header is.
const IMAGE_PE_AT: usize = 60;
/// Starts of other machines' Linux images: their magic numbers, at these offsets.
const FOREIGN: &[(usize, &[u8], &str)] = &[
    (0x202, b"HdrS", "x86 (a bzImage)"),
    (0x38, b"RSC\x05", "RISC-V"),
    (0x24, b"\x18\x28\x6f\x01", "32-bit Arm (a zImage)"),
];
/// Where QEMU's `-kernel` puts a binary that has no header.
const FLAT_OFFSET: u64 = 0x8_0000;

/// Bytes of a guest and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Guest-physical address.
    pub ipa: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Bytes of memory taken; those behind `bytes` are zero.
    pub mem_len: u64,
}

impl Piece {
    /// A piece that takes no more memory than it has bytes.
    pub fn new(ipa: u64, bytes: Vec<u8>) -> Piece {
        Piece {
            ipa,
            mem_len: bytes.len() as u64,
            bytes,
        }
    }

    /// First address behind.
    pub fn end(&self) -> u64 {
        self.ipa + self.mem_len
    }
}

/// An image ready to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// What to place.
    pub pieces: Vec<Piece>,
    /// Where vCPU 0 starts.
    pub entry: u64,
}

impl Guest {
    /// First address behind the image and its bss.
    pub fn end(&self) -> u64 {
        self.pieces.iter().map(Piece::end).max().unwrap_or(0)
    }
}

/// Why bytes are no image that this VM can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// Nothing there.
    #[error("the image is empty")]
    Empty,
    /// gzip and the like.
    #[error("the image is compressed ({0})")]
    Compressed(&'static str),
    /// goblin cannot read it.
    #[error("the ELF file is damaged or cut off: {0}")]
    Elf(String),
    /// Another machine's code.
    #[error("the image is built for {0}, not for 64-bit Arm (AArch64, little-endian)")]
    Machine(String),
    /// An ELF file with nothing to load.
    #[error("the ELF file has no loadable segment: it is an object file or a debug file")]
    NothingToLoad,
    /// Bytes of a segment or section are not in the file.
    #[error("the image is cut off: its headers speak of {end} bytes, the file has {len}")]
    Truncated {
        /// Where the last segment or section ends in the file.
        end: u64,
        /// Bytes of the file.
        len: u64,
    },
    /// A Linux image whose file is larger than the memory it says it takes.
    #[error("the Linux image's header is wrong: it says {size} bytes of memory, but the file alone has {len}")]
    BadImageSize {
        /// `image_size` of the header.
        size: u64,
        /// Bytes of the file.
        len: u64,
    },
    /// It does not fit where it wants to go.
    #[error("the image needs memory {start:#x}–{end:#x}, the VM has {ram_start:#x}–{ram_end:#x}")]
    OutsideRam {
        /// First address.
        start: u64,
        /// First address behind.
        end: u64,
        /// RAM's first address.
        ram_start: u64,
        /// RAM's first address behind.
        ram_end: u64,
    },
    /// The entry is not in the image.
    #[error("the image starts at {0:#x}, which is not inside any of its segments")]
    Entry(u64),
}

impl GuestError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            GuestError::Empty | GuestError::Truncated { .. } | GuestError::BadImageSize { .. } | GuestError::Elf(_) => {
                "build or copy the file again"
            }
            GuestError::Compressed(_) => "decompress it first: Gnomon loads what it is given",
            GuestError::Machine(_) => "build it for aarch64-unknown-none, aarch64-none-elf or aarch64-linux",
            GuestError::NothingToLoad => "give the linked program",
            GuestError::OutsideRam { .. } => "raise `memory`, or set `ipa_base` to where the image is linked",
            GuestError::Entry(_) => "check ENTRY in the linker script",
        }
    }
}

/// Reads an image for a VM whose RAM is `ram_len` bytes at `ram`.
///
/// # Errors
/// The bytes are no image, or do not fit.
pub fn read(bytes: &[u8], ram: u64, ram_len: u64) -> Result<Guest, GuestError> {
    const PACKERS: &[(&[u8], &str)] = &[
        (b"\x1f\x8b", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
    ];
    if bytes.is_empty() {
        return Err(GuestError::Empty);
    }
    if let Some((_, name)) = PACKERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(GuestError::Compressed(name));
    }
    let is_foreign = |(at, magic, _): &&(usize, &[u8], _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, machine)) = FOREIGN.iter().find(is_foreign) {
        return Err(GuestError::Machine((*machine).into()));
    }
    let guest = match bytes {
        _ if bytes.starts_with(header::ELFMAG) => elf(bytes)?,
        _ if bytes.get(IMAGE_MAGIC_AT..IMAGE_MAGIC_AT + 4) == Some(IMAGE_MAGIC) => linux(bytes, ram)?,
        _ => Guest {
            entry: ram + FLAT_OFFSET,
            pieces: vec![Piece::new(ram + FLAT_OFFSET, bytes.to_vec())],
        },
    };
    for piece in &guest.pieces {
        let end = piece.ipa.saturating_add(piece.mem_len);
        if piece.ipa < ram || end > ram + ram_len {
            return Err(GuestError::OutsideRam {
                start: piece.ipa,
                end,
                ram_start: ram,
                ram_end: ram + ram_len,
            });
        }
    }
    if !guest
        .pieces
        .iter()
        .any(|piece| (piece.ipa..piece.end()).contains(&guest.entry))
    {
        return Err(GuestError::Entry(guest.entry));
    }
    Ok(guest)
}

fn elf(bytes: &[u8]) -> Result<Guest, GuestError> {
    let elf = Elf::parse(bytes).map_err(|error| GuestError::Elf(error.to_string()))?;
    if elf.header.e_machine != header::EM_AARCH64 || !elf.is_64 || !elf.little_endian {
        return Err(GuestError::Machine(machine(&elf)));
    }
    let mut pieces = Vec::new();
    for segment in elf
        .program_headers
        .iter()
        .filter(|segment| segment.p_type == program_header::PT_LOAD)
    {
        if segment.p_memsz == 0 {
            continue;
        }
        let len = bytes.len() as u64;
        let end = segment.p_offset.saturating_add(segment.p_filesz);
        if end > len || segment.p_filesz > segment.p_memsz {
            return Err(GuestError::Truncated { end, len });
        }
        // Physical addresses, as QEMU's loader: guests linked high run from where they are loaded.
        let data = bytes[segment.p_offset as usize..end as usize].to_vec();
        pieces.push(Piece {
            ipa: segment.p_paddr,
            bytes: data,
            mem_len: segment.p_memsz,
        });
    }
    if pieces.is_empty() {
        return Err(GuestError::NothingToLoad);
    }
    let loads = elf
        .program_headers
        .iter()
        .filter(|segment| segment.p_type == program_header::PT_LOAD);
    // An entry linked at a virtual address is entered, MMU off, at the physical address of the same byte.
    let entry = loads
        .clone()
        .find(|segment| segment.vm_range().contains(&(elf.entry as usize)));
    let entry = entry.map_or(elf.entry, |segment| segment.p_paddr + (elf.entry - segment.p_vaddr));
    Ok(Guest { pieces, entry })
}

fn machine(elf: &Elf) -> String {
    let name = header::machine_to_str(elf.header.e_machine);
    match elf.little_endian {
        true => name.to_string(),
        false => format!("{name}, big-endian"),
    }
}

fn linux(bytes: &[u8], ram: u64) -> Result<Guest, GuestError> {
    let word = |at: usize| {
        bytes
            .get(at..at + 8)
            .map_or(0, |field| u64::from_le_bytes(field.try_into().unwrap_or_default()))
    };
    let (text_offset, size) = (word(IMAGE_TEXT_OFFSET_AT), word(IMAGE_SIZE_AT));
    if word(IMAGE_FLAGS_AT) & IMAGE_BIG_ENDIAN != 0 {
        return Err(GuestError::Machine("big-endian AArch64".into()));
    }
    let len = bytes.len() as u64;
    let end = sections_end(bytes).unwrap_or(0);
    if end > len {
        return Err(GuestError::Truncated { end, len });
    }
    // The header's size counts the bss: a file may be shorter than that, but a real kernel never by more than its bss,
    // and never longer (booting.rst: images before 3.17 have size 0 and text_offset 0x80000).
    if size != 0 && size < len {
        return Err(GuestError::BadImageSize { size, len });
    }
    let text_offset = if size == 0 { FLAT_OFFSET } else { text_offset };
    let ipa = ram.saturating_add(text_offset);
    Ok(Guest {
        entry: ipa,
        pieces: vec![Piece {
            ipa,
            mem_len: size.max(len),
            bytes: bytes.to_vec(),
        }],
    })
}

/// Where the last section ends in the file, if the image has a PE header: `image_size` cannot tell, it counts the bss.
fn sections_end(bytes: &[u8]) -> Option<u64> {
    let at = u32::from_le_bytes(bytes.get(IMAGE_PE_AT..IMAGE_PE_AT + 4)?.try_into().ok()?);
    let mut at = (at as usize).checked_add(pe::header::SIZEOF_PE_MAGIC)?;
    if !bytes.starts_with(b"MZ") || !bytes.get(..at)?.ends_with(b"PE\0\0") {
        return None;
    }
    let coff = pe::header::CoffHeader::parse(bytes, &mut at).ok()?;
    at = at.checked_add(coff.size_of_optional_header.into())?;
    let sections = coff.sections(bytes, &mut at).ok()?;
    let end = |s: pe::section_table::SectionTable| u64::from(s.pointer_to_raw_data) + u64::from(s.size_of_raw_data);
    sections.into_iter().map(end).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: u64 = 0x4000_0000;
    const LEN: u64 = 16 << 20;

    /// A 64-bit ELF with one segment.
    fn elf_file(machine: u16, paddr: u64, memsz: u64, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend(2u16.to_le_bytes());
        out.extend(machine.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        for field in [0xffff_0000_0000_0000u64, 64, 0] {
            out.extend(field.to_le_bytes());
        }
        out.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 1, 64, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        out.extend(1u32.to_le_bytes());
        out.extend(5u32.to_le_bytes());
        for field in [120, 0xffff_0000_0000_0000, paddr, data.len() as u64, memsz, 4096] {
            out.extend(field.to_le_bytes());
        }
        out.extend(data);
        out
    }

    #[test]
    fn elf_goes_to_its_physical_addresses() {
        let guest = read(&elf_file(183, RAM + 0x1000, 0x100, &[1; 16]), RAM, LEN).unwrap();
        assert_eq!(
            guest.entry,
            RAM + 0x1000,
            "entered where the byte is, not where it is linked"
        );
        assert_eq!(
            guest.pieces,
            [Piece {
                ipa: RAM + 0x1000,
                bytes: vec![1; 16],
                mem_len: 0x100
            }]
        );
        assert_eq!(guest.end(), RAM + 0x1100);
    }

    #[test]
    fn flat_goes_where_qemu_puts_it() {
        let guest = read(&[0x1f, 0x20, 0x03, 0xd5], RAM, LEN).unwrap();
        assert_eq!((guest.entry, guest.pieces[0].ipa), (RAM + 0x8_0000, RAM + 0x8_0000));
    }

    #[test]
    fn linux_goes_to_its_text_offset_and_keeps_its_bss() {
        let mut image = vec![0; 4096];
        image[8..16].copy_from_slice(&0x20_0000u64.to_le_bytes());
        image[16..24].copy_from_slice(&0x5000u64.to_le_bytes());
        image[56..60].copy_from_slice(IMAGE_MAGIC);
        let guest = read(&image, RAM, LEN).unwrap();
        assert_eq!((guest.entry, guest.end()), (RAM + 0x20_0000, RAM + 0x20_5000));
        image[16..24].copy_from_slice(&0x500u64.to_le_bytes());
        assert_eq!(
            read(&image, RAM, LEN),
            Err(GuestError::BadImageSize { size: 0x500, len: 4096 })
        );
    }

    /// A Linux image of 4096 bytes with a bss, one PE section to the end of the file.
    fn linux_file() -> Vec<u8> {
        let mut image = vec![0; 4096];
        image[..2].copy_from_slice(b"MZ");
        image[16..24].copy_from_slice(&0x9000u64.to_le_bytes());
        image[56..60].copy_from_slice(IMAGE_MAGIC);
        image[60..64].copy_from_slice(&64u32.to_le_bytes());
        image[64..68].copy_from_slice(b"PE\0\0");
        image[68..70].copy_from_slice(&0xaa64u16.to_le_bytes());
        image[70..72].copy_from_slice(&1u16.to_le_bytes());
        let section = 88;
        image[section..section + 5].copy_from_slice(b".text");
        image[section + 16..section + 20].copy_from_slice(&3072u32.to_le_bytes());
        image[section + 20..section + 24].copy_from_slice(&1024u32.to_le_bytes());
        image
    }

    #[test]
    fn linux_that_is_cut_off_or_big_endian_is_refused() {
        let mut image = linux_file();
        assert_eq!(read(&image, RAM, LEN).unwrap().end(), RAM + 0x9000);
        let cut = read(&image[..4095], RAM, LEN);
        assert_eq!(cut, Err(GuestError::Truncated { end: 4096, len: 4095 }));
        for len in 0..image.len() {
            let _ = read(&image[..len], RAM, LEN);
        }
        image[IMAGE_FLAGS_AT] = 1;
        assert!(matches!(read(&image, RAM, LEN), Err(GuestError::Machine(_))));
    }

    #[test]
    fn images_of_other_machines_are_named() {
        for (at, magic, machine) in FOREIGN {
            let mut image = vec![0; 1024];
            image[*at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(read(&image, RAM, LEN), Err(GuestError::Machine((*machine).into())));
        }
    }

    #[test]
    fn what_is_no_image_is_named() {
        let good = elf_file(183, RAM, 0x100, &[1; 16]);
        assert_eq!(read(&[], RAM, LEN), Err(GuestError::Empty));
        assert_eq!(read(b"\x1f\x8b\x08\0", RAM, LEN), Err(GuestError::Compressed("gzip")));
        assert!(matches!(
            read(&elf_file(62, RAM, 16, &[1; 16]), RAM, LEN),
            Err(GuestError::Machine(_))
        ));
        assert!(matches!(
            read(&good[..good.len() - 4], RAM, LEN),
            Err(GuestError::Truncated { end: 136, len: 132 })
        ));
        assert!(matches!(
            read(&elf_file(183, RAM, LEN + 1, &[1]), RAM, LEN),
            Err(GuestError::OutsideRam { .. })
        ));
        assert!(matches!(
            read(&elf_file(183, u64::MAX - 4, 64, &[1]), RAM, LEN),
            Err(GuestError::OutsideRam { .. })
        ));
        assert!(matches!(
            read(&elf_file(183, 0, 16, &[1; 16]), RAM, LEN),
            Err(GuestError::OutsideRam { .. })
        ));
        assert!(
            matches!(read(&vec![1; 16 << 20], RAM, LEN), Err(GuestError::OutsideRam { .. })),
            "too big"
        );
    }

    #[test]
    fn no_cut_or_flipped_byte_makes_it_panic() {
        let good = elf_file(183, RAM, 0x100, &[1; 16]);
        for cut in 0..good.len() {
            let _ = read(&good[..cut], RAM, LEN);
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                if let Ok(guest) = read(&bad, RAM, LEN) {
                    assert!(
                        guest
                            .pieces
                            .iter()
                            .all(|piece| piece.ipa >= RAM && piece.end() <= RAM + LEN)
                    );
                }
            }
        }
    }
}
