//! How often a point fires on a path at most, as the exit path is written: what admission uses until the path analyser's table is in the image.

use hyp_abi::PathId;
use hyp_abi::bounds::POINTS;
use probe_vm::points::PointId::{self, *};

use crate::sched::SLOTS;

/// Cost of firing one probe, context included, in retired instructions, for a point that the analyser has none of. A test holds it above
/// the derived cost of every point.
pub const FIRE: [u64; POINTS] = [100; POINTS];

/// vCPUs that one expiry of EL2's timer can wake.
const TIMER_WAKES_MAX: u16 = SLOTS as u16;
/// Interrupts that one register write can make pending.
const WORD_INTERRUPTS: u16 = 32;
/// Channel ends whose callers a stopping VM wakes: caller and waiter of each.
const STOP_WAKES_MAX: u16 = 2 * hyp_abi::CHANNEL_ENDS_MAX as u16;

/// n for every path and point.
pub const fn firings() -> [[u16; POINTS]; PathId::COUNT] {
    let mut table = [[0; POINTS]; PathId::COUNT];
    let mut p = 0;
    while p < PathId::COUNT {
        table[p] = row(PathId::ALL[p]);
        p += 1;
    }
    table
}

const fn row(path: PathId) -> [u16; POINTS] {
    let mut n = [0; POINTS];
    n[VmExit as usize] = 1;
    n[VmEntry as usize] = 1;
    let own = match hypercall(path) {
        Some(own) => own,
        None => other(path),
    };
    let mut i = 0;
    while i < own.len() {
        n[own[i].0 as usize] = own[i].1;
        i += 1;
    }
    n
}

type Firings = &'static [(PointId, u16)];

/// Points of a hypercall's path besides exit and entry.
#[rustfmt::skip]
const fn hypercall(path: PathId) -> Option<Firings> {
    Some(match path {
        PathId::HypercallYield => &[(Hypercall, 1), (SchedSwitch, 1)],
        PathId::IpcCall => &[(Hypercall, 1), (IpcCall, 1), (VcpuBlock, 1), (VcpuWake, 1), (SchedSwitch, 1)],
        PathId::IpcRecv => &[(Hypercall, 1), (VcpuBlock, 1), (SchedSwitch, 1)],
        PathId::IpcReply => &[(Hypercall, 1), (IpcReply, 1), (VcpuWake, 1), (SchedSwitch, 1)],
        PathId::IpcReplyRecv => &[(Hypercall, 1), (IpcReply, 1), (VcpuBlock, 1), (VcpuWake, 1), (SchedSwitch, 1)],
        PathId::Notify => &[(Hypercall, 1), (Notify, 1), (VirqInject, 1), (VcpuWake, 1), (SchedSwitch, 1)],
        PathId::NotifyWait => &[(Hypercall, 1), (VcpuBlock, 1), (SchedSwitch, 1)],
        PathId::HypercallInfo
        | PathId::ProbeStage
        | PathId::ProbeVerify
        | PathId::ProbeCompile
        | PathId::ProbeAttach
        | PathId::ProbeControl
        | PathId::MapRead
        | PathId::MapAccess
        | PathId::StatsRead => &[(Hypercall, 1)],
        _ => return None,
    })
}

/// Points of the other paths besides exit and entry.
#[rustfmt::skip]
const fn other(path: PathId) -> Firings {
    match path {
        PathId::Psci => &[(Psci, 1)],
        PathId::PsciPower => {
            &[(Psci, 1), (Hypercall, 1), (VcpuBlock, 1), (VcpuWake, STOP_WAKES_MAX), (SchedSwitch, 1)]
        }
        PathId::MmioGicd | PathId::MmioGicr => {
            &[(Mmio, 1), (VirqInject, WORD_INTERRUPTS), (VcpuWake, 1), (SchedSwitch, 1)]
        }
        PathId::MmioUart => &[(Mmio, 1), (VirqInject, 1)],
        PathId::Stage2Fault | PathId::GuestFault => {
            &[(Stage2Fault, 1), (VcpuBlock, 1), (VcpuWake, STOP_WAKES_MAX), (SchedSwitch, 1)]
        }
        PathId::SysregSgi => &[(SysregTrap, 1), (VirqInject, 16), (VcpuWake, 16), (SchedSwitch, 1)],
        PathId::Sysreg | PathId::Fpsimd => &[(SysregTrap, 1)],
        PathId::Wfi => &[(VcpuBlock, 1), (SchedSwitch, 1)],
        PathId::IrqVtimer => &[(Irq, 1), (Timer, 1), (VirqInject, 1)],
        PathId::IrqTimer => &[
            (Irq, 1), (Timer, TIMER_WAKES_MAX), (VirqInject, TIMER_WAKES_MAX), (VcpuWake, TIMER_WAKES_MAX), (SchedSwitch, 1),
        ],
        PathId::IrqMaintenance => &[(Irq, 1), (VirqInject, 16)],
        PathId::IrqDevice | PathId::IrqUart => &[(Irq, 1), (VirqInject, 1), (VcpuWake, 1), (SchedSwitch, 1)],
        PathId::IrqOther => &[(Irq, 1), (VcpuWake, TIMER_WAKES_MAX), (SchedSwitch, 1)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_but_the_quiet_ones_has_points_of_its_own() {
        for (path, n) in PathId::ALL.iter().zip(firings()) {
            assert_eq!((n[VmExit as usize], n[VmEntry as usize]), (1, 1));
            assert!(n.iter().filter(|n| **n != 0).count() > 2, "{path:?}");
        }
    }
}
