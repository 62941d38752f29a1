//! The Linux 6.1 verifier self-tests against the verdict for unprivileged loaders. Every disagreement is listed in
//! `data/linux_disagreements.txt` with its reason; a new one, or one that is gone, fails.

mod common;
use common::{linux_env, linux_program, rows, verify};
use std::collections::BTreeMap;

/// Group and number within it → our verdict and the reason.
fn listed() -> BTreeMap<String, (String, String)> {
    let text = include_str!("data/linux_disagreements.txt");
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    lines
        .map(|l| {
            let mut parts = l.splitn(3, " | ").map(str::trim);
            let mut next = || parts.next().expect("test | verdict | reason").to_string();
            let (key, verdict, reason) = (next(), next(), next());
            assert!(!reason.is_empty(), "{key} needs a reason");
            (key, (verdict, reason))
        })
        .collect()
}

#[test]
fn agrees_with_linux() {
    let listed = listed();
    let mut seen = Vec::new();
    let (mut accepts, mut accepted, mut unsafe_accepts, mut slowest) = (0, 0, Vec::new(), 0);
    let mut per_insn = Vec::new();
    for file in ["linux61_verifier_pure.jsonl", "linux61_verifier_map.jsonl"] {
        let name = file.trim_start_matches("linux61_verifier_").trim_end_matches(".jsonl");
        for row in rows(file) {
            let (text, maps) = linux_program(&row);
            let start = std::time::Instant::now();
            let got = verify(&text, &maps, linux_env(&row));
            let took = start.elapsed();
            slowest = slowest.max(took.as_micros());
            per_insn.push(took.as_nanos() / text.len() as u128);
            let (linux, ours) = (row.verdict_unpriv == "ACCEPT", got.is_ok());
            accepts += u32::from(linux);
            accepted += u32::from(linux && ours);
            if linux == ours {
                continue;
            }
            let key = format!("{name}/{}/{}", row.group, row.idx);
            let verdict = if ours { "ACCEPT" } else { "REJECT" };
            match listed.get(&key) {
                Some((v, _)) if v == verdict => seen.push(key),
                _ => panic!("{key} ({}) is {verdict} but not listed: {got:?}", row.descr),
            }
            // Linux refuses it even to root: an accept must be explained as safe.
            if ours && row.verdict == "REJECT" {
                unsafe_accepts.push(row.descr.clone());
            }
        }
    }
    if accepts == 0 {
        return;
    }
    for key in listed.keys() {
        assert!(seen.contains(key), "{key} is listed but agrees now");
    }
    per_insn.sort_unstable();
    let median = per_insn[per_insn.len() / 2];
    println!(
        "{accepted} of {accepts} accepts accepted; {} disagreements; slowest {slowest} us",
        seen.len()
    );
    println!("median {median} ns per instruction, allocation of the memory included");
    println!("accepted although Linux refuses root: {unsafe_accepts:?}");
    assert!(accepted * 100 >= accepts * 97, "{accepted} of {accepts}");
}
