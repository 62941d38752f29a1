//! Conformance programs, ours and others', executed by the compiler's code at EL2: as probes of the hypervisor, and those that no
//! verifier can accept (register calls, unaligned accesses, registers never set) by a bare program at EL2.

use std::process::Command;

use gnomon_tests::{repo, vm};
use probe_vm::conformance::Batch;
use probe_vm::env::{environment, layout};
use probe_vm::image::{MapSpec, Name, ProgramSpec, encode};
use probe_vm::maps::{MapDef, MapKind};
use probe_vm::points::PointId;
use verifier::{Program, Step, UnitCost, Verifier, heap_memory};

#[path = "../../../probe-vm/tests/support/rows.rs"]
mod rows;
use rows::Case;

/// Of the value: r0, then this many bytes further the program's memory.
const MEMORY_AT: usize = 16;
const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;

const fn slot(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    op as u64 | (dst as u64) << 8 | (src as u64) << 12 | (off as u16 as u64) << 16 | (imm as u32 as u64) << 32
}

/// `r = address of the map's value + offset`.
const fn value(r: u8, offset: usize) -> [u64; 2] {
    [slot(0x18, r, 2, 0, 0), (offset as u64) << 32]
}

/// A row as a probe: called as a subprogram with r1 pointing into the map's value, where what it returns is stored. The suite's
/// helper 5, which returns its first argument, becomes a subprogram too.
fn probe(case: &Case) -> (Vec<u64>, MapDef, Vec<u8>) {
    let exit = slot(EXIT, 0, 0, 0, 0);
    let mut text = value(1, MEMORY_AT).to_vec();
    text.extend([slot(0xb7, 2, 0, 0, case.len as i32), slot(CALL, 0, 1, 0, 7)]);
    text.extend(value(1, 0));
    text.extend([slot(0x7b, 1, 0, 0, 0), slot(0xb7, 0, 0, 0, 0), exit]);
    let first_argument = text.len();
    text.extend([slot(0xbf, 0, 1, 0, 0), exit]);
    let mut hole = false;
    for s in &case.slots {
        let is_code = !hole;
        hole = is_code && *s as u8 == 0x18;
        let is_helper = is_code && *s as u8 == CALL && *s >> 12 & 15 == 0 && *s >> 32 == 5;
        let to = first_argument as i32 - text.len() as i32 - 1;
        text.push(if is_helper { slot(CALL, 0, 1, 0, to) } else { *s });
    }
    let def = MapDef {
        kind: MapKind::Array,
        key_bytes: 4,
        // At least a word, so that r1 points at something.
        value_bytes: (MEMORY_AT + case.mem.len().max(8)).next_multiple_of(8) as u32,
        entries: 1,
        flags: 0,
    };
    let mut data = vec![0; MEMORY_AT];
    data.extend(&case.mem);
    (text, def, data)
}

/// Whether the verifier accepts the probe, as it must at EL2 too.
fn is_accepted(text: &[u64], def: &MapDef) -> bool {
    let maps = [probe_vm::env::describe(def)];
    let objects = [layout(PointId::Psci)];
    heap_memory!(let arena = text.len());
    let program = Program { text, maps: &maps };
    let mut verifier = Verifier::start(arena, &program, environment(&objects), UnitCost);
    loop {
        match verifier.step(1 << 20) {
            Step::More => {}
            Step::Rejected(_) => return false,
            Step::Done(_) => return true,
        }
    }
}

fn image(text: &[u64], def: &MapDef, data: &[u8]) -> Option<Vec<u8>> {
    let name = |text: &str| Name::new(text).expect("a short name");
    let insns: Vec<[u8; 8]> = text.iter().map(|s| s.to_le_bytes()).collect();
    let mut funcs = vec![0];
    for (pc, s) in text.iter().enumerate() {
        if *s as u8 == CALL && *s >> 12 & 15 == 1 {
            funcs.push((pc as i64 + 1 + i64::from((*s >> 32) as i32)) as u32);
        }
    }
    funcs.sort_unstable();
    funcs.dedup();
    let maps = [MapSpec {
        def: *def,
        share: 0,
        data,
        name: name("memory"),
    }];
    let spec = ProgramSpec {
        name: name("row"),
        point: name("psci"),
        maps: &maps,
        funcs: &funcs,
        insns: &insns,
    };
    let mut bytes = vec![0; spec.image_bytes()];
    encode(&spec, &mut bytes).ok()?;
    Some(bytes)
}

/// Runs every row that can be a probe in one system; → how many there were, and of them how many the verifier refused.
fn as_probes(cases: &[Case]) -> (usize, usize) {
    let (mut blob, mut names, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for case in cases {
        let (text, def, data) = probe(case);
        let Some(image) = image(&text, &def, &data) else {
            continue;
        };
        if !is_accepted(&text, &def) {
            refused.push(names.len());
        }
        names.push(&case.name);
        blob.extend((image.len() as u64).to_le_bytes());
        blob.extend(case.want.to_le_bytes());
        blob.extend(case.mask.to_le_bytes());
        blob.extend(&image);
        blob.resize(blob.len().next_multiple_of(8), 0);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &blob).expect("a file");
    let more = format!(
        "initrd = \"{}\"\nrights = [\"probe:system\"]\nprobes = {{ map_memory = \"1M\", programs = 4 }}\n",
        file.path().display()
    );
    let text = vm::guest("it", "selftest", "test=conform", &more).replace("8M", "64M");
    let outcome = vm::passes("conform", &text);
    let console = outcome.console(0);
    let number = |line: &str| line.parse::<usize>().expect("a number");
    let said: Vec<usize> = vm::lines(&console, "refused").map(number).collect();
    let of = |all: &[usize]| all.iter().map(|n| names[*n].as_str()).collect::<Vec<_>>();
    assert_eq!(of(&said), of(&refused), "EL2 and the host disagree");
    let run = vm::lines(&console, "equal").map(number).next();
    assert_eq!(run, Some(names.len() - refused.len()), "{console}");
    (names.len(), refused.len())
}

#[test]
fn own_programs_as_probes() {
    let cases = rows::own();
    assert_eq!(as_probes(&cases), (cases.len(), 0), "every one of ours can be a probe");
}

#[test]
fn public_programs_as_probes() {
    for (cases, least) in [(rows::conformance(), 300), (rows::linux(), 330)] {
        let Some(cases) = cases else { continue };
        let (probes, refused) = as_probes(&cases);
        println!(
            "{} rows: {} ran as probes, {refused} refused",
            cases.len(),
            probes - refused
        );
        assert!(
            probes - refused >= least,
            "only {} of {} rows ran",
            probes - refused,
            cases.len()
        );
    }
}

/// The bytes that a bare program at EL2, on a core with or without FEAT_LSE, wrote to its console.
fn run_bare(batch: &Batch, cpu: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let bare = batch.bare();
    for (name, bytes) in [("text.bin", &bare.text), ("data.bin", &bare.data)] {
        std::fs::write(path(name), bytes).expect("a file");
    }
    let mut gcc = Command::new("aarch64-linux-gnu-gcc");
    gcc.args([
        "-nostdlib",
        "-static",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
    ])
    .args([
        "-Wl,--section-start=.boot=0x48000000",
        "-Wl,--section-start=.programs=0x4a000000",
    ])
    .args(["-Wl,--section-start=.results=0x50000000", "-Wl,-e,_start"])
    .arg(format!("-DSTART={:#x}", bare.start))
    .arg(format!("-DBYTES={}", bare.data.len()))
    .arg(format!("-Wa,-I,{}", folder.path().display()))
    .arg("-o")
    .arg(path("bare.elf"))
    .arg(repo::root().join("tests/bare/el2.S"));
    let output = gcc.output().expect("the cross compiler is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = Command::new("timeout")
        .args([
            "120",
            "qemu-system-aarch64",
            "-machine",
            "virt,virtualization=on,gic-version=3",
            "-m",
            "1G",
        ])
        .args([
            "-cpu", cpu, "-nic", "none", "-display", "none", "-monitor", "none", "-serial",
        ])
        .arg(format!("file:{}", path("out.bin").display()))
        .arg("-kernel")
        .arg(path("bare.elf"))
        .status()
        .expect("QEMU is there");
    assert!(status.success(), "QEMU on {cpu}: {status}");
    std::fs::read(path("out.bin")).expect("output")
}

fn all_at_el2(cases: &[Case], cpu: &str, lse: bool) {
    let mut batch = Batch::new(lse);
    for case in cases {
        batch
            .add(&case.slots, &case.mem, case.len)
            .unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    }
    let outcomes = batch.outcomes(&run_bare(&batch, cpu)).expect("all results");
    let wrong: Vec<_> = cases
        .iter()
        .zip(&outcomes)
        .filter(|(case, outcome)| outcome.r0 & case.mask != case.want & case.mask)
        .map(|(case, outcome)| format!("{}: {:#x}, want {:#x}", case.name, outcome.r0, case.want))
        .collect();
    println!("at EL2 on {cpu}: {} of {}", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_row_at_el2() {
    let mut cases = rows::own();
    let own = cases.len();
    if let (Some(suite), Some(linux)) = (rows::conformance(), rows::linux()) {
        assert!(suite.len() == 313 && linux.len() >= 383);
        cases.extend(suite);
        cases.extend(linux);
        assert!(cases.len() >= own + 313 + 383);
    }
    all_at_el2(&cases, "cortex-a76", true);
    all_at_el2(&cases, "cortex-a53", false);
}
