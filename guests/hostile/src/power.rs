//! PSCI and the Arm services: every function number, wrong CPUs, wrong states. What would rightly end the VM is left out.

use rt::rng::Rng;
use rt::{exit, hvc, psci};

use crate::tally::Tally;

/// Functions that stop the VM or its CPU for good, in both widths.
fn ends_vm(function: u64) -> bool {
    let number = function & 0xffff;
    let standard = function >> 24 & 0x3f == 4;
    // CPU_SUSPEND, CPU_OFF, SYSTEM_OFF, SYSTEM_RESET, CPU_FREEZE, CPU_DEFAULT_SUSPEND, SYSTEM_SUSPEND, SYSTEM_RESET2
    standard && matches!(number, 1 | 2 | 8 | 9 | 0xb | 0xc | 0xe | 0x12)
}

fn make(function: u64, args: [u64; 3], tally: &mut Tally) -> u64 {
    tally.psci += 1;
    hvc::smccc(function, args)
}

/// All functions of PSCI's range in both widths, and CPU_ON for CPUs that are on or do not exist.
pub fn systematic(tally: &mut Tally) {
    for number in 0..0x40 {
        for base in [0x8400_0000, 0xc400_0000, 0x8000_0000, 0xc000_0000] {
            let function = base | number;
            if !ends_vm(function) {
                for argument in [0, 1, 0xffff_ffff, u64::MAX] {
                    make(function, [argument; 3], tally);
                }
            }
        }
    }
    for target in [0, 1, 0xff, 0x100, 1 << 32, u64::MAX] {
        for entry in [0, 3, 0x0800_0000, u64::MAX] {
            let status = make(psci::id::CPU_ON, [target, entry, 0], tally) as i64;
            if status >= 0 {
                exit::fail("hostile", format_args!("CPU_ON of {target:#x} at {entry:#x} succeeded"));
            }
        }
    }
}

/// A random standard call, by HVC or SMC.
pub fn random(rng: &mut Rng, tally: &mut Tally) {
    let function = 0x8000_0000 | (rng.next() & 0x4400_003f);
    if ends_vm(function) {
        return;
    }
    let x = [function, rng.next(), rng.next(), rng.next(), 4, 5, 6, 7];
    tally.psci += 1;
    // On the bare machine without EL3, SMC is undefined.
    let by_hvc = rng.below(2) == 0 || !hvc::present();
    let after = if by_hvc { hvc::raw(x) } else { hvc::raw_smc(x) };
    if after[4..] != [4, 5, 6, 7] {
        exit::fail(
            "hostile",
            format_args!("function {function:#x} changed x4-x7 to {:x?}", &after[4..]),
        );
    }
}
