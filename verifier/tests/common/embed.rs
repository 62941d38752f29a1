//! State embedding: what the interpreter does must lie inside what the verifier believed.

#![allow(dead_code)]

use probe_vm::interp::{self, Backing, Code, FRAME_BYTES, Insn, STACK_BYTES, Size, Space, Start, Step as Machine};
use std::sync::atomic::AtomicU64;
use verifier::scalar::Scalar;
use verifier::{Env, Kind, MapDesc, Observer, Program, Region, Step, UnitCost, Val, Verifier, View, heap_memory};

/// An abstract state as remembered: enough to ask whether a machine state is in it.
#[derive(Clone)]
pub struct Seen {
    depth: u8,
    regs: [Val; 11],
    saved: Vec<[Val; 4]>,
    spills: Vec<(u8, i64, u8, Val)>,
}

/// All states of the passes that count, by slot.
pub struct Collect {
    pub at: Vec<Vec<Seen>>,
    log: Vec<usize>,
    marks: Vec<usize>,
}

impl Collect {
    pub fn new(slots: usize) -> Collect {
        Collect {
            at: vec![Vec::new(); slots],
            log: Vec::new(),
            marks: Vec::new(),
        }
    }
}

impl Observer for Collect {
    fn visit(&mut self, v: View<'_>) {
        let saved = (0..v.depth()).map(|n| v.saved(n)).collect();
        let seen = Seen {
            depth: v.depth(),
            regs: v.regs(),
            saved,
            spills: v.spills().collect(),
        };
        self.at[v.pc as usize].push(seen);
        self.log.push(v.pc as usize);
    }
    fn begin(&mut self) {
        self.marks.push(self.log.len());
    }
    fn discard(&mut self) {
        let to = self.marks.pop().expect("a pass under way");
        while self.log.len() > to {
            let pc = self.log.pop().expect("logged");
            self.at[pc].pop();
        }
    }
    fn commit(&mut self) {
        self.marks.pop();
    }
}

/// Where things are in the interpreter's address space.
pub trait Places {
    /// One past the last byte of the outermost frame's stack.
    fn stack_top(&self) -> u64;
    /// Whether `x` is a pointer to `region` at one of the offsets of `num`; `None`: this cannot be told.
    fn points(&self, region: Region, num: &Scalar, x: u64, mem: &Space<'_>) -> Option<bool>;
}

/// Whether the abstract value holds `x`.
fn holds(places: &impl Places, v: &Val, x: u64, mem: &Space<'_>) -> bool {
    match v.kind {
        Kind::Uninit => true,
        Kind::Scalar => v.num.contains(x),
        Kind::Pointer { region, nullable } => {
            let inside = match region {
                Region::Stack(f) => {
                    let frame = places.stack_top() - FRAME_BYTES as u64 * u64::from(f);
                    Some(v.num.contains(x.wrapping_sub(frame)))
                }
                other => places.points(other, &v.num, x, mem),
            };
            nullable && x == 0 || inside.unwrap_or(true)
        }
    }
}

impl Collect {
    /// Whether the machine before a step is in one of the states seen there; if not, what it is.
    pub fn check(&self, m: Machine<'_>, mem: &Space<'_>, places: &impl Places) -> Result<(), String> {
        let spilled = |(frame, off, bytes, v): &(u8, i64, u8, Val)| {
            let size = match bytes {
                1 => Size::B,
                2 => Size::H,
                4 => Size::W,
                _ => Size::X,
            };
            let frame = places.stack_top() - FRAME_BYTES as u64 * u64::from(*frame);
            let loaded = interp::Memory::load(mem, frame.wrapping_add(*off as u64), size);
            loaded.is_none_or(|x| holds(places, v, x, mem))
        };
        let inside = |s: &Seen| {
            let all = |vs: &[Val], xs: &[u64]| vs.iter().zip(xs).all(|(v, x)| holds(places, v, *x, mem));
            usize::from(s.depth) == m.callers.len()
                && all(&s.regs, m.regs)
                && s.saved.iter().zip(m.callers).all(|(vs, f)| all(vs, &f.saved))
                && s.spills.iter().all(spilled)
        };
        if self.at[m.pc].iter().any(inside) {
            return Ok(());
        }
        Err(format!(
            "slot {}: {:x?} at depth {} is in none of {} states; first {:?}",
            m.pc,
            m.regs,
            m.callers.len(),
            self.at[m.pc].len(),
            self.at[m.pc].first().map(|s| s.regs)
        ))
    }
}

/// Context, stack, and entry 0 of each map.
#[derive(Clone, Copy)]
struct Fixed {
    context: u64,
    stack_top: u64,
    maps: [u64; MAPS],
}

/// Maps that a program may have here.
pub const MAPS: usize = 2;
/// Words behind each.
const MAP_WORDS: usize = 64;

impl Places for Fixed {
    fn stack_top(&self) -> u64 {
        self.stack_top
    }

    fn points(&self, region: Region, num: &Scalar, x: u64, _: &Space<'_>) -> Option<bool> {
        let base = match region {
            Region::Object(0) => self.context,
            Region::MapValue(n) => self.maps[usize::from(n)],
            // Handles are opaque.
            _ => return None,
        };
        Some(num.contains(x.wrapping_sub(base)))
    }
}

struct Check<'a> {
    seen: &'a Collect,
    places: Fixed,
    failure: Option<String>,
    steps: u64,
}

impl<'b> interp::Trace<Space<'b>> for Check<'_> {
    fn step(&mut self, m: Machine<'_>, mem: &Space<'b>) {
        if self.failure.is_none() {
            self.steps += 1;
            self.failure = self.seen.check(m, mem, &self.places).err();
        }
    }
}

struct Answers {
    maps: [u64; MAPS],
}

impl<M: interp::Memory> interp::Helpers<M> for Answers {
    fn call(&mut self, id: u32, args: [u64; 5], mem: &mut M) -> Option<u64> {
        let map = args[0] ^ interp::MAP_HANDLE;
        match id {
            // An array has entry 0; a hash table has what is even.
            1 => {
                let key = mem.load(args[1], Size::W)?;
                let found = if map == 0 { key == 0 } else { key % 2 == 0 };
                let base = *self.maps.get(map as usize)?;
                Some(if found { base } else { 0 })
            }
            // Updates and deletions fail now and then.
            2 | 3 => Some(if args[1] % 16 == 0 { 0 } else { -2i64 as u64 }),
            // Times and random numbers: any value is allowed.
            5 | 7 | 8 => Some(0x1234_5678_9abc_def1_u64.rotate_left(id)),
            _ => None,
        }
    }
    fn map_value(&self, map: u32, offset: u64) -> Option<u64> {
        Some(self.maps.get(map as usize)? + offset)
    }
}

/// Verifies; all that the verifier believes, and the instruction bound. `None` if refused.
pub fn believe(text: &[u64], maps: &[MapDesc], env: Env<'_>) -> Option<(Collect, u64)> {
    heap_memory!(let memory = text.len());
    let mut collect = Collect::new(text.len());
    let mut v = Verifier::start(memory, &Program { text, maps }, env, UnitCost);
    loop {
        match v.step_observed(1000, &mut collect) {
            Step::More => {}
            Step::Rejected(_) => return None,
            Step::Done(d) => return Some((collect, d.insn_bound())),
        }
    }
}

/// Verifies, and if accepted runs on every context of `inputs`. Gives the bound and the most instructions executed, or
/// `None` if refused. Panics on a state outside or a run over the bound.
pub fn embed(text: &[u64], maps: &[MapDesc], env: Env<'_>, inputs: &[Vec<u8>], what: &str) -> Option<(u64, u64, u64)> {
    let (collect, bound) = believe(text, maps, env)?;
    let mut buffer = vec![Insn::EMPTY; text.len()];
    let code = Code::new(text, &mut buffer).expect("decodable");
    let (mut most, mut steps) = (0, 0);
    for input in inputs {
        let mut stack = vec![0xa5u8; STACK_BYTES];
        let words: Vec<AtomicU64> = (0..(MAPS * MAP_WORDS) as u64).map(AtomicU64::new).collect();
        let mut space = Space::new();
        let context = space.add(Backing::Const(input)).expect("room");
        let stack_base = space.add(Backing::Bytes(&mut stack)).expect("room");
        let mut bases = [0; MAPS];
        for (base, words) in bases.iter_mut().zip(words.chunks(MAP_WORDS)) {
            *base = space.add(Backing::Words(words)).expect("room");
        }
        let places = Fixed {
            context,
            stack_top: stack_base + STACK_BYTES as u64,
            maps: bases,
        };
        let mut check = Check {
            seen: &collect,
            places,
            failure: None,
            steps: 0,
        };
        let start = Start {
            args: [context, 0],
            stack_top: places.stack_top,
            fuel: bound + 1,
        };
        let done = interp::run(code, start, &mut space, &mut Answers { maps: bases }, &mut check);
        if let Some(failure) = check.failure {
            panic!("{what}: {failure}");
        }
        match done {
            Ok(d) => {
                assert!(
                    d.executed <= bound,
                    "{what}: executed {} over the bound {bound}",
                    d.executed
                );
                most = most.max(d.executed);
            }
            Err(fault) => panic!("{what}: accepted but {fault:?} (bound {bound})"),
        }
        steps += check.steps;
    }
    Some((bound, most, steps))
}
