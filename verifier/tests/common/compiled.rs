//! The loop programs, compiled by clang.

use goblin::elf::Elf;
use std::path::Path;
use std::process::Command;

/// Sections of the compiled programs; `None` without clang.
pub fn programs(version: &str) -> Option<Vec<(String, Vec<u64>)>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loops/loops.c");
    let object = std::env::temp_dir().join(format!("gnomon-loops-{version}-{}.o", std::process::id()));
    let mut clang = Command::new("clang");
    clang
        .args(["-target", "bpf", "-O2", "-c"])
        .arg(format!("-mcpu={version}"))
        .arg(&source)
        .arg("-o")
        .arg(&object);
    match clang.status() {
        Ok(status) => assert!(status.success(), "clang compiles {}", source.display()),
        Err(e) => {
            println!("skipped: no clang ({e})");
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "CI must have clang");
            return None;
        }
    }
    let bytes = std::fs::read(&object).expect("the object");
    let _ = std::fs::remove_file(&object);
    let elf = Elf::parse(&bytes).expect("an ELF file");
    let mut all = Vec::new();
    for section in &elf.section_headers {
        let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or("");
        if let Some(name) = name.strip_prefix("p_") {
            let range = section.file_range().expect("a body");
            let text = bytes[range]
                .chunks(8)
                .map(|c| u64::from_le_bytes(c.try_into().unwrap()))
                .collect();
            all.push((name.to_string(), text));
        }
    }
    Some(all)
}
