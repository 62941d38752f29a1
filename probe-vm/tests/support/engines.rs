//! Interpreter and compiled code side by side, with the stated cost of the path that was taken.

use super::SuiteHelpers;
use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::conformance::{SUITE_HELPER, compile, links};
use probe_vm::interp::{self, Backing, Code, Insn as Decoded, Space, Start, Step, Trace};
use probe_vm::jit::{CompileError, Compiler, HelperLink, JitCost, Links, Plan, SLOT_WORDS_MAX};
use verifier::cost::{CoreModel, CostModel, Edge};
use verifier::insn::{Callee, Insn, Op};

const HELPERS: [HelperLink; 1] = [HelperLink {
    id: SUITE_HELPER,
    address: emu::helper_address(SUITE_HELPER),
}];
pub const CODE_BASE: u64 = probe_vm::conformance::TEXT_BASE;
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

/// One program on both engines: interpreter first.
pub struct Both {
    pub r0: [u64; 2],
    pub mem: [Vec<u8>; 2],
    /// Cost of the path taken, and words executed.
    pub cost: Option<u64>,
    pub executed: u64,
    pub looped: bool,
}

pub fn emu_links(lse: bool) -> Links<'static> {
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

pub fn run_both(slots: &[u64], mem: &[u8], r2: u64, lse: bool, failures: u32) -> Both {
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
        fuel: super::FUEL,
    };
    let done = interp::run(code, start, &mut memory, &mut SuiteHelpers, &mut sum).expect("interpreter");
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
        &mut SuiteHelpers,
        super::FUEL * 8,
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

/// Plans, costs, compiles and decodes whatever the slots are; says whether there was code.
pub fn survives(slots: &[u64]) -> bool {
    let mut buffer = vec![Decoded::EMPTY; slots.len()];
    let _ = Code::new(slots, &mut buffer);
    let links = emu_links(slots.len() % 2 == 0);
    let mut flags = vec![0; slots.len()];
    let mut offsets = vec![0; slots.len() + 1];
    let Ok(plan) = Plan::unverified(slots, &mut flags, &links) else {
        return false;
    };
    let cost = JitCost::new(&plan, &links, &CoreModel::INSNS);
    for pc in 0..slots.len() as u32 {
        if let Ok(insn) = Insn::decode(slots, pc) {
            cost.insn(pc, &insn, Edge::Taken);
            cost.frame(pc);
            cost.iteration(pc, 0);
        }
    }
    let mut code = vec![0; slots.len() * SLOT_WORDS_MAX as usize];
    let compiler = Compiler::start_unverified(&plan, &links, &mut offsets, CODE_BASE).unwrap();
    match compiler.run(&mut code) {
        Ok(_) => true,
        Err(error) => {
            assert_ne!(error, CompileError::CodeFull, "{SLOT_WORDS_MAX} words a slot suffice");
            false
        }
    }
}
