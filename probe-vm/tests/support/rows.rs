//! Rows of the data of others, and our own programs, as cases.
#![allow(dead_code)] // each test binary uses its part

use serde_json::Value;
use std::path::PathBuf;

/// One program with one input and what it must return.
pub struct Case {
    pub name: String,
    pub groups: Vec<String>,
    pub slots: Vec<u64>,
    pub mem: Vec<u8>,
    /// r2 on entry.
    pub len: u64,
    pub want: u64,
    /// Bits of r0 that the suite compares.
    pub mask: u64,
}

pub fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect()
}

pub fn slots_of(hex: &str) -> Vec<u64> {
    bytes_of(hex)
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().unwrap()))
        .collect()
}

/// Where the data of others lies; `None` (with a line that says so) where it is not there, an error in CI.
pub fn shared(file: &str) -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("GNOMON_SHARED").map_or(root, PathBuf::from);
    let path = root.join("data").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{} is missing",
            path.display()
        );
        println!("skipped: {} is not there", path.display());
        return None;
    };
    Some(text.lines().map(|l| serde_json::from_str(l).unwrap()).collect())
}

/// The public eBPF conformance suite.
pub fn conformance() -> Option<Vec<Case>> {
    let row = |r: &Value| {
        let mem = bytes_of(r["mem"].as_str().unwrap());
        let want = r["r0"].as_str().unwrap().trim_start_matches("0x").to_string();
        Case {
            name: r["name"].as_str().unwrap().into(),
            groups: r["groups"]
                .as_array()
                .unwrap()
                .iter()
                .map(|g| g.as_str().unwrap().into())
                .collect(),
            slots: slots_of(r["insns"].as_str().unwrap()),
            len: mem.len() as u64,
            mem,
            want: u64::from_str_radix(&want, 16).unwrap(),
            mask: u64::MAX,
        }
    };
    Some(shared("bpf_conformance.jsonl")?.iter().map(row).collect())
}

/// `aux` bit of Linux's rows: a zeroed buffer of `data_size` bytes instead of `data`.
const LARGE_MEM: u64 = 16;

/// Inside Linux a `w = w` with immediate 1 marks a zero extension for its compilers; RFC 9669 has that field 0.
fn without_zext_mark(slot: u64) -> u64 {
    if slot as u8 == 0xbc && slot >> 32 == 1 {
        slot & 0xffff_ffff
    } else {
        slot
    }
}

/// Linux's lib/test_bpf.c, one case per input. It compares an `int`, and r2 is not set.
pub fn linux() -> Option<Vec<Case>> {
    let mut cases = Vec::new();
    for r in shared("linux612_test_bpf_odd.jsonl")? {
        for t in r["tests"].as_array().unwrap() {
            let size = t["data_size"].as_u64().unwrap() as usize;
            let large = r["aux"].as_u64().unwrap() & LARGE_MEM != 0;
            cases.push(Case {
                name: r["descr"].as_str().unwrap().into(),
                groups: vec!["linux".into()],
                slots: slots_of(r["insns"].as_str().unwrap())
                    .into_iter()
                    .map(without_zext_mark)
                    .collect(),
                mem: if large {
                    vec![0; size]
                } else {
                    bytes_of(r["data"].as_str().unwrap())
                },
                len: 0,
                want: t["result"].as_u64().unwrap(),
                mask: 0xffff_ffff,
            });
        }
    }
    Some(cases)
}

/// Our own programs.
pub fn own() -> Vec<Case> {
    let case = |case: probe_vm::conformance::suite::Case| Case {
        name: case.name,
        groups: vec!["own".into()],
        slots: case.slots,
        len: case.mem.len() as u64,
        mem: case.mem,
        want: case.want,
        mask: u64::MAX,
    };
    probe_vm::conformance::suite::cases().into_iter().map(case).collect()
}
