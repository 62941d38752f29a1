//! The cost of execution, as data from outside: whoever emits machine code states what each instruction costs.

use crate::env::MapDesc;
use crate::insn::Insn;

/// Which way control leaves an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// To the next instruction (also calls, exits, and unconditional jumps to the next).
    Next,
    /// The branch is taken.
    Taken,
}

/// What is proven of one helper call site on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFacts {
    /// Helper number.
    pub helper: u32,
    /// The map argument, if it is always this map of the program's list.
    pub map: Option<u16>,
    /// The key argument always points to the stack of the calling frame.
    pub key_on_stack: bool,
    /// The value (or first memory) argument always points to the stack.
    pub value_on_stack: bool,
    /// Largest size in the first size argument (bytes), or largest constant record size; 0 without.
    pub bytes_max: u32,
}

/// Worst-case time of execution, in the caller's unit (retired A64 instructions, cycles). Every figure must be an upper
/// bound for any operands. Sums saturate at `u64::MAX`, which exceeds every limit.
pub trait CostModel {
    /// The whole program's own entry and exit (prologue, epilogue).
    fn program(&self) -> u64;
    /// Providing the words of the context that the program reads, once a run: bit n is word n (bit 63: any from there).
    fn context(&self, _words: u64) -> u64 {
        0
    }
    /// Entering and leaving the subprogram at slot `entry` by a local call, without the call and exit instructions.
    fn frame(&self, entry: u32) -> u64;
    /// The instruction at slot `pc`, leaving by `edge`. For helper calls: without the helper's own time.
    fn insn(&self, pc: u32, insn: &Insn, edge: Edge) -> u64;
    /// The time inside the helper called at `pc`; for helpers with callbacks, without its iterations. `map` is the
    /// description of `facts.map`. It is asked again if facts of the site weaken, and the larger answer holds, so
    /// weaker facts must not cost less.
    fn helper(&self, pc: u32, facts: &CallFacts, map: Option<&MapDesc>) -> u64;
    /// One iteration of the callback helper called at `pc`, without the callback's instructions.
    fn iteration(&self, pc: u32, helper: u32) -> u64;
}

/// Every instruction costs 1, everything else nothing: the time bound is the instruction bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCost;

impl CostModel for UnitCost {
    fn program(&self) -> u64 {
        0
    }
    fn frame(&self, _entry: u32) -> u64 {
        0
    }
    fn insn(&self, _pc: u32, _insn: &Insn, _edge: Edge) -> u64 {
        1
    }
    fn helper(&self, _pc: u32, _facts: &CallFacts, _map: Option<&MapDesc>) -> u64 {
        0
    }
    fn iteration(&self, _pc: u32, _helper: u32) -> u64 {
        0
    }
}

/// Classes of A64 instructions a core's timing distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum A64Class {
    Alu,
    Mul,
    Div32,
    Div64,
    Load,
    Store,
    Atomic,
    Branch,
    Barrier,
    System,
}

/// Worst-case time of each class on one core, in `unit`s. board-support has one per core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CoreModel {
    /// Name, e.g. `insns` or `cortex-a53`.
    pub name: &'static str,
    /// Unit, e.g. `instructions` or `cycles`.
    pub unit: &'static str,
    pub alu: u32,
    pub mul: u32,
    pub div32: u32,
    pub div64: u32,
    pub load: u32,
    pub store: u32,
    pub atomic: u32,
    pub branch: u32,
    pub barrier: u32,
    pub system: u32,
}

impl CoreModel {
    /// Each retired A64 instruction counts 1: exact under QEMU's icount.
    pub const INSNS: CoreModel = CoreModel {
        name: "insns",
        unit: "instructions",
        alu: 1,
        mul: 1,
        div32: 1,
        div64: 1,
        load: 1,
        store: 1,
        atomic: 1,
        branch: 1,
        barrier: 1,
        system: 1,
    };

    /// Worst-case time of one instruction of the class.
    pub const fn class(&self, class: A64Class) -> u32 {
        match class {
            A64Class::Alu => self.alu,
            A64Class::Mul => self.mul,
            A64Class::Div32 => self.div32,
            A64Class::Div64 => self.div64,
            A64Class::Load => self.load,
            A64Class::Store => self.store,
            A64Class::Atomic => self.atomic,
            A64Class::Branch => self.branch,
            A64Class::Barrier => self.barrier,
            A64Class::System => self.system,
        }
    }
}
