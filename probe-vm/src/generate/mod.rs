//! What is generated from the declaration of the points: the C header for probes, the reference in `docs/POINTS.md`,
//! and a BTF blob. Host only; nothing at EL2 refers to it.

mod btf;
mod c_header;
mod reference;
#[cfg(test)]
mod tests;

pub use btf::{BtfError, btf};
pub use c_header::c_header;
pub use reference::reference;

use crate::points::{CODES, CodeTable, Field, HEADER_FIELDS, POINT_DOCS, POINTS, Point, PointDoc, Unit};
use core::fmt;

/// Documentation of the header's fields, in their order.
const HEADER_DOCS: [&str; HEADER_FIELDS.len()] = [
    "Time of the firing, on the clock of bpf_ktime_get_ns() and of the guests.",
    "VM this CPU was running when the exit began; at vm_entry the VM it goes on with.",
    "Its vCPU.",
    "Physical CPU.",
    "Path of this exit.",
];

fn points() -> impl Iterator<Item = (&'static Point, &'static PointDoc)> {
    POINTS.iter().zip(&POINT_DOCS)
}

impl Unit {
    /// Name for people; empty for plain numbers.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Ns => "ns",
            Unit::PathTime => "instructions (cycles on hardware)",
            Unit::Bytes => "bytes",
            Unit::Address => "",
        }
    }
}

/// The text of doc lines in one line.
struct Joined(&'static [&'static str]);

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { " " } else { "" }, line.trim())?;
        }
        Ok(())
    }
}

/// C and BTF type of a field.
fn c_type(field: &Field) -> &'static str {
    if field.bytes == 8 { "__u64" } else { "__u32" }
}

/// Upper case with underscores, for `hypercall.ipc_call` as `HYPERCALL_IPC_CALL`.
struct Upper<'a>(&'a str);

impl fmt::Display for Upper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| {
            f.write_char(if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            })
        })
    }
}

/// Which code table a field's documentation refers to.
fn codes_of(doc: &'static [&'static str]) -> Option<&'static CodeTable> {
    CODES
        .iter()
        .find(|table| doc.iter().any(|line| line.contains(table.name)))
}
