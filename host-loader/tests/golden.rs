//! What `gnomon check` prints, for every probe of the project and for deliberately bad ones, held against files.
//!
//! `GNOMON_BLESS=1 cargo test -p gnomon --test golden` writes the files anew: read the difference before it is committed.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{clang_version, compile, compile_file};

/// The files are of this compiler's code, Debian 12's.
const CLANG: &str = "14.";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"))
}

fn gnomon(args: &[&str], object: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    command
        .args(args)
        .arg(object)
        .env("NO_COLOR", "1")
        .env_remove("FORCE_COLOR");
    command.output().expect("the command runs")
}

/// What depends on the code that the compiler emits today, or on how a proof was found, and not on what is proven: times, the
/// table of lines by time, how a loop's bound came about.
fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut in_table = false;
    for line in text.lines() {
        in_table = (in_table && !line.is_empty()) || line.contains("worst path by source line");
        if in_table {
            continue;
        }
        match line.strip_prefix("  time          at most ") {
            Some(rest) => {
                let unit = rest.split_once(' ').map_or("", |(_, unit)| unit);
                out.push_str(&format!("  time          at most N {unit}\n"));
            }
            None if line.starts_with("  loop ") || line.starts_with("  callback ") => {
                let (bound, _how) = line.rsplit_once(", ").unwrap_or((line, ""));
                out.push_str(&format!("{bound}\n"));
            }
            None => out.push_str(&format!("{}\n", line.trim_end())),
        }
    }
    out
}

/// Holds one object's report against its file. Gives what differs.
fn check(name: &str, object: &Path, status: i32) -> Result<(), String> {
    let run = gnomon(&["check"], object);
    let text = stable(&String::from_utf8_lossy(&run.stdout));
    if run.status.code() != Some(status) {
        return Err(format!("{name}: status {:?}, not {status}\n{text}", run.status.code()));
    }
    let file = golden(name);
    if std::env::var_os("GNOMON_BLESS").is_some() {
        std::fs::write(&file, &text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let expected = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    if text == expected {
        Ok(())
    } else {
        Err(format!("{name}: expected\n{expected}\ngot\n{text}"))
    }
}

fn c_files(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = all.filter_map(|entry| Some(entry.ok()?.path()));
    let mut out: Vec<PathBuf> = paths.filter(|p| p.to_string_lossy().ends_with(".bpf.c")).collect();
    out.sort();
    out
}

fn name_of(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .trim_end_matches(".bpf.c")
        .to_string()
}

#[test]
fn reports_are_as_they_were() {
    match clang_version() {
        Some(v) if v.starts_with(CLANG) => {}
        other => {
            println!("skipped: the files are of clang {CLANG}x, this is {other:?}");
            assert!(
                std::env::var_os("CI").is_none_or(|v| v != "true"),
                "CI has clang {CLANG}x"
            );
            return;
        }
    }
    let probes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe-vm/probes");
    // too_long is correct: what refuses it is a budget.
    let status = |name: &str| i32::from(matches!(name, "outside_value" | "unbounded_loop"));
    let mut wrong = Vec::new();
    for file in c_files(&probes).into_iter().chain(c_files(&probes.join("refused"))) {
        let name = name_of(&file);
        let Some(object) = compile_file(&file) else { return };
        wrong.extend(check(&name, &object, status(&name)).err());
    }
    for (name, status) in [("bad", 1), ("everything", 0)] {
        let Some(object) = compile(name) else { return };
        wrong.extend(check(name, &object, status).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_input_is_status_2_with_a_reason() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let text = folder.join("not-an-object.o");
    std::fs::write(&text, "no object at all").unwrap();
    for (args, file, words) in [
        (&["check"][..], text.as_path(), "not an ELF object"),
        (
            &["check"],
            Path::new("/nowhere/at/all.o"),
            "cannot read /nowhere/at/all.o",
        ),
        (&["disasm"], text.as_path(), "not an ELF object"),
    ] {
        let run = gnomon(args, file);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_section_that_is_no_point_is_said() {
    let Some(object) = compile("legacy") else { return };
    let run = gnomon(&["check"], &object);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(
        said.contains("`xdp` names no point") && said.contains("--env linux"),
        "{said}"
    );
    let run = gnomon(&["check", "--env", "linux"], &object);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn batches_go_on_after_a_bad_row() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("batch.jsonl");
    let rows = [
        r#"{"name": "zero", "insns": "b7000000000000009500000000000000"}"#,
        "this is no row",
        r#"{"name": "odd", "insns": "b700"}"#,
        r#"{"name": "unset", "insns": "9500000000000000"}"#,
        r#"{"name": "map", "insns": "18010000000000000000000000000000b7000000000000009500000000000000", "fixups": {"map_hash_8b": [0]}}"#,
        r#"{"name": "where", "insns": "b7000000000000009500000000000000", "fixups": {"map_hash_8b": [9]}}"#,
    ];
    std::fs::write(&file, rows.join("\n")).unwrap();
    let run = gnomon(&["check", "--batch"], &file);
    assert_eq!(run.status.code(), Some(2));
    let out: Vec<serde_json::Value> = String::from_utf8_lossy(&run.stdout)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(out.len(), rows.len());
    assert_eq!(
        (&out[0]["verdict"], &out[0]["insn_bound"]),
        (&"ACCEPT".into(), &2.into())
    );
    assert!(out[1]["error"].is_string() && out[1]["name"] == "line 2");
    assert!(out[2]["error"].as_str().unwrap().contains("multiple of 16"));
    assert_eq!((&out[3]["verdict"], &out[3]["pc"]), (&"REJECT".into(), &0.into()));
    assert!(
        out[3]["why"].as_str().unwrap().starts_with("uninit_register"),
        "{}",
        out[3]
    );
    assert_eq!(out[4]["verdict"], "ACCEPT");
    assert!(out[5]["error"].as_str().unwrap().contains("past the end"));
}
