//! Source lines of machine code, from the debug information of an ELF file.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use goblin::elf::Elf;

/// An ELF file's line table.
pub struct Lines<'a>(Option<Context<EndianSlice<'a, LittleEndian>>>);

impl<'a> Lines<'a> {
    /// Reads the debug information of an ELF file; without any, no address has a line.
    pub fn read(bytes: &'a [u8]) -> Self {
        Self(Elf::parse(bytes).ok().and_then(|elf| context(&elf, bytes)))
    }

    /// `file:line` of the instruction at an address, where its function was written: inlined code tells its own place.
    pub fn at(&self, address: u64) -> Option<String> {
        let location = self.0.as_ref()?.find_location(address).ok()??;
        Some(format!("{}:{}", short(location.file?), location.line?))
    }
}

fn context<'a>(elf: &Elf<'_>, bytes: &'a [u8]) -> Option<Context<EndianSlice<'a, LittleEndian>>> {
    let load = |id: SectionId| -> Result<EndianSlice<'a, LittleEndian>, std::convert::Infallible> {
        let name = |at| elf.shdr_strtab.get_at(at).unwrap_or("");
        let header = elf.section_headers.iter().find(|s| name(s.sh_name) == id.name());
        let data = header.and_then(|s| bytes.get(s.file_range()?)).unwrap_or_default();
        Ok(EndianSlice::new(data, LittleEndian))
    };
    let dwarf = match Dwarf::load(load) {
        Ok(dwarf) => dwarf,
        Err(never) => match never {},
    };
    Context::from_dwarf(dwarf).ok()
}

/// Without the folders above the project, the library or the package.
fn short(file: &str) -> &str {
    const ROOTS: [&str; 6] = [
        "/hyp/",
        "/probe-vm/",
        "/verifier/",
        "/guests/",
        "/board-support/",
        "/library/",
    ];
    if let Some((_, package)) = file.split_once("/registry/src/") {
        return package.split_once('/').map_or(package, |(_, rest)| rest);
    }
    let cut = ROOTS.iter().filter_map(|root| file.find(root)).min();
    cut.and_then(|at| file.get(at + 1..)).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_the_project_on() {
        assert_eq!(short("/a/b/hyp/core/src/cpu.rs"), "hyp/core/src/cpu.rs");
        assert_eq!(
            short("/usr/lib/rust/library/core/src/iter/range.rs"),
            "library/core/src/iter/range.rs"
        );
        assert_eq!(short("/home/me/main.c"), "/home/me/main.c");
        assert_eq!(
            short("/r/registry/src/index-1/embassy-time-0.5.1/src/lib.rs"),
            "embassy-time-0.5.1/src/lib.rs"
        );
    }

    #[test]
    fn a_file_without_debug_information_has_no_lines() {
        assert_eq!(Lines::read(b"").at(0), None);
    }
}
