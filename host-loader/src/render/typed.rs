//! Bytes of keys and values by their C types, where the object has them.

use crate::obj::Object;
use crate::obj::btf::{Btf, Type};

/// Structures within structures that are followed.
const DEPTH_MAX: usize = 8;
/// Elements of an array that are shown.
const ELEMENTS_SHOWN: usize = 16;

/// The types of one map.
pub struct Types<'o> {
    btf: Option<&'o Btf>,
    key: Option<u32>,
    value: Option<u32>,
}

impl<'o> Types<'o> {
    /// Of the map of that name.
    pub fn of(object: Option<&'o Object>, map: &str) -> Types<'o> {
        let def = object.and_then(|o| o.maps.iter().find(|m| m.name == map));
        let btf = object.and_then(|o| o.btf.as_ref());
        Types {
            btf,
            key: def.and_then(|d| d.key_type),
            value: def.and_then(|d| d.value_type),
        }
    }

    /// A key.
    pub fn key(&self, bytes: &[u8]) -> String {
        self.show(self.key, bytes)
    }

    /// The group that a histogram is of: a whole key, or its first member.
    pub fn group(&self, group: u32) -> String {
        let id = self.btf.zip(self.key).and_then(|(btf, id)| match btf.plain(id) {
            Type::Struct { members, .. } => members.first().map(|m| m.type_id),
            _ => Some(id),
        });
        self.show(id, &group.to_le_bytes())
    }

    /// A value.
    pub fn value(&self, bytes: &[u8]) -> String {
        self.show(self.value, bytes)
    }

    fn show(&self, id: Option<u32>, bytes: &[u8]) -> String {
        match (self.btf, id) {
            (Some(btf), Some(id)) if btf.size_of(id) == Some(bytes.len() as u32) => typed(btf, id, bytes, 0),
            _ => plain(bytes),
        }
    }
}

/// Numbers of the usual sizes, words of eight bytes, or bytes.
pub fn plain(bytes: &[u8]) -> String {
    match bytes.len() {
        1 | 2 | 4 | 8 => number(bytes).to_string(),
        n if n % 8 == 0 && n > 0 => {
            let words: Vec<String> = bytes.chunks_exact(8).map(|w| number(w).to_string()).collect();
            words.join(" ")
        }
        _ => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn typed(btf: &Btf, id: u32, bytes: &[u8], depth: usize) -> String {
    if depth == DEPTH_MAX {
        return plain(bytes);
    }
    let part = |at: usize, id: u32| {
        let size = btf.size_of(id)? as usize;
        Some(typed(btf, id, bytes.get(at..at.checked_add(size)?)?, depth + 1))
    };
    match btf.plain(id) {
        Type::Struct { members, .. } => {
            let member = |m: &crate::obj::btf::Member| {
                let text = part((m.bits / 8) as usize, m.type_id)?;
                Some(if m.name.is_empty() {
                    text
                } else {
                    format!("{} = {text}", m.name)
                })
            };
            format!(
                "{{ {} }}",
                members.iter().filter_map(member).collect::<Vec<_>>().join(", ")
            )
        }
        Type::Array { element, count } => {
            let size = btf.size_of(*element).unwrap_or(1) as usize;
            let shown = (0..*count as usize)
                .take(ELEMENTS_SHOWN)
                .filter_map(|i| part(i * size, *element));
            let more = if *count as usize > ELEMENTS_SHOWN { ", …" } else { "" };
            format!("[{}{more}]", shown.collect::<Vec<_>>().join(", "))
        }
        Type::Enum { values, .. } => match values.get(&number(bytes)) {
            Some(name) => name.clone(),
            None => plain(bytes),
        },
        _ => plain(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::{plain, typed};
    use crate::obj::btf::Btf;

    /// A `.BTF` section of one type, `enum { ONE = 1, LAST = -1 }` of `size` bytes.
    fn enumeration(size: u32) -> Btf {
        let strings = b"\0ONE\0LAST\0";
        let types = [0u32, 6 << 24 | 2, size, 1, 1, 5, u32::MAX];
        let header = [
            24u32,
            0,
            4 * types.len() as u32,
            4 * types.len() as u32,
            strings.len() as u32,
        ];
        let words = header.iter().chain(&types).flat_map(|w| w.to_le_bytes());
        let bytes: Vec<u8> = [0x9f, 0xeb, 1, 0].into_iter().chain(words).chain(*strings).collect();
        Btf::parse(&bytes).expect("a section as Linux describes it")
    }

    #[test]
    fn enumerators_have_names() {
        let (word, byte) = (enumeration(4), enumeration(1));
        assert_eq!(typed(&word, 1, &1u32.to_le_bytes(), 0), "ONE");
        assert_eq!(typed(&word, 1, &u32::MAX.to_le_bytes(), 0), "LAST");
        assert_eq!(typed(&byte, 1, &[0xff], 0), "LAST");
        assert_eq!(
            typed(&word, 1, &2u32.to_le_bytes(), 0),
            "2",
            "a value without a name is a number"
        );
    }

    #[test]
    fn untyped_bytes() {
        assert_eq!(plain(&[1, 2, 0, 0]), "513");
        assert_eq!(plain(&[7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), "7 9");
        assert_eq!(plain(&[0xab, 1, 2]), "ab0102");
    }
}
