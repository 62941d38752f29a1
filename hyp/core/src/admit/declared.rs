//! How often a point fires on a path at most, as the exit path is written: what admission uses until the path analyser's table is in the image.

use hyp_abi::PathId;
use hyp_abi::bounds::POINTS;
use probe_vm::points::PointId;

use crate::sched::SLOTS;

/// Cost of firing one probe, context included, in retired instructions: generous for every point.
pub const FIRE: [u64; POINTS] = [60; POINTS];

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
    n[PointId::VmExit as usize] = 1;
    n[PointId::VmEntry as usize] = 1;
    let own: &[(PointId, u16)] = match path {
        PathId::HypercallYield => &[(PointId::Hypercall, 1), (PointId::SchedSwitch, 1)],
        PathId::IpcCall => &[
            (PointId::Hypercall, 1),
            (PointId::IpcCall, 1),
            (PointId::VcpuBlock, 1),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::IpcRecv => &[
            (PointId::Hypercall, 1),
            (PointId::VcpuBlock, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::IpcReply => &[
            (PointId::Hypercall, 1),
            (PointId::IpcReply, 1),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::IpcReplyRecv => &[
            (PointId::Hypercall, 1),
            (PointId::IpcReply, 1),
            (PointId::VcpuBlock, 1),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::Notify => &[
            (PointId::Hypercall, 1),
            (PointId::Notify, 1),
            (PointId::VirqInject, 1),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::NotifyWait => &[
            (PointId::Hypercall, 1),
            (PointId::VcpuBlock, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::HypercallInfo
        | PathId::ProbeStage
        | PathId::ProbeVerify
        | PathId::ProbeCompile
        | PathId::ProbeAttach
        | PathId::ProbeControl
        | PathId::MapRead
        | PathId::MapAccess
        | PathId::StatsRead => &[(PointId::Hypercall, 1)],
        PathId::Psci => &[(PointId::Psci, 1)],
        PathId::PsciPower => &[
            (PointId::Psci, 1),
            (PointId::Hypercall, 1),
            (PointId::VcpuBlock, 1),
            (PointId::VcpuWake, STOP_WAKES_MAX),
            (PointId::SchedSwitch, 1),
        ],
        PathId::MmioGicd | PathId::MmioGicr => &[
            (PointId::Mmio, 1),
            (PointId::VirqInject, WORD_INTERRUPTS),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::MmioUart => &[(PointId::Mmio, 1), (PointId::VirqInject, 1)],
        PathId::Stage2Fault | PathId::GuestFault => &[
            (PointId::Stage2Fault, 1),
            (PointId::VcpuBlock, 1),
            (PointId::VcpuWake, STOP_WAKES_MAX),
            (PointId::SchedSwitch, 1),
        ],
        PathId::SysregSgi => &[
            (PointId::SysregTrap, 1),
            (PointId::VirqInject, 16),
            (PointId::VcpuWake, 16),
            (PointId::SchedSwitch, 1),
        ],
        PathId::Sysreg | PathId::Fpsimd => &[(PointId::SysregTrap, 1)],
        PathId::Wfi => &[(PointId::VcpuBlock, 1), (PointId::SchedSwitch, 1)],
        PathId::IrqVtimer => &[(PointId::Irq, 1), (PointId::Timer, 1), (PointId::VirqInject, 1)],
        PathId::IrqTimer => &[
            (PointId::Irq, 1),
            (PointId::Timer, TIMER_WAKES_MAX),
            (PointId::VirqInject, TIMER_WAKES_MAX),
            (PointId::VcpuWake, TIMER_WAKES_MAX),
            (PointId::SchedSwitch, 1),
        ],
        PathId::IrqMaintenance => &[(PointId::Irq, 1), (PointId::VirqInject, 16)],
        PathId::IrqDevice | PathId::IrqUart => &[
            (PointId::Irq, 1),
            (PointId::VirqInject, 1),
            (PointId::VcpuWake, 1),
            (PointId::SchedSwitch, 1),
        ],
        PathId::IrqOther => &[
            (PointId::Irq, 1),
            (PointId::VcpuWake, TIMER_WAKES_MAX),
            (PointId::SchedSwitch, 1),
        ],
    };
    let mut i = 0;
    while i < own.len() {
        n[own[i].0 as usize] = own[i].1;
        i += 1;
    }
    n
}
