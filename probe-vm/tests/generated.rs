//! The files generated from the declaration of the points are up to date, and C and Rust agree on every layout.
//!
//! `GNOMON_BLESS=1 cargo test -p probe-vm --test generated` writes the files anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyp_abi::PathId;
use probe_vm::generate::{c_header, reference};
use probe_vm::points::{CODES, HEADER_BYTES, HEADER_FIELDS, POINTS};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn check_file(path: &str, want: &str) {
    let file = root().join(path);
    if std::env::var_os("GNOMON_BLESS").is_some() {
        std::fs::write(&file, want).unwrap();
    }
    let have = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        have == want,
        "{path} is not what the declarations give; GNOMON_BLESS=1 writes it anew"
    );
}

#[test]
fn header_is_up_to_date() {
    let paths: Vec<(&str, u32)> = PathId::ALL.iter().map(|p| (p.name(), *p as u32)).collect();
    let mut text = String::new();
    c_header(&mut text, &paths).unwrap();
    check_file("probe-vm/include/gnomon.h", &text);
}

#[test]
fn reference_is_up_to_date() {
    let mut text = String::new();
    reference(&mut text).unwrap();
    check_file("docs/POINTS.md", &text);
}

/// clang's idea of every size, offset and code is Rust's.
#[test]
fn c_layout_is_rust_s() {
    let mut source = String::from("#include \"gnomon.h\"\n");
    let mut same = |what: String, value: usize| {
        writeln!(source, "_Static_assert({what} == {value}, \"{what}\");").unwrap();
    };
    same("sizeof(struct gnomon_header)".into(), HEADER_BYTES);
    for field in &HEADER_FIELDS {
        same(
            format!("__builtin_offsetof(struct gnomon_header, {})", field.name),
            field.offset.into(),
        );
    }
    for point in &POINTS {
        same(format!("sizeof(struct gnomon_{})", point.name), point.bytes.into());
        for field in point.fields {
            let name = format!("struct gnomon_{}, {}", point.name, field.name);
            same(format!("__builtin_offsetof({name})"), field.offset.into());
            same(
                format!("sizeof(((struct gnomon_{} *)0)->{})", point.name, field.name),
                field.bytes.into(),
            );
        }
    }
    for (name, number, _) in CODES.iter().flat_map(|t| t.codes) {
        same((*name).into(), *number as usize);
    }
    same("GNOMON_PATHS".into(), PathId::COUNT);
    same("sizeof(struct gnomon_hist)".into(), 512);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layout.bpf.c");
    std::fs::write(&file, source).unwrap();
    let out = Command::new("clang")
        .args(["-target", "bpf", "-O2", "-Wall", "-Werror", "-fsyntax-only", "-I"])
        .arg(root().join("probe-vm/include"))
        .arg(&file)
        .output()
        .expect("clang is installed by the set-up");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
