//! VMs beside each other: isolation, floating point, IPC and notifications.

use gnomon_tests::vm;
use hyp_abi::record::StopCause;

#[test]
fn a_vm_reads_nothing_of_another() {
    let text = vm::guest("victim", "selftest", "test=isolation role=victim", "")
        + &vm::guest("intruder", "selftest", "test=isolation role=intruder", "");
    let outcome = vm::run(&text);
    vm::said_pass("isolation", &outcome, 0);
    vm::stopped_by(StopCause::MemoryFault, &outcome, 1);
    assert!(outcome.off && outcome.broken.is_none(), "{}", vm::story(&outcome));
}

#[test]
fn addresses_of_the_machine_mean_nothing_to_a_vm() {
    // Physical RAM behind the VM's own, the real interrupt controller's ITS, and a virtio device of the machine.
    for address in ["0x60000000", "0x08080000", "0x0a000000"] {
        let intruder = format!("test=isolation role=intruder address={address}");
        let text = vm::guest("victim", "selftest", "test=isolation role=victim", "")
            + &vm::guest("intruder", "selftest", &intruder, "");
        let outcome = vm::run(&text);
        vm::said_pass("isolation", &outcome, 0);
        vm::stopped_by(StopCause::MemoryFault, &outcome, 1);
        assert!(
            outcome.off && outcome.broken.is_none(),
            "{address}: {}",
            vm::story(&outcome)
        );
    }
}

#[test]
fn floating_point_belongs_to_each() {
    let text =
        vm::guest("a", "selftest", "test=fpsimd seed=1", "") + &vm::guest("b", "selftest", "test=fpsimd seed=2", "");
    let outcome = vm::passes("fpsimd", &text);
    vm::said_pass("fpsimd", &outcome, 1);
}

#[test]
fn calls_replies_and_notifications() {
    let text = vm::guest("client", "selftest", "test=ipc chan=0", "priority = 10")
        + &vm::guest("server", "pingpong", "role=server chan=0", "priority = 20")
        + &vm::channel("client", "server");
    vm::passes("ipc", &text);
}

#[test]
fn a_lower_server_serves_too() {
    let text = vm::guest("client", "selftest", "test=ipc chan=0", "priority = 20")
        + &vm::guest("server", "pingpong", "role=server chan=0", "priority = 10")
        + &vm::channel("client", "server");
    vm::passes("ipc", &text);
}

/// A VM of two CPUs asks the CPU of a busy VM of higher priority for a register: how long answers take tells whether the
/// busy one was interrupted for them.
fn asked_beside(timing: &str, limit: &str) {
    let text = String::from("[system]\ncpus = 2\n")
        + &vm::guest(
            "asking",
            "selftest",
            &format!("test=shield role=asking {limit}"),
            "priority = 5\ncpus = [0, 1]",
        )
        + &vm::guest(
            "busy",
            "selftest",
            "test=shield role=busy",
            &format!("priority = 20\ncpu = 1\n{timing}"),
        );
    let outcome = vm::passes("shield", &text);
    vm::said_pass("shield", &outcome, 1);
}

#[test]
fn messages_wait_for_a_vcpu_with_a_period() {
    asked_beside("timing = { period = \"3ms\", budget = 2_100_000 }", "least=1500");
}

#[test]
fn messages_interrupt_a_vcpu_without_one() {
    asked_beside("", "most=200");
}
