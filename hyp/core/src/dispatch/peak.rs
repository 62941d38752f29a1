//! The longest exit of each path, and what was there.

use hyp_abi::PathId;
use hyp_abi::record::PathPeak;

use super::Machine;
use super::fast::{PHYSICAL_TIMER, VIRTUAL_TIMER};
use crate::cpu::{Cpu, Deferred};
use crate::exit::fault_ipa;

/// An exit of `path` of the vCPU in slot `left` took `spent`, more or less than any before.
#[cold]
#[inline(never)]
pub fn extreme<M: Machine>(cpu: &mut Cpu, m: &M, path: PathId, spent: u32, left: u32) {
    if !cpu.paths.get_mut(path as usize).is_some_and(|stat| stat.extreme(spent)) {
        return;
    }
    let (cause, loaded) = (cause(cpu, m, path), cpu.loaded);
    let vcpu = cpu.vcpus.get(left as usize);
    if let Some(peak) = cpu.peaks.get_mut(path as usize) {
        *peak = PathPeak {
            path: path as u32,
            vm: vcpu.map_or(u32::MAX, |v| v.id.into()),
            vcpu: vcpu.map_or(0, |v| v.index.into()),
            points: m.armed_points(),
            length: spent.into(),
            time_ns: m.now().as_ticks(),
            cause,
            ipa: fault_ipa(m.hpfar(), m.far()),
            pc: match vcpu {
                Some(v) if left != loaded => v.el1.elr_el2,
                _ => m.pc(),
            },
            x: vcpu.map_or([0; 8], |v| [0, 1, 2, 3, 4, 5, 6, 7].map(|n| v.frame.get(n))),
        };
    }
}

fn cause<M: Machine>(cpu: &Cpu, m: &M, path: PathId) -> u64 {
    match (path, cpu.deferred) {
        // Most are served before anything is noted down: the line that is high tells which it was.
        (PathId::IrqVtimer, _) if m.timer_line(VIRTUAL_TIMER) => VIRTUAL_TIMER.into(),
        (PathId::IrqVtimer, _) => PHYSICAL_TIMER.into(),
        (
            PathId::IrqTimer | PathId::IrqMaintenance | PathId::IrqUart | PathId::IrqDevice | PathId::IrqOther,
            Deferred::Irq(intid),
        ) => intid.into(),
        _ => m.esr(),
    }
}
