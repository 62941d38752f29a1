//! The linked program: code words, constant data, symbols.

use crate::alu::Constants;
use goblin::elf::{
    Elf, program_header::PF_W, program_header::PF_X, program_header::PT_LOAD, section_header::SHF_WRITE,
};
use std::collections::BTreeMap;

/// Why an ELF cannot be analysed.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// goblin refuses it.
    #[error("not an ELF file: {0}")]
    Malformed(#[from] goblin::error::Error),
    /// Another machine.
    #[error("machine {0} is not AArch64 (183): pass a 64-bit little-endian Arm ELF")]
    Machine(u16),
    /// A segment points outside the file.
    #[error("segment at {0:#x} reaches beyond the end of the file")]
    Truncated(u64),
    /// The section of loop bounds is no list of records.
    #[error("{BOUNDS_SECTION} is not made of two 64-bit words for each loop, the second from 1 to 4294967295")]
    Bounds,
    /// The entry symbol is not there.
    #[error("no symbol `{0}` in the image{1}")]
    NoSymbol(String, String),
}

struct Segment {
    address: u64,
    bytes: Vec<u8>,
    mem_size: u64,
    executable: bool,
    writable: bool,
}

/// A function or label of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Demangled where possible.
    pub name: String,
    /// First address.
    pub address: u64,
    /// Bytes; labels without a size reach to the next symbol.
    pub size: u64,
}

/// An AArch64 program as linked.
pub struct Image {
    segments: Vec<Segment>,
    /// Read-only parts of writable segments (RELRO and .rodata sections).
    constant: Vec<(u64, u64)>,
    /// Functions and code labels by address.
    symbols: BTreeMap<u64, Symbol>,
    /// Address and size.
    by_name: BTreeMap<String, (u64, u64)>,
    bounds: Vec<LoopBound>,
}

/// A loop's bound that the program states itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopBound {
    /// An instruction of the loop's body, of no loop inside.
    pub at: u64,
    /// Most times it is executed each time the loop is entered.
    pub most: u32,
}

/// Section of records of two little-endian 64-bit words: [`LoopBound::at`] and [`LoopBound::most`].
pub const BOUNDS_SECTION: &str = ".gnomon.loops";

impl Image {
    /// Reads an ELF.
    pub fn parse(bytes: &[u8]) -> Result<Image, ElfError> {
        let elf = Elf::parse(bytes)?;
        if elf.header.e_machine != 183 || !elf.is_64 || !elf.little_endian {
            return Err(ElfError::Machine(elf.header.e_machine));
        }
        let mut segments = Vec::new();
        for ph in elf.program_headers.iter().filter(|p| p.p_type == PT_LOAD) {
            let range = ph.p_offset as usize..(ph.p_offset.saturating_add(ph.p_filesz)) as usize;
            let data = bytes.get(range).ok_or(ElfError::Truncated(ph.p_vaddr))?;
            segments.push(Segment {
                address: ph.p_vaddr,
                bytes: data.to_vec(),
                mem_size: ph.p_memsz,
                executable: ph.p_flags & PF_X != 0,
                writable: ph.p_flags & PF_W != 0,
            });
        }
        let mut image = Image {
            segments,
            constant: Vec::new(),
            symbols: BTreeMap::new(),
            by_name: BTreeMap::new(),
            bounds: Vec::new(),
        };
        for section in &elf.section_headers {
            let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or("");
            if name == BOUNDS_SECTION {
                image.bounds = loop_bounds(bytes, section.sh_offset, section.sh_size)?;
            }
            if section.sh_flags & u64::from(SHF_WRITE) == 0 && section.sh_addr != 0 || name == ".data.rel.ro" {
                image
                    .constant
                    .push((section.sh_addr, section.sh_addr.saturating_add(section.sh_size)));
            }
        }
        image.add_symbols(&elf);
        Ok(image)
    }

    fn add_symbols(&mut self, elf: &Elf) {
        let mut named: Vec<(u64, u64, String)> = Vec::new();
        for sym in &elf.syms {
            let name = elf.strtab.get_at(sym.st_name).unwrap_or("");
            // Mapping symbols ($x, $d) and local labels are no functions.
            if name.is_empty() || name.starts_with('$') || name.starts_with(".L") || sym.st_shndx == 0 {
                continue;
            }
            self.by_name
                .entry(name.to_owned())
                .or_insert((sym.st_value, sym.st_size));
            if self.is_code(sym.st_value) && sym.st_type() != goblin::elf::sym::STT_SECTION {
                named.push((sym.st_value, sym.st_size, name.to_owned()));
            }
        }
        named.sort_by_key(|(address, size, _)| (*address, std::cmp::Reverse(*size)));
        named.dedup_by_key(|(address, ..)| *address);
        for (i, (address, size, name)) in named.iter().enumerate() {
            let next = named.get(i + 1).map_or(u64::MAX, |n| n.0);
            let end = self
                .segment(*address)
                .map_or(*address, |s| s.address + s.bytes.len() as u64);
            let size = if *size == 0 { next.min(end) - address } else { *size };
            let name = demangle(name);
            self.symbols.insert(
                *address,
                Symbol {
                    name,
                    address: *address,
                    size,
                },
            );
        }
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|s| address >= s.address && address - s.address < s.mem_size)
    }

    /// Executable.
    pub fn is_code(&self, address: u64) -> bool {
        self.segment(address).is_some_and(|s| s.executable)
    }

    /// The instruction word at `address`.
    pub fn word(&self, address: u64) -> Option<u32> {
        let segment = self.segment(address).filter(|s| s.executable)?;
        let at = (address - segment.address) as usize;
        Some(u32::from_le_bytes(segment.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    /// Bytes of the file at an address.
    pub fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
        let segment = self.segment(address)?;
        let at = (address - segment.address) as usize;
        segment.bytes.get(at..at.checked_add(len)?)
    }

    /// Address of a symbol, mangled name or demangled path.
    pub fn address_of(&self, name: &str) -> Result<u64, ElfError> {
        if let Some((address, _)) = self.by_name.get(name) {
            return Ok(*address);
        }
        if let Some(symbol) = self.symbols.values().find(|s| s.name == name) {
            return Ok(symbol.address);
        }
        let near: Vec<&str> = self
            .symbols
            .values()
            .filter(|s| s.name.contains(name))
            .take(3)
            .map(|s| s.name.as_str())
            .collect();
        let hint = if near.is_empty() {
            String::new()
        } else {
            format!("; did you mean {}?", near.join(", "))
        };
        Err(ElfError::NoSymbol(name.to_owned(), hint))
    }

    /// Bytes of a symbol, by its mangled name.
    pub fn symbol_size(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|(_, size)| *size)
    }

    /// The symbol that holds an address.
    pub fn symbol_at(&self, address: u64) -> Option<&Symbol> {
        let (_, symbol) = self.symbols.range(..=address).next_back()?;
        (address - symbol.address < symbol.size).then_some(symbol)
    }

    /// Function names for people: `name+0x10`.
    pub fn place(&self, address: u64) -> String {
        match self.symbol_at(address) {
            Some(s) if s.address == address => s.name.clone(),
            Some(s) => format!("{}+{:#x}", s.name, address - s.address),
            None => format!("{address:#x}"),
        }
    }

    /// All words of functions with their addresses, ascending.
    pub fn words(&self) -> impl Iterator<Item = (u64, u32)> {
        let addresses = self
            .functions()
            .flat_map(|f| (f.address..f.address.saturating_add(f.size)).step_by(4));
        addresses.filter_map(|pc| Some((pc, self.word(pc)?)))
    }

    /// Bounds of loops that the program states.
    pub fn loop_bounds(&self) -> &[LoopBound] {
        &self.bounds
    }

    /// All code symbols, ascending.
    pub fn functions(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.values()
    }
}

fn loop_bounds(bytes: &[u8], offset: u64, size: u64) -> Result<Vec<LoopBound>, ElfError> {
    let end = offset.checked_add(size).ok_or(ElfError::Bounds)?;
    let raw = bytes.get(offset as usize..end as usize).ok_or(ElfError::Bounds)?;
    let word = |record: &[u8], at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let record = |record: &[u8]| {
        let most = u32::try_from(word(record, 8)?).ok().filter(|most| *most > 0)?;
        Some(LoopBound {
            at: word(record, 0)?,
            most,
        })
    };
    raw.chunks(16).map(|r| record(r).ok_or(ElfError::Bounds)).collect()
}

impl Constants for Image {
    fn read_only(&self, address: u64, size: u8) -> Option<u64> {
        let segment = self.segment(address)?;
        let end = address.checked_add(size as u64)?;
        let constant = !segment.writable || self.constant.iter().any(|(lo, hi)| *lo <= address && end <= *hi);
        if !constant {
            return None;
        }
        let bytes = self.bytes(address, size as usize)?;
        let mut word = [0u8; 8];
        word.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }

    fn is_memory(&self, address: u64) -> bool {
        self.segment(address).is_some()
    }
}

/// The path part of a v0 or legacy mangled name is enough for people: hashes are dropped.
fn demangle(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |d| format!("{d:#}"))
}
