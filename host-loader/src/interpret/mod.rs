//! Probes on the host: the reference interpreter over the maps that EL2 has, on one CPU.
//!
//! Maps and ring buffers are the hypervisor's own code over ordinary memory. The clock is made up, so that a run can be
//! repeated: it starts at the context's `time_ns`, and an instruction takes one nanosecond.

mod helpers;
mod maps;

use std::cell::Cell;

use miette::Diagnostic;
use probe_vm::interp::{self, Backing, Code, Fault, Insn, REGIONS_MAX, STACK_BYTES, Space, Start, Step, Trace};
use probe_vm::points::{HEADER_BYTES, HEADER_TIME_AT};
use thiserror::Error;

use crate::obj::Program;
use crate::verify;
use helpers::Answers;
pub use maps::{Maps, Records};

/// Where things are in the interpreter's address space.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// First byte of the context.
    pub context: u64,
    /// One past the last byte of the outermost frame's stack.
    pub stack_top: u64,
    /// First byte of each of the object's maps that the program refers to.
    pub maps: Vec<Option<u64>>,
}

/// A run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it returned.
    pub r0: u64,
    /// Instructions executed.
    pub executed: u64,
    /// Lines of `bpf_trace_printk`.
    pub log: Vec<String>,
}

/// Why a program cannot be run, or did not come to its end.
#[derive(Debug, Error, Diagnostic)]
pub enum RunError {
    /// A map that the hypervisor would not make.
    #[error("map `{name}` cannot be made: {why}")]
    Map {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// More maps than the interpreter has room for.
    #[error("the program refers to {count} maps; the interpreter has room for {max}")]
    TooManyMaps {
        /// Of the program.
        count: usize,
        /// All there can be.
        max: usize,
    },
    /// A verified program that cannot be run to its end.
    #[error("an accepted program failed when it was run: {why}")]
    #[diagnostic(help("this is a defect of Gnomon, not of the program: please report it with the object file"))]
    Defect {
        /// What happened.
        why: String,
    },
}

/// Sees every step with the layout, and sets the clock.
struct Watch<'a, F> {
    layout: &'a Layout,
    clock: &'a Cell<u64>,
    start: u64,
    see: F,
}

impl<'m, F: FnMut(&Layout, Step<'_>, &Space<'m>)> Trace<Space<'m>> for Watch<'_, F> {
    fn step(&mut self, step: Step<'_>, mem: &Space<'m>) {
        self.clock.set(self.start.wrapping_add(step.executed));
        (self.see)(self.layout, step, mem);
    }
}

/// The maps that a program refers to, by index in its object, each once.
pub fn maps_of(program: &Program) -> Vec<usize> {
    let mut out = Vec::new();
    let mut pc = 0;
    while let Some(slot) = program.slots.get(pc) {
        if slot[0] != 0x18 {
            pc += 1;
            continue;
        }
        let index = u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]) as usize;
        if matches!(slot[1] >> 4, 1 | 2) && !out.contains(&index) {
            out.push(index);
        }
        pc += 2;
    }
    out
}

/// Runs an accepted program once, on `context`, for at most `fuel` instructions. `see` is shown every step. What it leaves
/// in `maps` stays there for the next run.
///
/// # Errors
/// A map that cannot be made; or a fault or more instructions than `fuel`, which the verifier excludes.
pub fn run(
    maps: &Maps,
    program: &Program,
    context: &[u8],
    fuel: u64,
    see: impl FnMut(&Layout, Step<'_>, &Space<'_>),
) -> Result<Outcome, RunError> {
    let used = maps_of(program);
    // Besides maps: the context and the stack.
    let max = REGIONS_MAX - 2;
    if used.len() > max {
        return Err(RunError::TooManyMaps { count: used.len(), max });
    }
    let mut stack = vec![0; STACK_BYTES];
    let mut space = Space::new();
    let full = || RunError::Defect {
        why: "there is no room for its memory".into(),
    };
    let mut layout = Layout {
        context: space.add(Backing::Const(context)).ok_or_else(full)?,
        stack_top: space.add(Backing::Bytes(&mut stack)).ok_or_else(full)? + STACK_BYTES as u64,
        maps: vec![None; maps.len()],
    };
    for index in used {
        let base = space.add(Backing::Words(maps.words(index)?)).ok_or_else(full)?;
        layout.maps[index] = Some(base);
    }
    let text = verify::words(&program.slots);
    let mut buffer = vec![Insn::EMPTY; text.len()];
    let code = Code::new(&text, &mut buffer).map_err(|bad| RunError::Defect {
        why: format!("instruction {} cannot be read ({:?})", bad.pc, bad.why),
    })?;
    let clock = Cell::new(0);
    let mut answers = Answers::new(maps, &layout, &clock);
    let mut watch = Watch {
        layout: &layout,
        clock: &clock,
        start: time_of(context),
        see,
    };
    let start = Start {
        args: [layout.context, 0],
        stack_top: layout.stack_top,
        fuel,
    };
    match interp::run(code, start, &mut space, &mut answers, &mut watch) {
        Ok(done) => Ok(Outcome {
            r0: done.r0,
            executed: done.executed,
            log: answers.into_log(),
        }),
        Err(fault) => Err(RunError::Defect {
            why: describe(fault, fuel),
        }),
    }
}

/// The time in a context's header.
fn time_of(context: &[u8]) -> u64 {
    let header = context.get(..HEADER_BYTES).and_then(|h| h.get(HEADER_TIME_AT..));
    header
        .and_then(|h| h.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn describe(fault: Fault, fuel: u64) -> String {
    match fault {
        Fault::OutOfFuel => format!("it went past its bound of {fuel} instructions"),
        Fault::Access { pc, addr, size } => {
            format!("instruction {pc} accesses {size} bytes at {addr:#x}, where nothing is")
        }
        Fault::FellOff { pc } => format!("it ran to instruction {pc}, where none is"),
        Fault::NoHelper { pc, id } => format!("instruction {pc} calls helper {id}, which the interpreter has not"),
        Fault::TooDeep { pc } => format!("instruction {pc} calls too deep"),
        Fault::NoFunction { pc } => format!("instruction {pc} names no function"),
    }
}
