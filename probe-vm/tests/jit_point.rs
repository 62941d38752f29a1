//! Code entered from a probe point, and chains of several: what they see, what they keep, and what they cost.
mod support;

use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::interp::{Backing, Helpers, Memory, Size, Space};
use probe_vm::jit::a64::flow::{Sys, bl};
use probe_vm::jit::chain::{self, FILTER_WORDS_MAX, Only, PER_PROBE, PROBES_MAX, SITE_LEAST, Target, WORDS_MAX};
use probe_vm::jit::*;
use probe_vm::points::PointId;
use support::proof::{BASE, HELPERS, STACK, TIMES, leak, links};
use support::random::slot;
use verifier::cost::CoreModel;
use verifier::env::{ArgKind, Env, HelperProto, Ret};
use verifier::{Program, Step, Verifier, heap_memory};

const CONTEXT: ContextLink = ContextLink {
    base: Sys::TpidrEl2,
    offset: 8192,
};
const TICKS: u64 = 77;
const VM: u32 = 3;
const VCPU: u32 = 1;
const WHO: u64 = VM as u64 | (VCPU as u64) << 32;
const FIELDS: [u64; 4] = [0xa1, 0xb2, 0xc3, 0xd4];
const PATH: u64 = 9;
/// What a firing must find again in x8–x11 and x18.
const KEPT: [(usize, u64); 5] = [(8, 0x88), (9, 0x99), (10, 0xaa), (11, 0xbb), (18, 0x1818)];

static PROTOS: [HelperProto; 1] = [HelperProto::new(
    77,
    "first_argument",
    [ArgKind::Any, ArgKind::None, ArgKind::None, ArgKind::None, ArgKind::None],
    Ret::Scalar,
)];

/// Notes the arguments it is called with.
#[derive(Default)]
struct Notes(Vec<u64>);

impl<M> Helpers<M> for Notes {
    fn call(&mut self, _: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        self.0.push(args[0]);
        Some(0)
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

/// A CPU's block with the context behind it, and a stack.
struct Machine {
    space: Space<'static>,
    block: u64,
    sp: u64,
}

impl Machine {
    fn new() -> Self {
        let mut space: Space<'static> = Space::new();
        let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
        let block = space.add(Backing::Bytes(leak(8192 + 96))).unwrap();
        space.store(block + 8192 + 8, Size::X, WHO).unwrap();
        Machine { space, block, sp }
    }

    fn word(&mut self, n: u64) -> u64 {
        self.space.load(self.block + 8192 + 8 * n, Size::X).unwrap()
    }

    /// Fires into `code`, of which the entry is word `at`: words executed.
    fn fire(&mut self, code: &[u32], notes: &mut Notes) -> u64 {
        let mut cpu = Cpu {
            sp: self.sp,
            tpidr: self.block,
            counter: TICKS,
            ..Cpu::default()
        };
        for (i, field) in FIELDS.iter().enumerate() {
            cpu.x[1 + i] = *field;
        }
        cpu.x[5] = PATH;
        KEPT.iter().for_each(|(n, value)| cpu.x[*n] = *value);
        let ran = emu::run(code, BASE, &mut cpu, &mut self.space, notes, 1 << 20).unwrap_or_else(|e| panic!("{e:x?}"));
        KEPT.iter().for_each(|(n, value)| assert_eq!(cpu.x[*n], *value, "x{n}"));
        ran.executed
    }
}

/// Code and time bound of a program for the point `hypercall`, placed at `base`.
fn compiled(text: &[u64], base: u64) -> (Vec<u32>, u64) {
    let links = Links {
        entry: Entry::Point(CONTEXT),
        helpers: &HELPERS,
        helper_times: &TIMES,
        ..links(&[], CpuLink::Single, Scale::Shift(4))
    };
    let mut flags = vec![0; text.len()];
    let plan = Plan::new(text, &[], &mut flags, &links).unwrap();
    let cost = JitCost::new(&plan, &links, &CoreModel::INSNS);
    heap_memory!(let arena = text.len());
    let objects = [probe_vm::env::layout(PointId::Hypercall)];
    let env = Env {
        helpers: &PROTOS,
        ..probe_vm::env::environment(&objects)
    };
    let mut verifier = Verifier::start(arena, &Program { text, maps: &[] }, env, cost);
    let proof = loop {
        match verifier.step(1000) {
            Step::More => {}
            Step::Rejected(why) => panic!("{why:?}"),
            Step::Done(proof) => break proof,
        }
    };
    let mut offsets = vec![0; text.len() + 1];
    let mut code = vec![0; text.len() * SLOT_WORDS_MAX as usize + 64];
    let compiled = Compiler::start(&proof, &plan, &links, &mut offsets, base)
        .unwrap()
        .run(&mut code)
        .unwrap();
    code.truncate(compiled.words as usize);
    (code, proof.time_bound())
}

const EXIT: [u64; 2] = [slot(0xb7, 0, 0, 0, 0), slot(0x95, 0, 0, 0, 0)];

#[test]
fn an_empty_probe_is_one_instruction() {
    let (code, bound) = compiled(&EXIT, BASE);
    assert_eq!(code.len(), 1);
    assert_eq!(Machine::new().fire(&code, &mut Notes::default()), 1);
    assert_eq!(bound, 1);
}

/// Reads every combination of context words, passes each to the helper: the values are right, only what is read was
/// written, and the bound is what is executed.
#[test]
fn what_is_read_is_there_and_nothing_else() {
    // Time, who, CPU and path, and the fields.
    let want = [TICKS << 4, WHO, PATH << 32, FIELDS[0], FIELDS[1], FIELDS[2], FIELDS[3]];
    for words in 0..1u32 << want.len() {
        let read = |n: usize| words >> n & 1 != 0;
        let mut text = vec![slot(0xbf, 6, 1, 0, 0)];
        for n in (0..want.len()).filter(|n| read(*n)) {
            let off = 8 * n as i16;
            // The header's words 1 and 2 are pairs of 32-bit fields.
            let load = |op: u8, off: i16| [slot(op, 1, 6, off, 0), slot(0x85, 0, 0, 0, 77)];
            if matches!(n, 1 | 2) {
                text.extend(load(0x61, off));
                text.extend(load(0x61, off + 4));
            } else {
                text.extend(load(0x79, off));
            }
        }
        text.extend(EXIT);
        let (code, bound) = compiled(&text, BASE);
        let mut machine = Machine::new();
        let mut notes = Notes::default();
        let executed = machine.fire(&code, &mut notes);
        assert_eq!(executed, bound, "{words:#b}");
        let mut seen = notes.0.into_iter();
        for (n, value) in want.into_iter().enumerate() {
            if read(n) {
                let got = match n {
                    1 | 2 => seen.next().unwrap() | seen.next().unwrap() << 32,
                    _ => seen.next().unwrap(),
                };
                assert_eq!(got, value, "word {n} of {words:#b}");
            } else if n != 1 {
                assert_eq!(machine.word(n as u64), 0, "word {n} of {words:#b} was written");
            }
        }
    }
}

/// Up to four probes, filtered or not: those that want the event run, in order, each with the whole context, and a
/// chain costs no more than it is charged.
#[test]
fn chains_run_whom_they_should_and_cost_what_is_charged() {
    const SPACING: u64 = 64 * 4;
    let probe = |n: i32| {
        vec![
            slot(0x79, 1, 1, 48, 0),
            slot(0x07, 1, 0, 0, n << 8),
            slot(0x85, 0, 0, 0, 77),
            EXIT[0],
            EXIT[1],
        ]
    };
    let chain_words = WORDS_MAX as u64;
    let entries: Vec<u64> = (0..PROBES_MAX as u64)
        .map(|n| BASE + 4 * chain_words + SPACING * n)
        .collect();
    let probes: Vec<_> = (0..PROBES_MAX)
        .map(|n| compiled(&probe(n as i32), entries[n]))
        .collect();
    // Each probe sees everyone, the VM of the event or its vCPU, or another VM or vCPU.
    let only = |vm, vcpu| Some(Only { vm, vcpu });
    let filters = [
        None,
        only(VM, None),
        only(VM, Some(VCPU)),
        only(2, None),
        only(VM, Some(VCPU + 1)),
    ];
    let kinds = filters.len() as u32;
    for setting in 0..kinds.pow(PROBES_MAX as u32) {
        for count in 1..=PROBES_MAX {
            let filter = |n: usize| filters[(setting / kinds.pow(n as u32) % kinds) as usize];
            let targets: Vec<Target> = (0..count)
                .map(|n| Target {
                    entry: entries[n],
                    only: filter(n),
                })
                .collect();
            let mut code = vec![0; (4 * chain_words + SPACING * PROBES_MAX as u64) as usize / 4];
            let to = chain::write(&targets, CONTEXT, BASE, &mut code).expect("reachable");
            if to != BASE {
                assert_eq!((to, count, filter(0)), (entries[0], 1, None));
                code[0] = bl(((to - BASE) / 4) as i32) & !(1 << 31);
            }
            for (n, (words, _)) in probes.iter().enumerate() {
                let at = (entries[n] - BASE) as usize / 4;
                code[at..at + words.len()].copy_from_slice(words);
            }
            let mut notes = Notes::default();
            let executed = Machine::new().fire(&code, &mut notes);
            let wanted: Vec<usize> = (0..count)
                .filter(|n| filter(*n).is_none_or(|o| o.vm == VM && o.vcpu.is_none_or(|v| v == VCPU)))
                .collect();
            let want: Vec<u64> = wanted.iter().map(|n| FIELDS[3] + ((*n as u64) << 8)).collect();
            assert_eq!(notes.0, want, "setting {setting}, {count} probes");
            let bodies: u64 = (0..count).map(|n| probes[n].1).sum();
            // The stub's branch stands for its `nop`; its `ret` is not executed.
            let charged = count as u64 * (SITE_LEAST + PER_PROBE) + bodies;
            let code_of_site = SITE_LEAST - 2;
            assert!(
                code_of_site + 1 + executed <= charged,
                "setting {setting}, {count} probes: {executed}, charged {charged}"
            );
        }
    }
}

/// What a filter adds to a firing, in instructions: of a VM, and of one of its vCPUs.
#[test]
fn a_filter_costs_at_most_six_instructions() {
    let entry = BASE + 4 * WORDS_MAX as u64;
    let (words, _) = compiled(&[EXIT[0], EXIT[1]], entry);
    let executed = |only| {
        let mut code = vec![0; WORDS_MAX + words.len()];
        let to = chain::write(&[Target { entry, only }], CONTEXT, BASE + 4, &mut code[1..]).expect("reachable");
        code[WORDS_MAX..].copy_from_slice(&words);
        // What the stub is turned into.
        code[0] = bl(((to - BASE) / 4) as i32) & !(1 << 31);
        Machine::new().fire(&code, &mut Notes::default())
    };
    let all = executed(None);
    for (vcpu, most) in [(None, 5), (Some(VCPU), 6)] {
        let cost = executed(Some(Only { vm: VM, vcpu })) - all;
        assert!(cost <= most && cost <= FILTER_WORDS_MAX as u64, "{vcpu:?}: {cost}");
    }
}

#[test]
fn chains_refuse_what_does_not_fit() {
    let target = |entry: u64, vm: Option<u32>| Target {
        entry,
        only: vm.map(|vm| Only { vm, vcpu: None }),
    };
    let mut code = [0; WORDS_MAX];
    assert_eq!(chain::write(&[], CONTEXT, BASE, &mut code), None);
    let far = BASE + (1 << 28);
    assert_eq!(chain::write(&[target(far, Some(1))], CONTEXT, BASE, &mut code), None);
    let near = BASE + 4096;
    assert_eq!(
        chain::write(&[target(near, Some(4096))], CONTEXT, BASE, &mut code),
        None
    );
    let five = [target(near, Some(1)); PROBES_MAX + 1];
    assert_eq!(chain::write(&five, CONTEXT, BASE, &mut code), None);
    assert_eq!(chain::write(&five[1..], CONTEXT, BASE, &mut code[1..]), None);
    assert_eq!(chain::write(&five[1..], CONTEXT, BASE, &mut code), Some(BASE));
}
