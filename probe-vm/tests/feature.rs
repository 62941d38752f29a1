//! The hypervisor is built without the feature that compiles unverified programs.

use std::path::Path;
use std::process::Command;

fn tree(package: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(root)
        .args(["tree", "--offline", "--package", package, "--edges", "normal,build"]);
    let output = cargo
        .args(["--prefix", "none", "--format", "{p} [{f}]"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn features_of_probe_vm(package: &str) -> Option<String> {
    let line = tree(package)
        .lines()
        .find(|line| line.starts_with("probe-vm "))?
        .to_string();
    Some(line[line.rfind('[')?..].to_string())
}

#[test]
fn hypervisor_compiles_only_verified_programs() {
    let used = features_of_probe_vm("hyp-el2").expect("hyp-el2 uses probe-vm");
    assert!(!used.contains("conformance"), "hyp-el2 has probe-vm with {used}");
    // The host tool does have it: the test sees what it looks for.
    let host = features_of_probe_vm("gnomon").expect("gnomon uses probe-vm");
    assert!(host.contains("conformance"), "gnomon has probe-vm with {host}");
}
