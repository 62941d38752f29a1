//! The performance monitors of a vCPU: PMUv3 (Arm ARM D11) with [`EVENTS`] event counters of 32 bits and the cycle counter.
//!
//! Every access of a guest traps. While anything counts, the state of the vCPU that runs is in the hardware, and a trap takes
//! it out, works on it here, and puts it back; nothing is counted meanwhile, as the filters leave EL2 out. A vCPU that
//! counts nothing costs a switch nothing.

use crate::exit::sysreg_key;

/// Event counters of a guest: what EL2 leaves of the four that QEMU's cores have (`hyp-el2`'s own is the last; one is kept for
/// probes).
pub const EVENTS: usize = 2;
/// Interrupt of the counters that overflowed: PPI 7.
pub const INTID: u32 = 23;

/// Bits of the event counters in the enable, interrupt and overflow registers.
pub const EVENT_BITS: u32 = (1 << EVENTS) - 1;
/// The cycle counter's.
pub const CYCLE_BIT: u32 = 1 << 31;
const ALL: u32 = EVENT_BITS | CYCLE_BIT;

/// PMCR_EL0 (Arm ARM D17.5.7).
pub mod control {
    /// Counters count.
    pub const E: u32 = 1 << 0;
    /// Resets the event counters.
    pub const P: u32 = 1 << 1;
    /// Resets the cycle counter.
    pub const C: u32 = 1 << 2;
    /// The cycle counter counts every 64th cycle,
    pub const D: u32 = 1 << 3;
    /// and overflows at 64 bits.
    pub const LC: u32 = 1 << 6;
    /// Implementer and identification code, the core's.
    pub const IDENTITY: u64 = 0xffff_0000;
    /// Place of the number of event counters.
    pub const N_SHIFT: u32 = 11;
}

/// PMEVTYPER and PMCCFILTR: P and U. NSH is not a guest's; NSK and M mean nothing without EL3.
const FILTERS: u32 = 1 << 31 | 1 << 30;
const EVENT: u32 = 0xffff;
/// PMUSERENR_EL0: EN, SW, CR, ER.
const USER: u32 = 0xf;
/// Event that PMSWINC_EL0 counts.
const SW_INCR: u32 = 0;
/// PMSELR_EL0 value that selects PMCCFILTR_EL0.
const SELECT_CYCLE: u32 = 31;

/// What the core says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    /// PMCR_EL0.
    pub control: u64,
    /// PMCEID0_EL0 and PMCEID1_EL0: the common events it has.
    pub events: [u64; 2],
}

/// The registers of a vCPU. `hyp-el2` loads them, and takes out what the hardware changes.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Pmu {
    /// PMEVCNTR.
    pub event: [u32; EVENTS],
    /// PMEVTYPER.
    pub kind: [u32; EVENTS],
    /// PMCCNTR.
    pub cycle: u64,
    /// PMCCFILTR.
    pub cycle_filter: u32,
    /// PMCR: E, D, LC.
    pub control: u32,
    /// PMCNTENSET.
    pub enabled: u32,
    /// PMINTENSET.
    pub interrupts: u32,
    /// PMOVSSET.
    pub overflowed: u32,
    /// PMUSERENR.
    pub user: u32,
    select: u32,
}

/// A register, as [`Pmu::access`] tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Control,
    EnableSet,
    EnableClear,
    InterruptSet,
    InterruptClear,
    OverflowSet,
    OverflowClear,
    Increment,
    Select,
    Events(usize),
    Cycle,
    SelectedKind,
    SelectedEvent,
    User,
    Event(u32),
    Kind(u32),
}

const CR_N: u32 = 0xf;
const fn field(key: u32, mask: u32, unit: u32) -> u32 {
    (key & mask) / unit
}

/// Which register of the performance monitors a key of a trapped access is; `None`: another one, or one that is reserved.
const fn register(key: u32) -> Option<Register> {
    let op1 = field(key, sysreg_key(0, 7, 0, 0, 0), sysreg_key(0, 1, 0, 0, 0));
    let crn = field(key, sysreg_key(0, 0, CR_N, 0, 0), sysreg_key(0, 0, 1, 0, 0));
    let crm = field(key, sysreg_key(0, 0, 0, CR_N, 0), sysreg_key(0, 0, 0, 1, 0));
    let op2 = field(key, sysreg_key(0, 0, 0, 0, 7), sysreg_key(0, 0, 0, 0, 1));
    let op0 = field(key, sysreg_key(3, 0, 0, 0, 0), sysreg_key(1, 0, 0, 0, 0));
    Some(match (op0, op1, crn, crm, op2) {
        (3, 0, 9, 14, 1) => Register::InterruptSet,
        (3, 0, 9, 14, 2) => Register::InterruptClear,
        (3, 3, 9, 12, 0) => Register::Control,
        (3, 3, 9, 12, 1) => Register::EnableSet,
        (3, 3, 9, 12, 2) => Register::EnableClear,
        (3, 3, 9, 12, 3) => Register::OverflowClear,
        (3, 3, 9, 12, 4) => Register::Increment,
        (3, 3, 9, 12, 5) => Register::Select,
        (3, 3, 9, 12, 6 | 7) => Register::Events(op2 as usize - 6),
        (3, 3, 9, 13, 0) => Register::Cycle,
        (3, 3, 9, 13, 1) => Register::SelectedKind,
        (3, 3, 9, 13, 2) => Register::SelectedEvent,
        (3, 3, 9, 14, 0) => Register::User,
        (3, 3, 9, 14, 3) => Register::OverflowSet,
        (3, 3, 14, 8..=11, _) => Register::Event((crm - 8) * 8 + op2),
        (3, 3, 14, 12..=15, _) => Register::Kind((crm - 12) * 8 + op2),
        _ => return None,
    })
}

/// Whether a key is one of the performance monitors' registers.
pub const fn is_register(key: u32) -> bool {
    register(key).is_some()
}

impl Pmu {
    /// As after reset, where what the architecture leaves unknown is zero.
    pub const fn new() -> Self {
        Self {
            event: [0; EVENTS],
            kind: [0; EVENTS],
            cycle: 0,
            cycle_filter: 0,
            control: control::LC,
            enabled: 0,
            interrupts: 0,
            overflowed: 0,
            user: 0,
            select: 0,
        }
    }

    /// Whether the hardware must have it while the vCPU runs: something counts or interrupts, or EL0 may look.
    pub const fn is_active(&self) -> bool {
        self.counting() | self.user != 0 || self.line()
    }

    /// Counters that count.
    pub const fn counting(&self) -> u32 {
        if self.control & control::E != 0 {
            self.enabled
        } else {
            0
        }
    }

    /// Counters whose overflow interrupts.
    pub const fn interrupting(&self) -> u32 {
        if self.control & control::E != 0 {
            self.interrupts
        } else {
            0
        }
    }

    /// Whether the interrupt line is high.
    pub const fn line(&self) -> bool {
        self.interrupting() & self.overflowed != 0
    }

    /// A guest's access to the register of `key`, whose state is here: a write of a value, or a read. Returns what was read or written;
    /// what does not exist reads as zero.
    pub const fn access(&mut self, key: u32, write: Option<u64>, id: &Identity) -> u64 {
        let Some(register) = register(key) else { return 0 };
        match write {
            Some(value) => {
                self.write(register, value);
                value
            }
            None => self.read(register, id),
        }
    }

    const fn read(&self, register: Register, id: &Identity) -> u64 {
        let value = match register {
            Register::Control => {
                return id.control & control::IDENTITY | (EVENTS as u64) << control::N_SHIFT | self.control as u64;
            }
            Register::Cycle => return self.cycle,
            Register::Events(n) => return id.events[n % 2],
            Register::EnableSet | Register::EnableClear => self.enabled,
            Register::InterruptSet | Register::InterruptClear => self.interrupts,
            Register::OverflowSet | Register::OverflowClear => self.overflowed,
            Register::Increment => 0,
            Register::Select => self.select,
            Register::User => self.user,
            Register::SelectedKind => self.kind(self.select),
            Register::SelectedEvent => self.event(self.select),
            Register::Event(n) => self.event(n),
            Register::Kind(n) => self.kind(n),
        };
        value as u64
    }

    const fn write(&mut self, register: Register, value: u64) {
        let word = value as u32;
        match register {
            Register::Control => {
                self.control = word & (control::E | control::D | control::LC);
                if word & control::P != 0 {
                    self.event = [0; EVENTS];
                }
                if word & control::C != 0 {
                    self.cycle = 0;
                }
            }
            Register::Cycle => self.cycle = value,
            Register::Events(_) => {}
            Register::EnableSet => self.enabled |= word & ALL,
            Register::EnableClear => self.enabled &= !word,
            Register::InterruptSet => self.interrupts |= word & ALL,
            Register::InterruptClear => self.interrupts &= !word,
            Register::OverflowSet => self.overflowed |= word & ALL,
            Register::OverflowClear => self.overflowed &= !word,
            Register::Increment => self.increment(word),
            Register::Select => self.select = word & 0x1f,
            Register::User => self.user = word & USER,
            Register::SelectedKind => self.set_kind(self.select, word),
            Register::SelectedEvent => self.set_event(self.select, word),
            Register::Event(n) => self.set_event(n, word),
            Register::Kind(n) => self.set_kind(n, word),
        }
    }

    const fn event(&self, n: u32) -> u32 {
        if (n as usize) < EVENTS {
            self.event[n as usize % EVENTS]
        } else {
            0
        }
    }

    const fn set_event(&mut self, n: u32, value: u32) {
        if (n as usize) < EVENTS {
            self.event[n as usize % EVENTS] = value;
        }
    }

    const fn kind(&self, n: u32) -> u32 {
        if n == SELECT_CYCLE {
            self.cycle_filter
        } else if (n as usize) < EVENTS {
            self.kind[n as usize % EVENTS]
        } else {
            0
        }
    }

    const fn set_kind(&mut self, n: u32, value: u32) {
        if n == SELECT_CYCLE {
            self.cycle_filter = value & FILTERS;
        } else if (n as usize) < EVENTS {
            self.kind[n as usize % EVENTS] = value & (FILTERS | EVENT);
        }
    }

    /// PMSWINC_EL0: the counters named in `which` that count software increments.
    const fn increment(&mut self, which: u32) {
        let mut n = 0;
        while n < EVENTS {
            let bit = 1 << n;
            if which & self.counting() & bit != 0 && self.kind[n] & EVENT == SW_INCR {
                let (next, wrapped) = self.event[n].overflowing_add(1);
                self.event[n] = next;
                if wrapped {
                    self.overflowed |= bit;
                }
            }
            n += 1;
        }
    }
}

impl Default for Pmu {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PMCR: u32 = sysreg_key(3, 3, 9, 12, 0);
    const PMCNTENSET: u32 = sysreg_key(3, 3, 9, 12, 1);
    const PMCNTENCLR: u32 = sysreg_key(3, 3, 9, 12, 2);
    const PMOVSCLR: u32 = sysreg_key(3, 3, 9, 12, 3);
    const PMSWINC: u32 = sysreg_key(3, 3, 9, 12, 4);
    const PMSELR: u32 = sysreg_key(3, 3, 9, 12, 5);
    const PMCCNTR: u32 = sysreg_key(3, 3, 9, 13, 0);
    const PMXEVTYPER: u32 = sysreg_key(3, 3, 9, 13, 1);
    const PMUSERENR: u32 = sysreg_key(3, 3, 9, 14, 0);
    const PMINTENSET: u32 = sysreg_key(3, 0, 9, 14, 1);
    const PMEVCNTR0: u32 = sysreg_key(3, 3, 14, 8, 0);
    const PMEVTYPER1: u32 = sysreg_key(3, 3, 14, 12, 1);
    const PMCCFILTR: u32 = sysreg_key(3, 3, 14, 15, 7);

    const ID: Identity = Identity {
        control: 0x4103_3001,
        events: [0x11, 0x22],
    };

    fn read(pmu: &mut Pmu, key: u32) -> u64 {
        pmu.access(key, None, &ID)
    }

    fn write(pmu: &mut Pmu, key: u32, value: u64) {
        pmu.access(key, Some(value), &ID);
    }

    #[test]
    fn a_guest_sees_its_share_of_the_counters() {
        let mut pmu = Pmu::new();
        assert_eq!(read(&mut pmu, PMCR), 0x4103_0000 | 2 << 11 | 0x40);
        write(&mut pmu, PMCNTENSET, u64::MAX);
        assert_eq!(read(&mut pmu, PMCNTENCLR), 0x8000_0003, "nobody else's counters");
        assert!(!pmu.is_active(), "PMCR.E is off");
        write(&mut pmu, PMCR, 1);
        assert!(pmu.is_active() && pmu.counting() == 0x8000_0003);
        assert_eq!(read(&mut pmu, sysreg_key(3, 3, 9, 12, 7)), 0x22);
        // A counter that does not exist, or is EL2's.
        write(&mut pmu, sysreg_key(3, 3, 14, 8, 3), 5);
        assert_eq!(read(&mut pmu, sysreg_key(3, 3, 14, 8, 3)), 0);
    }

    #[test]
    fn filters_never_reach_the_hypervisor() {
        let mut pmu = Pmu::new();
        write(&mut pmu, PMEVTYPER1, u64::MAX);
        assert_eq!(read(&mut pmu, PMEVTYPER1), 0xc000_ffff);
        write(&mut pmu, PMSELR, 31);
        write(&mut pmu, PMXEVTYPER, u64::MAX);
        assert_eq!(read(&mut pmu, PMCCFILTR), 0xc000_0000);
    }

    #[test]
    fn an_overflow_interrupts_until_it_is_cleared() {
        let mut pmu = Pmu::new();
        write(&mut pmu, PMCR, 1);
        write(&mut pmu, PMCNTENSET, 1);
        write(&mut pmu, PMINTENSET, 1);
        write(&mut pmu, PMEVCNTR0, u32::MAX.into());
        write(&mut pmu, PMSWINC, 3);
        assert!(pmu.line() && read(&mut pmu, PMEVCNTR0) == 0);
        write(&mut pmu, PMOVSCLR, 1);
        assert!(!pmu.line());
    }

    #[test]
    fn resets_are_what_they_say() {
        let mut pmu = Pmu::new();
        write(&mut pmu, PMCCNTR, 1 << 40);
        write(&mut pmu, PMEVCNTR0, 7);
        write(&mut pmu, PMCR, 2);
        assert_eq!((read(&mut pmu, PMCCNTR), read(&mut pmu, PMEVCNTR0)), (1 << 40, 0));
        write(&mut pmu, PMCR, 4);
        assert_eq!((read(&mut pmu, PMCCNTR), pmu.control), (0, 0));
        write(&mut pmu, PMUSERENR, u64::MAX);
        assert!(pmu.is_active() && pmu.user == 0xf, "EL0 may look at once");
    }

    #[test]
    fn only_its_registers_are_its_own() {
        assert!(is_register(PMCR) && is_register(PMCCFILTR) && is_register(PMINTENSET));
        for other in [
            (3, 0, 9, 14, 6),
            (3, 3, 9, 13, 3),
            (3, 3, 14, 0, 0),
            (2, 3, 9, 12, 0),
            (3, 0, 9, 12, 0),
        ] {
            let (op0, op1, crn, crm, op2) = other;
            assert!(!is_register(sysreg_key(op0, op1, crn, crm, op2)), "{other:?}");
        }
    }
}
