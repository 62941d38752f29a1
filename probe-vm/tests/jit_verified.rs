//! What runs never exceeds the bound that was proven, and reaches it where there is one path.
mod support;

use probe_vm::interp::{Backing, Helpers, Space};
use probe_vm::jit::*;
use support::proof::{BASE, Place, Ran, STACK, env, leak, links, verified};
use support::random::{self, Rng, slot};
use verifier::cost::CoreModel;
use verifier::{Program, Rejected, Step, Verifier, heap_memory};

struct FirstArgument;
impl<M> Helpers<M> for FirstArgument {
    fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        (id == 77).then_some(args[0])
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

fn run_with_memory(text: &[u64], mem: &[u8]) -> Result<(Ran, u64), Box<Rejected>> {
    let mut space = Space::new();
    let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
    let r1 = space.add(Backing::Bytes(mem.to_vec().leak())).unwrap();
    let links = links(&[], CpuLink::Single, Scale::Shift(4));
    let place = Place {
        links,
        maps: &[],
        tpidr: 0,
        ticks: 0,
        sp,
        args: [r1, mem.len() as u64],
    };
    let ran = verified(text, &place, mem.len(), &mut space, &mut FirstArgument)?;
    let case = support::Case {
        name: String::new(),
        groups: vec![],
        slots: text.to_vec(),
        mem: mem.to_vec(),
        len: mem.len() as u64,
        want: 0,
        mask: u64::MAX,
    };
    let want = support::interpret_with(&case, &mut FirstArgument).0.unwrap().r0;
    Ok((ran, want))
}

/// No branch but forward ones over nothing: every run takes the same path.
fn is_straight(text: &[u64]) -> bool {
    text.iter()
        .all(|s| !matches!(*s as u8 & 7, 5 | 6) || matches!(*s as u8, 0x95 | 0x85 | 0x05 | 0x06))
}

fn report(name: &str, ratios: &[f64], refused: usize) {
    let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    println!(
        "{name}: {} accepted, {refused} refused; bound/executed mean {mean:.3}, worst {worst:.2}",
        ratios.len()
    );
}

#[test]
fn suite_never_exceeds_its_bounds() {
    let Some(cases) = support::conformance() else { return };
    let (mut ratios, mut refused, mut straight) = (Vec::new(), 0, 0);
    for case in &cases {
        // Register calls are no instruction to the plan; helper 5 means something else here.
        if case
            .slots
            .iter()
            .any(|s| matches!(*s as u8, 0x8d) || (*s as u8 == 0x85 && *s >> 32 == 5 && *s >> 12 & 15 == 0))
        {
            continue;
        }
        match run_with_memory(&case.slots, &case.mem) {
            Ok((ran, _)) => {
                assert_eq!(ran.r0, case.want, "{}", case.name);
                assert!(
                    ran.executed <= ran.bound,
                    "{}: {} > {}",
                    case.name,
                    ran.executed,
                    ran.bound
                );
                if is_straight(&case.slots) {
                    assert_eq!(ran.executed, ran.bound, "{}", case.name);
                    straight += 1;
                }
                ratios.push(ran.bound as f64 / ran.executed as f64);
            }
            Err(_) => refused += 1,
        }
    }
    report("suite", &ratios, refused);
    assert!(ratios.len() >= 250, "only {} accepted", ratios.len());
    assert!(straight >= 100, "only {straight} straight");
}

/// Programs tried in CI.
const PROGRAMS: u64 = 1_500;

#[test]
fn random_programs_never_exceed_their_bounds() {
    let seed = std::env::var("GNOMON_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x6e6f_6d6f_6e00_0003);
    println!("seed {seed}, {PROGRAMS} programs");
    let mut rng = Rng(seed);
    let (mut ratios, mut refused) = (Vec::new(), 0);
    for n in 0..PROGRAMS {
        let mut text = random::program(&mut rng);
        for s in &mut text {
            if *s as u8 == 0x85 && *s >> 12 & 15 == 0 && *s >> 32 == 5 {
                *s = slot(0x85, 0, 0, 0, 77);
            }
        }
        let mem = random::memory(&mut rng);
        match run_with_memory(&text, &mem) {
            Ok((ran, want)) => {
                assert_eq!(ran.r0, want, "seed {seed} program {n}");
                assert!(
                    ran.executed <= ran.bound,
                    "seed {seed} program {n}: {} > {}",
                    ran.executed,
                    ran.bound
                );
                ratios.push(ran.bound as f64 / ran.executed as f64);
            }
            Err(_) => refused += 1,
        }
    }
    report("random", &ratios, refused);
    assert!(ratios.len() as u64 > PROGRAMS / 10, "only {} accepted", ratios.len());
}

#[test]
fn a_text_that_was_not_verified_is_not_compiled() {
    let text = [slot(0xb7, 0, 0, 0, 1), slot(0x95, 0, 0, 0, 0)];
    let other = [slot(0xb7, 0, 0, 0, 2), slot(0x95, 0, 0, 0, 0)];
    let links = links(&[], CpuLink::Single, Scale::Shift(4));
    let mut work = vec![0u8; 2];
    let plan = Plan::new(&other, &[], &mut work, &links).unwrap();
    heap_memory!(let arena = text.len());
    let cost = JitCost::new(&plan, &links, &CoreModel::INSNS);
    let mut verifier = Verifier::start(arena, &Program { text: &text, maps: &[] }, env(8), cost);
    let Step::Done(proof) = verifier.step(10_000) else {
        panic!("accepted")
    };
    let (mut offsets, mut code) = ([0; 3], [0; 64]);
    let refused = Compiler::start(&proof, &plan, &links, &mut offsets, BASE)
        .unwrap()
        .step(&mut code, 100);
    assert_eq!(refused, Err(CompileError::TextDiffers { pc: 0 }));
    let outside = Compiler::start(&proof, &plan, &links, &mut offsets, 0).err();
    assert_eq!(outside, Some(CompileError::OutsideWindow));
}
