//! rbpf as a second opinion, with the table of where it is known to differ.
//!
//! It is no judge: each row of the table names a kind of instruction it does not have or gets wrong. The test holds both ways:
//! every disagreement is explained by a row, and every row still has a program that shows it.
mod support;

use support::Case;

/// A kind of instruction rbpf has not or has otherwise, and the slots it is seen by.
struct Difference {
    name: &'static str,
    shows: fn(u64) -> bool,
}

fn op(slot: u64) -> u8 {
    slot as u8
}
fn off(slot: u64) -> i16 {
    (slot >> 16) as i16
}
fn imm(slot: u64) -> i32 {
    (slot >> 32) as i32
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "signed division and remainder",
        shows: |s| matches!(op(s) & 0xf7, 0x34 | 0x37 | 0x94 | 0x97) && off(s) == 1,
    },
    Difference {
        name: "sign-extending moves",
        shows: |s| matches!(op(s), 0xbc | 0xbf) && off(s) != 0,
    },
    Difference {
        name: "sign-extending loads",
        shows: |s| matches!(op(s), 0x81 | 0x89 | 0x91),
    },
    Difference {
        name: "unconditional byte swaps",
        shows: |s| op(s) == 0xd7,
    },
    Difference {
        name: "jumps with 32-bit offset",
        shows: |s| op(s) == 0x06,
    },
    Difference {
        name: "calls through a register",
        shows: |s| op(s) == 0x8d,
    },
    Difference {
        name: "atomic operations",
        shows: |s| matches!(op(s), 0xc3 | 0xdb),
    },
    Difference {
        name: "the memory's length is not in r2",
        shows: |s| op(s) == 0xbf && s >> 12 & 15 == 2,
    },
    // Only where overflow is checked, as in tests.
    Difference {
        name: "negation panics on the least number",
        shows: |s| op(s) == 0x87,
    },
    Difference {
        name: "64-bit jumps zero-extend a negative immediate",
        shows: |s| op(s) & 0x0f == 5 && !matches!(op(s), 0x05 | 0x85 | 0x95) && imm(s) < 0,
    },
];

/// r0, or why there is none.
fn run(case: &Case) -> Result<u64, String> {
    let bytes: Vec<u8> = case.slots.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut mem = case.mem.clone();
    let quiet = std::panic::AssertUnwindSafe(|| {
        let mut vm = rbpf::EbpfVmRaw::new(Some(&bytes)).map_err(|e| e.to_string())?;
        vm.register_helper(5, |r1, _, _, _, _| r1).map_err(|e| e.to_string())?;
        vm.execute_program(&mut mem).map_err(|e| e.to_string())
    });
    std::panic::catch_unwind(quiet).unwrap_or_else(|_| Err("panicked".into()))
}

#[test]
fn every_difference_is_known_and_still_there() {
    let Some(cases) = support::conformance() else { return };
    let mut seen = vec![0; DIFFERENCES.len()];
    let (mut agree, mut unexplained) = (0, Vec::new());
    for case in &cases {
        let got = run(case);
        if got.as_ref().is_ok_and(|r0| r0 & case.mask == case.want & case.mask) {
            agree += 1;
            continue;
        }
        let shown: Vec<usize> = (0..DIFFERENCES.len())
            .filter(|&i| case.slots.iter().any(|&s| (DIFFERENCES[i].shows)(s)))
            .collect();
        if shown.is_empty() {
            unexplained.push(format!("{}: {got:x?}, want {:x}", case.name, case.want));
        }
        for i in shown {
            seen[i] += 1;
        }
    }
    println!("rbpf agrees on {agree} of {}", cases.len());
    for (difference, seen) in DIFFERENCES.iter().zip(&seen) {
        println!("{seen:4} {}", difference.name);
        assert!(*seen > 0, "rbpf no longer differs: {}", difference.name);
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}
