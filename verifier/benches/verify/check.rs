//! Through the command, as people verify: the project's probes, and generated programs in a batch.

use super::generated::large;
use super::row;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Times by instruction at 50k over that at 10k slots: near-linear.
const GROWTH_MOST: f64 = 1.5;

/// What `gnomon ARGS` prints.
fn gnomon(dist: &Path, args: &[&str]) -> String {
    let run = Command::new(dist.join("gnomon")).args(args).output();
    let run = run.unwrap_or_else(|e| panic!("{}: {e}", dist.display()));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code().is_some_and(|c| c < 2), "gnomon {args:?}: {said}");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

pub(super) fn run() {
    let Some(dist) = std::env::var_os("GNOMON_DIST")
        .map(PathBuf::from)
        .filter(|d| d.join("gnomon").is_file())
    else {
        println!("skipped: GNOMON_DIST names no folder with the command");
        return;
    };
    probes(&dist);
    let file = std::env::temp_dir().join(format!("gnomon-bench-{}.jsonl", std::process::id()));
    let mut per_insn = Vec::new();
    for slots in [1_000, 10_000, 50_000] {
        let text = large(slots);
        let hex: String = text
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .map(|b| format!("{b:02x}"))
            .collect();
        let program = format!("{{\"name\":\"{slots}\",\"insns\":\"{hex}\"}}\n");
        std::fs::write(&file, program).expect("a temporary file");
        // Gnomon takes 4,096 slots; Linux with privileges a million, and a kprobe's context has what the programs read.
        let name = file.to_string_lossy();
        let args = [
            "check",
            "--env",
            "linux",
            "--privileged",
            "--type",
            "kprobe",
            "--batch",
            &name,
        ];
        let micros = (0..3).map(|_| verdict(&gnomon(&dist, &args))).fold(f64::MAX, f64::min);
        row(
            &format!("verify.check.{slots}"),
            micros / text.len() as f64,
            "us/insn",
            None,
        );
        per_insn.push(micros / text.len() as f64);
    }
    let _ = std::fs::remove_file(&file);
    row(
        "verify.check.growth_10k_to_50k",
        per_insn[2] / per_insn[1],
        "ratio",
        Some(GROWTH_MOST),
    );
}

/// The time of a batch's only row, which must be accepted.
fn verdict(out: &str) -> f64 {
    let row: serde_json::Value = serde_json::from_str(out).expect("one row");
    assert_eq!(row["verdict"], "ACCEPT", "{row}");
    row["micros"].as_f64().expect("a time")
}

fn probes(dist: &Path) {
    let folders = ["probes", "probes/refused"].map(|f| std::fs::read_dir(dist.join(f)));
    let all = folders.into_iter().flatten().flatten();
    let (mut count, mut slowest, mut per_insn) = (0, 0f64, Vec::new());
    for file in all
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "o"))
    {
        let out = gnomon(dist, &["check", "--json", &file.to_string_lossy()]);
        let rows: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        for program in rows.as_array().expect("rows") {
            let micros = program["micros"].as_f64().expect("a time");
            let slots = program["slots"].as_f64().expect("a count");
            per_insn.push(micros / slots);
            slowest = slowest.max(micros / 1000.0);
            count += 1;
        }
    }
    if per_insn.is_empty() {
        println!("skipped: no probes in {}", dist.display());
        return;
    }
    per_insn.sort_by(f64::total_cmp);
    println!("probes: {count} programs, by the command as tests build it (with checks, A64 cost model)");
    row("verify.probes.median", per_insn[per_insn.len() / 2], "us/insn", None);
    row("verify.probes.slowest", slowest, "ms", Some(50.0));
}
