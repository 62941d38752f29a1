//! Object files: ELF as clang writes it for `-target bpf`, to the programs, maps and source lines in it.
//!
//! Nothing here trusts the file: every part is bounds-checked and every count is limited, and what cannot be used ends in
//! an [`ObjError`] that names it. What comes out is not trusted either: the verifier sees the programs next.

pub mod btf;
pub mod disasm;
pub mod elf;
mod error;
pub mod lines;
mod link;
pub mod maps;

use std::path::Path;

pub use error::ObjError;
pub use lines::Line;
pub use maps::{MapDef, Origin};

/// An object may have this many bytes; clang's are below one MiB.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// First slot in the program.
    pub start: usize,
    /// Slots.
    pub len: usize,
}

/// One program: its entry function and every function it reaches.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the entry function.
    pub name: String,
    /// Its section, which says where it attaches: `probe/vm_exit`.
    pub section: String,
    /// Its instructions. A 64-bit immediate with source register 1 is a map (index into [`Object::maps`]), with 2 a byte
    /// of the value of an array's first element (index, then byte offset), with 4 a function (distance in slots); a call
    /// with source register 1 is of a function (distance in slots).
    pub slots: Vec<[u8; 8]>,
    /// Its functions, the entry first.
    pub functions: Vec<Function>,
    /// Where its instructions come from, sorted by slot; empty without debug information.
    pub lines: Vec<Line>,
}

/// What an object holds.
#[derive(Clone, Debug)]
pub struct Object {
    /// The string in section `license`.
    pub license: String,
    /// Its maps.
    pub maps: Vec<MapDef>,
    /// Its programs, in file order.
    pub programs: Vec<Program>,
    /// Its types.
    pub btf: Option<btf::Btf>,
}

impl Program {
    /// The source line of a slot: the last record at or before it within the same function.
    pub fn line_at(&self, slot: usize) -> Option<&Line> {
        let function = self.function_at(slot)?;
        let at = self.lines.partition_point(|l| l.slot <= slot).checked_sub(1)?;
        Some(&self.lines[at]).filter(|l| l.slot >= function.start && l.line > 0)
    }

    /// The function a slot belongs to.
    pub fn function_at(&self, slot: usize) -> Option<&Function> {
        self.functions
            .iter()
            .find(|f| (f.start..f.start + f.len).contains(&slot))
    }
}

impl Object {
    /// Reads an object from memory.
    pub fn parse(bytes: &[u8]) -> Result<Object, ObjError> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ObjError::TooLarge {
                size: bytes.len() as u64,
                max: FILE_BYTES_MAX,
            });
        }
        let file = elf::File::parse(bytes)?;
        let btf = file.section(".BTF").map(|s| btf::Btf::parse(s.data)).transpose()?;
        let lines = match (file.section(".BTF.ext"), &btf) {
            (Some(ext), Some(btf)) => lines::parse(ext.data, btf)?,
            _ => Vec::new(),
        };
        let maps = maps::all(&file, btf.as_ref())?;
        let programs = link::programs(&file, &maps, &lines)?;
        if programs.is_empty() {
            return Err(ObjError::NoPrograms);
        }
        let license = file.section("license").map(|s| s.data).unwrap_or(&[]);
        let license = String::from_utf8_lossy(license).trim_end_matches('\0').to_string();
        Ok(Object {
            license,
            maps,
            programs,
            btf,
        })
    }

    /// Reads an object from a file, without reading more of it than an object may have.
    pub fn read(path: &Path) -> miette::Result<Object> {
        use miette::{IntoDiagnostic, WrapErr};
        let cannot = || format!("cannot read {}", path.display());
        let size = std::fs::metadata(path).into_diagnostic().wrap_err_with(cannot)?.len();
        if size > FILE_BYTES_MAX {
            let error = miette::Report::from(ObjError::TooLarge {
                size,
                max: FILE_BYTES_MAX,
            });
            return Err(error.wrap_err(path.display().to_string()));
        }
        let bytes = std::fs::read(path).into_diagnostic().wrap_err_with(cannot)?;
        Object::parse(&bytes).map_err(|e| miette::Report::from(e).wrap_err(path.display().to_string()))
    }
}
