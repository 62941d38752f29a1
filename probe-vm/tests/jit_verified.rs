//! From verified program to executed code: what runs never exceeds the bound that was proven, and reaches it where
//! there is one path. Maps, time and CPU number are emitted in place.
mod support;

use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::interp::{self, Backing, Code, Helpers, Insn as Decoded, MAP_HANDLE, Memory, Size, Space, Start};
use probe_vm::jit::a64::flow::Sys;
use probe_vm::jit::*;
use support::random::{self, Rng, slot};
use verifier::cost::CoreModel;
use verifier::env::{ArgKind, Env, HelperProto, Limits, Lookup, MapDesc, MapKind, Ret, Rules};
use verifier::{Program, Rejected, Step, Verifier, heap_memory};

const NIL: ArgKind = ArgKind::None;
const MAPS: ArgKind = ArgKind::ConstMap(u64::MAX);
const PROTOS: [HelperProto; 4] = [
    HelperProto::new(
        1,
        "map_lookup_elem",
        [MAPS, ArgKind::MapKey, NIL, NIL, NIL],
        Ret::Lookup,
    ),
    HelperProto::new(5, "ktime_get_ns", [NIL; 5], Ret::Scalar),
    HelperProto::new(8, "get_smp_processor_id", [NIL; 5], Ret::Scalar),
    // Not one the compiler knows, so it is called.
    HelperProto::new(77, "first_argument", [ArgKind::Any, NIL, NIL, NIL, NIL], Ret::Scalar),
];
const TIMES: [HelperTime; 2] = [
    HelperTime {
        id: 1,
        map_kind: 0,
        base: 50,
        key_word: 1,
        value_word: 0,
        entry: 0,
    },
    HelperTime {
        id: 77,
        map_kind: 0,
        base: 0,
        key_word: 0,
        value_word: 0,
        entry: 0,
    },
];
const fn link(id: u32) -> HelperLink {
    HelperLink {
        id,
        address: emu::helper_address(id),
    }
}
const HELPERS: [HelperLink; 2] = [link(1), link(77)];
const BASE: u64 = 0x40_0000;
const STACK: usize = 16 << 10;

fn env(memory: usize) -> Env<'static> {
    let rules = Rules {
        memory_arg_bytes: memory as u32,
        no_unreachable: false,
        hide_pointers: false,
        ..Rules::GNOMON
    };
    Env {
        helpers: &PROTOS,
        objects: &[],
        rules,
        limits: Limits::GNOMON,
    }
}

/// One run: words executed, the bound, r0.
struct Ran {
    executed: u64,
    bound: u64,
    r0: u64,
}

/// Where a run takes place.
struct Place<'a> {
    links: Links<'a>,
    maps: &'a [MapDesc],
    tpidr: u64,
    ticks: u64,
    sp: u64,
    args: [u64; 2],
}

/// Verifies `text`, compiles it by its proof, and runs the words.
fn verified<H: Helpers<Space<'static>>>(
    text: &[u64],
    place: &Place<'_>,
    memory: usize,
    space: &mut Space<'static>,
    helpers: &mut H,
) -> Result<Ran, Box<Rejected>> {
    let mut work = vec![0u8; text.len()];
    let plan = Plan::new(text, place.maps, &mut work, &place.links).unwrap();
    let cost = JitCost::new(&plan, &place.links, &CoreModel::INSNS);
    heap_memory!(let arena = text.len());
    let mut verifier = Verifier::start(arena, &Program { text, maps: place.maps }, env(memory), cost);
    let proof = loop {
        match verifier.step(1000) {
            Step::More => {}
            Step::Rejected(why) => return Err(Box::new(why)),
            Step::Done(proof) => break proof,
        }
    };
    let mut offsets = vec![0; text.len() + 1];
    let mut code = vec![0; text.len() * SLOT_WORDS_MAX as usize + 64];
    let mut compiler = Compiler::start(&proof, &plan, &place.links, &mut offsets, BASE).unwrap();
    // In small steps, as the hypervisor does.
    let compiled = loop {
        if let Some(compiled) = compiler.step(&mut code, 3).unwrap() {
            break compiled;
        }
    };
    code.truncate(compiled.words as usize);
    let mut cpu = Cpu {
        sp: place.sp,
        tpidr: place.tpidr,
        counter: place.ticks,
        ..Cpu::default()
    };
    cpu.x[0] = place.args[0];
    cpu.x[1] = place.args[1];
    let ran = emu::run(&code, BASE, &mut cpu, space, helpers, 1 << 24).unwrap_or_else(|e| panic!("{e:x?}"));
    Ok(Ran {
        executed: ran.executed,
        bound: proof.time_bound(),
        r0: ran.x0,
    })
}

fn links<'a>(maps: &'a [MapLink], cpu: CpuLink, scale: Scale) -> Links<'a> {
    let window = (BASE, BASE + (1 << 20));
    let time = TimeLink {
        counter: Sys::CntpctEl0,
        scale,
        ordered: true,
    };
    Links {
        maps,
        helpers: &HELPERS,
        helper_times: &TIMES,
        window,
        cpu,
        time,
        lse: true,
        dispatch: 0,
    }
}

struct FirstArgument;
impl<M> Helpers<M> for FirstArgument {
    fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        (id == 77).then_some(args[0])
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

fn leak(bytes: usize) -> &'static mut [u8] {
    vec![0; bytes].leak()
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

/// The array lookup of Linux, computed apart from the compiler.
struct ArrayHelpers<'a> {
    maps: &'a [(MapDesc, MapLink)],
    cpu: u64,
    time: u64,
}

impl<M: Memory> Helpers<M> for ArrayHelpers<'_> {
    fn call(&mut self, id: u32, args: [u64; 5], mem: &mut M) -> Option<u64> {
        match id {
            1 => {
                let (desc, link) = self.maps.get(args[0].checked_sub(MAP_HANDLE)? as usize)?;
                let key = mem.load(args[1], Size::W)?;
                let element = link.values + self.cpu * link.cpu_stride as u64 + key * link.stride as u64;
                Some(if key < desc.entries as u64 { element } else { 0 })
            }
            5 => Some(self.time),
            8 => Some(self.cpu),
            _ => None,
        }
    }
    fn map_value(&self, map: u32, offset: u64) -> Option<u64> {
        Some(self.maps.get(map as usize)?.1.values + offset)
    }
}

fn array(kind: MapKind, value: u32, entries: u32) -> MapDesc {
    let direct_value = kind == MapKind::ARRAY;
    let (readable, writable) = (true, true);
    MapDesc {
        kind,
        key_bytes: 4,
        value_bytes: value,
        entries,
        readable,
        writable,
        direct_value,
        lookup: Lookup::Value,
    }
}

/// Counts in map 0 at key `*(u32 *)r1` and mixes time and CPU number in.
fn counting(hoisted: bool) -> Vec<u64> {
    let mut p = vec![
        slot(0x61, 1, 1, 0, 0),
        slot(0x63, 10, 1, -4, 0),
        slot(0xbf, 2, 10, 0, 0),
        slot(0x07, 2, 0, 0, -4),
        slot(0x18, 1, 1, 0, 0),
        0,
    ];
    if hoisted {
        // The map reaches the call through another register: no inlining.
        p.truncate(4);
        p.extend([slot(0x18, 6, 1, 0, 0), 0, slot(0xbf, 1, 6, 0, 0)]);
    }
    p.extend([
        slot(0x85, 0, 0, 0, 1),
        slot(0x55, 0, 0, 2, 0),
        slot(0xb7, 0, 0, 0, 1),
        slot(0x95, 0, 0, 0, 0),
        slot(0xb7, 1, 0, 0, 5),
        slot(0xdb, 0, 1, 0, 0),
        slot(0x79, 7, 0, 0, 0),
        slot(0x85, 0, 0, 0, 8),
        slot(0x67, 0, 0, 0, 8),
        slot(0x0f, 7, 0, 0, 0),
        slot(0x85, 0, 0, 0, 5),
        slot(0x0f, 0, 7, 0, 0),
        slot(0x95, 0, 0, 0, 0),
    ]);
    p
}

#[derive(Clone, Copy)]
struct Setting {
    kind: MapKind,
    value: u32,
    entries: u32,
    key: u32,
    cpu: u32,
    scale: Scale,
    hoisted: bool,
}

fn check_counting(s: Setting) -> u64 {
    let percpu = s.kind == MapKind::PERCPU_ARRAY;
    let stride = s.value.next_multiple_of(8);
    let cpu_stride = if percpu {
        (stride * s.entries).next_multiple_of(64)
    } else {
        0
    };
    let desc = array(s.kind, s.value, s.entries);
    let (ticks, ns) = match s.scale {
        Scale::Shift(n) => (1000u64, 1000 << n),
        Scale::MulShift { mult, shift } => (1 << 60, ((1u128 << 60) * mult as u128 >> shift) as u64),
    };
    let text = counting(s.hoisted);
    let mut results = Vec::new();
    let mut ran_words = 0;
    for compiled in [false, true] {
        let mut space: Space<'static> = Space::new();
        let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
        let r1 = space.add(Backing::Bytes(s.key.to_le_bytes().to_vec().leak())).unwrap();
        let bytes = (stride * s.entries + 3 * cpu_stride) as usize;
        let values = space.add(Backing::Bytes(leak(bytes))).unwrap();
        let block = space.add(Backing::Bytes(leak(64))).unwrap();
        space.store(block + 8, Size::W, s.cpu as u64).unwrap();
        let link = MapLink {
            handle: MAP_HANDLE,
            values,
            stride,
            cpu_stride,
        };
        let (descs, map_links) = ([desc], [link]);
        let pairs = [(desc, link)];
        let mut helpers = ArrayHelpers {
            maps: &pairs,
            cpu: s.cpu as u64,
            time: ns,
        };
        let r0 = if compiled {
            let cpu = CpuLink::PerCpu {
                base: Sys::TpidrEl2,
                id_offset: 8,
            };
            let links = links(&map_links, cpu, s.scale);
            let place = Place {
                links,
                maps: &descs,
                tpidr: block,
                ticks,
                sp,
                args: [r1, 4],
            };
            let ran = verified(&text, &place, 4, &mut space, &mut helpers).expect("accepted");
            assert!(ran.executed <= ran.bound);
            ran_words = ran.executed;
            ran.r0
        } else {
            let mut buffer = vec![Decoded::EMPTY; text.len()];
            let code = Code::new(&text, &mut buffer).unwrap();
            let start = Start {
                args: [r1, 4],
                stack_top: sp,
                fuel: 1000,
            };
            interp::run(code, start, &mut space, &mut helpers, &mut ()).unwrap().r0
        };
        let contents: Vec<u64> = (0..bytes as u64 / 8)
            .map(|i| space.load(values + 8 * i, Size::X).unwrap())
            .collect();
        results.push((r0, contents));
    }
    assert_eq!(results[0], results[1], "key {} cpu {} of {:?}", s.key, s.cpu, desc);
    let counted = results[1].1.iter().sum::<u64>();
    assert_eq!(counted, if s.key < s.entries { 5 } else { 0 });
    ran_words
}

#[test]
fn lookups_in_place_equal_linux() {
    for kind in [MapKind::ARRAY, MapKind::PERCPU_ARRAY] {
        for (value, entries) in [(8, 5), (20, 3), (64, 256), (8, 5000)] {
            for key in [0, entries - 1, entries, u32::MAX] {
                for cpu in [0, 3] {
                    for hoisted in [false, true] {
                        let scale = if hoisted {
                            Scale::Shift(4)
                        } else {
                            Scale::MulShift {
                                mult: 0xd5_5555,
                                shift: 19,
                            }
                        };
                        check_counting(Setting {
                            kind,
                            value,
                            entries,
                            key,
                            cpu,
                            scale,
                            hoisted,
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn lookups_in_place_are_short() {
    let setting = Setting {
        kind: MapKind::ARRAY,
        value: 8,
        entries: 16,
        key: 3,
        cpu: 0,
        scale: Scale::Shift(4),
        hoisted: false,
    };
    // Load, store, address; lookup 5, test, count 2, load; CPU 2, shift, add; time 3 with ISB, add; leave 1, frame 2.
    let words = check_counting(setting);
    assert!(words <= 24, "{words} words");
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
