//! `docs/POINTS.md`.

use super::{HEADER_DOCS, Joined, c_type, codes_of, points};
use crate::points::{CONTEXT_VERSION, Field, HEADER_BYTES, HEADER_FIELDS};
use core::fmt::{Display, Result, Write};

fn row(out: &mut impl Write, field: &Field, doc: impl Display) -> Result {
    let unit = field.unit.name();
    writeln!(
        out,
        "| `{}` | `{}` | {} | {unit} | {doc} |",
        field.name,
        c_type(field),
        field.offset
    )
}

const COLUMNS: &str = "| field | type | offset | unit | |\n|---|---|---|---|---|\n";

/// Writes the reference of the points.
///
/// # Errors
/// What `out` gives.
pub fn reference(out: &mut impl Write) -> Result {
    writeln!(out, "# Points\n")?;
    writeln!(
        out,
        "Generated from the declarations in `probe-vm/src/points`; do not edit.\n"
    )?;
    writeln!(
        out,
        "A probe in section `probe/NAME` runs wherever the hypervisor passes point NAME; its argument is a pointer to\n\
         `struct gnomon_NAME` of `gnomon.h`. Contexts are read-only, their layout has version {CONTEXT_VERSION}: fields \
         keep their\nplace and meaning within a version, and new ones are appended. `docs/PROBES.md` shows how to write \
         and load a probe.\n"
    )?;
    writeln!(out, "Every context starts with `header`, {HEADER_BYTES} bytes:\n")?;
    out.write_str(COLUMNS)?;
    for (field, doc) in HEADER_FIELDS.iter().zip(HEADER_DOCS) {
        row(out, field, doc)?;
    }
    for (point, docs) in points() {
        writeln!(out, "\n## {}\n\n{}\n", point.name, Joined(docs.doc))?;
        writeln!(
            out,
            "`SEC(\"probe/{0}\")`, `const struct gnomon_{0} *`, {1} bytes\n",
            point.name, point.bytes
        )?;
        out.write_str(COLUMNS)?;
        for (field, doc) in point.fields.iter().zip(docs.fields) {
            row(out, field, Joined(doc))?;
        }
        for doc in docs.fields {
            let Some(table) = codes_of(doc) else { continue };
            writeln!(
                out,
                "\n| `enum {}` | | {} |\n|---|---|---|",
                table.name,
                Joined(table.doc)
            )?;
            for (name, number, text) in table.codes {
                writeln!(out, "| `{name}` | {number} | {} |", Joined(text))?;
            }
        }
    }
    Ok(())
}
