//! A VM that faults stops alone, and is reported.

use gnomon_tests::vm;
use hyp_abi::record::StopCause;

fn faults(cmdline: &str, write: bool, address: u64) {
    let text = vm::guest("bad", "selftest", cmdline, "priority = 20")
        + &vm::guest("good", "selftest", "test=timer", "priority = 10");
    let outcome = vm::run(&text);
    vm::stopped_by(StopCause::MemoryFault, &outcome, 0);
    vm::said_pass("timer", &outcome, 1);
    assert!(
        outcome.off && outcome.broken.is_none() && !outcome.is_good(),
        "{}",
        vm::story(&outcome)
    );
    let stopped = outcome.stopped[0].expect("stopped_by has looked");
    assert_eq!(stopped.ipa, address, "{}", vm::story(&outcome));
    assert_eq!(stopped.esr >> 26 & 0x3f, 0x24, "a data abort of a lower level");
    assert_eq!(stopped.esr >> 6 & 1 == 1, write, "WnR");
    assert!(
        (0x4000_0000..0x4080_0000).contains(&stopped.elr),
        "pc {:#x} is in the guest",
        stopped.elr
    );
}

#[test]
fn a_read_beyond_ram() {
    faults("test=fault kind=read", false, 0x4080_0000);
}

#[test]
fn a_write_beyond_ram() {
    faults("test=fault kind=write", true, 0x4080_0000);
}

#[test]
fn a_write_where_no_device_is() {
    faults("test=fault kind=write address=0x0b000000", true, 0x0b00_0000);
}
