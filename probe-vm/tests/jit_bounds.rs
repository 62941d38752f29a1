//! The stated costs against the words that are executed, and interpreter against compiled code.
mod support;

use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::conformance::{SUITE_HELPER, compile, links};
use probe_vm::interp::{self, Backing, Code, Insn as Decoded, Memory, Space, Start, Step, Trace};
use probe_vm::jit::{HelperLink, JitCost, Links, Plan};
use support::random::{self, Rng};
use verifier::cost::{CoreModel, CostModel, Edge};
use verifier::insn::{Callee, Insn, Op};

const HELPERS: [HelperLink; 1] = [HelperLink {
    id: SUITE_HELPER,
    address: emu::helper_address(SUITE_HELPER),
}];
const CODE_BASE: u64 = probe_vm::conformance::TEXT_BASE;
/// Frames and saved registers of eight functions.
const STACK: usize = 16 << 10;

/// Adds up what the cost model says of every executed instruction.
struct Sum<'a> {
    slots: &'a [u64],
    cost: JitCost<'a>,
    total: u64,
    last: Option<(usize, Insn)>,
    /// An instruction the verifier would not let pass.
    unknown: bool,
    /// A `bpf_loop` was run: a refused or stopped one executes less than a full one.
    looped: bool,
}

impl<M> Trace<M> for Sum<'_> {
    fn step(&mut self, step: Step<'_>, _: &M) {
        if let Some(callback) = step.callers.last().and_then(|f| f.looping.map(|l| (f.pc, l.callback)))
            && callback.1 == step.pc
            && matches!(
                self.last,
                Some((
                    _,
                    Insn {
                        op: Op::Exit | Op::Call(Callee::Helper(_)),
                        ..
                    }
                ))
            )
        {
            self.total += self.cost.iteration(callback.0 as u32, interp::LOOP_HELPER);
            self.total += self.cost.frame(callback.1 as u32);
        }
        let Ok(insn) = Insn::decode(self.slots, step.pc as u32) else {
            self.unknown = true;
            return;
        };
        self.total += self.cost.insn(step.pc as u32, &insn, Edge::Next);
        if let Op::Call(Callee::Local(target)) = insn.op {
            self.total += self.cost.frame(target);
        }
        self.looped |= insn.op == Op::Call(Callee::Helper(interp::LOOP_HELPER));
        self.last = Some((step.pc, insn));
    }
}

struct Both {
    r0: [u64; 2],
    mem: [Vec<u8>; 2],
    /// Cost of the path taken, and words executed.
    cost: Option<u64>,
    executed: u64,
    looped: bool,
}

fn emu_links(lse: bool) -> Links<'static> {
    Links {
        dispatch: emu::DISPATCH,
        ..links(lse, &HELPERS)
    }
}

fn space<'a>(stack: &'a mut [u8], mem: &'a mut [u8]) -> (Space<'a>, u64, u64) {
    let mut space = Space::new();
    let top = space.add(Backing::Bytes(stack)).unwrap() + STACK as u64;
    let r1 = space.add(Backing::Bytes(mem)).unwrap();
    (space, top, r1)
}

fn run_both(slots: &[u64], mem: &[u8], r2: u64, lse: bool, failures: u32) -> Both {
    let links = emu_links(lse);
    let mut flags = vec![0; slots.len()];
    let plan = Plan::unverified(slots, &mut flags, &links).unwrap();
    let cost = JitCost::new(&plan, &links, &CoreModel::INSNS);
    let mut sum = Sum {
        slots,
        cost,
        total: cost.program(),
        last: None,
        unknown: false,
        looped: false,
    };

    let mut buffer = vec![Decoded::EMPTY; slots.len()];
    let code = Code::new(slots, &mut buffer).unwrap();
    let (mut stack, mut mem1) = (vec![0; STACK], mem.to_vec());
    let (mut memory, stack_top, r1) = space(&mut stack, &mut mem1);
    let start = Start {
        args: [r1, r2],
        stack_top,
        fuel: support::FUEL,
    };
    let done = interp::run(code, start, &mut memory, &mut support::SuiteHelpers, &mut sum).expect("interpreter");
    drop(memory);

    let words = compile(slots, &links, CODE_BASE).unwrap();
    let (mut stack, mut mem2) = (vec![0; STACK], mem.to_vec());
    let (mut memory, sp, r1) = space(&mut stack, &mut mem2);
    let mut cpu = Cpu {
        sp,
        failures,
        ..Cpu::default()
    };
    cpu.x[0] = r1;
    cpu.x[1] = r2;
    let ran = emu::run(
        &words,
        CODE_BASE,
        &mut cpu,
        &mut memory,
        &mut support::SuiteHelpers,
        support::FUEL * 8,
    );
    let ran = ran.unwrap_or_else(|e| panic!("emulator: {e:x?}"));
    drop(memory);
    Both {
        r0: [done.r0, ran.x0],
        mem: [mem1, mem2],
        cost: (!sum.unknown).then_some(sum.total),
        executed: ran.executed,
        looped: sum.looped,
    }
}

fn check_cases(cases: &[support::Case]) {
    for case in cases {
        for lse in [true, false] {
            let both = run_both(&case.slots, &case.mem, case.len, lse, 0);
            assert_eq!(both.r0[1] & case.mask, case.want & case.mask, "{}", case.name);
            match both.cost {
                Some(cost) if lse => assert_eq!(cost, both.executed, "{}", case.name),
                Some(cost) => assert!(cost >= both.executed, "{}", case.name),
                None => assert_eq!(case.name, "callx"),
            }
        }
    }
}

#[test]
fn suite_costs_what_is_stated() {
    if let Some(cases) = support::conformance() {
        check_cases(&cases);
    }
}

#[test]
fn linux_rows_cost_what_is_stated() {
    if let Some(cases) = support::linux() {
        check_cases(&cases);
    }
}

/// Programs in CI; the bench runs more.
const PROGRAMS: u64 = 10_000;

#[test]
fn random_programs_agree_and_cost_what_is_stated() {
    let seed = std::env::var("GNOMON_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x6e6f_6d6f_6e00_0001);
    println!("seed {seed}, {PROGRAMS} programs");
    let mut rng = Rng(seed);
    for n in 0..PROGRAMS {
        let slots = random::program(&mut rng);
        let mem = random::memory(&mut rng);
        let failures = if n % 7 == 0 { rng.below(5) as u32 } else { 0 };
        for lse in [true, false] {
            let both = run_both(&slots, &mem, 0, lse, failures);
            assert_eq!(both.r0[0], both.r0[1], "seed {seed} program {n} lse {lse}: r0");
            assert_eq!(both.mem[0], both.mem[1], "seed {seed} program {n} lse {lse}: memory");
            let cost = both.cost.expect("the verifier's decoder knows every instruction");
            if lse && !both.looped {
                assert_eq!(cost, both.executed, "seed {seed} program {n}");
            } else {
                assert!(
                    cost >= both.executed,
                    "seed {seed} program {n}: {cost} < {}",
                    both.executed
                );
            }
        }
    }
}

/// An exclusive loop whose tries are all used up ends the program, from a callee too.
#[test]
fn contended_programs_give_up() {
    let atomic = random::slot(0xdb, 2, 1, 0, 0);
    let slots = [
        random::slot(0xbf, 6, 1, 0, 0),
        random::slot(0xbf, 2, 6, 0, 0),
        random::slot(0x85, 0, 1, 0, 1),
        random::slot(0x95, 0, 0, 0, 0),
        random::slot(0xb7, 1, 0, 0, 1),
        random::slot(0xbf, 7, 2, 0, 0),
        random::slot(0x7b, 10, 1, -8, 0),
        atomic,
        random::slot(0xb7, 0, 0, 0, 3),
        random::slot(0x95, 0, 0, 0, 0),
    ];
    let both = run_both(&slots, &[0; 8], 0, false, 15);
    assert_eq!(both.r0, [3, 3]);
    assert!(both.executed <= both.cost.unwrap());
    let both = run_both(&slots, &[0; 8], 0, false, 16);
    assert_eq!(both.r0, [3, probe_vm::jit::ABORTED]);
    assert_eq!(both.mem[1], [0; 8]);
    assert!(both.executed <= both.cost.unwrap());
}

#[test]
fn space_faults_stop_the_emulator() {
    let mut space = Space::new();
    assert!(space.store(1 << 32, interp::Size::B, 0).is_none());
    let mut cpu = Cpu::default();
    let ran = emu::run(
        &[0xf940_0000],
        CODE_BASE,
        &mut cpu,
        &mut space,
        &mut support::SuiteHelpers,
        9,
    );
    assert!(matches!(ran, Err(emu::Stop::Access(0, _))));
    let ran = emu::run(
        &[0x1e60_2800],
        CODE_BASE,
        &mut cpu,
        &mut space,
        &mut support::SuiteHelpers,
        9,
    );
    assert_eq!(
        ran,
        Err(emu::Stop::Unknown(0, 0x1e60_2800)),
        "a floating-point word is not in the subset"
    );
}
