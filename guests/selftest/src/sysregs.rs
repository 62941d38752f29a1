//! System registers: what is there reads, what is not is an undefined instruction, and nothing else happens, whatever the encoding.

use rt::sweep::{self, ENCODINGS, Swept};
use rt::sysreg_read;

use crate::expect;

/// Encodings of Op1 = 0, CRn = 0, CRm = 1 to 7 in class 3: the identification registers, which are all there or reserved and read as
/// zero (Arm ARM D17.1.3).
const IDENTIFICATION: core::ops::Range<u64> = 8..64;

pub fn run() {
    let Swept { refused, strange } = sweep::read(3, IDENTIFICATION.start, IDENTIFICATION.end);
    expect!(
        refused + strange == 0,
        "{refused} identification registers are undefined, {strange} strange"
    );
    for op0 in [2, 3] {
        let Swept { refused, strange } = sweep::read(op0, 0, ENCODINGS);
        expect!(strange == 0, "class {op0}: {strange} exceptions that are not Unknown");
        expect!(
            (1..ENCODINGS).contains(&refused),
            "class {op0}: {refused} of {ENCODINGS} encodings are undefined"
        );
    }
    // EL2, EL3, SVE, RAS, MTE, pointer authentication: what a guest has not got it is not told of.
    let pfr0 = sysreg_read!(id_aa64pfr0_el1);
    expect!(pfr0 >> 8 & 0xff == 0, "EL2 or EL3: {pfr0:#x}");
    expect!(pfr0 >> 28 & 0xff == 0, "RAS or SVE: {pfr0:#x}");
    let isar1 = sysreg_read!(id_aa64isar1_el1);
    expect!(isar1 >> 4 & 0xff == 0, "pointer authentication: {isar1:#x}");
}
