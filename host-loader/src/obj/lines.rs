//! `.BTF.ext`: which C line an instruction comes from, with the line's text, and where functions begin.

use super::btf::{Btf, Cursor, Type};
use super::error::ObjError;

/// `line << 10 | column` (Linux include/uapi/linux/bpf.h, `struct bpf_line_info`).
const COLUMN_BITS: u32 = 10;
/// Bytes of the fields we read of a line record; a record may be longer.
const LINE_BYTES: u32 = 16;
/// The same for a function record.
const FUNC_BYTES: u32 = 8;

/// Where an instruction comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Slot from which on this holds.
    pub slot: usize,
    /// Source file, as the compiler was told.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1; 0 where it is not known.
    pub column: u32,
    /// The text of the line, with its indentation.
    pub text: String,
}

/// Line and function records of one section, sorted by slot.
#[derive(Clone, Debug, Default)]
pub struct SectionLines {
    /// The section's name.
    pub section: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Functions: first slot, name.
    pub functions: Vec<(usize, String)>,
}

/// Reads a `.BTF.ext` section.
pub fn parse(bytes: &[u8], btf: &Btf) -> Result<Vec<SectionLines>, ObjError> {
    let damaged = || ObjError::BadBtf("the line table (.BTF.ext) is damaged".into());
    let mut header = Cursor { bytes, at: 4 };
    let mut word = || header.u32().map(|w| w as usize).ok_or_else(damaged);
    let (header_len, func_off, func_len, line_off, line_len) = (word()?, word()?, word()?, word()?, word()?);
    let part = |off: usize, len: usize| {
        let start = header_len.checked_add(off)?;
        bytes.get(start..start.checked_add(len)?)
    };
    let mut out: Vec<SectionLines> = Vec::new();
    let funcs = part(func_off, func_len).ok_or_else(damaged)?;
    records(funcs, FUNC_BYTES, |section, words| {
        let Type::Function { name } = btf.get(words[1]) else {
            return;
        };
        of_section(&mut out, btf.string(section))
            .functions
            .push((words[0] as usize / 8, name.clone()));
    })
    .ok_or_else(damaged)?;
    let lines = part(line_off, line_len).ok_or_else(damaged)?;
    records(lines, LINE_BYTES, |section, words| {
        let line = Line {
            slot: words[0] as usize / 8,
            file: btf.string(words[1]),
            line: words[3] >> COLUMN_BITS,
            column: words[3] & ((1 << COLUMN_BITS) - 1),
            text: btf.string(words[2]),
        };
        of_section(&mut out, btf.string(section)).lines.push(line);
    })
    .ok_or_else(damaged)?;
    for section in &mut out {
        section.lines.sort_by_key(|l| l.slot);
        section.functions.sort();
    }
    Ok(out)
}

fn of_section(all: &mut Vec<SectionLines>, name: String) -> &mut SectionLines {
    let at = all.iter().position(|s| s.section == name).unwrap_or_else(|| {
        all.push(SectionLines {
            section: name,
            ..SectionLines::default()
        });
        all.len() - 1
    });
    &mut all[at]
}

/// Calls `each(section name offset, first words of the record)`. A table is: record size, then per section its name, the
/// number of records, the records.
fn records(bytes: &[u8], least: u32, mut each: impl FnMut(u32, [u32; 4])) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let mut c = Cursor { bytes, at: 0 };
    let size = c.u32().filter(|s| *s >= least && s % 4 == 0)?;
    while c.at < bytes.len() {
        let (section, count) = (c.u32()?, c.u32()?);
        for _ in 0..count {
            let mut record = Cursor { bytes, at: c.at };
            c.skip(size as usize)?;
            let mut words = [0; 4];
            for word in words.iter_mut().take(least as usize / 4) {
                *word = record.u32()?;
            }
            each(section, words);
        }
    }
    Some(())
}
