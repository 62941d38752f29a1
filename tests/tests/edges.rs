//! Which crate may use which, and what each must forbid: docs/ARCHITECTURE.md's drawing, checked.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_tests::repo;

/// Our crates, the crates of ours that each may use, and its marks: N `no_std`, F `forbid(unsafe_code)`.
/// `tests` and `xtask` stand outside: nothing uses them.
const EDGES: &[(&str, &[&str], &str)] = &[
    ("hyp-abi", &[], "NF"),
    ("verifier", &[], "NF"),
    ("pathwcet", &[], ""),
    ("probe-vm", &["verifier"], "NF"),
    ("board-support", &["verifier"], "NF"),
    ("hyp-core", &["hyp-abi", "verifier", "probe-vm"], "NF"),
    (
        "hyp-el2",
        &["hyp-core", "hyp-abi", "board-support", "verifier", "probe-vm"],
        "N",
    ),
    ("rt", &["hyp-abi", "probe-vm"], "N"),
    (
        "gnomon",
        &[
            "hyp-abi",
            "hyp-core",
            "verifier",
            "probe-vm",
            "pathwcet",
            "board-support",
        ],
        "F",
    ),
    ("xtask", &[], ""),
    (
        "gnomon-tests",
        &[
            "gnomon",
            "hyp-abi",
            "hyp-core",
            "verifier",
            "probe-vm",
            "pathwcet",
            "board-support",
        ],
        "",
    ),
];
/// Every guest.
const GUEST: (&[&str], &str) = (&["rt", "hyp-abi"], "N");

fn rule(name: &str) -> Option<(&'static [&'static str], &'static str)> {
    let listed = EDGES
        .iter()
        .find(|(crate_name, ..)| *crate_name == name)
        .map(|(_, uses, marks)| (*uses, *marks));
    listed.or_else(|| name.starts_with("guest-").then_some(GUEST))
}

/// Name and manifest of each crate of ours.
fn crates() -> BTreeMap<String, (std::path::PathBuf, toml::Table)> {
    let manifests = repo::files()
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "Cargo.toml"));
    let mut crates = BTreeMap::new();
    for file in manifests {
        let table: toml::Table = repo::text(&file).parse().expect("a Cargo.toml is TOML");
        // A crate with a workspace of its own is no part of the house: cargo-fuzz's targets need a nightly compiler.
        if table.contains_key("workspace") {
            continue;
        }
        if let Some(name) = table.get("package").and_then(|package| package["name"].as_str()) {
            crates.insert(
                name.to_string(),
                (file.parent().expect("it has a folder").to_path_buf(), table.clone()),
            );
        }
    }
    crates
}

/// Dependencies of a manifest, dev-dependencies aside: tests may look anywhere.
fn dependencies(table: &toml::Table) -> BTreeSet<String> {
    let section = |table: &toml::Table, key: &str| -> Vec<String> {
        table
            .get(key)
            .and_then(toml::Value::as_table)
            .map(|t| t.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut all: BTreeSet<String> = BTreeSet::new();
    for key in ["dependencies", "build-dependencies"] {
        all.extend(section(table, key));
        for target in table
            .get("target")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(|t| t.values())
        {
            all.extend(target.as_table().map(|target| section(target, key)).unwrap_or_default());
        }
    }
    all
}

#[test]
fn every_edge_is_drawn() {
    let crates = crates();
    let mut faults = Vec::new();
    for (name, (_, table)) in &crates {
        let Some((allowed, _)) = rule(name) else {
            faults.push(format!(
                "{name} is in no drawing: add it to EDGES and docs/ARCHITECTURE.md"
            ));
            continue;
        };
        for used in dependencies(table).iter().filter(|used| crates.contains_key(*used)) {
            if !allowed.contains(&used.as_str()) {
                faults.push(format!("{name} may not use {used}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_drawing_has_no_cycle() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    // Each round adds the crates all of whose uses are there; as many rounds as crates suffice.
    for _ in EDGES {
        let ready = EDGES
            .iter()
            .filter(|(_, uses, _)| uses.iter().all(|used| below.contains(used)));
        let ready: Vec<&str> = ready.map(|(name, ..)| *name).collect();
        below.extend(ready);
    }
    let all: BTreeSet<&str> = EDGES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(below, all, "those missing on the left are in a cycle");
}

#[test]
fn every_crate_forbids_what_it_must() {
    let mut faults = Vec::new();
    for (name, (folder, _)) in crates() {
        let Some((_, marks)) = rule(&name) else { continue };
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        for root in roots.iter().filter(|file| repo::root().join(file).is_file()) {
            let text = repo::text(root);
            let has = |attribute: &str| text.lines().any(|line| line.trim() == attribute);
            let no_std = has("#![no_std]") || has("#![cfg_attr(not(test), no_std)]");
            if marks.contains('N') && !no_std {
                faults.push(format!("{}: #![no_std] is missing", root.display()));
            }
            if marks.contains('F') && !has("#![forbid(unsafe_code)]") {
                faults.push(format!("{}: #![forbid(unsafe_code)] is missing", root.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn versions_are_given_once() {
    let mut faults = Vec::new();
    for (name, (_, table)) in crates() {
        for key in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (used, how) in table.get(key).and_then(toml::Value::as_table).into_iter().flatten() {
                let inherited = how
                    .as_table()
                    .is_some_and(|how| how.get("workspace").and_then(toml::Value::as_bool) == Some(true));
                // A crate that uses itself, in its tests and with another feature, has no version to give.
                if !inherited && *used != name {
                    faults.push(format!("{name}: {used} must be `workspace = true`"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
