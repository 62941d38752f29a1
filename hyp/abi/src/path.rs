//! Names of paths: the exit classes that have a worst case and a budget of their own.

macro_rules! paths {
    ($($(#[$m:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// An exit class: from a vector entry to the `eret` that leaves it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum PathId { $($(#[$m])* $name = $n,)* }
        impl PathId {
            /// All paths, ascending and dense from 0.
            pub const ALL: &'static [PathId] = &[$(PathId::$name,)*];
            /// Number of paths.
            pub const COUNT: usize = Self::ALL.len();
            /// From its number.
            pub const fn from_number(n: u32) -> Option<Self> {
                match n { $($n => Some(PathId::$name),)* _ => None }
            }
            /// Name in manifests, tables and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(PathId::$name => $text,)* }
            }
            /// From its name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|p| p.name() == name)
            }
        }
    };
}

paths! {
    /// Version, VmInfo, ChannelInfo and unknown calls.
    HypercallInfo = 0, "hypercall.info";
    /// Yield.
    HypercallYield = 1, "hypercall.yield";
    /// IpcCall.
    IpcCall = 2, "hypercall.ipc_call";
    /// IpcRecv.
    IpcRecv = 3, "hypercall.ipc_recv";
    /// IpcReply.
    IpcReply = 4, "hypercall.ipc_reply";
    /// IpcReplyRecv.
    IpcReplyRecv = 5, "hypercall.ipc_reply_recv";
    /// Notify.
    Notify = 6, "hypercall.notify";
    /// NotifyWait.
    NotifyWait = 7, "hypercall.notify_wait";
    /// ProbeStage.
    ProbeStage = 8, "hypercall.probe_stage";
    /// ProbeVerify.
    ProbeVerify = 9, "hypercall.probe_verify";
    /// ProbeCompile.
    ProbeCompile = 10, "hypercall.probe_compile";
    /// ProbeAttach, ProbeReplace.
    ProbeAttach = 11, "hypercall.probe_attach";
    /// ProbeDetach, ProbeUnload, ProbeInfo.
    ProbeControl = 12, "hypercall.probe_control";
    /// MapRead, MapClear, RingRead.
    MapRead = 13, "hypercall.map_read";
    /// MapInfo, MapLookup, MapUpdate, MapDelete.
    MapAccess = 14, "hypercall.map_access";
    /// PathRead, PathPeak, PoolRead, VmRead, LogRead, PathReset.
    StatsRead = 15, "hypercall.stats_read";
    /// PSCI calls other than the CPU and system power calls, and SMCCC discovery.
    Psci = 16, "psci";
    /// PSCI CPU_ON, CPU_OFF, CPU_SUSPEND, SYSTEM_OFF, SYSTEM_RESET; VmExit.
    PsciPower = 17, "psci.power";
    /// Access to the emulated distributor.
    MmioGicd = 18, "mmio.gicd";
    /// Access to an emulated redistributor.
    MmioGicr = 19, "mmio.gicr";
    /// Access to the emulated PL011.
    MmioUart = 20, "mmio.uart";
    /// Stage-2 abort outside RAM and devices; the VM gets an external abort or stops.
    Stage2Fault = 21, "stage2_fault";
    /// Trapped ICC_SGI1R_EL1, ICC_ASGI1R_EL1, ICC_SGI0R_EL1.
    SysregSgi = 22, "sysreg.sgi";
    /// Any other trapped system register.
    Sysreg = 23, "sysreg.other";
    /// Trapped WFI or WFE.
    Wfi = 24, "wfi";
    /// Trapped FP/SIMD access.
    Fpsimd = 25, "fpsimd";
    /// Virtual timer due while its vCPU runs.
    IrqVtimer = 26, "irq.vtimer";
    /// EL2's own timer: wake-ups, time slices.
    IrqTimer = 27, "irq.timer";
    /// GIC maintenance interrupt.
    IrqMaintenance = 28, "irq.maintenance";
    /// SPI of a device that belongs to a VM.
    IrqDevice = 29, "irq.device";
    /// Physical PL011 receive.
    IrqUart = 30, "irq.uart";
    /// SGI between physical CPUs, and spurious interrupts.
    IrqOther = 31, "irq.other";
    /// A guest fault that stops its VM.
    GuestFault = 32, "guest_fault";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (i, path) in PathId::ALL.iter().enumerate() {
            assert_eq!(*path as usize, i);
            assert_eq!(PathId::from_number(i as u32), Some(*path));
            assert_eq!(PathId::from_name(path.name()), Some(*path));
        }
        assert_eq!(PathId::from_number(PathId::COUNT as u32), None);
    }
}
