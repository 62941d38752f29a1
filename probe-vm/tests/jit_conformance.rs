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
