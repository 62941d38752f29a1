//! Fixed-size names of programs, points and maps.

use super::limits::NAME_BYTES;
use core::fmt;

/// A name: 1 to 31 printable ASCII characters, NUL-padded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; NAME_BYTES]);

impl Name {
    /// Makes a name of `text`; `None` if it is empty, too long or not printable ASCII.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Self::from_bytes(bytes)
    }

    /// Accepts wire bytes; `None` if they are not a name.
    pub fn from_bytes(bytes: [u8; NAME_BYTES]) -> Option<Self> {
        let len = bytes.iter().position(|b| *b == 0)?;
        let (text, padding) = bytes.split_at(len);
        let good = len > 0 && text.iter().all(u8::is_ascii_graphic) && padding.iter().all(|b| *b == 0);
        good.then_some(Self(bytes))
    }

    pub(super) fn read(bytes: &[u8], at: usize) -> Option<Self> {
        Self::from_bytes(*bytes.get(at..)?.first_chunk()?)
    }

    /// The wire form.
    pub fn bytes(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }

    /// The text without padding.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        core::str::from_utf8(&self.0[..len]).unwrap_or("")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
