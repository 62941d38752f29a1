//! Sections, symbols and relocations of a BPF object. goblin decodes; every offset and index is checked before use.

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::section_header::{SHN_ABS, SHN_LORESERVE, SHN_UNDEF, SHT_NOBITS, SHT_REL};
use goblin::elf::sym::{STT_FUNC, STT_SECTION, Symtab};
use goblin::elf::{Elf, RelocSection, SectionHeader, header::ET_REL};
use goblin::strtab::Strtab;

use super::error::ObjError;

/// `e_machine` of eBPF (System V ABI registry).
pub const EM_BPF: u16 = 247;
/// A section of zeroes is not in the file, so its size is bounded apart.
const NOBITS_BYTES_MAX: u64 = 1 << 24;

/// A section.
#[derive(Debug)]
pub struct Section<'a> {
    /// Its name.
    pub name: String,
    /// Its bytes; empty for a section of zeroes.
    pub data: &'a [u8],
    /// Its size in bytes, zeroes included.
    pub size: usize,
    /// Holds instructions.
    pub executable: bool,
    /// Not in the file: all zeroes.
    pub zeroes: bool,
    /// Patches for it.
    pub relocations: Vec<Relocation>,
}

/// A patch: at byte `offset` of its section, with symbol number `symbol`.
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    /// Byte offset in the section.
    pub offset: usize,
    /// Index into [`File::symbols`].
    pub symbol: usize,
    /// `R_BPF_*`.
    pub kind: u32,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A whole section.
    Section,
    /// A variable, a label, or unknown.
    Other,
}

/// A symbol.
#[derive(Debug)]
pub struct Symbol {
    /// Its name; that of the section for a section symbol.
    pub name: String,
    /// Section index, `None` where it is undefined here or absolute.
    pub section: Option<usize>,
    /// Byte offset in the section.
    pub value: usize,
    /// Bytes.
    pub size: usize,
    /// What it stands for.
    pub kind: SymbolKind,
}

/// The parts of an object that we read.
#[derive(Debug)]
pub struct File<'a> {
    /// All sections, by ELF index.
    pub sections: Vec<Section<'a>>,
    /// All symbols, by ELF index.
    pub symbols: Vec<Symbol>,
}

impl<'a> File<'a> {
    /// Reads headers, sections, symbols and relocations.
    pub fn parse(bytes: &'a [u8]) -> Result<File<'a>, ObjError> {
        let not_elf = |e: goblin::error::Error| ObjError::NotElf(e.to_string());
        let header = Elf::parse_header(bytes).map_err(not_elf)?;
        let endian = header.endianness().map_err(not_elf)?;
        let container = header.container().map_err(not_elf)?;
        check_header(&header, container, endian)?;
        let ctx = Ctx::new(container, endian);
        let count = usize::from(header.e_shnum);
        let headers = SectionHeader::parse(bytes, header.e_shoff as usize, count, ctx)
            .map_err(|_| truncated("the section table"))?;
        let names = headers
            .get(usize::from(header.e_shstrndx))
            .map(|h| strings(bytes, h))
            .unwrap_or_default();
        let mut sections = Vec::with_capacity(headers.len());
        for h in &headers {
            sections.push(section(bytes, h, &names)?);
        }
        let symbols = symbols(bytes, &headers, &sections, ctx)?;
        for h in headers.iter().filter(|h| h.sh_type == SHT_REL) {
            let relocations = relocations(bytes, h, ctx, symbols.len())?;
            if let Some(target) = sections.get_mut(h.sh_info as usize) {
                target.relocations = relocations;
            }
        }
        Ok(File { sections, symbols })
    }

    /// The first section of that name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == name)
    }
}

fn truncated(part: &str) -> ObjError {
    ObjError::Truncated { part: part.into() }
}

fn check_header(header: &goblin::elf::Header, container: Container, endian: Endian) -> Result<(), ObjError> {
    let what = if header.e_machine != EM_BPF {
        format!("it is for machine {}, eBPF is {EM_BPF}", header.e_machine)
    } else if container != Container::Big {
        "it is a 32-bit file".into()
    } else if endian != Endian::Little {
        "it is big-endian; Gnomon runs on a little-endian machine".into()
    } else if header.e_type != ET_REL {
        format!("its type is {}, a relocatable object is {ET_REL}", header.e_type)
    } else {
        return Ok(());
    };
    Err(ObjError::NotBpf { what })
}

/// A string table, empty where it is damaged: names are then `?`, which is no reason to refuse.
fn strings<'a>(bytes: &'a [u8], header: &SectionHeader) -> Strtab<'a> {
    let Some(range) = header.file_range() else {
        return Strtab::default();
    };
    if bytes.get(range.clone()).is_none() {
        return Strtab::default();
    }
    Strtab::parse(bytes, range.start, range.len(), 0).unwrap_or_default()
}

fn section<'a>(bytes: &'a [u8], h: &SectionHeader, names: &Strtab<'_>) -> Result<Section<'a>, ObjError> {
    let name = names.get_at(h.sh_name).unwrap_or("?").to_string();
    let zeroes = h.sh_type == SHT_NOBITS;
    let data = match h.file_range() {
        Some(range) if !zeroes => bytes
            .get(range)
            .ok_or_else(|| truncated(&format!("section `{name}`")))?,
        _ => &[],
    };
    if zeroes && h.sh_size > NOBITS_BYTES_MAX {
        return Err(truncated(&format!("section `{name}`")));
    }
    let size = if zeroes { h.sh_size as usize } else { data.len() };
    Ok(Section {
        name,
        data,
        size,
        executable: h.is_executable(),
        zeroes,
        relocations: Vec::new(),
    })
}

fn symbols(
    bytes: &[u8],
    headers: &[SectionHeader],
    sections: &[Section<'_>],
    ctx: Ctx,
) -> Result<Vec<Symbol>, ObjError> {
    let Some(table) = headers
        .iter()
        .find(|h| h.sh_type == goblin::elf::section_header::SHT_SYMTAB)
    else {
        return Ok(Vec::new());
    };
    let names = headers
        .get(table.sh_link as usize)
        .map(|h| strings(bytes, h))
        .unwrap_or_default();
    let range = table
        .file_range()
        .filter(|r| bytes.get(r.clone()).is_some())
        .ok_or_else(|| truncated("the symbol table"))?;
    let entry = goblin::elf::sym::sym64::SIZEOF_SYM;
    let symtab =
        Symtab::parse(bytes, range.start, range.len() / entry, ctx).map_err(|_| truncated("the symbol table"))?;
    Ok(symtab.iter().map(|s| symbol(&s, &names, sections)).collect())
}

fn symbol(s: &goblin::elf::Sym, names: &Strtab<'_>, sections: &[Section<'_>]) -> Symbol {
    let index = s.st_shndx as u32;
    let placed = index != SHN_UNDEF && index != SHN_ABS && index < SHN_LORESERVE && (index as usize) < sections.len();
    let section = placed.then_some(index as usize);
    let kind = match s.st_type() {
        STT_FUNC => SymbolKind::Function,
        STT_SECTION => SymbolKind::Section,
        _ => SymbolKind::Other,
    };
    let own = names.get_at(s.st_name).filter(|n| !n.is_empty());
    let of_section = section.map(|i| sections[i].name.as_str());
    let name = own.or(of_section).unwrap_or("?").to_string();
    Symbol {
        name,
        section,
        value: s.st_value as usize,
        size: s.st_size as usize,
        kind,
    }
}

fn relocations(bytes: &[u8], h: &SectionHeader, ctx: Ctx, symbols: usize) -> Result<Vec<Relocation>, ObjError> {
    let part = "a relocation table";
    let range = h
        .file_range()
        .filter(|r| bytes.get(r.clone()).is_some())
        .ok_or_else(|| truncated(part))?;
    let table = RelocSection::parse(bytes, range.start, range.len(), false, ctx).map_err(|_| truncated(part))?;
    let mut out = Vec::with_capacity(table.len());
    for r in table.iter() {
        if r.r_sym >= symbols {
            return Err(truncated("the symbol of a relocation"));
        }
        out.push(Relocation {
            offset: r.r_offset as usize,
            symbol: r.r_sym,
            kind: r.r_type,
        });
    }
    Ok(out)
}
