//! Running the verifier on the host: the same code as in the hypervisor, with more memory and a clock beside it.

use std::time::Instant;

use verifier::cost::CostModel;
use verifier::env::MapDesc;
use verifier::reject::Why;
use verifier::verified::{LoopBound, Subprogram, Totals, WitnessRun};
use verifier::{Memory, Pool, Program, Rejected, Step, Verifier};

use crate::env::Environment;

/// Programs of up to this many slots are verified in the memory the hypervisor has, so that what fits here fits there.
pub const SMALL_SLOTS: usize = 4096;
/// Units of one step: as much as one hypercall does is of no concern here, but that steps resume is.
const UNITS_PER_STEP: u32 = 1 << 16;
/// The verifier's memory for small programs, below 1 MiB, is built on the stack before it goes to the heap, in several copies
/// where the compiler does not optimise. A small guest must be able to give as much.
const THREAD_STACK_BYTES: usize = 16 << 20;

/// Memory for verification.
#[derive(Default)]
pub struct Arena {
    small: Option<Box<Pool<SMALL_SLOTS>>>,
}

/// What is known of an accepted program.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Bounds, stack, effort.
    pub totals: Totals,
    /// Its subprograms, the entry first.
    pub subprograms: Vec<Subprogram>,
    /// Its loops.
    pub loops: Vec<LoopBound>,
    /// The worst path by time.
    pub witness: Vec<WitnessRun>,
}

/// The answer for one program.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Accepted, or why not.
    pub verdict: Result<Accepted, Box<Rejected>>,
    /// Time it took, in microseconds.
    pub micros: f64,
}

/// Verifies one program. Where it is larger than the hypervisor would take, memory is made for it.
pub fn verify<C: CostModel>(arena: &mut Arena, text: &[u64], maps: &[MapDesc], env: &Environment, cost: C) -> Answer {
    if text.len() <= SMALL_SLOTS {
        let memory = arena.small.get_or_insert_with(|| Box::new(Pool::new())).memory();
        return run(memory, text, maps, env, cost);
    }
    verifier::heap_memory!(let memory = text.len());
    run(memory, text, maps, env, cost)
}

fn run<C: CostModel>(memory: Memory<'_>, text: &[u64], maps: &[MapDesc], env: &Environment, cost: C) -> Answer {
    let begin = Instant::now();
    let mut verifier = Verifier::start(memory, &Program { text, maps }, env.env(), cost);
    let verdict = loop {
        match verifier.step(UNITS_PER_STEP) {
            Step::More => {}
            Step::Done(v) => {
                break Ok(Accepted {
                    totals: v.totals(),
                    subprograms: v.subprograms().to_vec(),
                    loops: v.loops().to_vec(),
                    witness: v.witness().to_vec(),
                });
            }
            Step::Rejected(r) => break Err(Box::new(r)),
        }
    };
    Answer {
        verdict,
        micros: begin.elapsed().as_nanos() as f64 / 1000.0,
    }
}

/// Runs `work` where there is stack enough to build the memory.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new()
            .name("verify".into())
            .stack_size(THREAD_STACK_BYTES);
        let handle = builder.spawn_scoped(scope, work).expect("the system gives a thread");
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Slots as the verifier takes them.
pub fn words(slots: &[[u8; 8]]) -> Vec<u64> {
    slots.iter().map(|s| u64::from_le_bytes(*s)).collect()
}

/// The name of a reason, in `snake_case`, for machines.
pub fn reason_name(why: &Why) -> String {
    let debug = format!("{why:?}");
    let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
