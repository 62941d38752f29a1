//! Boot, consoles, exit status.

use gnomon_tests::vm;

#[test]
fn one_vm_boots_and_powers_off() {
    let outcome = vm::run(
        r#"
        [[vm]]
        name = "one"
        image = "guest:selftest"
        cmdline = "test=boot"
        memory = "4M"
        "#,
    );
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
    assert_eq!(vm::lines(&outcome.console(0), "PASS").collect::<Vec<_>>(), ["boot"]);
}
