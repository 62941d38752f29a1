//! What the tests of the whole share: the repository's files, and systems in QEMU.

pub mod dialog;
pub mod reach;
pub mod repo;
pub mod vm;
