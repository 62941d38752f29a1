//! From sections to programs: a program is a function in a section of its own; the functions it calls are appended to it,
//! and references to maps, variables and functions are resolved (RFC 9669 section 5.4 gives the pseudo source registers).

use std::collections::HashMap;

use super::elf::{File, Relocation, Symbol, SymbolKind};
use super::error::ObjError;
use super::lines::{Line, SectionLines};
use super::maps::{self, MapDef};
use super::{Function, Program};

/// 64-bit immediate load.
const LDDW: u8 = 0x18;
/// Call.
const CALL: u8 = 0x85;
/// `R_BPF_64_64`: a 64-bit immediate.
const R_64_64: u32 = 1;
/// `R_BPF_64_32`: the target of a call.
const R_64_32: u32 = 10;
/// Source register of a 64-bit immediate: map, value in a map, function.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNC: u8 = 4;
/// Source register of a call of a function in the program.
const PSEUDO_CALL: u8 = 1;
/// Slots of a linked program: well above what the verifier takes, so that it can say so.
const SLOTS_MAX: usize = 1 << 20;
/// Functions of one program (Linux takes 256).
const FUNCTIONS_MAX: usize = 1024;

/// A function where it stands in the file.
#[derive(Clone, Debug)]
struct Extent {
    name: String,
    section: usize,
    start: usize,
    len: usize,
}

/// What links the programs of one object.
struct Linker<'f, 'a> {
    file: &'f File<'a>,
    maps: &'f [MapDef],
    lines: &'f [SectionLines],
    functions: Vec<Extent>,
    relocations: HashMap<(usize, usize), Relocation>,
}

/// What an instruction refers to.
enum Target {
    /// A map, by index.
    Map(usize),
    /// A byte of a data map's value.
    Value(usize, i64),
    /// A function, by index.
    Function(usize),
}

/// Links every program: the functions of all executable sections but `.text`.
pub fn programs(file: &File<'_>, maps: &[MapDef], lines: &[SectionLines]) -> Result<Vec<Program>, ObjError> {
    let mut relocations = HashMap::new();
    for (index, section) in file.sections.iter().enumerate().filter(|(_, s)| s.executable) {
        if section.data.len() % 8 != 0 {
            return Err(ObjError::OddSize {
                name: section.name.clone(),
                len: section.data.len(),
            });
        }
        relocations.extend(section.relocations.iter().map(|r| ((index, r.offset), *r)));
    }
    let linker = Linker {
        file,
        maps,
        lines,
        functions: functions(file)?,
        relocations,
    };
    let entries = 0..linker.functions.len();
    entries
        .filter(|&f| file.sections[linker.functions[f].section].name != ".text")
        .map(|f| linker.link(f))
        .collect()
}

/// The functions of the executable sections. One without a symbol is the whole section.
fn functions(file: &File<'_>) -> Result<Vec<Extent>, ObjError> {
    let mut out: Vec<Extent> = Vec::new();
    for (index, section) in file
        .sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.executable && !s.data.is_empty())
    {
        let before = out.len();
        for s in file
            .symbols
            .iter()
            .filter(|s| s.section == Some(index) && s.kind == SymbolKind::Function)
        {
            let inside = s.value.checked_add(s.size).is_some_and(|end| end <= section.data.len());
            if !inside || s.value % 8 != 0 || s.size % 8 != 0 || s.size == 0 {
                return Err(ObjError::BadSymbol {
                    name: s.name.clone(),
                    section: section.name.clone(),
                });
            }
            out.push(Extent {
                name: s.name.clone(),
                section: index,
                start: s.value / 8,
                len: s.size / 8,
            });
        }
        if out.len() == before {
            out.push(Extent {
                name: only_label(file, index),
                section: index,
                start: 0,
                len: section.data.len() / 8,
            });
        }
        out[before..].sort_by_key(|f| f.start);
    }
    Ok(out)
}

/// Objects of old compilers name a program by a label without a type.
fn only_label(file: &File<'_>, section: usize) -> String {
    let labels = file
        .symbols
        .iter()
        .filter(|s| s.section == Some(section) && s.value == 0);
    let global = labels
        .filter(|s| s.kind == SymbolKind::Other)
        .map(|s| s.name.clone())
        .next();
    global.unwrap_or_else(|| file.sections[section].name.clone())
}

fn slots_of<'a>(file: &File<'a>, f: &Extent) -> Vec<[u8; 8]> {
    let data = &file.sections[f.section].data[f.start * 8..(f.start + f.len) * 8];
    data.chunks_exact(8)
        .map(|c| c.try_into().expect("chunks of 8"))
        .collect()
}

fn imm(slot: [u8; 8]) -> i32 {
    i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]])
}

fn set(slot: &mut [u8; 8], source: u8, imm: i32) {
    slot[1] = (slot[1] & 0x0f) | (source << 4);
    slot[4..].copy_from_slice(&imm.to_le_bytes());
}

impl Linker<'_, '_> {
    /// The entry function, then every function it reaches, in the order they are met.
    fn link(&self, entry: usize) -> Result<Program, ObjError> {
        let mut order = vec![entry];
        let mut starts = HashMap::from([(entry, 0usize)]);
        let mut slots: Vec<[u8; 8]> = Vec::new();
        let mut patches: Vec<(usize, usize)> = Vec::new();
        let mut next = 0;
        while let Some(&f) = order.get(next) {
            next += 1;
            let extent = &self.functions[f];
            let base = slots.len();
            starts.insert(f, base);
            slots.extend(slots_of(self.file, extent));
            if slots.len() > SLOTS_MAX {
                return Err(ObjError::TooMany {
                    what: "instructions",
                    count: slots.len(),
                    max: SLOTS_MAX,
                });
            }
            for (at, callee) in self.resolve(extent, &mut slots[base..])? {
                patches.push((base + at, callee));
                if !order.contains(&callee) {
                    order.push(callee);
                }
            }
            if order.len() > FUNCTIONS_MAX {
                return Err(ObjError::TooMany {
                    what: "functions",
                    count: order.len(),
                    max: FUNCTIONS_MAX,
                });
            }
        }
        for (at, callee) in patches {
            let source = if slots[at][0] == LDDW { PSEUDO_FUNC } else { PSEUDO_CALL };
            set(&mut slots[at], source, (starts[&callee] as i64 - at as i64 - 1) as i32);
        }
        Ok(self.assemble(entry, &order, &starts, slots))
    }

    fn assemble(&self, entry: usize, order: &[usize], starts: &HashMap<usize, usize>, slots: Vec<[u8; 8]>) -> Program {
        let mut functions = Vec::new();
        let mut lines = Vec::new();
        for f in order {
            let (extent, start) = (&self.functions[*f], starts[f]);
            functions.push(Function {
                name: extent.name.clone(),
                start,
                len: extent.len,
            });
            lines.extend(self.lines_of(extent, start));
        }
        let section = self.file.sections[self.functions[entry].section].name.clone();
        Program {
            name: self.functions[entry].name.clone(),
            section,
            slots,
            functions,
            lines,
        }
    }

    /// The lines of a function, moved to where it stands in the program.
    fn lines_of(&self, f: &Extent, start: usize) -> Vec<Line> {
        let name = &self.file.sections[f.section].name;
        let all = self.lines.iter().filter(|s| s.section == *name).flat_map(|s| &s.lines);
        let own = all.filter(|l| (f.start..f.start + f.len).contains(&l.slot));
        own.map(|l| Line {
            slot: l.slot - f.start + start,
            ..l.clone()
        })
        .collect()
    }

    /// Resolves the references of one function to maps in place; returns those to functions: (slot, function).
    fn resolve(&self, f: &Extent, slots: &mut [[u8; 8]]) -> Result<Vec<(usize, usize)>, ObjError> {
        let mut calls = Vec::new();
        let mut at = 0;
        while at < slots.len() {
            let (here, op) = (slots[at], slots[at][0]);
            let relocation = self.relocations.get(&(f.section, (f.start + at) * 8));
            let target = match relocation {
                Some(r) => Some(self.target(f, at, here, *r)?),
                None if op == CALL && here[1] >> 4 == PSEUDO_CALL => {
                    let goal = (f.start + at) as i64 + 1 + i64::from(imm(here));
                    Some(Target::Function(self.function_at(f, at, f.section, goal)?))
                }
                None => None,
            };
            let wide = op == LDDW && at + 1 < slots.len();
            match target {
                Some(Target::Function(callee)) => calls.push((at, callee)),
                Some(Target::Map(map)) if wide => {
                    set(&mut slots[at], PSEUDO_MAP, map as i32);
                    set(&mut slots[at + 1], 0, 0);
                }
                Some(Target::Value(map, offset)) if wide => {
                    set(&mut slots[at], PSEUDO_MAP_VALUE, map as i32);
                    set(&mut slots[at + 1], 0, offset as i32);
                }
                Some(_) => {
                    return Err(self.bad(
                        f,
                        at,
                        "a map is referred to by an instruction that cannot hold one".into(),
                    ));
                }
                None => {}
            }
            at += if wide { 2 } else { 1 };
        }
        Ok(calls)
    }

    fn target(&self, f: &Extent, at: usize, slot: [u8; 8], r: Relocation) -> Result<Target, ObjError> {
        let symbol = &self.file.symbols[r.symbol];
        let Some(section) = symbol.section else {
            let why = format!("`{}` is not defined in this object", symbol.name);
            return Err(self.bad(f, at, why));
        };
        match (r.kind, slot[0]) {
            (R_64_32, CALL) => {
                let goal = (symbol.value / 8) as i64 + 1 + i64::from(imm(slot));
                Ok(Target::Function(self.function_at(f, at, section, goal)?))
            }
            (R_64_64, LDDW) if self.file.sections[section].executable => {
                let goal = (symbol.value / 8) as i64 + i64::from(imm(slot)) / 8;
                Ok(Target::Function(self.function_at(f, at, section, goal)?))
            }
            (R_64_64, LDDW) => self.data_target(f, at, symbol, section, i64::from(imm(slot))),
            (kind, op) => Err(self.bad(
                f,
                at,
                format!("relocation {kind} on opcode 0x{op:02x} is not one of eBPF's"),
            )),
        }
    }

    /// A map by its definition, or a variable by its place in a data section.
    fn data_target(&self, f: &Extent, at: usize, s: &Symbol, section: usize, addend: i64) -> Result<Target, ObjError> {
        let offset = s.value as i64 + addend;
        let of_section = |m: &&MapDef| m.section == section;
        if maps::is_data(&self.file.sections[section]) {
            let map = self.maps.iter().position(|m| of_section(&m));
            let size = self.file.sections[section].size as i64;
            if let Some(map) = map.filter(|_| (0..=size).contains(&offset)) {
                return Ok(Target::Value(map, offset));
            }
        } else if let Some(map) = self
            .maps
            .iter()
            .position(|m| of_section(&m) && m.offset as i64 == offset)
        {
            return Ok(Target::Map(map));
        }
        Err(self.bad(f, at, format!("`{}` is neither a map nor a variable", s.name)))
    }

    fn function_at(&self, f: &Extent, at: usize, section: usize, slot: i64) -> Result<usize, ObjError> {
        let found = self
            .functions
            .iter()
            .position(|g| g.section == section && g.start as i64 == slot);
        found.ok_or_else(|| {
            let name = &self.file.sections[section].name;
            self.bad(
                f,
                at,
                format!("no function begins at instruction {slot} of section `{name}`"),
            )
        })
    }

    fn bad(&self, f: &Extent, at: usize, why: String) -> ObjError {
        ObjError::BadRelocation {
            section: self.file.sections[f.section].name.clone(),
            slot: f.start + at,
            why,
        }
    }
}
