//! The interpreter against the public suites.
mod support;

fn check(cases: Vec<support::Case>, rows: usize) {
    assert!(cases.len() >= rows, "only {} of {rows} rows", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let got = support::interpret(case);
        if !matches!(got, Ok(done) if done.r0 & case.mask == case.want & case.mask) {
            wrong.push(format!("{}: {got:x?}, want {:x}", case.name, case.want));
        }
    }
    println!("interpreter: {} of {}", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn public_suite() {
    if let Some(cases) = support::conformance() {
        check(cases, 313);
    }
}

#[test]
fn linux_test_bpf() {
    if let Some(cases) = support::linux() {
        check(cases, 383);
    }
}

#[test]
fn own_suite() {
    check(support::own(), 150);
}
