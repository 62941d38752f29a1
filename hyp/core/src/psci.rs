//! PSCI 1.1 (DEN0022D) and SMCCC 1.2 discovery (DEN0028D) for a guest, by HVC and SMC alike.
//!
//! [`call`] decides; the caller performs the [`Action`]. vCPU i of a VM has MPIDR affinity 0.0.0.i.

use core::ops::Range;

use hyp_abi::call::UID;

/// A vCPU's power state, as AFFINITY_INFO reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Runs, is ready or waits.
    On,
    /// Off: before CPU_ON, after CPU_OFF.
    Off,
    /// CPU_ON was accepted, the vCPU has not run yet.
    OnPending,
}

/// Power states of a VM's vCPUs, as bits by index: a value, so that asking for one is no walk over memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    on: u32,
    pending: u32,
    count: u32,
}

impl Powers {
    /// Of a VM with one vCPU, which asks.
    pub const ONE: Self = Self {
        on: 1,
        pending: 0,
        count: 1,
    };

    /// One more vCPU.
    #[inline]
    pub const fn push(&mut self, power: Power) {
        let bit = 1 << (self.count % u32::BITS);
        match power {
            Power::On => self.on |= bit,
            Power::OnPending => self.pending |= bit,
            Power::Off => {}
        }
        self.count += 1;
    }

    /// Of vCPU `index`; `None` if there is no such vCPU.
    #[inline]
    pub const fn get(self, index: u64) -> Option<Power> {
        if index >= self.count as u64 {
            return None;
        }
        Some(if self.on >> (index % 32) & 1 != 0 {
            Power::On
        } else if self.pending >> (index % 32) & 1 != 0 {
            Power::OnPending
        } else {
            Power::Off
        })
    }

    /// vCPUs that are not off.
    pub const fn awake(self) -> u32 {
        (self.on | self.pending).count_ones()
    }
}

/// PSCI error codes (DEN0022D §5.2.2), as x0.
pub mod error {
    /// NOT_SUPPORTED
    pub const NOT_SUPPORTED: u64 = -1i64 as u64;
    /// INVALID_PARAMETERS
    pub const INVALID_PARAMETERS: u64 = -2i64 as u64;
    /// DENIED
    pub const DENIED: u64 = -3i64 as u64;
    /// ALREADY_ON
    pub const ALREADY_ON: u64 = -4i64 as u64;
    /// ON_PENDING
    pub const ON_PENDING: u64 = -5i64 as u64;
    /// INVALID_ADDRESS
    pub const INVALID_ADDRESS: u64 = -9i64 as u64;
}

/// What the guest's call makes the hypervisor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// x0 = value; x1–x3 are preserved.
    Return(u64),
    /// w0–w3 = the words of the vendor UID.
    ReturnUid([u32; 4]),
    /// x0 = 0 and wait as WFI does.
    Suspend,
    /// The calling vCPU goes off; it does not return.
    CpuOff,
    /// vCPU `target` (which is off) starts at `entry` with x0 = `context`; the caller gets x0 = 0.
    CpuOn {
        /// Index in the VM.
        target: usize,
        /// IPA to start at.
        entry: u64,
        /// x0 of the new vCPU.
        context: u64,
    },
    /// The VM stops cleanly (and with the right, the system).
    SystemOff,
    /// The VM restarts, or stops if its manifest says so.
    SystemReset,
}

/// Function identifiers. Bit 30 tells the 64-bit form of those that have one.
mod fid {
    pub const SMC64: u32 = 1 << 30;
    pub const SMCCC_VERSION: u32 = 0x8000_0000;
    pub const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
    pub const PSCI_VERSION: u32 = 0x8400_0000;
    pub const CPU_SUSPEND: u32 = 0x8400_0001;
    pub const CPU_OFF: u32 = 0x8400_0002;
    pub const CPU_ON: u32 = 0x8400_0003;
    pub const AFFINITY_INFO: u32 = 0x8400_0004;
    pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    pub const SYSTEM_OFF: u32 = 0x8400_0008;
    pub const SYSTEM_RESET: u32 = 0x8400_0009;
    pub const PSCI_FEATURES: u32 = 0x8400_000a;
    pub const SYSTEM_RESET2: u32 = 0x8400_0012;
    pub const VENDOR_UID: u32 = hyp_abi::call::FID_UID;
    pub const VENDOR_REVISION: u32 = 0x8600_ff03;
}

const PSCI_1_1: u64 = 0x1_0001;
/// Function identifier of PSCI_VERSION, for the fast path.
pub const VERSION_CALL: u32 = fid::PSCI_VERSION;
/// What it returns.
pub const VERSION_VALUE: u64 = PSCI_1_1;
const SMCCC_1_2: u64 = 0x1_0002;
/// MIGRATE_INFO_TYPE: no trusted OS that would need migration.
const NO_TRUSTED_OS: u64 = 2;
/// AFFINITY_INFO results.
const AFFINITY_ON: u64 = 0;
const AFFINITY_OFF: u64 = 1;
const AFFINITY_ON_PENDING: u64 = 2;
/// MPIDR affinity fields: Aff0–2 in [23:0], Aff3 in [39:32]. All other bits of a target must be 0 (DEN0022D §5.1.4).
const AFFINITY_BITS: u64 = 0xff_00ff_ffff;
/// power_state, original format: StateID [15:0], StateType [16], PowerLevel [25:24]; the rest must be 0.
const POWER_STATE_BITS: u64 = 0x0301_ffff;

/// True if `function` belongs to the ranges that [`call`] answers: Arm architecture calls, standard secure (PSCI), vendor discovery.
#[inline]
pub const fn is_ours(function: u32) -> bool {
    let owner = function >> 24 & 0x3f;
    owner == 0 || owner == 4 || (owner == 6 && function & 0xff00 == 0xff00)
}

/// True for the calls whose answer depends on the other vCPUs.
#[inline]
pub const fn is_about_vcpus(function: u32) -> bool {
    matches!(function & !fid::SMC64, fid::CPU_ON | fid::AFFINITY_INFO)
}

/// Decides a call. `x` are x1–x3, `vcpus` the power states of the VM's vCPUs, `ram` its IPA range.
///
/// *Hot* for PSCI_VERSION. 32-bit forms see the low halves of their arguments. Unknown functions return NOT_SUPPORTED.
#[inline]
pub fn call(function: u32, x: [u64; 3], vcpus: Powers, ram: &Range<u64>) -> Action {
    if function == fid::PSCI_VERSION {
        return Action::Return(PSCI_1_1);
    }
    other(function, x, vcpus, ram)
}

fn other(function: u32, x: [u64; 3], vcpus: Powers, ram: &Range<u64>) -> Action {
    let wide = function & fid::SMC64 != 0;
    let [a, b, c] = if wide { x } else { x.map(|v| v & 0xffff_ffff) };
    match function & !fid::SMC64 {
        fid::CPU_SUSPEND => suspend(a),
        fid::CPU_ON => cpu_on(a, b, c, vcpus, ram),
        fid::AFFINITY_INFO => Action::Return(affinity_info(a, b, vcpus)),
        _ if wide => Action::Return(error::NOT_SUPPORTED),
        fid::CPU_OFF => Action::CpuOff,
        fid::MIGRATE_INFO_TYPE => Action::Return(NO_TRUSTED_OS),
        fid::SYSTEM_OFF => Action::SystemOff,
        fid::SYSTEM_RESET => Action::SystemReset,
        fid::PSCI_FEATURES => Action::Return(psci_features(a as u32)),
        fid::SMCCC_VERSION => Action::Return(SMCCC_1_2),
        fid::SMCCC_ARCH_FEATURES => Action::Return(arch_features(a as u32)),
        fid::VENDOR_UID => Action::ReturnUid(UID),
        fid::VENDOR_REVISION => Action::Return(hyp_abi::ABI_VERSION as u64),
        _ => Action::Return(error::NOT_SUPPORTED),
    }
}

/// Every request is served as standby: a power-down may return to its caller as if a wake-up event had been pending (DEN0022D §5.4).
fn suspend(power_state: u64) -> Action {
    if power_state & !POWER_STATE_BITS != 0 {
        return Action::Return(error::INVALID_PARAMETERS);
    }
    Action::Suspend
}

fn cpu_on(target: u64, entry: u64, context: u64, vcpus: Powers, ram: &Range<u64>) -> Action {
    let index = target as usize;
    let state = if target & !0xff != 0 { None } else { vcpus.get(target) };
    Action::Return(match state {
        None => error::INVALID_PARAMETERS,
        Some(Power::On) => error::ALREADY_ON,
        Some(Power::OnPending) => error::ON_PENDING,
        Some(Power::Off) if !ram.contains(&entry) || entry & 3 != 0 => error::INVALID_ADDRESS,
        Some(Power::Off) => {
            return Action::CpuOn {
                target: index,
                entry,
                context,
            };
        }
    })
}

/// Levels above 0 name the group of all vCPUs whose higher affinity matches: 0.0.0.x, that is all or none.
fn affinity_info(target: u64, level: u64, vcpus: Powers) -> u64 {
    if target & !AFFINITY_BITS != 0 || level > 3 {
        return error::INVALID_PARAMETERS;
    }
    let report = |p: Power| match p {
        Power::On => AFFINITY_ON,
        Power::Off => AFFINITY_OFF,
        Power::OnPending => AFFINITY_ON_PENDING,
    };
    if level == 0 {
        return match vcpus.get(target) {
            Some(p) if target & !0xff == 0 => report(p),
            _ => error::INVALID_PARAMETERS,
        };
    }
    let ignored = match level {
        1 => 0xff,
        2 => 0xffff,
        _ => 0xff_ffff,
    };
    if target & !ignored != 0 {
        return error::INVALID_PARAMETERS;
    }
    if vcpus.on != 0 {
        AFFINITY_ON
    } else if vcpus.pending != 0 {
        AFFINITY_ON_PENDING
    } else {
        AFFINITY_OFF
    }
}

fn psci_features(function: u32) -> u64 {
    match function & !fid::SMC64 {
        // Feature flags: original power_state format, no OS-initiated mode.
        fid::CPU_SUSPEND | fid::CPU_ON | fid::AFFINITY_INFO => 0,
        _ if function & fid::SMC64 != 0 => error::NOT_SUPPORTED,
        fid::PSCI_VERSION | fid::CPU_OFF | fid::MIGRATE_INFO_TYPE => 0,
        fid::SYSTEM_OFF | fid::SYSTEM_RESET | fid::PSCI_FEATURES | fid::SMCCC_VERSION => 0,
        fid::SYSTEM_RESET2 => error::NOT_SUPPORTED,
        _ => error::NOT_SUPPORTED,
    }
}

/// No workaround call is offered: a guest reads CSV2, CSV3 and SSBS of the ID registers instead.
fn arch_features(function: u32) -> u64 {
    match function {
        fid::SMCCC_VERSION | fid::SMCCC_ARCH_FEATURES => 0,
        _ => error::NOT_SUPPORTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testrng::{Rng, steps};

    const RAM: Range<u64> = 0x4000_0000..0x4800_0000;
    const VCPUS: Powers = of(&[Power::On, Power::Off, Power::OnPending]);

    const fn of(powers: &[Power]) -> Powers {
        let mut all = Powers {
            on: 0,
            pending: 0,
            count: 0,
        };
        let mut i = 0;
        while i < powers.len() {
            all.push(powers[i]);
            i += 1;
        }
        all
    }

    #[track_caller]
    fn check(function: u32, x: [u64; 3], want: Action) {
        assert_eq!(call(function, x, VCPUS, &RAM), want, "{function:#x} {x:x?}");
    }

    #[track_caller]
    fn returns(function: u32, x: [u64; 3], want: i64) {
        check(function, x, Action::Return(want as u64));
    }

    #[test]
    fn discovery() {
        returns(0x8400_0000, [0; 3], 0x10001);
        returns(0x8000_0000, [0; 3], 0x10002);
        returns(0x8000_0001, [0x8000_0000, 0, 0], 0);
        returns(0x8000_0001, [0x8000_8000, 0, 0], -1);
        returns(0x8400_0006, [0; 3], 2);
        for (function, want) in [
            (0x8400_0000, 0),
            (0x8400_0001, 0),
            (0xc400_0001, 0),
            (0x8400_0002, 0),
            (0xc400_0003, 0),
            (0xc400_0004, 0),
            (0x8400_0008, 0),
            (0x8400_000a, 0),
            (0x8000_0000, 0),
            (0xc400_000e, -1),
            (0xc400_0002, -1),
            (0x8400_0012, -1),
            (0x8400_0005, -1),
        ] {
            returns(0x8400_000a, [function, 0, 0], want);
        }
        check(0x8600_ff01, [0; 3], Action::ReturnUid(UID));
        returns(0x8600_ff03, [0; 3], i64::from(hyp_abi::ABI_VERSION));
    }

    #[test]
    fn cpu_on_checks_target_and_entry() {
        check(
            0xc400_0003,
            [1, 0x4000_0000, 9],
            Action::CpuOn {
                target: 1,
                entry: 0x4000_0000,
                context: 9,
            },
        );
        check(
            0x8400_0003,
            [1 | 1 << 32, 0x4000_0000, 9],
            Action::CpuOn {
                target: 1,
                entry: 0x4000_0000,
                context: 9,
            },
        );
        returns(0xc400_0003, [1 | 1 << 32, 0x4000_0000, 9], -2);
        returns(0xc400_0003, [0, 0x4000_0000, 0], -4);
        returns(0xc400_0003, [2, 0x4000_0000, 0], -5);
        returns(0xc400_0003, [3, 0x4000_0000, 0], -2);
        returns(0xc400_0003, [0x101, 0x4000_0000, 0], -2);
        returns(0xc400_0003, [1, 0x4800_0000, 0], -9);
        returns(0xc400_0003, [1, 0x4000_0002, 0], -9);
    }

    #[test]
    fn affinity_info_at_every_level() {
        for (target, want) in [(0, 0), (1, 1), (2, 2), (3, -2), (0x100, -2), (1 << 24, -2)] {
            returns(0xc400_0004, [target, 0, 0], want);
        }
        for level in 1..4 {
            returns(0xc400_0004, [0x7, level, 0], 0);
            returns(0xc400_0004, [1 << 32, level, 0], -2);
        }
        returns(0xc400_0004, [0, 4, 0], -2);
        assert_eq!(affinity_info(0, 1, of(&[Power::Off, Power::OnPending])), 2);
        assert_eq!(affinity_info(0, 1, of(&[Power::Off])), 1);
    }

    #[test]
    fn power_calls() {
        check(0x8400_0002, [0; 3], Action::CpuOff);
        check(0x8400_0008, [0; 3], Action::SystemOff);
        check(0x8400_0009, [0; 3], Action::SystemReset);
        check(0xc400_0001, [0x1_0000, 0, 0], Action::Suspend);
        returns(0xc400_0001, [0x8000_0000, 0, 0], -2);
        returns(0xc400_0008, [0; 3], -1);
        returns(0x8400_0005, [0; 3], -1);
        returns(0x8400_000e, [0; 3], -1);
    }

    /// Whatever a guest passes: a status, and CPU_ON only of a vCPU that is off, inside RAM.
    #[test]
    fn random_calls_never_start_what_must_not_start() {
        let mut rng = Rng::new("psci", 4);
        for _ in 0..steps(200_000) {
            let function = match rng.below(3) {
                0 => rng.next() as u32,
                _ => rng.pick(&[0x8400_0000, 0xc400_0000, 0x8000_0000]) | rng.below(0x20) as u32,
            };
            let x = core::array::from_fn(|_| match rng.below(3) {
                0 => rng.next(),
                1 => rng.below(6),
                _ => RAM.start + rng.below(64),
            });
            if let Action::CpuOn { target, entry, .. } = call(function, x, VCPUS, &RAM) {
                assert_eq!(VCPUS.get(target as u64), Some(Power::Off));
                assert!(RAM.contains(&entry) && entry % 4 == 0);
            }
        }
    }

    #[test]
    fn ranges() {
        for f in [0x8400_0000, 0xc400_0003, 0x8000_0001, 0x8600_ff01] {
            assert!(is_ours(f));
        }
        for f in [0xc600_0000, 0xc600_0044, 0x8200_0000, 0xbf00_ff01] {
            assert!(!is_ours(f), "{f:#x}");
        }
    }
}
