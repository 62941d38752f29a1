//! What the demo shows, for people and for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use super::watch::Window;
use crate::client::path_name;
use crate::render::admission::RefusalRow;
use crate::render::histogram::Histogram;
use crate::render::tables::{self, PathRow};

/// All of it. The field names are the JSON's.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Every path: count, own time, probes, total, observed, budget, slack, basis.
    pub paths: Vec<PathRow>,
    /// What was refused and why.
    pub refusals: Vec<RefusalRow>,
    /// Histograms that the probes made.
    pub histograms: Vec<Shown>,
    /// The control loop's release jitter without and with probes.
    pub jitter: Vec<Jitter>,
    /// Table of the programs.
    #[serde(skip)]
    pub probes: String,
    /// The refusals as diagnostics.
    #[serde(skip)]
    pub reports: Vec<String>,
}

/// One histogram.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Map, and the group in it.
    pub name: String,
    /// Unit of the buckets.
    pub unit: String,
    /// Least number of a bucket, and count.
    pub buckets: Vec<(u64, u64)>,
    #[serde(skip)]
    drawn: String,
    #[serde(skip)]
    count: u64,
}

/// Release jitter over some windows, ns.
#[derive(Debug, Serialize)]
pub struct Jitter {
    /// Whose.
    pub vm: String,
    /// `none` or `all`.
    pub probes: &'static str,
    /// Least.
    pub min: u64,
    /// Mean.
    pub mean: f64,
    /// Most.
    pub max: u64,
    #[serde(skip)]
    n: u64,
}

/// Histograms of one map that are drawn; the rest is in the JSON.
const DRAWN_MAX: usize = 3;
/// Paths that a system of this size must have seen.
const PATHS_SEEN_MIN: usize = 6;
/// Refusals that the demo provokes: no bound, no safety, no budget.
const REFUSALS: usize = 3;

impl Jitter {
    /// Over windows; `None` if there are none.
    pub fn over(probes: &'static str, windows: &[Window]) -> Option<Jitter> {
        let first = windows.first()?;
        let n: u64 = windows.iter().map(|w| w.n).sum();
        let sum: f64 = windows.iter().map(|w| w.mean * w.n as f64).sum();
        Some(Jitter {
            vm: first.vm.clone(),
            probes,
            min: windows.iter().map(|w| w.min).min()?,
            mean: sum / n.max(1) as f64,
            max: windows.iter().map(|w| w.max).max()?,
            n,
        })
    }
}

impl Shown {
    /// The histograms of a map. Its name is what, unit, `hist`: `ipc_ns_hist`; the groups of `exit…` are paths.
    pub fn of_map(name: &str, groups: &BTreeMap<Option<u32>, Histogram>) -> Vec<Shown> {
        let words: Vec<&str> = name.split('_').collect();
        let unit = match words.as_slice() {
            [.., unit, _hist] if words.len() > 2 => (*unit).to_owned(),
            _ => "value".to_owned(),
        };
        let label = |group: &Option<u32>| match group {
            None => name.to_owned(),
            Some(g) if name.starts_with("exit") => format!("{name}[{}]", path_name(u64::from(*g))),
            Some(g) => format!("{name}[{g}]"),
        };
        let mut shown: Vec<Shown> = groups
            .iter()
            .map(|(group, h)| Shown {
                name: label(group),
                unit: unit.clone(),
                buckets: h.pairs(),
                drawn: h.draw(&unit),
                count: h.count(),
            })
            .filter(|s| s.count > 0)
            .collect();
        shown.sort_by_key(|s| std::cmp::Reverse(s.count));
        shown
    }
}

impl Output {
    /// The screen.
    pub fn print(&self) {
        println!(
            "\nProbes: proven safe, compiled, admitted against every budget, attached\n{}",
            self.probes
        );
        println!(
            "\nExits by path, in retired instructions at EL2\n{}",
            tables::exits(&self.paths)
        );
        let mut drawn: BTreeMap<&str, usize> = BTreeMap::new();
        for shown in &self.histograms {
            let map = shown.name.split('[').next().unwrap_or_default();
            let n = drawn.entry(map).or_default();
            *n += 1;
            if *n <= DRAWN_MAX {
                println!("\n{}\n{}", shown.name, shown.drawn);
            }
        }
        println!("\nRelease jitter of the 1 kHz control loop, ns");
        for j in &self.jitter {
            let with = if j.probes == "none" {
                "without probes"
            } else {
                "with probes"
            };
            println!(
                "  {:<15} {} releases: min {} mean {:.0} max {}",
                with, j.n, j.min, j.mean, j.max
            );
        }
        println!(
            "\nBudgets: path, its own time, its probes, observed beside the total\n{}",
            tables::budgets(&self.paths)
        );
        println!("\nRefused");
        for report in &self.reports {
            println!("{report}");
        }
    }

    /// What a working system would not have shown; empty if all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let seen = self.paths.iter().filter(|p| p.count > 0).count();
        if seen < PATHS_SEEN_MIN {
            faults.push(format!("only {seen} paths were taken; {PATHS_SEEN_MIN} are expected"));
        }
        for path in self.paths.iter().filter(|p| p.is_above()) {
            faults.push(format!(
                "{}: observed {} above its total {}",
                path.name, path.observed, path.total
            ));
        }
        if !self.histograms.iter().any(|h| h.name.starts_with("ipc")) {
            faults.push("no IPC was measured".to_owned());
        }
        if self.refusals.len() != REFUSALS {
            faults.push(format!(
                "{} programs were refused; {REFUSALS} should be",
                self.refusals.len()
            ));
        }
        for refusal in self.refusals.iter().filter(|r| r.line.is_none()) {
            faults.push(format!("the refusal of {} names no source line", refusal.program));
        }
        if self.jitter.len() != 2 {
            faults.push("the control loop was not heard without and with probes".to_owned());
        }
        faults
    }
}
