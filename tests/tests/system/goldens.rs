//! Every probe of `probe-vm/probes`, compiled by clang, loaded by the monitor into a busy system, shows what it is for.
//!
//! `probe-vm/probes/golden/NAME.txt` says what that is, one line each: `MAP: KEY` is an entry, written as `gnomon read`
//! writes it, whose value is not zero; `MAP: records` is a ring buffer with records; `MAP` alone is a map that there is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gnomon::client::{Client, MapHandle};
use gnomon::cmd::load::load_all;
use gnomon::obj::Object;
use gnomon::render::typed::Types;
use gnomon::run::{Machine, Options};
use gnomon_tests::{repo, vm};

/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;
/// Time for the system to do everything there is to see.
const PATIENCE: Duration = Duration::from_secs(20);

/// The demo without budgets: what a probe costs is another test's.
fn system() -> String {
    let demo = fs::read_to_string(repo::root().join("systems/demo.toml")).expect("the demo is there");
    demo.split("[budget]").next().unwrap_or_default().to_string()
}

fn compile(source: &Path, object: &Path) {
    let clang = std::process::Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-I"])
        .arg(repo::root().join("probe-vm/include"))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(object)
        .status()
        .expect("clang is installed by the set-up");
    assert!(clang.success(), "{}", source.display());
}

/// The lines of a golden that do not hold now.
fn missing<'g>(client: &mut Client, object: &Object, maps: &[MapHandle], golden: &'g str) -> Vec<&'g str> {
    let holds = |client: &mut Client, line: &str| {
        let (name, key) = line.split_once(": ").unwrap_or((line, ""));
        let Some(map) = maps.iter().find(|m| m.name() == name) else {
            return false;
        };
        if map.info.kind == RINGBUF {
            return !map.ring(client, 0).expect("the ring is readable").0.is_empty();
        }
        let types = Types::of(Some(object), name);
        let entries = map.read(client, false, false).expect("the map is readable");
        key.is_empty()
            || entries
                .iter()
                .any(|e| types.key(&e.key) == key && e.value.iter().any(|b| *b != 0))
    };
    golden.lines().filter(|line| !holds(client, line)).collect()
}

/// Stack of the thread that verifies, as the `gnomon` command gives it: more than a test's thread has.
const STACK_BYTES: usize = 64 << 20;

#[test]
fn every_probe_shows_what_it_is_for() {
    let verifying = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(show_all);
    let done = verifying.expect("a thread").join();
    assert!(done.is_ok(), "see the panic above");
}

fn show_all() {
    let (system, packed) = vm::packed(&system());
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    let options = Options {
        link: Some(link.clone()),
        timeout: Some(Duration::from_secs(120)),
        ..Options::default()
    };
    let machine = Machine::start(&system, &packed, &options).expect("QEMU starts");
    let mut client = Client::connect(&link, PATIENCE).expect("the monitor answers");
    let probes = repo::root().join("probe-vm/probes");
    let mut seen = 0;
    for golden in fs::read_dir(probes.join("golden")).expect("goldens") {
        let golden = golden.expect("goldens").path();
        let name = golden.file_stem().expect("a name").to_string_lossy().into_owned();
        let file = folder.path().join(format!("{name}.bpf.o"));
        compile(&probes.join(format!("{name}.bpf.c")), &file);
        let object = Object::read(&file).expect("clang's object");
        let programs: Vec<_> = object.programs.iter().collect();
        let outcome = load_all(&mut client, &object, &programs, Some(None)).expect("the link holds");
        assert!(outcome.refused.is_empty(), "{name} is refused");
        let maps: Vec<MapHandle> = outcome.loaded.iter().flat_map(|(l, _)| l.maps.clone()).collect();
        let text = fs::read_to_string(&golden).expect("a golden");
        let started = Instant::now();
        let mut left = missing(&mut client, &object, &maps, &text);
        while !left.is_empty() && started.elapsed() < PATIENCE {
            // The machine's console must be drained, or QEMU stops.
            while machine.next(Duration::from_millis(20)).is_some() {}
            left = missing(&mut client, &object, &maps, &text);
        }
        assert!(left.is_empty(), "{name} never showed {left:?}");
        for (loaded, attachment) in &outcome.loaded {
            client.detach(attachment.expect("attached")).expect("detach");
            client.unload(loaded.handle).expect("unload");
        }
        seen += 1;
    }
    assert!(seen >= 8, "{seen} probes");
}
