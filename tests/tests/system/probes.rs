//! Probes by hypercall: life, points, rights.

use gnomon_tests::vm;
use hyp_abi::record::StopCause;

const EVERYTHING: &str = "priority = 10\nrights = [\"probe:system\", \"log\"]";

#[test]
fn a_probe_lives_and_dies() {
    vm::passes("probe", &vm::guest("one", "selftest", "test=probe", EVERYTHING));
}

#[test]
fn every_point_fires_with_its_data() {
    let text = vm::guest("one", "selftest", "test=points chan=0", EVERYTHING)
        + &vm::guest("server", "pingpong", "role=server chan=0", "priority = 20")
        + &vm::channel("one", "server");
    vm::passes("points", &text);
}

#[test]
fn compiled_code_computes_what_the_interpreter_does() {
    vm::passes("jit", &vm::guest("one", "selftest", "test=jit", EVERYTHING));
}

#[test]
fn a_stage_2_fault_fires_its_point() {
    let text = vm::guest("one", "selftest", "test=stage2", EVERYTHING)
        + &vm::guest(
            "faulter",
            "selftest",
            "test=fault kind=read address=0x10000000 after_ms=5",
            "",
        );
    let outcome = vm::run(&text);
    vm::said_pass("stage2", &outcome, 0);
    vm::stopped_by(StopCause::MemoryFault, &outcome, 1);
}

#[test]
fn without_the_right_nothing_is_seen() {
    vm::passes("denied", &vm::guest("one", "selftest", "test=denied", ""));
}
