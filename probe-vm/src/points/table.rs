//! The declaration of all points.

use super::declare::{codes, points};

/// Text of one point.
#[derive(Clone, Copy, Debug)]
pub struct PointDoc {
    /// Lines about the point.
    pub doc: &'static [&'static str],
    /// Lines about each field.
    pub fields: &'static [&'static [&'static str]],
}

/// Codes of one field.
#[derive(Clone, Copy, Debug)]
pub struct CodeTable {
    /// Name of the C enum.
    pub name: &'static str,
    /// Lines about it.
    pub doc: &'static [&'static str],
    /// C name, value, lines.
    pub codes: &'static [(&'static str, u32, &'static [&'static str])],
}

points! {
    /// An exit has begun: the guest's registers are saved and the path is known, nothing has been decided.
    VmExit = 0, "vm_exit", VmExitCtx {
        /// ESR_EL2 of a synchronous exit; 0 for interrupts.
        esr: u64 [Address],
        /// Guest program counter (ELR_EL2).
        pc: u64 [Address],
    }

    /// The exit ends: all is decided, the guest (perhaps another one) goes on next.
    VmEntry = 1, "vm_entry", VmEntryCtx {
        /// Time this exit has taken so far, probes included. `path` in the header says on which path.
        spent: u64 [PathTime],
        /// Guest program counter it goes on at.
        pc: u64 [Address],
    }

    /// A guest made a hypercall: Gnomon's, PSCI's or any other by HVC or SMC. Before it is carried out.
    Hypercall = 2, "hypercall", HypercallCtx {
        /// SMCCC function identifier (x0).
        func: u64 [None],
        /// First argument (x1).
        x1: u64 [Address],
        /// Second argument (x2).
        x2: u64 [Address],
        /// Third argument (x3).
        x3: u64 [Address],
    }

    /// A guest touched an intermediate physical address that stage 2 maps neither to memory nor to a device.
    Stage2Fault = 3, "stage2_fault", Stage2FaultCtx {
        /// Intermediate physical address.
        ipa: u64 [Address],
        /// Guest virtual address (FAR_EL2).
        va: u64 [Address],
        /// ESR_EL2: fault status, access size, read or write.
        esr: u64 [Address],
        /// Guest program counter.
        pc: u64 [Address],
    }

    /// A guest read or wrote a register of an emulated device; fires after the access was carried out.
    Mmio = 4, "mmio", MmioCtx {
        /// Intermediate physical address.
        ipa: u64 [Address],
        /// Value written, or the value the guest reads.
        value: u64 [Address],
        /// Device (`enum gnomon_device`).
        device: u32 [None],
        /// Byte offset of the register in the device.
        offset: u32 [Bytes],
        /// Bytes accessed: 1, 2, 4 or 8.
        size: u32 [Bytes],
        /// 1 for a write, 0 for a read.
        write: u32 [None],
    }

    /// A guest used a system register that traps; fires after the access was carried out.
    SysregTrap = 5, "sysreg_trap", SysregTrapCtx {
        /// Value written, or the value the guest reads.
        value: u64 [Address],
        /// Register as the syndrome encodes it: op0, op2, op1, CRn, Rt, CRm, direction (ISS of EC 0x18), Rt and
        /// direction cleared.
        sysreg: u32 [None],
        /// 1 for a write (MSR), 0 for a read (MRS).
        write: u32 [None],
    }

    /// A physical interrupt was acknowledged at EL2.
    Irq = 6, "irq", IrqCtx {
        /// GIC interrupt identifier.
        intid: u32 [None],
        /// VM it belongs to, or 0xffffffff if it is EL2's own.
        owner: u32 [None],
    }

    /// A virtual interrupt became pending at a vCPU.
    VirqInject = 7, "virq_inject", VirqInjectCtx {
        /// VM that gets it.
        to_vm: u32 [None],
        /// vCPU that gets it.
        to_vcpu: u32 [None],
        /// GIC interrupt identifier.
        intid: u32 [None],
        /// Why it was raised (`enum gnomon_cause`).
        cause: u32 [None],
    }

    /// A guest calls a server over a channel; the header names the caller.
    IpcCall = 8, "ipc_call", IpcCallCtx {
        /// Channel of the system (both ends have the same number here).
        channel: u32 [None],
        /// VM of the server.
        to_vm: u32 [None],
        /// First message word (x2).
        word0: u64 [Address],
        /// 1 if the server was waiting and goes on at once, 0 if the call is queued.
        direct: u32 [None],
        /// 0.
        reserved: u32 [None],
    }

    /// A server replies to a call; the header names the server.
    IpcReply = 9, "ipc_reply", IpcReplyCtx {
        /// Channel of the system, the same as at `ipc_call`.
        channel: u32 [None],
        /// VM of the caller.
        to_vm: u32 [None],
        /// First reply word (x2).
        word0: u64 [Address],
    }

    /// A guest notifies its partner on a channel.
    Notify = 10, "notify", NotifyCtx {
        /// Channel of the system.
        channel: u32 [None],
        /// VM that is notified.
        to_vm: u32 [None],
        /// Bits sent.
        bits: u64 [None],
        /// Bits that were pending before.
        pending: u64 [None],
    }

    /// A CPU changes from one vCPU to another, or to or from idling.
    SchedSwitch = 11, "sched_switch", SchedSwitchCtx {
        /// VM that ran; 0xffffffff after idling.
        prev_vm: u32 [None],
        /// Its vCPU.
        prev_vcpu: u32 [None],
        /// VM that runs next; 0xffffffff to idle.
        next_vm: u32 [None],
        /// Its vCPU.
        next_vcpu: u32 [None],
        /// Why (`enum gnomon_switch`).
        reason: u32 [None],
        /// Priority of the next vCPU as in the manifest; 0 when idle.
        next_priority: u32 [None],
    }

    /// A vCPU stops being able to run; the header names it.
    VcpuBlock = 12, "vcpu_block", VcpuBlockCtx {
        /// What it waits for (`enum gnomon_block`).
        reason: u32 [None],
        /// Channel of an IPC or notification wait; 0xffffffff if none.
        channel: u32 [None],
    }

    /// A vCPU that was blocked can run again.
    VcpuWake = 13, "vcpu_wake", VcpuWakeCtx {
        /// VM that wakes.
        to_vm: u32 [None],
        /// vCPU that wakes.
        to_vcpu: u32 [None],
        /// What woke it (`enum gnomon_cause`).
        cause: u32 [None],
        /// Interrupt identifier for interrupts, channel for IPC and notifications; else 0.
        detail: u32 [None],
    }

    /// A timer that EL2 serves has expired: a guest's virtual timer, or EL2's own.
    Timer = 14, "timer", TimerCtx {
        /// Time it was due, on the same clock as `time_ns`; `time_ns - due_ns` is how late EL2 got to it.
        due_ns: u64 [Ns],
        /// Which timer (`enum gnomon_timer_kind`).
        kind: u32 [None],
        /// VM whose timer it is; 0xffffffff for EL2's own.
        owner: u32 [None],
    }

    /// A guest made a PSCI call, by HVC or SMC. Before it is carried out; `hypercall` fires as well.
    Psci = 15, "psci", PsciCtx {
        /// PSCI function identifier (w0).
        func: u32 [None],
        /// 0.
        reserved: u32 [None],
        /// First argument (x1): for CPU_ON the target's MPIDR.
        x1: u64 [Address],
        /// Second argument (x2): for CPU_ON the entry address.
        x2: u64 [Address],
        /// Third argument (x3).
        x3: u64 [Address],
    }
}

codes! {
    /// Devices that EL2 emulates.
    Device, "gnomon_device" {
        /// GICv3 distributor.
        Gicd = 0, "GNOMON_DEVICE_GICD";
        /// GICv3 redistributor.
        Gicr = 1, "GNOMON_DEVICE_GICR";
        /// PL011 UART.
        Uart = 2, "GNOMON_DEVICE_UART";
    }

    /// Why a virtual interrupt was raised or a vCPU woke.
    Cause, "gnomon_cause" {
        /// The vCPU's virtual timer.
        Timer = 0, "GNOMON_CAUSE_TIMER";
        /// A device's interrupt that belongs to the VM.
        Device = 1, "GNOMON_CAUSE_DEVICE";
        /// An interrupt that a vCPU of the same VM sent, or that the VM set pending itself.
        Sgi = 2, "GNOMON_CAUSE_SGI";
        /// A notification.
        Notify = 3, "GNOMON_CAUSE_NOTIFY";
        /// A call or reply.
        Ipc = 4, "GNOMON_CAUSE_IPC";
        /// An emulated device (UART receive).
        Emulated = 5, "GNOMON_CAUSE_EMULATED";
        /// PSCI CPU_ON.
        Psci = 6, "GNOMON_CAUSE_PSCI";
    }

    /// Why a CPU changed its vCPU.
    Switch, "gnomon_switch" {
        /// The previous one blocked.
        Block = 0, "GNOMON_SWITCH_BLOCK";
        /// One of higher priority became able to run.
        Preempt = 1, "GNOMON_SWITCH_PREEMPT";
        /// Its time slice ended.
        Slice = 2, "GNOMON_SWITCH_SLICE";
        /// It gave the CPU away.
        Yield = 3, "GNOMON_SWITCH_YIELD";
        /// It handed the CPU to its IPC partner.
        Ipc = 4, "GNOMON_SWITCH_IPC";
        /// Its VM stopped.
        Stop = 5, "GNOMON_SWITCH_STOP";
        /// The CPU was idle.
        Idle = 6, "GNOMON_SWITCH_IDLE";
    }

    /// What a blocked vCPU waits for.
    Block, "gnomon_block" {
        /// An interrupt (WFI).
        Wfi = 0, "GNOMON_BLOCK_WFI";
        /// The reply to its call.
        IpcCall = 1, "GNOMON_BLOCK_IPC_CALL";
        /// A call to serve.
        IpcRecv = 2, "GNOMON_BLOCK_IPC_RECV";
        /// A notification.
        Notify = 3, "GNOMON_BLOCK_NOTIFY";
        /// It is off, or suspended by PSCI.
        Off = 4, "GNOMON_BLOCK_OFF";
    }

    /// Timers that EL2 serves.
    TimerKind, "gnomon_timer_kind" {
        /// A guest's virtual timer, its vCPU running.
        Vtimer = 0, "GNOMON_TIMER_VTIMER";
        /// A guest's virtual timer, its vCPU blocked or preempted: EL2's own timer stood in for it.
        VtimerAway = 1, "GNOMON_TIMER_VTIMER_AWAY";
        /// End of a time slice.
        Slice = 2, "GNOMON_TIMER_SLICE";
    }
}

/// In a field that names a VM: none.
pub const NOBODY: u32 = u32::MAX;
