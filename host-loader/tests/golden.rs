//! What `gnomon check` prints, for every probe of the project and for deliberately bad ones, held against files.
//!
//! `GNOMON_BLESS=1 cargo test -p gnomon --test golden` writes the files anew: read the difference before it is committed.

mod common;

use std::collections::BTreeSet;
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

/// What depends on the code that the probe compiler emits today, or on how a proof was found, and not on what is proven:
/// times, their order, how a loop's bound came about. Of the table of lines the lines themselves stay, sorted.
fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut table: Option<BTreeSet<String>> = None;
    for line in text.lines() {
        if let Some(rows) = &mut table {
            let row = line.strip_prefix("    ").filter(|l| l.contains('%'));
            if let Some(row) = row {
                // The column of places begins behind share and bar.
                let place = row
                    .split_once('%')
                    .map_or("", |(_, rest)| rest)
                    .trim_start_matches(['█', ' ']);
                rows.insert(place.split_whitespace().collect::<Vec<_>>().join(" "));
                continue;
            }
            out.extend(rows.iter().map(|row| format!("      {row}\n")));
            table = None;
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
        if line.contains("worst path by source line") {
            table = Some(BTreeSet::new());
        }
    }
    out
}

/// What says how the proof was found: how long it took, which is never the same, and units of work.
fn without_effort(text: &str) -> String {
    let effort = |l: &&str| {
        ["\"micros\"", "\"units\""]
            .iter()
            .any(|name| l.trim_start().starts_with(name))
    };
    let keep = text.lines().filter(|l| !effort(l));
    keep.map(|l| format!("{l}\n")).collect()
}

/// What is kept of an output.
type Keep = fn(&str) -> String;

/// Holds what `gnomon ARGS OBJECT` prints against a file. Gives what differs.
fn compare(name: &str, args: &[&str], object: &Path, status: i32, keep: Keep) -> Result<(), String> {
    let run = gnomon(args, object);
    let text = keep(&String::from_utf8_lossy(&run.stdout));
    if run.status.code() != Some(status) {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(format!(
            "{name}: status {:?}, not {status}\n{text}{said}",
            run.status.code()
        ));
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

/// The files are of one compiler's code; with another there is nothing to compare.
fn is_their_compiler() -> bool {
    match clang_version() {
        Some(v) if v.starts_with(CLANG) => true,
        other => {
            println!("skipped: the files are of clang {CLANG}x, this is {other:?}");
            assert!(
                std::env::var_os("CI").is_none_or(|v| v != "true"),
                "CI has clang {CLANG}x"
            );
            false
        }
    }
}

#[test]
fn probes_are_reported_as_they_were() {
    if !is_their_compiler() {
        return;
    }
    let probes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe-vm/probes");
    // too_long is correct: what refuses it is a budget.
    let status = |name: &str| i32::from(matches!(name, "outside_value" | "unbounded_loop"));
    let mut wrong = Vec::new();
    for file in c_files(&probes).into_iter().chain(c_files(&probes.join("refused"))) {
        let name = name_of(&file);
        let Some(object) = compile_file(&file) else { return };
        wrong.extend(compare(&name, &["check"], &object, status(&name), stable).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const LINUX: &[&str] = &["check", "--env", "linux"];
const UNPRIVILEGED: &[&str] = &["check", "--env", "linux", "--unprivileged"];
const ONE_LINUX: &[&str] = &["check", "--env", "linux", "--program", "xdp_checksum"];
const ONE_LINUX_JSON: &[&str] = &["check", "--json", "--env", "linux", "--program", "xdp_checksum"];
const ONE_BAD_JSON: &[&str] = &["check", "--json", "--program", "off_by_one"];
const RUN: &[&str] = &["check", "--run", "--set", "time_ns=5000", "--set", "channel=3"];

/// Name of the file, of the object, arguments, status, and what is kept. Times of programs for Linux are of eBPF
/// instructions, so all of their report stays the same.
const REPORTS: &[(&str, &str, &[&str], i32, Keep)] = &[
    ("bad", "bad", &["check"], 1, stable),
    ("bad_values", "bad_values", &["check"], 1, stable),
    ("bad_shape", "bad_shape", &["check"], 1, stable),
    ("bad_linux", "bad_linux", UNPRIVILEGED, 1, str::to_string),
    ("linux_bad", "linux_bad", LINUX, 1, str::to_string),
    ("everything", "everything", &["check"], 0, stable),
    ("accepted", "linux", ONE_LINUX, 0, str::to_string),
    ("accepted.json", "linux", ONE_LINUX_JSON, 0, without_effort),
    ("refused.json", "bad", ONE_BAD_JSON, 1, without_effort),
];

#[test]
fn programs_are_reported_as_they_were() {
    if !is_their_compiler() {
        return;
    }
    let mut wrong = Vec::new();
    for (name, object, args, status, keep) in REPORTS {
        let Some(object) = compile(object) else { return };
        wrong.extend(compare(name, args, &object, *status, *keep).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reasons that no object has, and what stands in for a report of them.
const WITHOUT_REPORT: &[(&str, &str)] = &[
    ("empty", "the loader takes a section without code for no program"),
    ("unknown_map", "the loader numbers the maps"),
    ("bad_callback", "the loader lets a callback be a function only"),
    (
        "bad_direct_value",
        "the loader takes addresses inside of variables only",
    ),
    (
        "no_space",
        "verifier/tests/checks.rs: the loader's and the image's limits come first",
    ),
    (
        "unreachable",
        "only rows of Linux's self-tests, which hold its older verifier's rule",
    ),
    (
        "too_much_effort",
        "verifier/tests/checks.rs: what ends here first depends on limits of effort",
    ),
    ("internal", "a defect of the verifier"),
];

/// Every reason there is, as the verifier's source names it.
fn reasons() -> BTreeSet<String> {
    let source = include_str!("../../verifier/src/reject.rs");
    let (_, rest) = source.split_once("pub enum Why {").expect("the reasons");
    let (body, _) = rest.split_once("\n}").expect("their end");
    let variants = body.lines().filter_map(|l| l.strip_prefix("    "));
    let named = variants.filter(|l| l.starts_with(|c: char| c.is_ascii_uppercase()));
    let snake = |l: &str| {
        let name: String = l.chars().take_while(char::is_ascii_alphanumeric).collect();
        let mut out = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.extend(c.to_lowercase());
        }
        out
    };
    named.map(snake).collect()
}

/// A program and its report for every reason, or a reason why there is none.
#[test]
fn every_reason_has_a_report() {
    let mut shown = BTreeSet::new();
    let all = std::fs::read_dir(golden("x").parent().expect("a folder")).expect("the files");
    for file in all.filter_map(|entry| Some(entry.ok()?.path())) {
        let text = std::fs::read_to_string(&file).expect("a file of text");
        let codes = text.lines().filter_map(|l| l.strip_prefix("refused::"));
        shown.extend(codes.map(|c| c.trim().to_string()));
    }
    let excused: BTreeSet<String> = WITHOUT_REPORT.iter().map(|(name, _)| name.to_string()).collect();
    let missing: Vec<String> = reasons()
        .difference(&shown)
        .filter(|r| !excused.contains(*r))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "no report of: {missing:?}");
    let idle: Vec<&String> = excused
        .iter()
        .filter(|r| shown.contains(*r) || !reasons().contains(*r))
        .collect();
    assert!(idle.is_empty(), "these have reports, or are no reasons: {idle:?}");
}

/// Programs run on the host: two that share a map, one with a ring buffer, and what cannot be run.
#[test]
fn runs_show_what_maps_hold() {
    if !is_their_compiler() {
        return;
    }
    let probes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe-vm/probes");
    let mut wrong = Vec::new();
    for (name, args) in [
        ("ipc", RUN),
        ("record", &["check", "--run", "--context", "e803000000000000"][..]),
        (
            "exits",
            &["check", "--run", "--json", "--set", "path=3", "--set", "spent=200"],
        ),
    ] {
        let Some(object) = compile_file(&probes.join(format!("{name}.bpf.c"))) else {
            return;
        };
        let keep: Keep = if args.contains(&"--json") {
            run_of_json
        } else {
            run_of_text
        };
        wrong.extend(compare(&format!("run_{name}"), args, &object, 0, keep).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let Some(object) = compile("linux") else { return };
    for (args, words) in [
        (
            &["check", "--run", "--env", "linux", "--program", "xdp_checksum"][..],
            "runs Gnomon's probes",
        ),
        (
            &["check", "--run", "--context", "abc", "--env", "linux"],
            "a byte has two",
        ),
        (&["check", "--set", "path=1", "--env", "linux"], "--run"),
    ] {
        let run = gnomon(args, &object);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

/// The part of a report that is of the runs.
fn run_of_text(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        inside = (inside || line.starts_with("  ran once")) && !line.is_empty();
        inside
    });
    kept.map(|l| format!("{}\n", l.trim_end())).collect()
}

fn run_of_json(text: &str) -> String {
    let rows: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let runs: Vec<&serde_json::Value> = rows.as_array().expect("rows").iter().map(|r| &r["run"]).collect();
    serde_json::to_string_pretty(&runs).expect("JSON") + "\n"
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
fn what_no_hypervisor_takes_is_said() {
    let Some(object) = compile("unloadable") else { return };
    for (program, words) in [
        ("wide_value", "map `wide`: values of 1025 bytes; 1 to 1024 are taken"),
        ("seventy_functions", "it has 71 functions; a hypervisor takes 64"),
    ] {
        let run = gnomon(&["check", "--program", program], &object);
        let said = String::from_utf8_lossy(&run.stderr).replace("\n  │", "");
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
