//! Probes by hypercall: life, points, rights.

use gnomon_tests::vm;

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
fn without_the_right_nothing_is_seen() {
    vm::passes("denied", &vm::guest("one", "selftest", "test=denied", ""));
}
