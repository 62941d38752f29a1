//! The stated costs against the words that are executed, and interpreter against compiled code.
mod support;

use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::interp::{self, Memory, Space};
use support::engines::{CODE_BASE, run_both};
use support::random::{self, Rng};

fn check_cases(cases: &[support::Case]) {
    for case in cases {
        for lse in [true, false] {
            let both = run_both(&case.slots, &case.mem, case.len, lse, 0);
            assert_eq!(both.r0[1] & case.mask, case.want & case.mask, "{}", case.name);
            match both.cost {
                Some(cost) if lse => assert_eq!(cost, both.executed, "{}", case.name),
                Some(cost) => assert!(cost >= both.executed, "{}", case.name),
                None => assert_eq!(case.name, "callx"),
            }
        }
    }
}

#[test]
fn suite_costs_what_is_stated() {
    if let Some(cases) = support::conformance() {
        check_cases(&cases);
    }
}

#[test]
fn linux_rows_cost_what_is_stated() {
    if let Some(cases) = support::linux() {
        check_cases(&cases);
    }
}

#[test]
fn own_rows_cost_what_is_stated() {
    check_cases(&support::own());
}

/// Programs in CI; the bench runs more.
const PROGRAMS: u64 = 10_000;

#[test]
fn random_programs_agree_and_cost_what_is_stated() {
    let seed = std::env::var("GNOMON_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x6e6f_6d6f_6e00_0001);
    println!("seed {seed}, {PROGRAMS} programs");
    let mut rng = Rng(seed);
    for n in 0..PROGRAMS {
        let slots = random::program(&mut rng);
        let mem = random::memory(&mut rng);
        let failures = if n % 7 == 0 { rng.below(5) as u32 } else { 0 };
        for lse in [true, false] {
            let both = run_both(&slots, &mem, 0, lse, failures);
            assert_eq!(both.r0[0], both.r0[1], "seed {seed} program {n} lse {lse}: r0");
            assert_eq!(both.mem[0], both.mem[1], "seed {seed} program {n} lse {lse}: memory");
            let cost = both.cost.expect("the verifier's decoder knows every instruction");
            if lse && !both.looped {
                assert_eq!(cost, both.executed, "seed {seed} program {n}");
            } else {
                assert!(
                    cost >= both.executed,
                    "seed {seed} program {n}: {cost} < {}",
                    both.executed
                );
            }
        }
    }
}

/// An exclusive loop whose tries are all used up ends the program, from a callee too.
#[test]
fn contended_programs_give_up() {
    let atomic = random::slot(0xdb, 2, 1, 0, 0);
    let slots = [
        random::slot(0xbf, 6, 1, 0, 0),
        random::slot(0xbf, 2, 6, 0, 0),
        random::slot(0x85, 0, 1, 0, 1),
        random::slot(0x95, 0, 0, 0, 0),
        random::slot(0xb7, 1, 0, 0, 1),
        random::slot(0xbf, 7, 2, 0, 0),
        random::slot(0x7b, 10, 1, -8, 0),
        atomic,
        random::slot(0xb7, 0, 0, 0, 3),
        random::slot(0x95, 0, 0, 0, 0),
    ];
    let both = run_both(&slots, &[0; 8], 0, false, 15);
    assert_eq!(both.r0, [3, 3]);
    assert!(both.executed <= both.cost.unwrap());
    let both = run_both(&slots, &[0; 8], 0, false, 16);
    assert_eq!(both.r0, [3, probe_vm::jit::ABORTED]);
    assert_eq!(both.mem[1], [0; 8]);
    assert!(both.executed <= both.cost.unwrap());
}

#[test]
fn space_faults_stop_the_emulator() {
    let mut space = Space::new();
    assert!(space.store(1 << 32, interp::Size::B, 0).is_none());
    let mut cpu = Cpu::default();
    let ran = emu::run(
        &[0xf940_0000],
        CODE_BASE,
        &mut cpu,
        &mut space,
        &mut support::SuiteHelpers,
        9,
    );
    assert!(matches!(ran, Err(emu::Stop::Access(0, _))));
    let ran = emu::run(
        &[0x1e60_2800],
        CODE_BASE,
        &mut cpu,
        &mut space,
        &mut support::SuiteHelpers,
        9,
    );
    assert_eq!(
        ran,
        Err(emu::Stop::Unknown(0, 0x1e60_2800)),
        "a floating-point word is not in the subset"
    );
}
