//! The compiler against the public suites: its code is executed by `qemu-aarch64`.
mod support;

use probe_vm::conformance::Batch;

fn check(cases: Vec<support::Case>, rows: usize, cpu: &str, lse: bool) {
    assert!(cases.len() >= rows, "only {} of {rows} rows", cases.len());
    let mut batch = Batch::new(lse);
    for case in &cases {
        batch
            .add(&case.slots, &case.mem, case.len)
            .unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    }
    let Some(outcomes) = support::execute(&batch, cpu) else {
        return;
    };
    let mut wrong = Vec::new();
    for (case, outcome) in cases.iter().zip(&outcomes) {
        if outcome.r0 & case.mask != case.want & case.mask {
            wrong.push(format!("{}: {:x}, want {:x}", case.name, outcome.r0, case.want));
        }
    }
    println!("compiled, on {cpu}: {} of {}", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn public_suite_with_lse() {
    if let Some(cases) = support::conformance() {
        check(cases, 313, "max", true);
    }
}

#[test]
fn public_suite_without_lse() {
    if let Some(cases) = support::conformance() {
        check(cases, 313, "cortex-a53", false);
    }
}

#[test]
fn linux_test_bpf_with_lse() {
    if let Some(cases) = support::linux() {
        check(cases, 383, "max", true);
    }
}

#[test]
fn linux_test_bpf_without_lse() {
    if let Some(cases) = support::linux() {
        check(cases, 383, "cortex-a53", false);
    }
}

#[test]
fn own_suite_with_lse() {
    check(support::own(), 150, "max", true);
}

#[test]
fn own_suite_without_lse() {
    check(support::own(), 150, "cortex-a53", false);
}

/// Random programs on a real execution engine against the interpreter: r0 and memory.
fn check_random(cpu: &str, lse: bool, programs: u64) {
    use support::random::{self, Rng};
    let seed = std::env::var("GNOMON_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x6e6f_6d6f_6e00_0002);
    println!("seed {seed}, {programs} programs on {cpu}");
    let mut rng = Rng(seed);
    let mut batch = Batch::new(lse);
    let mut cases = Vec::new();
    for n in 0..programs {
        let slots = random::program(&mut rng);
        let mem = random::memory(&mut rng);
        batch.add(&slots, &mem, 0).unwrap();
        let name = format!("seed {seed} program {n}");
        cases.push(support::Case {
            name,
            groups: vec![],
            slots,
            mem,
            len: 0,
            want: 0,
            mask: u64::MAX,
        });
    }
    let Some(outcomes) = support::execute(&batch, cpu) else {
        return;
    };
    for (case, outcome) in cases.iter().zip(&outcomes) {
        let (done, mem) = support::interpret_memory(case);
        assert_eq!(done.unwrap().r0, outcome.r0, "{}", case.name);
        assert_eq!(mem, outcome.mem, "{}", case.name);
    }
}

#[test]
fn random_programs_with_lse() {
    check_random("max", true, 5_000);
}

#[test]
fn random_programs_without_lse() {
    check_random("cortex-a53", false, 2_000);
}
