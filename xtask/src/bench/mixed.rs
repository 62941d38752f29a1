//! `bench mixed`: how late two control loops are released beside Linux under load, against what the system's budgets allow.
//!
//! A loop is released late by what EL2 does in between: the stay that has just begun (any), the timers that take the CPU back (its own, and
//! one of each vCPU that may be due with it), and its timer's interrupt. Each lasts at most its path's budget, probes included: that is what
//! budgets are for. What the guest itself executes from its handler to its task's reading is the same each time.

use crate::failure::{Failure, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Instructions of a loop's guest from the interrupt to the reading: the executor, the queue of timers, and the count's 16 ns.
const GUEST: u64 = 400;
/// vCPUs beside a loop whose timers may be due with its own: those of Linux, and the observer.
const BESIDE: &[(&str, u64)] = &[("shared", 3), ("own", 0)];
/// Name and lines of the loop's first window, whose first release follows its boot, are left out.
const WARM_UP: u64 = 1;

/// What a window of releases says of itself.
#[derive(Debug, Deserialize)]
struct Window {
    window: u64,
    start_ns: u64,
    end_ns: u64,
    n: u64,
    max: u64,
    missed: u64,
}

/// When probes were put on every entry and exit.
#[derive(Debug, Deserialize)]
struct Probes {
    from_ns: u64,
}

/// What is said with `word` by VM `vm`.
fn said<'a, T: Deserialize<'a>>(out: &'a str, vm: &str, word: &str) -> Result<Vec<T>> {
    let lines = out.lines().filter_map(|line| line.split_once('|'));
    let mine = lines.filter(|(name, _)| name.trim() == vm);
    mine.filter_map(|(_, text)| text.trim().strip_prefix(word))
        .map(|json| serde_json::from_str(json).map_err(|error| Failure::Said(format!("`{json}`: {error}"))))
        .collect()
}

/// `[budget]` of a manifest: path and most time.
pub fn budgets(manifest: &str) -> BTreeMap<String, u64> {
    let table = manifest.split_once("[budget]").map_or("", |(_, rest)| rest);
    let row = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let number = value.trim().replace('_', "").parse().ok()?;
        Some((name.trim().trim_matches('"').to_string(), number))
    };
    table.lines().filter_map(row).collect()
}

/// The most that EL2 and the guest itself may hold back a release of a loop beside which `beside` other timers can be due.
fn bound(budgets: &BTreeMap<String, u64>, beside: u64) -> u64 {
    let of = |path: &str| budgets.get(path).copied().unwrap_or(0);
    let longest = budgets.values().copied().max().unwrap_or(0);
    longest + (1 + beside) * of("irq.timer") + of("irq.vtimer") + GUEST
}

/// Rows of the bench from what the system printed, to be read by [`super::parse`].
///
/// # Errors
/// A loop said nothing before or after the probes came; Linux was not under load.
pub fn rows(out: &str, manifest: &str) -> Result<String> {
    let budgets = budgets(manifest);
    let from = said::<Probes>(out, "watch", "@probes ")?
        .first()
        .map(|probes| probes.from_ns)
        .ok_or_else(|| Failure::Said(format!("no probe came:\n{out}")))?;
    if !out.contains("load: ") || out.contains("FAIL ") {
        return Err(Failure::Said(format!(
            "Linux was not under load, or a guest failed:\n{out}"
        )));
    }
    let mut rows = String::new();
    for (vm, beside) in BESIDE {
        let windows = said::<Window>(out, vm, "@jitter ")?;
        let limit = bound(&budgets, *beside);
        let before = windows.iter().filter(|w| w.window >= WARM_UP && w.end_ns <= from);
        let after = windows.iter().filter(|w| w.start_ns > from);
        let sides: [(&str, Vec<&Window>); 2] = [("", before.collect()), ("+counting", after.collect())];
        for (suffix, windows) in sides {
            let releases: u64 = windows.iter().map(|w| w.n).sum();
            if releases == 0 {
                return Err(Failure::Said(format!("{vm}: no release (`{suffix}`):\n{out}")));
            }
            let max = windows.iter().map(|w| w.max).max().unwrap_or(0);
            let missed: u64 = windows.iter().map(|w| w.missed).sum();
            let mut row = |what: &str, value: u64, unit: &str, goal: u64, better: &str| {
                let _ = writeln!(
                    rows,
                    "@row {{\"name\":\"mixed.{vm}.{what}{suffix}\",\"value\":{value},\"unit\":\"{unit}\",\"goal\":{goal},\
                     \"better\":\"{better}\"}}"
                );
            };
            row("latest_release", max, "ns", limit, "lower");
            row("deadlines_missed", missed, "releases", 0, "lower");
            row("releases", releases, "releases", 1, "higher");
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{GUEST, budgets, rows};

    const MANIFEST: &str = "[system]\ncpus = 2\n[budget]\n\"wfi\" = 4_000\n\"irq.timer\" = 30\n\"irq.vtimer\" = 2\n";
    const OUT: &str = "shared | @jitter {\"window\":1,\"start_ns\":5,\"end_ns\":9,\"n\":3,\"max\":800,\"missed\":0}\n\
        own | @jitter {\"window\":1,\"start_ns\":5,\"end_ns\":9,\"n\":3,\"max\":400,\"missed\":0}\n\
        watch | @probes {\"from_ns\":10}\n\
        shared | @jitter {\"window\":2,\"start_ns\":15,\"end_ns\":19,\"n\":3,\"max\":900,\"missed\":0}\n\
        own | @jitter {\"window\":2,\"start_ns\":15,\"end_ns\":19,\"n\":3,\"max\":500,\"missed\":0}\n\
        linux | load: 7 rounds, faults: 0\n";

    #[test]
    fn releases_stand_beside_what_budgets_allow() {
        let rows = rows(OUT, MANIFEST).expect("rows");
        let shared = format!(
            "\"mixed.shared.latest_release\",\"value\":800,\"unit\":\"ns\",\"goal\":{}",
            4122 + GUEST
        );
        assert!(rows.contains(&shared), "{rows}");
        let own = format!(
            "\"mixed.own.latest_release+counting\",\"value\":500,\"unit\":\"ns\",\"goal\":{}",
            4032 + GUEST
        );
        assert!(rows.contains(&own), "{rows}");
    }

    #[test]
    fn a_run_without_load_or_probes_is_no_run() {
        assert!(rows(&OUT.replace("load: ", ""), MANIFEST).is_err());
        assert!(rows(&OUT.replace("@probes", "@note"), MANIFEST).is_err());
        assert!(budgets("[budget]\n\"a\" = x\n").is_empty());
    }
}
