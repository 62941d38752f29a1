//! BTF, the type information of a BPF object: types, strings, and what map definitions need of them
//! (Linux Documentation/bpf/btf.rst describes the format).

use std::collections::BTreeMap;

use super::error::ObjError;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
/// More types than any object has (a whole Linux kernel has about 150,000).
const TYPES_MAX: usize = 1 << 18;
/// Typedefs and qualifiers between a variable and its type; clang emits a handful.
const MODIFIERS_MAX: usize = 32;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// A member of a structure or union.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name, empty where it is anonymous.
    pub name: String,
    /// Its type's id.
    pub type_id: u32,
    /// Bit offset.
    pub bits: u32,
}

/// A variable's place in a data section.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Id of the variable.
    pub type_id: u32,
    /// Byte offset in the section; zero in an unlinked object, where the symbol has it.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// A type, as far as we read it.
#[derive(Clone, Debug)]
pub enum Type {
    /// No type, or one without a size.
    Void,
    /// An integer or float.
    Scalar {
        /// Name.
        name: String,
        /// Bytes.
        size: u32,
    },
    /// An enumeration.
    Enum {
        /// Bytes.
        size: u32,
        /// Name of each value.
        values: BTreeMap<u64, String>,
    },
    /// A pointer.
    Pointer(u32),
    /// An array.
    Array {
        /// Type of an element.
        element: u32,
        /// Elements.
        count: u32,
    },
    /// A structure or union.
    Struct {
        /// Name, empty where it is anonymous.
        name: String,
        /// Bytes.
        size: u32,
        /// Members in order.
        members: Vec<Member>,
    },
    /// Another name or qualifier of a type.
    Alias(u32),
    /// A function.
    Function {
        /// Name.
        name: String,
    },
    /// A variable.
    Variable {
        /// Name.
        name: String,
        /// Its type's id.
        type_id: u32,
    },
    /// A section of variables.
    Section {
        /// Name.
        name: String,
        /// The variables in it.
        variables: Vec<Placed>,
    },
}

/// All types and strings of an object.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<Type>,
    strings: Vec<u8>,
}

/// A reader of little-endian words that says when they run out.
pub(super) struct Cursor<'a> {
    /// What is read.
    pub bytes: &'a [u8],
    /// Where the next word is.
    pub at: usize,
}

impl Cursor<'_> {
    pub(super) fn u32(&mut self) -> Option<u32> {
        let word = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|&at| at <= self.bytes.len())?;
        Some(())
    }
}

impl Btf {
    /// Reads a `.BTF` section.
    pub fn parse(bytes: &[u8]) -> Result<Btf, ObjError> {
        let bad = |why: &str| ObjError::BadBtf(why.into());
        if bytes.len() < HEADER_BYTES || u16::from_le_bytes([bytes[0], bytes[1]]) != MAGIC {
            return Err(bad("no header"));
        }
        let mut header = Cursor { bytes, at: 4 };
        let mut word = || header.u32().unwrap_or(0) as usize;
        let (header_len, type_off, type_len, string_off, string_len) = (word(), word(), word(), word(), word());
        let part = |off: usize, len: usize| {
            let start = header_len.checked_add(off)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let types = part(type_off, type_len).ok_or_else(|| bad("the type table is cut off"))?;
        let strings = part(string_off, string_len).ok_or_else(|| bad("the string table is cut off"))?;
        let mut btf = Btf {
            types: vec![Type::Void],
            strings: strings.to_vec(),
        };
        let mut cursor = Cursor { bytes: types, at: 0 };
        while cursor.at < types.len() {
            let t = btf
                .read_type(&mut cursor)
                .ok_or_else(|| ObjError::BadBtf(format!("type {} is damaged", btf.types.len())))?;
            btf.types.push(t);
            if btf.types.len() > TYPES_MAX {
                return Err(ObjError::TooMany {
                    what: "BTF types",
                    count: btf.types.len(),
                    max: TYPES_MAX,
                });
            }
        }
        Ok(btf)
    }

    /// The string at a byte offset of the string table; empty where there is none.
    pub fn string(&self, offset: u32) -> String {
        let rest = self.strings.get(offset as usize..).unwrap_or(&[]);
        let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).into_owned()
    }

    /// A type by its id.
    pub fn get(&self, id: u32) -> &Type {
        self.types.get(id as usize).unwrap_or(&Type::Void)
    }

    /// A type by its id, without typedefs and qualifiers.
    pub fn plain(&self, mut id: u32) -> &Type {
        for _ in 0..MODIFIERS_MAX {
            match self.get(id) {
                Type::Alias(inner) => id = *inner,
                other => return other,
            }
        }
        &Type::Void
    }

    /// The size of a type in bytes, `None` where it has none.
    pub fn size_of(&self, mut id: u32) -> Option<u32> {
        let mut elements = 1u32;
        for _ in 0..MODIFIERS_MAX {
            match self.plain(id) {
                Type::Scalar { size, .. } | Type::Enum { size, .. } | Type::Struct { size, .. } => {
                    return elements.checked_mul(*size);
                }
                Type::Pointer(_) => return elements.checked_mul(8),
                Type::Array { element, count } => {
                    elements = elements.checked_mul(*count)?;
                    id = *element;
                }
                _ => return None,
            }
        }
        None
    }

    /// The variables of a data section, by name of the section.
    pub fn section(&self, wanted: &str) -> Option<&[Placed]> {
        self.types.iter().find_map(|t| match t {
            Type::Section { name, variables } if name == wanted => Some(variables.as_slice()),
            _ => None,
        })
    }

    fn read_type(&self, c: &mut Cursor<'_>) -> Option<Type> {
        let name = self.string(c.u32()?);
        let info = c.u32()?;
        let word = c.u32()?;
        let (kind, count) = ((info >> 24) & 0x1f, info & 0xffff);
        Some(match kind {
            KIND_INT => {
                c.skip(4)?;
                Type::Scalar { name, size: word }
            }
            KIND_FLOAT => Type::Scalar { name, size: word },
            KIND_ENUM | KIND_ENUM64 => Type::Enum {
                size: word,
                values: self.read_values(c, count, word, kind == KIND_ENUM64)?,
            },
            KIND_PTR => Type::Pointer(word),
            KIND_ARRAY => {
                let element = c.u32()?;
                c.skip(4)?;
                Type::Array {
                    element,
                    count: c.u32()?,
                }
            }
            KIND_STRUCT | KIND_UNION => Type::Struct {
                name,
                size: word,
                members: self.read_members(c, count, info)?,
            },
            KIND_FWD => Type::Void,
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => Type::Alias(word),
            KIND_FUNC => Type::Function { name },
            KIND_FUNC_PROTO => {
                c.skip(count as usize * 8)?;
                Type::Void
            }
            KIND_VAR => {
                c.skip(4)?;
                Type::Variable { name, type_id: word }
            }
            KIND_DATASEC => Type::Section {
                name,
                variables: read_placed(c, count)?,
            },
            KIND_DECL_TAG => {
                c.skip(4)?;
                Type::Void
            }
            _ => return None,
        })
    }

    /// The values of an enumeration of `size` bytes, as the bytes of a variable of it read as a number: negative ones are
    /// cut to its size.
    fn read_values(&self, c: &mut Cursor<'_>, count: u32, size: u32, wide: bool) -> Option<BTreeMap<u64, String>> {
        let mask = u64::MAX >> (64 - 8 * size.clamp(1, 8));
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let name = self.string(c.u32()?);
            let low = c.u32()?;
            let value = match wide {
                true => u64::from(low) | u64::from(c.u32()?) << 32,
                false => i64::from(low.cast_signed()) as u64,
            };
            values.entry(value & mask).or_insert(name);
        }
        Some(values)
    }

    fn read_members(&self, c: &mut Cursor<'_>, count: u32, info: u32) -> Option<Vec<Member>> {
        // With the kind flag the upper byte of an offset is the size of a bit field.
        let mask = if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(Member {
                name: self.string(c.u32()?),
                type_id: c.u32()?,
                bits: c.u32()? & mask,
            });
        }
        Some(members)
    }
}

fn read_placed(c: &mut Cursor<'_>, count: u32) -> Option<Vec<Placed>> {
    let mut out = Vec::new();
    for _ in 0..count {
        out.push(Placed {
            type_id: c.u32()?,
            offset: c.u32()?,
            size: c.u32()?,
        });
    }
    Some(out)
}
