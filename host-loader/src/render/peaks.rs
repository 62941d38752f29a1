//! The longest exit of each path, and what was there.

use comfy_table::Table;
use hyp_abi::PathId;
use hyp_abi::record::PathPeak;
use probe_vm::points::PointId;
use serde::Serialize;

use super::accepted::grouped;
use super::tables::{VmRow, table};
use crate::client::path_name;
use crate::console::syndrome;

/// VM of an exit that began while the CPU slept.
const NOBODY: u32 = u32::MAX;

/// One path's longest exit.
#[derive(Clone, Debug, Serialize)]
pub struct PeakRow {
    /// Path.
    pub path: String,
    /// Its time.
    pub length: u64,
    /// When it ended, ns.
    pub time_ns: u64,
    /// VM that left, unless the CPU slept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Its vCPU.
    pub vcpu: u32,
    /// Why it left.
    pub cause: String,
    /// Where it goes on.
    pub pc: u64,
    /// Its x0–x7 afterwards.
    pub x: [u64; 8],
    /// Points that had probes.
    pub points: Vec<&'static str>,
}

/// The peaks in words; `vms` names the VMs.
pub fn rows(peaks: &[PathPeak], vms: &[VmRow]) -> Vec<PeakRow> {
    let name = |id: u32| {
        vms.iter()
            .find(|vm| vm.vm == id)
            .map_or(id.to_string(), |vm| vm.name.clone())
    };
    let row = |peak: &PathPeak| {
        let armed = |point: &&PointId| peak.points >> **point as u32 & 1 != 0;
        PeakRow {
            path: path_name(peak.path.into()),
            length: peak.length,
            time_ns: peak.time_ns,
            vm: Some(peak.vm).filter(|vm| *vm != NOBODY).map(name),
            vcpu: peak.vcpu,
            cause: cause(peak),
            pc: peak.pc,
            x: peak.x,
            points: PointId::ALL.iter().filter(armed).map(|point| point.name()).collect(),
        }
    };
    peaks.iter().map(row).collect()
}

fn cause(peak: &PathPeak) -> String {
    let is_interrupt = PathId::from_number(peak.path).is_some_and(|path| path.name().starts_with("irq."));
    match is_interrupt {
        true => format!("interrupt {}", peak.cause),
        false if syndrome::is_abort(peak.cause) => format!("{} at {:#x}", syndrome::words(peak.cause), peak.ipa),
        false => syndrome::words(peak.cause),
    }
}

/// The rows as a table.
pub fn table_of(rows: &[PeakRow]) -> Table {
    let mut out = table(&["path", "max", "at", "who", "why", "goes on at", "points with probes"]);
    for row in rows {
        let who = row
            .vm
            .as_ref()
            .map_or("nobody: idle".into(), |vm| format!("{vm}.{}", row.vcpu));
        out.add_row([
            row.path.clone(),
            grouped(row.length),
            format!("{:.3} ms", row.time_ns as f64 / 1e6),
            who,
            row.cause.clone(),
            format!("{:#x}", row.pc),
            row.points.join(", "),
        ]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_says_who_and_why() {
        let abort = PathPeak {
            path: PathId::MmioGicd as u32,
            vm: 1,
            length: 489,
            cause: 0x9300_0006 | 1 << 24 | 2 << 22 | 1 << 6,
            ipa: 0x800_0104,
            points: 1 << PointId::VmExit as u32 | 1 << PointId::Mmio as u32,
            ..PathPeak::default()
        };
        let timer = PathPeak {
            path: PathId::IrqTimer as u32,
            vm: NOBODY,
            length: 714,
            cause: 26,
            ..PathPeak::default()
        };
        let vms = [VmRow {
            vm: 1,
            name: "noisy".into(),
            state: "running",
            exits: 0,
            run_ns: 0,
        }];
        let rows = rows(&[abort, timer], &vms);
        assert_eq!(
            (rows[0].path.as_str(), rows[0].vm.as_deref()),
            ("mmio.gicd", Some("noisy"))
        );
        assert!(rows[0].cause.contains("write of 4 bytes") && rows[0].cause.ends_with("at 0x8000104"));
        assert_eq!(rows[0].points, ["vm_exit", "mmio"]);
        assert_eq!((rows[1].vm.as_deref(), rows[1].cause.as_str()), (None, "interrupt 26"));
        assert!(table_of(&rows).to_string().contains("nobody: idle"));
    }
}
