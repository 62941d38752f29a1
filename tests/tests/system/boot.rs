//! Boot, consoles, exit status, power-off.

use std::process::Command;
use std::time::Duration;

use gnomon::console::Item;
use gnomon::run::{Event, Machine, Options};
use gnomon_tests::vm;

#[test]
fn one_vm_boots_and_powers_off() {
    vm::passes("boot", &vm::guest("one", "selftest", "test=boot", ""));
}

#[test]
fn the_guest_sees_the_memory_and_address_of_the_manifest() {
    vm::passes(
        "boot",
        &vm::guest("one", "selftest", "test=boot", "").replace("8M", "64M"),
    );
}

#[test]
fn the_machine_goes_off_with_the_last_vm() {
    let text = vm::guest("a", "selftest", "test=boot", "") + &vm::guest("b", "selftest", "test=boot", "");
    let outcome = vm::passes("boot", &text);
    vm::said_pass("boot", &outcome, 1);
    assert!(
        outcome.stopped.iter().all(Option::is_some) && outcome.off,
        "{}",
        vm::story(&outcome)
    );
}

#[test]
fn what_is_typed_goes_to_the_vm_in_focus() {
    let text = String::from("[system]\nfocus = \"b\"\n")
        + &vm::guest("a", "selftest", "test=boot", "")
        + &vm::guest("b", "selftest", "test=echo", "");
    let (system, packed) = vm::packed(&text);
    let machine = Machine::start(&system, &packed, &Options::default()).expect("QEMU starts");
    let mut console = String::new();
    let mut typed = false;
    // Silence of this length is a hang: virtual time does not stand still.
    while let Some(event) = machine.next(Duration::from_secs(60)) {
        match event {
            Event::Item(Item::Byte { vm: 1, byte }) => console.push(byte.into()),
            Event::Item(_) => {}
            Event::Ended { .. } => break,
        }
        if !typed && console.contains("echo: ready\n") {
            typed = true;
            b"hello\n".iter().for_each(|byte| machine.type_byte(1, *byte));
        }
    }
    assert!(typed && console.contains("echo: hello"), "{console}");
    assert!(console.contains("PASS echo"), "{console}");
}

#[test]
fn the_command_has_the_status_of_the_guests() {
    let gnomon = vm::gnomon();
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, text: &str, more: &[&str]| {
        let manifest = folder.path().join(name);
        std::fs::write(&manifest, text).expect("a manifest");
        let output = Command::new(&gnomon)
            .arg("run")
            .arg(&manifest)
            .args(more)
            .output()
            .expect("gnomon runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (status, text) = run(
        "good.toml",
        &vm::guest("one", "selftest", "test=boot", ""),
        &["--timeout", "60"],
    );
    assert!(status == Some(0) && text.contains("PASS boot"), "{status:?} {text}");
    let (status, text) = run(
        "fail.toml",
        &vm::guest("one", "selftest", "test=nothing", ""),
        &["--timeout", "60"],
    );
    assert!(
        status == Some(1) && text.contains("no such test") && text.contains("one failed with code"),
        "{status:?} {text}"
    );
    let (status, text) = run(
        "fault.toml",
        &vm::guest("one", "selftest", "test=fault kind=write", ""),
        &["--timeout", "60"],
    );
    assert!(
        status == Some(1) && text.contains("one faulted") && text.contains("write of"),
        "{status:?} {text}"
    );
    let (status, text) = run("bad.toml", "[[vm]]\nnme = \"one\"\n", &[]);
    assert!(
        status == Some(2) && text.contains("did you mean `name`"),
        "{status:?} {text}"
    );
    let endless = vm::guest("one", "selftest", "test=echo", "");
    let (status, text) = run("endless.toml", &endless, &["--timeout", "2"]);
    assert!(status == Some(1) && text.contains("time is over"), "{status:?} {text}");
}
