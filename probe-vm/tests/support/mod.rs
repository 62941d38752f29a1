//! Rows of the public conformance data, and how they are run on the interpreter.
#![allow(dead_code)] // each test binary uses its part

pub mod engines;
pub mod proof;
pub mod random;
pub mod ubpf;

use probe_vm::interp::{self, Backing, Code, Fault, Helpers, Insn, STACK_BYTES, Space, Start};
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

/// The suite's one helper: number 5 returns its first argument.
pub struct SuiteHelpers;

impl<M> Helpers<M> for SuiteHelpers {
    fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        (id == 5).then_some(args[0])
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

/// Instructions a case may take; the longest of Linux's is below a million.
pub const FUEL: u64 = 10_000_000;

pub fn interpret(case: &Case) -> Result<interp::Done, Fault> {
    interpret_memory(case).0
}

/// Also what is left in memory.
pub fn interpret_memory(case: &Case) -> (Result<interp::Done, Fault>, Vec<u8>) {
    interpret_with(case, &mut SuiteHelpers)
}

/// With helpers of the caller.
pub fn interpret_with(
    case: &Case,
    helpers: &mut impl for<'a> Helpers<Space<'a>>,
) -> (Result<interp::Done, Fault>, Vec<u8>) {
    let mut buffer = vec![Insn::EMPTY; case.slots.len()];
    let code = Code::new(&case.slots, &mut buffer).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    let (mut stack, mut mem) = (vec![0u8; STACK_BYTES], case.mem.clone());
    let mut space = Space::new();
    let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap() + STACK_BYTES as u64;
    let r1 = space.add(Backing::Bytes(&mut mem)).unwrap();
    let start = Start {
        args: [r1, case.len],
        stack_top,
        fuel: FUEL,
    };
    let done = interp::run(code, start, &mut space, helpers, &mut ());
    drop(space);
    (done, mem)
}

/// Executes a batch under `qemu-aarch64`; `None` (with a line that says so) where that is not installed.
pub fn execute(batch: &probe_vm::conformance::Batch, cpu: &str) -> Option<Vec<probe_vm::conformance::Outcome>> {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("gnomon-jit-{}-{number}", std::process::id()));
    std::fs::write(&path, batch.elf()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = std::process::Command::new("qemu-aarch64")
        .args(["-cpu", cpu])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(output) = run else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "qemu-aarch64 is missing");
        println!("skipped: qemu-aarch64 is not installed");
        return None;
    };
    assert!(
        output.status.success(),
        "qemu-aarch64: {:?} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Some(batch.outcomes(&output.stdout).expect("output of another size"))
}
