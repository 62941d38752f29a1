//! Tables of a running system: paths and their budgets, virtual machines, pools, loaded programs.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Color, Table};
use hyp_abi::record::{PathRecord, Pool, PoolRecord, VmRecord};
use serde::Serialize;

use super::accepted::grouped;
use crate::client::{Loaded, path_name, text};

/// `budget` of a path that has none.
const NO_BUDGET: u64 = u64::MAX;

/// One path, worked out.
#[derive(Clone, Debug, Serialize)]
pub struct PathRow {
    /// Its name.
    pub name: String,
    /// Exits since boot or reset.
    pub count: u64,
    /// Per cent of all exits.
    pub share: f64,
    /// Least time of an exit; 0 while there is none.
    pub min: u64,
    /// Mean time of an exit.
    pub mean: f64,
    /// Most time of an exit.
    pub observed: u64,
    /// The path itself, without probes.
    pub own: u64,
    /// What its attached probes may add.
    pub probes: u64,
    /// The largest that was since boot or reset: what `observed` may hold.
    pub probes_most: u64,
    /// `own` and `probes`.
    pub total: u64,
    /// What the manifest allows.
    pub budget: Option<u64>,
    /// What is left of that.
    pub slack: Option<i64>,
    /// Where `own` comes from: `proven`, or `observed`.
    pub basis: &'static str,
}

impl PathRow {
    /// An exit took longer than its bound: a defect of Gnomon's.
    pub fn is_broken(&self) -> bool {
        self.basis == "proven" && self.is_above()
    }

    /// An exit took longer than the path and the probes that were on it may take.
    pub fn is_above(&self) -> bool {
        self.count > 0 && self.observed > self.own.saturating_add(self.probes_most)
    }
}

/// The paths of a system, worked out.
pub fn path_rows(records: &[PathRecord]) -> Vec<PathRow> {
    let all: u64 = records.iter().map(|r| r.count).sum();
    let row = |r: &PathRecord| {
        let total = r.own.saturating_add(r.probes);
        let budget = Some(r.budget).filter(|b| *b != NO_BUDGET);
        PathRow {
            name: path_name(r.path.into()),
            count: r.count,
            share: r.count as f64 * 100.0 / all.max(1) as f64,
            min: if r.count == 0 { 0 } else { r.min },
            mean: r.sum as f64 / r.count.max(1) as f64,
            observed: r.max,
            own: r.own,
            probes: r.probes,
            probes_most: r.probes_most,
            total,
            budget,
            slack: budget.map(|b| b as i64 - total.min(i64::MAX as u64) as i64),
            basis: if r.basis == 1 { "proven" } else { "observed" },
        }
    };
    records.iter().map(row).collect()
}

pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(head.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Exits by path, most first: what `perf kvm stat` shows, in units of path time.
pub fn exits(rows: &[PathRow]) -> Table {
    let mut rows: Vec<&PathRow> = rows.iter().filter(|r| r.count > 0).collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then(a.name.cmp(&b.name)));
    let mut table = table(&["path", "exits", "share", "min", "mean", "max"]);
    for r in rows {
        table.add_row([
            r.name.clone(),
            grouped(r.count),
            format!("{:.2} %", r.share),
            grouped(r.min),
            format!("{:.1}", r.mean),
            grouped(r.observed),
        ]);
    }
    table
}

/// Budgets by path: what it takes itself, what its probes add, what was observed, what is left.
pub fn budgets(rows: &[PathRow]) -> Table {
    let mut table = table(&["path", "own", "probes", "total", "observed", "budget", "slack", "basis"]);
    for r in rows
        .iter()
        .filter(|r| r.count > 0 || r.budget.is_some() || r.probes > 0)
    {
        let optional = |n: Option<String>| n.unwrap_or_else(|| "–".into());
        let observed = match (r.count, r.is_broken()) {
            (0, _) => Cell::new("–"),
            (_, true) => Cell::new(format!("{} above its bound!", grouped(r.observed))).fg(Color::Red),
            (_, false) => Cell::new(grouped(r.observed)),
        };
        table.add_row(vec![
            Cell::new(&r.name),
            Cell::new(grouped(r.own)),
            Cell::new(grouped(r.probes)),
            Cell::new(grouped(r.total)),
            observed,
            Cell::new(optional(r.budget.map(grouped))),
            Cell::new(optional(r.slack.map(signed))),
            Cell::new(r.basis),
        ]);
    }
    table
}

fn signed(n: i64) -> String {
    let sign = if n < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(n.unsigned_abs()))
}

/// A virtual machine, worked out.
#[derive(Clone, Debug, Serialize)]
pub struct VmRow {
    /// Its number.
    pub vm: u32,
    /// Its name.
    pub name: String,
    /// `running`, `blocked`, `off`, `faulted`.
    pub state: &'static str,
    /// Exits of its vCPUs.
    pub exits: u64,
    /// Virtual time its vCPUs ran, in nanoseconds.
    pub run_ns: u64,
}

/// The virtual machines of a system, worked out.
pub fn vm_rows(records: &[VmRecord]) -> Vec<VmRow> {
    let state = |n| match n {
        0 => "running",
        1 => "blocked",
        2 => "off",
        3 => "faulted",
        _ => "?",
    };
    let row = |r: &VmRecord| VmRow {
        vm: r.vm,
        name: text(&r.name),
        state: state(r.state),
        exits: r.exits,
        run_ns: r.run_ns,
    };
    records.iter().map(row).collect()
}

/// Virtual machines.
pub fn vms(rows: &[VmRow]) -> Table {
    let mut table = table(&["vm", "id", "state", "exits", "run"]);
    for r in rows {
        let run = format!("{:.3} ms", r.run_ns as f64 / 1e6);
        table.add_row([r.name.clone(), r.vm.to_string(), r.state.into(), grouped(r.exits), run]);
    }
    table
}

/// Fixed pools of the hypervisor.
pub fn pools(records: &[PoolRecord]) -> Table {
    let mut table = table(&["pool", "used", "peak", "size"]);
    for r in records {
        let name = Pool::ALL
            .into_iter()
            .find(|p| *p as u32 == r.pool)
            .map_or("?", Pool::name);
        table.add_row([name.to_string(), grouped(r.used), grouped(r.peak), grouped(r.size)]);
    }
    table
}

/// Loaded programs, with their attachments.
pub fn programs(loaded: &[(Loaded, Option<u64>)]) -> Table {
    let mut table = table(&[
        "program",
        "point",
        "handle",
        "attachment",
        "instructions ≤",
        "time ≤",
        "code",
    ]);
    for (p, attachment) in loaded {
        table.add_row([
            p.name.clone(),
            p.point.clone(),
            format!("{:#x}", p.handle),
            attachment.map_or_else(|| "–".into(), |a| format!("{a:#x}")),
            grouped(p.reply.insn_bound),
            grouped(p.reply.time_bound),
            format!("{} B", grouped(p.reply.code_bytes)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_above_its_bound_is_a_defect() {
        let record = |max, basis, probes| PathRecord {
            path: 2,
            basis,
            count: 3,
            sum: 30,
            min: 5,
            max,
            own: 10,
            probes,
            probes_most: 4,
            budget: 20,
        };
        let rows = path_rows(&[record(14, 1, 4), record(15, 1, 4), record(15, 0, 4), record(14, 1, 0)]);
        let broken: Vec<bool> = rows.iter().map(PathRow::is_broken).collect();
        assert_eq!(broken, [false, true, false, false], "a probe that has gone was there");
        assert_eq!((rows[0].total, rows[0].slack, rows[0].mean), (14, Some(6), 10.0));
        assert!(budgets(&rows).to_string().contains("15 above its bound!"));
    }
}
