//! The dispatcher on a machine of plain fields.
