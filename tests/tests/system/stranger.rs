//! Images that Gnomon never saw: a program assembled here, as ELF and as flat binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use gnomon_tests::{repo, vm};

/// Assembles and links the program at an address.
fn elf(folder: &Path, address: &str) -> PathBuf {
    let out = folder.join("hello.elf");
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
        .arg(repo::root().join("tests/bare/hello.S"))
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
    says_hello(&elf(folder.path(), "0x40100000"), "");
}

#[test]
fn as_flat_binary() {
    let folder = tempfile::tempdir().expect("a folder");
    let flat = folder.path().join("hello.bin");
    let mut objcopy = Command::new("aarch64-linux-gnu-objcopy");
    let status = objcopy
        .args(["-O", "binary", "-j", ".text"])
        .arg(elf(folder.path(), "0x40100000"))
        .arg(&flat)
        .status();
    assert!(status.expect("objcopy is there").success());
    says_hello(&flat, "");
}

#[test]
fn with_ram_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    says_hello(&elf(folder.path(), "0x80100000"), "ipa_base = 0x8000_0000\n");
}
