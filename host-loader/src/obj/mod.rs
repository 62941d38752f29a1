//! Object files: ELF as clang writes it for `-target bpf`, to the programs, maps and source lines in it.

pub mod disasm;
pub mod elf;
