//! State embedding of the project's own probes: compiled by clang, run on the host over the hypervisor's maps with random
//! contexts. Every step lies inside what the verifier believed, and no run exceeds its bound.

mod common;
#[path = "../../verifier/tests/common/embed.rs"]
mod embed;

use std::path::{Path, PathBuf};

use common::{Random, compile, compile_file};
use embed::{Collect, Places, believe};
use gnomon::cmd::check::descriptions;
use gnomon::env::{Environment, of_probe};
use gnomon::interpret::{self, Layout, Maps};
use gnomon::obj::{Object, Program};
use gnomon::verify;
use probe_vm::interp::{Memory, Size, Space};
use probe_vm::maps::record;
use probe_vm::points::{HEADER_FIELDS, PointId};
use verifier::Region;
use verifier::scalar::Scalar;

/// Runs of each object, its programs in random order; `GNOMON_STEPS` asks for more.
const RUNS: u64 = 2_000;
/// Rounds after which a ring buffer is emptied, so that it is full at times.
const DRAIN_EVERY: usize = 700;

/// The interpreter's layout, and the maps behind it.
struct World<'a> {
    layout: &'a Layout,
    maps: &'a Maps,
}

impl Places for World<'_> {
    fn stack_top(&self) -> u64 {
        self.layout.stack_top
    }

    fn points(&self, region: Region, num: &Scalar, x: u64, mem: &Space<'_>) -> Option<bool> {
        match region {
            Region::Object(0) => Some(num.contains(x.wrapping_sub(self.layout.context))),
            Region::MapValue(n) => {
                let map = self.maps.map(n.into())?;
                let (base, geometry) = (self.layout.maps[usize::from(n)]?, map.geometry());
                let mut values = (0..geometry.slots).filter_map(|slot| geometry.value_at(0, slot));
                Some(values.any(|at| num.contains(x.wrapping_sub(base + u64::from(at)))))
            }
            // A record is reserved and not yet submitted: its header, just before it, says so.
            Region::Record => {
                let data = x.wrapping_sub(num.as_constant()?);
                let header = mem.load(data.wrapping_sub(record::HEADER_BYTES.into()), Size::X);
                Some(header.is_some_and(|h| h & record::BUSY != 0))
            }
            _ => None,
        }
    }
}

/// A context of `point`: small numbers, which find entries, and any.
fn context(point: PointId, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; point.point().bytes.into()];
    for field in HEADER_FIELDS.iter().chain(point.point().fields) {
        let value = match random.below(4) {
            0 => random.next(),
            1 => random.next() >> random.below(64),
            2 => u64::MAX,
            _ => random.next() % 20,
        };
        let (at, width) = (usize::from(field.offset), usize::from(field.bytes));
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    bytes
}

struct Believed<'o> {
    program: &'o Program,
    env: Environment,
    seen: Collect,
    bound: u64,
    most: u64,
}

/// Runs the programs of one object. Gives runs, steps, and how many programs reached their bound.
fn embed_object(object: &Object, name: &str, seed: u64, runs: u64) -> (u64, u64, usize, usize) {
    let descriptions = descriptions(object);
    let mut programs = Vec::new();
    for program in &object.programs {
        let env = of_probe(&program.section).expect("a point");
        let text = verify::words(&program.slots);
        let (seen, bound) = believe(&text, &descriptions, env.env()).expect("the project's probes are accepted");
        programs.push(Believed {
            program,
            env,
            seen,
            bound,
            most: 0,
        });
    }
    let maps = Maps::new(object);
    let mut random = Random(seed);
    let mut steps = 0;
    for run in 0..runs {
        let which = random.below(programs.len());
        let Believed {
            program,
            env,
            seen,
            bound,
            most,
        } = &mut programs[which];
        let context = context(env.point.expect("a point"), &mut random);
        let mut failure = None;
        let see = |layout: &Layout, step: probe_vm::interp::Step<'_>, mem: &Space<'_>| {
            steps += 1;
            if failure.is_none() {
                failure = seen.check(step, mem, &World { layout, maps: &maps }).err();
            }
        };
        let outcome = interpret::run(&maps, program, &context, *bound, see);
        let what = format!("{name}, {}, seed {seed}, run {run}", program.name);
        assert_eq!(failure, None, "{what}");
        let outcome = outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
        *most = (*most).max(outcome.executed);
        if run as usize % DRAIN_EVERY == DRAIN_EVERY - 1 {
            (0..maps.len()).for_each(|map| drop(maps.take_records(map)));
        }
    }
    let reached = programs.iter().filter(|p| p.most == p.bound).count();
    (runs, steps, programs.len(), reached)
}

fn probes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe-vm/probes");
    let all = std::fs::read_dir(folder).expect("the probes");
    let mut out: Vec<PathBuf> = all.filter_map(|entry| Some(entry.ok()?.path())).collect();
    out.retain(|p| p.to_string_lossy().ends_with(".bpf.c"));
    out.sort();
    out
}

#[test]
fn random_contexts_stay_inside() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let seed = number("GNOMON_SEED", 1).max(1);
    let runs = RUNS.max(number("GNOMON_STEPS", 0) / 100);
    let mut objects: Vec<(String, PathBuf)> = Vec::new();
    for file in probes() {
        let Some(object) = compile_file(&file) else { return };
        objects.push((file.display().to_string(), object));
    }
    let Some(everything) = compile("everything") else {
        return;
    };
    objects.push(("everything".into(), everything));
    let mut sum = (0, 0, 0, 0);
    for (name, file) in &objects {
        let object = Object::parse(&std::fs::read(file).expect("clang wrote it")).expect("an object");
        let (runs, steps, programs, reached) = embed_object(&object, name, seed, runs);
        sum = (sum.0 + runs, sum.1 + steps, sum.2 + programs, sum.3 + reached);
    }
    let (runs, steps, programs, reached) = sum;
    println!("seed {seed}: {programs} programs, {runs} runs, {steps} steps inside, {reached} bounds reached");
    // Straight probes reach their bounds; a bound that nothing comes near says something of the contexts.
    assert!(
        programs >= 16 && reached * 4 >= programs * 3,
        "{programs} programs, {reached} bounds reached"
    );
}
