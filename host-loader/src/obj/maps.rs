//! Map definitions: `.maps` (BTF), the legacy `maps` section, and global variables, which are array maps of one element
//! as libbpf makes them.

use super::btf::{Btf, Type};
use super::elf::{File, Section, SymbolKind};
use super::error::ObjError;

/// `BPF_MAP_TYPE_ARRAY` (Linux include/uapi/linux/bpf.h).
pub const ARRAY: u32 = 2;
/// `BPF_F_RDONLY_PROG`: programs may only read.
pub const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_WRONLY_PROG`: programs may only write.
pub const F_WRONLY_PROG: u32 = 1 << 8;
/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`, `BPF_MAP_TYPE_HASH_OF_MAPS`.
const OF_MAPS: [u32; 2] = [12, 13];
/// Bytes of a legacy definition that carry meaning: type, key size, value size, most entries, flags.
const LEGACY_BYTES: usize = 20;
/// Maps in one object; a program names them by a 32-bit immediate, an object of more is damaged.
const MAPS_MAX: usize = 256;
/// One global data section.
const DATA_BYTES_MAX: usize = 1 << 20;

/// Where a definition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A structure in `.maps`.
    Btf,
    /// A structure in `maps`.
    Legacy,
    /// A section of global variables, with its initial bytes.
    Data(Vec<u8>),
}

/// A map, as the object defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// Its name.
    pub name: String,
    /// `BPF_MAP_TYPE_*`.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Where the definition comes from.
    pub origin: Origin,
    /// For a map of maps: which map (index into the object's) its values are like.
    pub inner: Option<usize>,
    /// BTF type of a key, where it has one.
    pub key_type: Option<u32>,
    /// BTF type of a value.
    pub value_type: Option<u32>,
    /// Section it lies in.
    pub(super) section: usize,
    /// Byte offset in the section.
    pub(super) offset: usize,
}

/// All maps of an object: `.maps` and `maps` by offset, then the data sections in file order.
pub fn all(file: &File<'_>, btf: Option<&Btf>) -> Result<Vec<MapDef>, ObjError> {
    let mut out = Vec::new();
    for (index, section) in file.sections.iter().enumerate() {
        match section.name.as_str() {
            ".maps" => append(&mut out, from_btf(file, index, btf)?),
            "maps" => append(&mut out, from_legacy(file, index, section)?),
            _ => {}
        }
    }
    for (index, section) in file.sections.iter().enumerate() {
        if is_data(section) && file_refers_to(file, index) {
            out.push(from_data(index, section)?);
        }
    }
    if out.len() > MAPS_MAX {
        return Err(ObjError::TooMany {
            what: "maps",
            count: out.len(),
            max: MAPS_MAX,
        });
    }
    Ok(out)
}

fn append(all: &mut Vec<MapDef>, more: Vec<MapDef>) {
    let base = all.len();
    all.extend(more.into_iter().map(|m| MapDef {
        inner: m.inner.map(|i| i + base),
        ..m
    }));
}

/// Global variables: `.rodata`, `.data`, `.bss` and their named parts.
pub fn is_data(section: &Section<'_>) -> bool {
    let part_of = |base: &str| {
        section
            .name
            .strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !section.executable && section.size > 0 && (part_of(".rodata") || part_of(".data") || part_of(".bss"))
}

/// Whether any code refers to the section. A section that none does (`.rodata.str1.1` of a message that was optimised
/// out) makes no map.
fn file_refers_to(file: &File<'_>, index: usize) -> bool {
    let code = file.sections.iter().filter(|s| s.executable);
    code.flat_map(|s| &s.relocations)
        .any(|r| file.symbols[r.symbol].section == Some(index))
}

fn from_data(index: usize, section: &Section<'_>) -> Result<MapDef, ObjError> {
    if section.size > DATA_BYTES_MAX {
        return Err(ObjError::TooMany {
            what: "bytes of global variables",
            count: section.size,
            max: DATA_BYTES_MAX,
        });
    }
    let initial = if section.zeroes {
        vec![0; section.size]
    } else {
        section.data.to_vec()
    };
    Ok(MapDef {
        name: section.name.clone(),
        kind: ARRAY,
        key_size: 4,
        value_size: section.size as u32,
        max_entries: 1,
        flags: if section.name.starts_with(".rodata") {
            F_RDONLY_PROG
        } else {
            0
        },
        origin: Origin::Data(initial),
        inner: None,
        key_type: None,
        value_type: None,
        section: index,
        offset: 0,
    })
}

fn from_legacy(file: &File<'_>, index: usize, section: &Section<'_>) -> Result<Vec<MapDef>, ObjError> {
    let mut out: Vec<MapDef> = Vec::new();
    for symbol in &file.symbols {
        if symbol.section != Some(index) || symbol.kind == SymbolKind::Section {
            continue;
        }
        let bad = |why: &str| ObjError::BadMap {
            map: symbol.name.clone(),
            why: why.into(),
        };
        let end = symbol
            .value
            .checked_add(LEGACY_BYTES)
            .ok_or_else(|| bad("it lies outside of its section"))?;
        let bytes = section
            .data
            .get(symbol.value..end)
            .ok_or_else(|| bad("it lies outside of its section"))?;
        let word = |i: usize| u32::from_le_bytes(bytes[i * 4..i * 4 + 4].try_into().expect("4 bytes"));
        out.push(MapDef {
            name: symbol.name.clone(),
            kind: word(0),
            key_size: word(1),
            value_size: word(2),
            max_entries: word(3),
            flags: word(4),
            origin: Origin::Legacy,
            inner: None,
            key_type: None,
            value_type: None,
            section: index,
            offset: symbol.value,
        });
    }
    out.sort_by_key(|m| m.offset);
    let ids: Vec<Option<u32>> = out.iter().map(|m| word_at(section, m.offset, ELF_ID)).collect();
    for at in 0..out.len() {
        let wanted = word_at(section, out[at].offset, ELF_INNER_ID).filter(|_| OF_MAPS.contains(&out[at].kind));
        out[at].inner = wanted.and_then(|w| ids.iter().position(|id| *id == Some(w)));
    }
    Ok(out)
}

/// iproute2's definitions go on: identifier, pinning, identifier of the inner map, its index.
const ELF_ID: usize = 5;
const ELF_INNER_ID: usize = 7;

fn word_at(section: &Section<'_>, offset: usize, word: usize) -> Option<u32> {
    let at = offset.checked_add(word * 4)?;
    Some(u32::from_le_bytes(
        section.data.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn from_btf(file: &File<'_>, index: usize, btf: Option<&Btf>) -> Result<Vec<MapDef>, ObjError> {
    let btf = btf.ok_or_else(|| ObjError::BadBtf("there is none, and the maps in `.maps` need it".into()))?;
    let mut out = Vec::new();
    for placed in btf.section(".maps").unwrap_or(&[]) {
        let Type::Variable { name, type_id } = btf.get(placed.type_id) else {
            continue;
        };
        // The offset in BTF is only valid after linking; the symbol has it.
        let symbol = file
            .symbols
            .iter()
            .find(|s| s.section == Some(index) && s.name == *name);
        let offset = symbol.map_or(placed.offset as usize, |s| s.value);
        out.push((definition(btf, name, *type_id, index, offset)?, *type_id));
    }
    out.sort_by_key(|(m, _)| m.offset);
    let mut defs: Vec<MapDef> = out.iter().map(|(m, _)| m.clone()).collect();
    // What the values of a map of maps are like is a definition of its own, at no place in the section.
    for at in 0..out.len() {
        let Some(inner) = inner_type(btf, out[at].1) else {
            continue;
        };
        let name = format!("{} (inner)", defs[at].name);
        let inner = definition(btf, &name, inner, index, usize::MAX)?;
        defs[at].inner = Some(defs.len());
        defs.push(inner);
    }
    Ok(defs)
}

/// `__array(values, struct {...})` is an array of pointers to a definition.
fn inner_type(btf: &Btf, type_id: u32) -> Option<u32> {
    let Type::Struct { members, .. } = btf.plain(type_id) else {
        return None;
    };
    let values = members.iter().find(|m| m.name == "values")?;
    let Type::Array { element, .. } = btf.plain(values.type_id) else {
        return None;
    };
    let Type::Pointer(pointee) = btf.plain(*element) else {
        return None;
    };
    matches!(btf.plain(*pointee), Type::Struct { .. }).then_some(*pointee)
}

fn definition(btf: &Btf, name: &str, type_id: u32, section: usize, offset: usize) -> Result<MapDef, ObjError> {
    let bad = |why: String| ObjError::BadMap { map: name.into(), why };
    let Type::Struct { members, .. } = btf.plain(type_id) else {
        return Err(bad("its definition is not a structure".into()));
    };
    let mut def = MapDef {
        name: name.into(),
        kind: 0,
        key_size: 0,
        value_size: 0,
        max_entries: 0,
        flags: 0,
        origin: Origin::Btf,
        inner: None,
        key_type: None,
        value_type: None,
        section,
        offset,
    };
    for member in members {
        let field = match member.name.as_str() {
            "type" => &mut def.kind,
            "key_size" | "key" => &mut def.key_size,
            "value_size" | "value" => &mut def.value_size,
            "max_entries" => &mut def.max_entries,
            "map_flags" => &mut def.flags,
            // An array of maps: its values are map identifiers.
            "values" => {
                def.value_size = 4;
                continue;
            }
            // Of no consequence for what a program may do.
            "pinning" | "numa_node" | "map_extra" => continue,
            other => return Err(bad(format!("unknown attribute `{other}`"))),
        };
        let value = if matches!(member.name.as_str(), "key" | "value") {
            pointee_size(btf, member.type_id)
                .ok_or_else(|| bad(format!("the size of its {} is unknown", member.name)))?
        } else {
            encoded_number(btf, member.type_id).ok_or_else(|| bad(format!("`{}` is not a number", member.name)))?
        };
        *field = value;
        match (member.name.as_str(), btf.plain(member.type_id)) {
            ("key", Type::Pointer(pointee)) => def.key_type = Some(*pointee),
            ("value", Type::Pointer(pointee)) => def.value_type = Some(*pointee),
            _ => {}
        }
    }
    Ok(def)
}

/// `__uint(name, N)` is a pointer to an array of N integers.
fn encoded_number(btf: &Btf, type_id: u32) -> Option<u32> {
    let Type::Pointer(array) = btf.plain(type_id) else {
        return None;
    };
    let Type::Array { count, .. } = btf.plain(*array) else {
        return None;
    };
    Some(*count)
}

/// `__type(name, T)` is a pointer to T.
fn pointee_size(btf: &Btf, type_id: u32) -> Option<u32> {
    let Type::Pointer(pointee) = btf.plain(type_id) else {
        return None;
    };
    btf.size_of(*pointee)
}
