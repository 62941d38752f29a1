//! Images that Gnomon never saw: a program assembled here, as ELF and as flat binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use gnomon::run::{Options, run_silently};
use gnomon_tests::{repo, vm};

/// Assembles and links a program of `tests/bare` at an address.
fn elf(folder: &Path, program: &str, address: &str) -> PathBuf {
    let out = folder.join(program).with_extension("elf");
    let mut gcc = Command::new("aarch64-linux-gnu-gcc");
    gcc.args([
        "-nostdlib",
        "-static",
        "-Wl,--build-id=none",
        "-Wl,-Ttext",
        address,
        "-o",
    ])
    .arg(&out);
    let output = gcc
        .arg(repo::root().join("tests/bare").join(program))
        .output()
        .expect("the cross compiler is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

fn says_hello(image: &Path, more: &str) {
    let text = format!(
        "[[vm]]\nname = \"it\"\nimage = \"{}\"\nmemory = \"8M\"\n{more}",
        image.display()
    );
    let outcome = vm::run(&text);
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
    assert_eq!(outcome.console(0).trim_end(), "hello from a stranger");
}

#[test]
fn as_elf() {
    let folder = tempfile::tempdir().expect("a folder");
    says_hello(&elf(folder.path(), "hello.S", "0x40100000"), "");
}

#[test]
fn as_flat_binary() {
    let folder = tempfile::tempdir().expect("a folder");
    let flat = folder.path().join("hello.bin");
    let mut objcopy = Command::new("aarch64-linux-gnu-objcopy");
    let status = objcopy
        .args(["-O", "binary", "-j", ".text"])
        .arg(elf(folder.path(), "hello.S", "0x40100000"))
        .arg(&flat)
        .status();
    assert!(status.expect("objcopy is there").success());
    says_hello(&flat, "");
}

#[test]
fn with_ram_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    says_hello(&elf(folder.path(), "hello.S", "0x80100000"), "ipa_base = 0x8000_0000\n");
}

/// What was in RAM before the machine started is not there for a guest to read: here the machine itself is told to have
/// left something.
#[test]
fn finds_its_ram_cleared() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = elf(folder.path(), "sweep.S", "0x40100000");
    let text = format!(
        "[[vm]]\nname = \"it\"\nimage = \"{}\"\nmemory = \"8M\"\n",
        image.display()
    );
    let (system, packed) = vm::packed(&text);
    let placed = &packed.placed[0];
    let swept = 0x4060_0000..0x4070_0000;
    assert!(!swept.contains(&placed.fdt) && !swept.contains(&placed.entry));
    let left = [0, 0x8_0000, 0xf_fff8].map(|offset| placed.pa_base + (swept.start - placed.ipa_base) + offset);
    let loaders = left.iter().flat_map(|at| {
        let device = format!("loader,addr={at:#x},data=0x5ec2e75ec2e7,data-len=8");
        ["-device".to_string(), device]
    });
    let options = Options {
        qemu: loaders.collect(),
        timeout: Some(std::time::Duration::from_secs(60)),
        ..Options::default()
    };
    let outcome = run_silently(&system, &packed, &options).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
    assert_eq!(outcome.console(0).trim_end(), "clean");
}
