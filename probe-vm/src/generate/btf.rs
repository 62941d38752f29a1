//! BTF of the contexts (the format of Linux's Documentation/bpf/btf.rst), for tools that want types without C.

use super::points;
use crate::points::{CODES, Field, HEADER_BYTES, HEADER_FIELDS};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

const KIND_INT: u32 = 1;
const KIND_STRUCT: u32 = 4;
const KIND_ENUM: u32 = 6;

/// Type ids: 0 is `void`, then as they are written.
const U32: u32 = 1;
const U64: u32 = 2;
const HEADER: u32 = 3;

/// Why BTF could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// The buffer is too short.
    Buffer,
}

/// Bytes appended to a buffer, counted beyond its end.
struct Writer<'a> {
    out: &'a mut [u8],
    used: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.used..self.used + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        self.used += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_le_bytes());
    }
}

/// The two sections, written in step: types refer to strings by offset. `strings` only counts in a first pass over
/// types, and is written in a second.
struct Strings {
    next: u32,
}

impl Strings {
    fn add(&mut self, parts: &[&str]) -> u32 {
        let at = self.next;
        self.next += parts.iter().map(|p| p.len() as u32).sum::<u32>() + 1;
        at
    }
}

/// Calls `name` for every string in the order in which types refer to them.
fn each_name(mut name: impl FnMut(&[&str])) {
    name(&["__u32"]);
    name(&["__u64"]);
    name(&["gnomon_header"]);
    HEADER_FIELDS.iter().for_each(|f| name(&[f.name]));
    for (point, _) in points() {
        name(&["gnomon_", point.name]);
        name(&["header"]);
        point.fields.iter().for_each(|f| name(&[f.name]));
    }
    for table in CODES {
        name(&[table.name]);
        table.codes.iter().for_each(|(code, _, _)| name(&[code]));
    }
}

fn member(types: &mut Writer<'_>, name: u32, kind: u32, offset: usize) {
    types.word(name);
    types.word(kind);
    types.word(offset as u32 * 8);
}

fn scalar(field: &Field) -> u32 {
    if field.bytes == 8 { U64 } else { U32 }
}

fn write_types(types: &mut Writer<'_>) {
    let mut strings = Strings { next: 1 };
    for (name, bytes) in [("__u32", 4), ("__u64", 8)] {
        types.word(strings.add(&[name]));
        types.word(KIND_INT << 24);
        types.word(bytes);
        types.word(bytes * 8);
    }
    types.word(strings.add(&["gnomon_header"]));
    types.word(KIND_STRUCT << 24 | HEADER_FIELDS.len() as u32);
    types.word(HEADER_BYTES as u32);
    for field in &HEADER_FIELDS {
        member(types, strings.add(&[field.name]), scalar(field), field.offset.into());
    }
    for (point, _) in points() {
        types.word(strings.add(&["gnomon_", point.name]));
        types.word(KIND_STRUCT << 24 | (1 + point.fields.len() as u32));
        types.word(point.bytes.into());
        member(types, strings.add(&["header"]), HEADER, 0);
        for field in point.fields {
            member(types, strings.add(&[field.name]), scalar(field), field.offset.into());
        }
    }
    for table in CODES {
        types.word(strings.add(&[table.name]));
        types.word(KIND_ENUM << 24 | table.codes.len() as u32);
        types.word(4);
        for (name, number, _) in table.codes {
            types.word(strings.add(&[name]));
            types.word(*number);
        }
    }
}

/// Writes the BTF of all contexts and codes; gives the bytes used.
///
/// # Errors
/// `Buffer` if `out` is too short; 16 KiB are plenty.
pub fn btf(out: &mut [u8]) -> Result<usize, BtfError> {
    let types_bytes = {
        let mut counted = Writer { out: &mut [], used: 0 };
        write_types(&mut counted);
        counted.used as u32
    };
    let mut strings = Strings { next: 1 };
    each_name(|parts| {
        strings.add(parts);
    });
    let mut writer = Writer { out, used: 0 };
    writer.bytes(&MAGIC.to_le_bytes());
    writer.bytes(&[1, 0]);
    for word in [HEADER_LEN as u32, 0, types_bytes, types_bytes, strings.next] {
        writer.word(word);
    }
    write_types(&mut writer);
    writer.bytes(&[0]);
    each_name(|parts| {
        parts.iter().for_each(|part| writer.bytes(part.as_bytes()));
        writer.bytes(&[0]);
    });
    if writer.used > writer.out.len() {
        Err(BtfError::Buffer)
    } else {
        Ok(writer.used)
    }
}
