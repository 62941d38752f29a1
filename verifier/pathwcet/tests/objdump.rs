//! The decoder against objdump: every word of linked code is an instruction to both or to neither, branches are of the same
//! kind and go to the same place.

mod suite;

use pathwcet::decode::decode;
use pathwcet::elf::Image;
use pathwcet::inst::Flow;
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJDUMP: &str = "aarch64-linux-gnu-objdump";

/// Kind and target of a branch, as both say it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Next,
    Jump(u64),
    If(u64),
    Call(u64),
    JumpReg,
    CallReg,
    Ret,
    Eret,
    Trap,
}

fn ours(flow: Flow) -> Kind {
    match flow {
        Flow::Next => Kind::Next,
        Flow::Jump(t) => Kind::Jump(t),
        Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => Kind::If(target),
        Flow::Call(t) => Kind::Call(t),
        Flow::JumpReg(_) => Kind::JumpReg,
        Flow::CallReg(_) => Kind::CallReg,
        Flow::Ret(_) => Kind::Ret,
        Flow::Eret => Kind::Eret,
        Flow::Trap => Kind::Trap,
    }
}

fn theirs(mnemonic: &str, operands: &str) -> Kind {
    // The target is the last operand that is an address; what follows it is its symbol.
    let plain = operands.split('<').next().unwrap_or("");
    let last = plain.split(',').next_back().unwrap_or("").trim();
    let target = u64::from_str_radix(last.trim_start_matches("0x"), 16).unwrap_or(0);
    match mnemonic {
        "b" => Kind::Jump(target),
        "bl" => Kind::Call(target),
        "cbz" | "cbnz" | "tbz" | "tbnz" => Kind::If(target),
        "br" | "braa" | "brab" => Kind::JumpReg,
        "blr" => Kind::CallReg,
        "ret" | "retaa" | "retab" => Kind::Ret,
        "eret" => Kind::Eret,
        "brk" | "hlt" | "udf" => Kind::Trap,
        m if m.starts_with("b.") => Kind::If(target),
        _ => Kind::Next,
    }
}

/// Differences in all of an ELF's code, and how many words were compared.
fn compare(elf: &Path) -> (usize, Vec<String>) {
    let out = Command::new(OBJDUMP)
        .arg("-d")
        .arg("-z")
        .arg(elf)
        .output()
        .expect("objdump");
    let image = Image::parse(&std::fs::read(elf).expect("read")).expect("an AArch64 ELF");
    let (mut words, mut differences) = (0, Vec::new());
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let mut parts = line.split('\t');
        let (Some(pc), Some(bits), Some(mnemonic)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let pc = u64::from_str_radix(pc.trim().trim_end_matches(':'), 16);
        let (Ok(pc), Ok(bits)) = (pc, u32::from_str_radix(bits.trim(), 16)) else {
            continue;
        };
        let operands = parts.next().unwrap_or("");
        words += 1;
        if image.word(pc) != Some(bits) {
            differences.push(format!("{pc:#x}: the word is not {bits:#x}"));
        }
        // Literal pools, which the linker's mapping symbols mark as data.
        if matches!(mnemonic, ".word" | ".short" | ".byte") {
            continue;
        }
        match decode(pc, bits) {
            Ok(inst) if ours(inst.flow) == theirs(mnemonic, operands) => {}
            Err(_) if mnemonic == ".inst" => {}
            other => differences.push(format!("{pc:#x}: `{mnemonic} {operands}` here {other:?}")),
        }
    }
    (words, differences)
}

#[test]
fn code_of_the_suite_decodes_as_objdump_says() {
    if !suite::is_possible() {
        return;
    }
    for build in suite::BUILDS {
        let folder = tempfile::tempdir().expect("a folder");
        let elf = folder.path().join("suite.elf");
        suite::link_at(build, &elf);
        let (words, differences) = compare(&elf);
        assert!(
            words > 1_000 && differences.is_empty(),
            "{build:?}: {words} words, {differences:#?}"
        );
    }
}

#[test]
fn the_hypervisor_decodes_as_objdump_says() {
    let dist = std::env::var_os("GNOMON_DIST").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/gnomon")),
        PathBuf::from,
    );
    let elf = dist.join("hyp-el2");
    if !suite::is_possible() || !elf.is_file() {
        assert!(std::env::var_os("CI").is_none(), "CI needs {}", elf.display());
        println!("skipped: there is no {}", elf.display());
        return;
    }
    let (words, differences) = compare(&elf);
    println!("{words} words");
    assert!(
        words > 10_000 && differences.is_empty(),
        "{words} words, {differences:#?}"
    );
}
