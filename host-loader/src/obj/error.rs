//! Why a file is not an object we can use: exit status 2, never a panic.

use miette::Diagnostic;
use thiserror::Error;

/// Why a file is not an object we can use.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum ObjError {
    /// More bytes than any object we take.
    #[error("the file has {size} bytes; an object may have at most {max}")]
    TooLarge {
        /// Size in bytes.
        size: u64,
        /// [`super::FILE_BYTES_MAX`].
        max: u64,
    },
    /// goblin refused the file.
    #[error("not an ELF object: {0}")]
    #[diagnostic(help("compile with `clang -target bpf -O2 -g -c`"))]
    NotElf(String),
    /// For another machine, class or byte order.
    #[error("not an eBPF object: {what}")]
    #[diagnostic(help("compile with `clang -target bpf -O2 -g -c`"))]
    NotBpf {
        /// What its header says.
        what: String,
    },
    /// A part's bytes are not in the file.
    #[error("{part} lies outside of the file: it is cut off")]
    Truncated {
        /// The section or table.
        part: String,
    },
    /// Bytecode is a sequence of 8-byte instructions.
    #[error("section `{name}` has {len} bytes, which is not a multiple of 8")]
    OddSize {
        /// The section.
        name: String,
        /// Its size in bytes.
        len: usize,
    },
    /// The symbol is not where its section is, or not on an instruction.
    #[error("symbol `{name}` lies outside of section `{section}`")]
    BadSymbol {
        /// The symbol.
        name: String,
        /// The section it claims.
        section: String,
    },
    /// A relocation we cannot resolve.
    #[error("section `{section}`, instruction {slot}: {why}")]
    BadRelocation {
        /// The section patched.
        section: String,
        /// Index of the instruction in the section.
        slot: usize,
        /// What is wrong.
        why: String,
    },
    /// BTF that contradicts itself.
    #[error("type information (.BTF): {0}")]
    BadBtf(String),
    /// A map definition that says nothing we understand.
    #[error("map `{map}`: {why}")]
    BadMap {
        /// The map.
        map: String,
        /// What is wrong.
        why: String,
    },
    /// Too many of something.
    #[error("{count} {what}; at most {max} are taken")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Nothing to do.
    #[error("the object has no programs")]
    #[diagnostic(help(
        "a program is a function in a section of its own: `SEC(\"probe/vm_exit\") int count(struct gnomon_vm_exit *ctx)`"
    ))]
    NoPrograms,
}
