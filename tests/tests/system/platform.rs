//! The platform that guests see. These guests hold on the bare machine too: they say what the platform is, not what the
//! hypervisor happens to do.

use gnomon_tests::vm;

#[test]
fn interrupt_controller() {
    vm::passes("vgic", &vm::guest("one", "selftest", "test=vgic", ""));
}

#[test]
fn level_sensitive_lines() {
    vm::passes("lines", &vm::guest("one", "selftest", "test=lines", ""));
}

#[test]
fn virtual_timer() {
    vm::passes("timer", &vm::guest("one", "selftest", "test=timer", ""));
}

#[test]
fn performance_monitors() {
    vm::passes("pmu", &vm::guest("one", "selftest", "test=pmu", ""));
}

#[test]
fn every_system_register_reads_or_is_undefined() {
    vm::passes("sysregs", &vm::guest("one", "selftest", "test=sysregs", ""));
}

/// Both count, and give each other the CPU between.
#[test]
fn performance_monitors_of_two() {
    let text = vm::guest("a", "selftest", "test=pmu", "") + &vm::guest("b", "selftest", "test=pmu", "");
    let outcome = vm::passes("pmu", &text);
    vm::said_pass("pmu", &outcome, 1);
}

#[test]
fn two_at_once_each_have_a_platform_of_their_own() {
    let text = vm::guest("a", "selftest", "test=vgic", "") + &vm::guest("b", "selftest", "test=timer", "");
    let outcome = vm::passes("vgic", &text);
    vm::said_pass("timer", &outcome, 1);
}

#[test]
fn control_loop_on_the_virtual_timer() {
    let outcome = vm::passes("periodic", &vm::guest("loop", "periodic", "windows=2 window=100", ""));
    let console = outcome.console(0);
    let jitter: Vec<serde_json::Value> = vm::lines(&console, "@jitter")
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert!(jitter.len() >= 2, "{console}");
}
