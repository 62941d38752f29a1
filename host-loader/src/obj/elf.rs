//! ELF sections, symbols and relocations of a BPF object (through goblin, which takes no input on trust).

use miette::Diagnostic;
use thiserror::Error;

/// `e_machine` of eBPF (System V ABI registry).
const EM_BPF: u16 = 247;

/// An executable section.
pub struct CodeSection {
    /// Its name, e.g. `probe/vm_exit`.
    pub name: String,
    /// Its instructions, eight bytes each.
    pub slots: Vec<[u8; 8]>,
}

/// Why a file is not an object we can use.
#[derive(Debug, Error, Diagnostic)]
pub enum ObjError {
    /// goblin refused the file.
    #[error("not an ELF file: {0}")]
    NotElf(String),
    /// For another machine.
    #[error("not an eBPF object: its machine is {machine}, eBPF is {EM_BPF}")]
    #[diagnostic(help("compile with `clang -target bpf -O2 -g -c`"))]
    NotBpf {
        /// `e_machine` of the file.
        machine: u16,
    },
    /// A section's bytes are not in the file.
    #[error("section `{name}` lies outside of the file")]
    Truncated {
        /// The section.
        name: String,
    },
    /// Bytecode is a sequence of 8-byte instructions.
    #[error("section `{name}` has {len} bytes: not a multiple of 8")]
    OddSize {
        /// The section.
        name: String,
        /// Its size in bytes.
        len: usize,
    },
}

/// The executable sections of an object, in file order.
pub fn code_sections(bytes: &[u8]) -> Result<Vec<CodeSection>, ObjError> {
    let elf = goblin::elf::Elf::parse(bytes).map_err(|e| ObjError::NotElf(e.to_string()))?;
    if elf.header.e_machine != EM_BPF {
        return Err(ObjError::NotBpf { machine: elf.header.e_machine });
    }
    let mut out = Vec::new();
    for header in &elf.section_headers {
        if !header.is_executable() || header.sh_size == 0 {
            continue;
        }
        let name = elf.shdr_strtab.get_at(header.sh_name).unwrap_or("?").to_string();
        let data = header.file_range().and_then(|r| bytes.get(r)).ok_or_else(|| ObjError::Truncated { name: name.clone() })?;
        if data.len() % 8 != 0 {
            return Err(ObjError::OddSize { name, len: data.len() });
        }
        let slots = data.chunks_exact(8).map(|c| c.try_into().expect("chunks of 8")).collect();
        out.push(CodeSection { name, slots });
    }
    Ok(out)
}
