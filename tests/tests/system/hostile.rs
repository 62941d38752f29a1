//! Random and edge arguments: each gets a status, and no one else notices.
//!
//! The guest's random accesses may leave its own console in any state: its verdict is the code it ends with.

use gnomon::run::Outcome;
use gnomon_tests::vm;
use hyp_abi::record::StopCause;

/// Random hypercalls and MMIO accesses of one run. The full count is a million: `cargo xtask run systems/hostile.toml`.
const COUNT: u32 = 10_000;

/// Asserts that the hostile VM found nothing wrong, the loop beside it neither, and the hypervisor lives.
fn all_is_well(outcome: &Outcome) {
    vm::stopped_by(StopCause::Exit, outcome, 0);
    let code = outcome.stopped[0].map(|stopped| stopped.code);
    assert_eq!(code, Some(0), "{}", vm::story(outcome));
    vm::said_pass("periodic", outcome, 1);
    assert!(outcome.broken.is_none() && !outcome.timed_out, "{}", vm::story(outcome));
}

fn beside_the_loop(seed: u32, more: &str, rights: &str) -> String {
    vm::guest(
        "hostile",
        "hostile",
        &format!("seed={seed} count={COUNT} {more}"),
        rights,
    ) + &vm::guest("loop", "periodic", "windows=2 window=50", "priority = 30")
}

#[test]
fn without_rights() {
    all_is_well(&vm::run(&beside_the_loop(1, "", "priority = 10")));
}

#[test]
fn with_every_right() {
    let rights = "priority = 10\nrights = [\"probe:system\", \"log\"]";
    all_is_well(&vm::run(&beside_the_loop(2, "", rights)));
}

#[test]
fn with_a_channel() {
    let text = beside_the_loop(3, "chan=0", "priority = 10")
        + &vm::guest("server", "pingpong", "role=server chan=0", "priority = 20")
        + &vm::channel("hostile", "server");
    // The server waits for its next caller when the hostile one has gone.
    all_is_well(&vm::run_until_stopped(&[0, 1], &text));
}

#[test]
fn wild_jumps_end_the_vm_alone() {
    let outcome = vm::run(&beside_the_loop(4, "end=wild", "priority = 10"));
    vm::stopped_by(StopCause::MemoryFault, &outcome, 0);
    vm::said_pass("periodic", &outcome, 1);
    assert!(outcome.off && outcome.broken.is_none(), "{}", vm::story(&outcome));
}
