//! Conformance programs, ours and others', executed by the compiler's code at EL2: as probes of the hypervisor, and those that no
//! verifier can accept (register calls, unaligned accesses, registers never set) by a bare program at EL2.

use std::process::Command;

use gnomon_tests::{repo, vm};
use probe_vm::conformance::Batch;
use probe_vm::conformance::suite::slot;
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
    image_with(text, std::slice::from_ref(def), data)
}

/// `data` is for the first map.
fn image_with(text: &[u64], defs: &[MapDef], data: &[u8]) -> Option<Vec<u8>> {
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
    let spec = |(def, number): (&MapDef, u8)| MapSpec {
        def: *def,
        share: 0,
        data: if number == b'a' { data } else { &[] },
        name: name(std::str::from_utf8(&[number]).expect("a letter")),
    };
    let maps: Vec<MapSpec> = defs.iter().zip(b'a'..).map(spec).collect();
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

/// A record for the guest: an image, and what of the first word of its map must be.
fn record(blob: &mut Vec<u8>, image: &[u8], want: u64, mask: u64) {
    blob.extend((image.len() as u64).to_le_bytes());
    blob.extend(want.to_le_bytes());
    blob.extend(mask.to_le_bytes());
    blob.extend(image);
    blob.resize(blob.len().next_multiple_of(8), 0);
}

/// What the guest said: how many probes computed what they must, how many took exactly their bound, which were refused.
struct Said {
    equal: usize,
    exact: usize,
    refused: Vec<usize>,
}

/// Runs every row that can be a probe in one system; → how many there were, and what became of them.
fn as_probes(cases: &[Case]) -> (usize, Said) {
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
        record(&mut blob, &image, case.want, case.mask);
    }
    let said = run(&blob);
    let of = |all: &[usize]| all.iter().map(|n| names[*n].as_str()).collect::<Vec<_>>();
    assert_eq!(of(&said.refused), of(&refused), "EL2 and the host disagree");
    assert_eq!(said.equal, names.len() - refused.len());
    (names.len(), said)
}

fn run(blob: &[u8]) -> Said {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), blob).expect("a file");
    let more = format!(
        "initrd = \"{}\"\nrights = [\"probe:system\", \"log\"]\nprobes = {{ map_memory = \"1M\", programs = 4 }}\n",
        file.path().display()
    );
    let text = vm::guest("it", "selftest", "test=conform", &more).replace("8M", "64M");
    let outcome = vm::passes("conform", &text);
    let console = outcome.console(0);
    let number = |line: &str| line.parse::<usize>().expect("a number");
    let last = |word: &str| vm::lines(&console, word).map(number).next().expect("it is said");
    Said {
        equal: last("equal"),
        exact: last("exact"),
        refused: vm::lines(&console, "refused").map(number).collect(),
    }
}

#[test]
fn own_programs_as_probes() {
    let cases = rows::own();
    let (probes, said) = as_probes(&cases);
    // Every one of ours can be a probe, and those that have one way through take exactly their bound.
    assert_eq!((probes, said.refused.len()), (cases.len(), 0));
    println!("{probes} of ours, {} take exactly their bound", said.exact);
    assert!(
        said.exact * 10 >= probes * 7,
        "only {} of {probes} take exactly their bound",
        said.exact
    );
}

#[test]
fn public_programs_as_probes() {
    for (cases, least) in [(rows::conformance(), 300), (rows::linux(), 330)] {
        let Some(cases) = cases else { continue };
        let (probes, said) = as_probes(&cases);
        println!(
            "{} rows, {probes} fit: {} ran as probes, {} took exactly their bound, {} refused",
            cases.len(),
            said.equal,
            said.exact,
            said.refused.len()
        );
        assert!(said.equal >= least, "only {} of {} rows ran", said.equal, cases.len());
    }
}

/// Inserts keys until the map is full and beyond, finds them, replaces their values, deletes them: helpers in all states of a
/// map, each program held to its bound.
fn map_program(key_bytes: u32, value_bytes: u32, keys: i32) -> Vec<u64> {
    const LOOKUP: i32 = 1;
    const UPDATE: i32 = 2;
    const DELETE: i32 = 3;
    let (key, value_at) = (-(64i16), -(64i16) - value_bytes.next_multiple_of(8) as i16);
    let mut text = Vec::new();
    for at in (value_at..0).step_by(8) {
        text.push(slot(0x7a, 10, 0, at, 0x5a));
    }
    for helper in [UPDATE, LOOKUP, UPDATE, DELETE] {
        for n in 0..keys {
            // The last word of the key differs, so that a comparison goes to the end. Its first byte may be unaligned.
            let last = key + (key_bytes as i16 - 1) / 8 * 8;
            text.push(slot(0x7a, 10, 0, last, n + 1));
            text.extend([slot(0x18, 1, 1, 0, 1), 0]);
            text.extend([slot(0xbf, 2, 10, 0, 0), slot(0x07, 2, 0, 0, key.into())]);
            text.extend([slot(0xbf, 3, 10, 0, 0), slot(0x07, 3, 0, 0, value_at.into())]);
            text.extend([slot(0xb7, 4, 0, 0, 0), slot(CALL, 0, 0, 0, helper)]);
        }
    }
    text.extend(value(1, 0));
    text.extend([slot(0x7a, 1, 0, 0, 1), slot(0xb7, 0, 0, 0, 0), slot(EXIT, 0, 0, 0, 0)]);
    text
}

#[test]
fn helpers_take_no_longer_than_stated() {
    let mut blob = Vec::new();
    for kind in [MapKind::Hash, MapKind::PerCpuHash] {
        for (key_bytes, value_bytes, keys) in [
            (4, 8, 30),
            (8, 8, 30),
            (9, 17, 30),
            (24, 64, 20),
            (63, 256, 20),
            (64, 320, 20),
        ] {
            let def = |kind, key_bytes, value_bytes, entries| MapDef {
                kind,
                key_bytes,
                value_bytes,
                entries,
                flags: 0,
            };
            let defs = [def(MapKind::Array, 4, 8, 1), def(kind, key_bytes, value_bytes, 16)];
            let text = map_program(key_bytes, value_bytes, keys);
            let image = image_with(&text, &defs, &[]).expect("it fits");
            record(&mut blob, &image, 1, u64::MAX);
        }
    }
    let said = run(&blob);
    assert_eq!((said.equal, &said.refused[..]), (12, &[][..]));
}

/// What `gnomon wcet` bounds a function of the hypervisor by.
fn derived(function: &str) -> u64 {
    let output = Command::new(vm::gnomon())
        .args(["wcet", "--json", "--leave-out-panics", "--entry", function])
        .arg(vm::gnomon().with_file_name("hyp-el2"))
        .output()
        .expect("gnomon runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{function}: {e}: {text}"));
    found["bound"].as_u64().unwrap_or_else(|| panic!("{function}: {text}"))
}

/// The stated time of a helper for a map with such keys and values, `bytes` of memory passed beside.
fn stated(id: u32, kind: MapKind, key_bytes: u32, value_bytes: u32, bytes: u32) -> u64 {
    let map = probe_vm::env::describe(&MapDef {
        kind,
        key_bytes,
        value_bytes,
        entries: 16,
        flags: 0,
    });
    let rows = probe_vm::env::HELPER_TIMES.iter().filter(|row| row.id == id);
    let row = rows
        .clone()
        .find(|row| u32::from(row.map_kind) == kind.number())
        .or(rows.clone().find(|row| row.map_kind == 0));
    row.expect("a row").time(Some(&map), bytes)
}

/// The stated times against what the path analyser derives from the linked functions, at the largest key and value.
#[test]
fn helper_times_are_at_least_the_analysers() {
    use probe_vm::env::helper;
    use probe_vm::maps::limits::{KEY_BYTES_MAX, SECTION_BYTES_MAX, VALUE_BYTES_MAX};
    let hash = |id, bytes| stated(id, MapKind::Hash, KEY_BYTES_MAX, 1, bytes);
    let functions = [
        ("map_lookup", hash(helper::MAP_LOOKUP, 0)),
        ("map_delete", hash(helper::MAP_DELETE, 0)),
        // The longest update of any kind: all of a section.
        (
            "map_update",
            stated(helper::MAP_UPDATE, MapKind::Array, 4, SECTION_BYTES_MAX, 0),
        ),
        ("trace_printk", hash(helper::TRACE_PRINTK, 0)),
        ("ring_output", hash(helper::RING_OUTPUT, VALUE_BYTES_MAX)),
        ("ring_reserve", hash(helper::RING_RESERVE, 0)),
        ("ring_submit", hash(helper::RING_SUBMIT, 0)),
        ("ring_discard", hash(helper::RING_DISCARD, 0)),
        ("ring_query", hash(helper::RING_QUERY, 0)),
    ];
    for (function, stated) in functions {
        let bound = derived(&format!("hyp_el2::probes::helpers::{function}"));
        println!("{function}: {bound} derived, {stated} stated");
        assert!(
            bound <= stated && stated <= bound + bound / 4 + 8,
            "{function}: {bound} derived, {stated} stated"
        );
    }
    // A key new to a per-CPU hash: the lock and the search, which a deletion has too, and the values of every CPU.
    let insert = derived("<probe_vm::maps::Map>::insert::<hyp_el2::probes::helpers::Passed>");
    let update = insert + derived("hyp_el2::probes::helpers::map_delete");
    let stated = stated(
        helper::MAP_UPDATE,
        MapKind::PerCpuHash,
        KEY_BYTES_MAX,
        VALUE_BYTES_MAX,
        0,
    );
    println!("insertion into a per-CPU hash: {update} derived, {stated} stated");
    assert!(
        update <= stated && stated <= update + update / 4,
        "{update} derived, {stated} stated"
    );
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
