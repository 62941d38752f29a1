//! A vCPU: its registers while it is not on the CPU, and what it waits for.

use crate::exit::Access;
use crate::pmu::Pmu;

/// Frame words: x0–x30, and one that reads as the zero register.
const FRAME_WORDS: usize = 32;

/// General registers, in order, as the vectors store them.
///
/// While the vCPU runs SP_EL2 points here. x20–x29 are only valid when the exit saved them (a "full" exit). The last word
/// stands for the zero register: each exit stores 0 there, so that a register number needs no test.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Frame {
    words: [u64; FRAME_WORDS],
}

impl Frame {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            words: [0; FRAME_WORDS],
        }
    }

    /// Register `n` (its low five bits); 31 is the zero register.
    #[inline(always)]
    pub const fn get(&self, n: u32) -> u64 {
        self.words[n as usize % FRAME_WORDS]
    }

    /// Sets register `n` (its low five bits). What is put into the zero register is there until the next exit: an exit
    /// reads its register before it writes it.
    #[inline(always)]
    pub const fn set(&mut self, n: u32, value: u64) {
        self.words[n as usize % FRAME_WORDS] = value;
    }

    /// Register `N`, known when compiled, at most 18.
    #[inline(always)]
    pub const fn x<const N: usize>(&self) -> u64 {
        const { assert!(N <= 18) };
        self.words[N]
    }

    /// Sets register `N`, known when compiled, at most 18.
    #[inline(always)]
    pub const fn set_x<const N: usize>(&mut self, value: u64) {
        const { assert!(N <= 18) };
        self.words[N] = value;
    }

    /// x0–x30.
    #[inline]
    pub fn registers(&self) -> [u64; FRAME_WORDS - 1] {
        core::array::from_fn(|n| self.words[n])
    }

    /// The message registers, x2–x7.
    #[inline(always)]
    pub const fn message(&self) -> [u64; hyp_abi::IPC_WORDS] {
        let w = &self.words;
        [w[2], w[3], w[4], w[5], w[6], w[7]]
    }

    /// Sets the message registers.
    #[inline(always)]
    pub const fn set_message(&mut self, m: [u64; hyp_abi::IPC_WORDS]) {
        let w = &mut self.words;
        [w[2], w[3], w[4], w[5], w[6], w[7]] = m;
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

/// EL1 system registers of a vCPU that is off the CPU, and where it resumes. `hyp-el2` fills and loads it, two neighbours at a
/// time.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
#[allow(missing_docs, reason = "each field is the register of its name")]
pub struct El1 {
    pub elr_el2: u64,
    pub spsr_el2: u64,
    pub sctlr: u64,
    pub tcr: u64,
    pub ttbr0: u64,
    pub ttbr1: u64,
    pub mair: u64,
    pub vbar: u64,
    pub contextidr: u64,
    pub cpacr: u64,
    pub tpidr_el0: u64,
    pub tpidrro_el0: u64,
    pub tpidr_el1: u64,
    pub sp_el1: u64,
    pub sp_el0: u64,
    pub elr: u64,
    pub spsr: u64,
    pub esr: u64,
    pub far: u64,
    pub par: u64,
    pub csselr: u64,
    pub cntkctl: u64,
    pub cntv_ctl: u64,
    pub cntv_cval: u64,
    pub cntp_ctl: u64,
    pub cntp_cval: u64,
    pub vmcr: u64,
    pub ap1r0: u64,
    pub ap0r0: u64,
    /// These three only where the core has them; elsewhere they are RES0.
    pub amair: u64,
    pub afsr0: u64,
    pub afsr1: u64,
}

impl El1 {
    /// Register state at the first instruction (arm64 boot protocol: EL1h, masked, MMU and caches off).
    pub const fn reset(entry: u64) -> Self {
        Self {
            elr_el2: entry,
            spsr_el2: 0x3c5,
            // RES1 bits of SCTLR_EL1 (Arm ARM D17.2.118), everything off.
            sctlr: 0x30d0_0800,
            tcr: 0,
            ttbr0: 0,
            ttbr1: 0,
            mair: 0,
            vbar: 0,
            contextidr: 0,
            cpacr: 0,
            tpidr_el0: 0,
            tpidrro_el0: 0,
            tpidr_el1: 0,
            sp_el1: 0,
            sp_el0: 0,
            elr: 0,
            spsr: 0,
            esr: 0,
            far: 0,
            par: 0,
            csselr: 0,
            cntkctl: 0,
            cntv_ctl: 0,
            cntv_cval: 0,
            cntp_ctl: 0,
            cntp_cval: 0,
            vmcr: 0,
            ap1r0: 0,
            ap0r0: 0,
            amair: 0,
            afsr0: 0,
            afsr1: 0,
        }
    }

    /// Counter value at which a timer of this vCPU that could interrupt it is due; `None` if none is armed.
    #[inline]
    pub fn timer_due(&self) -> Option<u64> {
        const ENABLE: u64 = 1;
        const MASKED: u64 = 2;
        let armed = |ctl: u64, cval: u64| (ctl & (ENABLE | MASKED) == ENABLE).then_some(cval);
        match (
            armed(self.cntv_ctl, self.cntv_cval),
            armed(self.cntp_ctl, self.cntp_cval),
        ) {
            (Some(v), Some(p)) => Some(v.min(p)),
            (one, other) => one.or(other),
        }
    }
}

/// FP/SIMD registers of a vCPU that does not own the FP unit. `hyp-el2` fills and loads it.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Fp {
    v: [[u64; 2]; 32],
    fpcr: u64,
    fpsr: u64,
}

impl Fp {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            v: [[0; 2]; 32],
            fpcr: 0,
            fpsr: 0,
        }
    }
}

impl Default for Fp {
    fn default() -> Self {
        Self::new()
    }
}

/// MPIDR_EL1 of a vCPU 0: bit 31 is RES1; affinity 0.0.0.index.
pub const MPIDR_0: u64 = 1 << 31;

/// What a vCPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Not started, or off by CPU_OFF.
    Off,
    /// On the run queue.
    Ready,
    /// In WFI: an interrupt it would take wakes it.
    Wfi,
    /// In a hypercall that waits for a partner: only that wakes it.
    Waiting,
    /// Its VM has stopped.
    Stopped,
}

/// One vCPU.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Vcpu {
    /// General registers. First, so that the frame's address is the vCPU's.
    pub frame: Frame,
    /// System registers while off the CPU.
    pub el1: El1,
    /// FP/SIMD registers while another vCPU owns the unit.
    pub fp: Fp,
    /// Performance monitors, while the hardware has not got them.
    pub pmu: Pmu,
    /// Its own view of its VM: index of the CPU's VMs. Of a vCPU 0 that is the number of the VM.
    pub vm: u8,
    /// Number of its VM.
    pub id: u8,
    /// Index in its VM: affinity 0.0.0.index.
    pub index: u8,
    /// Messages of other CPUs wait while it runs (see [`crate::admit::rta::is_shielded`]).
    pub shielded: bool,
    /// VMPIDR_EL2.
    pub mpidr: u64,
    /// A register access that another CPU carries out.
    pub pending: Option<Access>,
    /// Its VM starts again: how far its memory is.
    pub restarting: Option<u64>,
    /// What it does.
    pub run: Run,
    /// Exits since it started.
    pub exits: u64,
    /// Time it has run, ns, up to the last switch.
    pub run_ns: u64,
}

impl Vcpu {
    /// An unused slot.
    pub const fn new() -> Self {
        Self {
            frame: Frame::new(),
            el1: El1::reset(0),
            fp: Fp::new(),
            pmu: Pmu::new(),
            vm: 0,
            id: 0,
            mpidr: MPIDR_0,
            pending: None,
            restarting: None,
            index: 0,
            shielded: false,
            run: Run::Off,
            exits: 0,
            run_ns: 0,
        }
    }

    /// Registers as at the first instruction: `x0` is the device tree or CPU_ON's context.
    pub fn start(&mut self, entry: u64, x0: u64) {
        self.frame = Frame::new();
        self.frame.set_x::<0>(x0);
        self.el1 = El1::reset(entry);
        self.fp = Fp::new();
        self.pmu = Pmu::new();
        self.run = Run::Ready;
    }
}

impl Default for Vcpu {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_where_the_vectors_store_them() {
        let mut frame = Frame::new();
        for n in 0..31 {
            frame.set(n, 100 + u64::from(n));
        }
        assert_eq!(frame.get(31), 0, "what the vectors store there");
        for n in 0..31 {
            assert_eq!(frame.words[n as usize], 100 + u64::from(n));
            assert_eq!(frame.get(n), 100 + u64::from(n));
        }
    }

    #[test]
    fn the_earlier_armed_timer_is_due() {
        let mut el1 = El1::reset(0);
        assert_eq!(el1.timer_due(), None);
        (el1.cntv_ctl, el1.cntv_cval) = (1, 50);
        assert_eq!(el1.timer_due(), Some(50));
        (el1.cntp_ctl, el1.cntp_cval) = (1, 40);
        assert_eq!(el1.timer_due(), Some(40));
        el1.cntp_ctl = 3;
        assert_eq!(el1.timer_due(), Some(50), "a masked timer interrupts nobody");
    }
}
