//! The Linux 6.1 verifier self-tests against both of its verdicts, for loaders without and with privileges. Every
//! disagreement is listed in `data/linux_disagreements.txt` with its reason; a new one, or one that is gone, fails, and
//! so does any accept that Linux refuses.

mod common;
use common::{Row, linux_env, linux_env_for, linux_program, rows, verify};
use std::collections::BTreeMap;
use verifier::Env;

/// File, group and number within it → our verdict and the reason, for loaders of this kind.
fn listed(who: &str) -> BTreeMap<String, (String, String)> {
    let text = include_str!("data/linux_disagreements.txt");
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    lines
        .map(|l| {
            let mut parts = l.splitn(4, " | ").map(str::trim);
            let mut next = || parts.next().expect("who | test | verdict | reason").to_string();
            let (whose, key, verdict, reason) = (next(), next(), next(), next());
            assert!(!reason.is_empty(), "{key} needs a reason");
            (whose, key, (verdict, reason))
        })
        .filter(|(whose, ..)| whose == who || whose == "both")
        .map(|(_, key, rest)| (key, rest))
        .collect()
}

/// Accepts of Linux that are accepted, all of its accepts, and what differs: place, our verdict, our answer.
struct Outcome {
    accepted: usize,
    accepts: usize,
    differ: Vec<(String, &'static str, String)>,
    nanos: Vec<u128>,
    slowest: u128,
}

fn compare(env: impl Fn(&Row) -> Env<'static>, linux: impl Fn(&Row) -> bool) -> Outcome {
    let mut out = Outcome {
        accepted: 0,
        accepts: 0,
        differ: Vec::new(),
        nanos: Vec::new(),
        slowest: 0,
    };
    for file in ["linux61_verifier_pure.jsonl", "linux61_verifier_map.jsonl"] {
        let name = file.trim_start_matches("linux61_verifier_").trim_end_matches(".jsonl");
        for row in rows(file) {
            let (text, maps) = linux_program(&row);
            let start = std::time::Instant::now();
            let got = verify(&text, &maps, env(&row));
            let took = start.elapsed();
            out.slowest = out.slowest.max(took.as_micros());
            out.nanos.push(took.as_nanos() / text.len() as u128);
            let (theirs, ours) = (linux(&row), got.is_ok());
            out.accepts += usize::from(theirs);
            out.accepted += usize::from(theirs && ours);
            if theirs != ours {
                let key = format!("{name}/{}/{}", row.group, row.idx);
                let verdict = if ours { "ACCEPT" } else { "REJECT" };
                let why = got.as_ref().err().map(|r| (r.pc, r.why));
                out.differ.push((key, verdict, format!("{}: {why:?}", row.descr)));
            }
        }
    }
    out.nanos.sort_unstable();
    out
}

fn check(who: &str, out: &Outcome) {
    if out.accepts == 0 {
        return;
    }
    let listed = listed(who);
    let new = out
        .differ
        .iter()
        .filter(|d| listed.get(&d.0).is_none_or(|l| l.0 != d.1));
    let new: Vec<_> = new.collect();
    assert!(new.is_empty(), "{who}: not listed: {new:#?}");
    let gone: Vec<_> = listed
        .keys()
        .filter(|k| !out.differ.iter().any(|d| d.0 == **k))
        .collect();
    assert!(gone.is_empty(), "{who}: listed, but agree now: {gone:?}");
    let false_accepts = out.differ.iter().filter(|d| d.1 == "ACCEPT").count();
    let median = out.nanos[out.nanos.len() / 2];
    println!(
        "{who}: {} of {} accepts accepted, {false_accepts} accepts that Linux refuses; median {median} ns per \
         instruction with allocation, slowest {} us",
        out.accepted, out.accepts, out.slowest
    );
    assert!(out.accepted * 100 >= out.accepts * 97, "{who}");
}

#[test]
fn agrees_with_linux_without_privileges() {
    let out = compare(linux_env, |r| r.verdict_unpriv == "ACCEPT");
    check("unprivileged", &out);
    let false_accepts: Vec<_> = out.differ.iter().filter(|d| d.1 == "ACCEPT").collect();
    assert!(
        false_accepts.is_empty(),
        "accepted, but refused by Linux: {false_accepts:#?}"
    );
}

#[test]
fn agrees_with_linux_with_privileges() {
    check(
        "privileged",
        &compare(|r| linux_env_for(r, false), |r| r.verdict == "ACCEPT"),
    );
}
