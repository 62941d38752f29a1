//! The reference interpreter: RFC 9669 through v4, one match an instruction.
//!
//! It is what the compiler and the verifier are held against, so it is written to be seen right: decoded
//! once ([`decode`]), memory only through [`Memory`] at made-up addresses, helpers through [`Helpers`], and a
//! [`Trace`] that sees the machine before each instruction.

mod alu;
mod decode;
mod mem;

pub use decode::{BadSlot, BadWhy, FUNC_HANDLE, Insn, MAP_HANDLE};
pub use mem::{Backing, Memory, REGIONS_MAX, Size, Space};

use decode::{Atomic, IMM, Op};

/// Call depth, the entry function included (RFC 9669 leaves it open; Linux has 8).
pub const FRAMES_MAX: usize = 8;
/// Stack bytes of one frame.
pub const FRAME_BYTES: usize = 512;
/// Stack a run needs: every frame at its full size.
pub const STACK_BYTES: usize = FRAMES_MAX * FRAME_BYTES;

/// Linux's number of `bpf_loop`, which the interpreter does itself because it calls back.
pub const LOOP_HELPER: u32 = 181;
/// Most iterations `bpf_loop` accepts (Linux `BPF_MAX_LOOPS`).
pub const LOOPS_MAX: u64 = 8 << 20;
const E2BIG: u64 = -7i64 as u64;
const EINVAL: u64 = -22i64 as u64;

/// A decoded program over a buffer of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    insns: &'a [Insn],
}

impl<'a> Code<'a> {
    /// Decodes `slots` into `buffer`, one entry a slot.
    pub fn new(slots: &[u64], buffer: &'a mut [Insn]) -> Result<Self, BadSlot> {
        let mut pc = 0;
        while let Some(&slot) = slots.get(pc) {
            let at = pc;
            let bad = |why| BadSlot { pc: at, slot, why };
            let insn = decode::decode(slots, pc).map_err(bad)?;
            *buffer.get_mut(pc).ok_or(bad(BadWhy::TooLong))? = insn;
            pc += 1;
            if slot as u8 == 0x18 {
                *buffer.get_mut(pc).ok_or(bad(BadWhy::TooLong))? = Insn::EMPTY;
                pc += 1;
            }
        }
        Ok(Code {
            insns: buffer.get(..slots.len()).unwrap_or(&[]),
        })
    }
}

/// The functions a program may call outside itself.
pub trait Helpers<M> {
    /// Helper `id` with r1–r5; `None` where there is no such helper.
    fn call(&mut self, id: u32, args: [u64; 5], mem: &mut M) -> Option<u64>;
    /// The address of byte `offset` of element 0 of map number `map`.
    fn map_value(&self, map: u32, offset: u64) -> Option<u64>;
}

/// No helpers at all.
impl<M> Helpers<M> for () {
    fn call(&mut self, _: u32, _: [u64; 5], _: &mut M) -> Option<u64> {
        None
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

/// The machine before one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Slot about to be executed.
    pub pc: usize,
    /// r0–r10 of the innermost frame.
    pub regs: &'a [u64; 11],
    /// The frames below the innermost one, outermost first.
    pub callers: &'a [Frame],
    /// Instructions executed so far.
    pub executed: u64,
}

/// Sees every step. `()` sees nothing and costs nothing.
pub trait Trace<M> {
    /// Called before each instruction.
    fn step(&mut self, step: Step<'_>, mem: &M);
}

impl<M> Trace<M> for () {
    #[inline(always)]
    fn step(&mut self, _: Step<'_>, _: &M) {}
}

/// A suspended frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Slot of the call.
    pub pc: usize,
    /// r6–r9 of the suspended function.
    pub saved: [u64; 4],
    /// Its r10.
    pub fp: u64,
    /// Set where the call is an iteration of `bpf_loop`.
    pub looping: Option<Looping>,
}

/// The state of a running `bpf_loop`.
#[derive(Clone, Copy, Debug)]
pub struct Looping {
    /// Index of the running iteration.
    pub index: u64,
    /// Iterations asked for.
    pub count: u64,
    /// The callback's context argument.
    pub context: u64,
    /// Slot where the callback starts.
    pub callback: usize,
}

/// Why a run ended without a result. Slots as in the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The allowance of instructions is used up.
    OutOfFuel,
    /// An access outside every region, or a write to a constant one.
    Access {
        /// Slot of the instruction.
        pc: usize,
        /// Address accessed.
        addr: u64,
        /// Bytes accessed.
        size: u8,
    },
    /// Execution ran past the last slot, or into the second half of a constant.
    FellOff {
        /// Where to.
        pc: usize,
    },
    /// No such helper or map.
    NoHelper {
        /// Slot of the call.
        pc: usize,
        /// The number asked for.
        id: u32,
    },
    /// More than [`FRAMES_MAX`] frames.
    TooDeep {
        /// Slot of the call.
        pc: usize,
    },
    /// `bpf_loop` with something that is no function.
    NoFunction {
        /// Slot of the call.
        pc: usize,
    },
}

/// How a run starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// r1, r2 on entry.
    pub args: [u64; 2],
    /// One past the last byte of a writable stack of [`STACK_BYTES`].
    pub stack_top: u64,
    /// Instructions allowed.
    pub fuel: u64,
}

/// A finished run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// r0 at the outermost exit.
    pub r0: u64,
    /// Instructions executed (a 64-bit constant counts as one).
    pub executed: u64,
}

/// A slot no program has: the run is over, and [`Machine::end`] says how.
const STOP: usize = usize::MAX;

struct Machine<'a, M, H> {
    regs: [u64; 16],
    frames: [Frame; FRAMES_MAX],
    depth: usize,
    mem: &'a mut M,
    helpers: &'a mut H,
    /// Why the run stopped; `None`: by the outermost exit.
    end: Option<Fault>,
}

/// Runs `code` from its first slot.
pub fn run<M: Memory, H: Helpers<M>, T: Trace<M>>(
    code: Code<'_>,
    start: Start,
    mem: &mut M,
    helpers: &mut H,
    trace: &mut T,
) -> Result<Done, Fault> {
    let empty = Frame {
        pc: 0,
        saved: [0; 4],
        fp: 0,
        looping: None,
    };
    let mut m = Machine {
        regs: [0; 16],
        frames: [empty; FRAMES_MAX],
        depth: 0,
        mem,
        helpers,
        end: None,
    };
    m.regs[1] = start.args[0];
    m.regs[2] = start.args[1];
    m.regs[10] = start.stack_top;
    let mut pc = 0;
    let mut executed = 0;
    while executed < start.fuel {
        let Some(insn) = code.insns.get(pc) else {
            return match m.end {
                Some(fault) => Err(fault),
                None if pc == STOP => Ok(Done {
                    r0: m.regs[0],
                    executed,
                }),
                None => Err(Fault::FellOff { pc }),
            };
        };
        if let (Some(regs), Some(callers)) = (m.regs.first_chunk(), m.frames.get(..m.depth)) {
            trace.step(
                Step {
                    pc,
                    regs,
                    callers,
                    executed,
                },
                m.mem,
            );
        }
        executed += 1;
        pc = m.execute(insn, pc);
    }
    match m.end {
        Some(fault) => Err(fault),
        None if pc == STOP => Ok(Done {
            r0: m.regs[0],
            executed,
        }),
        None => Err(Fault::OutOfFuel),
    }
}

impl<M: Memory, H: Helpers<M>> Machine<'_, M, H> {
    #[inline(always)]
    fn reg(&self, n: u8) -> u64 {
        self.regs[(n & 15) as usize]
    }

    #[inline(always)]
    fn set(&mut self, n: u8, value: u64) {
        self.regs[(n & 15) as usize] = value;
    }

    #[cold]
    #[inline(never)]
    fn stop(&mut self, fault: Fault) -> usize {
        self.end = Some(fault);
        STOP
    }

    #[cold]
    #[inline(never)]
    fn bad_access(&mut self, pc: usize, addr: u64, size: Size) -> usize {
        self.stop(Fault::Access {
            pc,
            addr,
            size: size as u8,
        })
    }

    /// Executes one instruction; the next slot, or [`STOP`].
    #[inline(always)]
    fn execute(&mut self, i: &Insn, pc: usize) -> usize {
        let a = self.reg(i.dst);
        let b = if i.src == IMM { i.imm } else { self.reg(i.src) };
        let off = i.off as i64 as u64;
        match i.op {
            Op::Alu64(op) => self.set(i.dst, alu::alu64(op, a, b)),
            Op::Alu32(op) => self.set(i.dst, alu::alu32(op, a as u32, b as u32) as u64),
            Op::Jump64(test) if alu::holds64(test, a, b) => return i.off as usize,
            Op::Jump32(test) if alu::holds32(test, a as u32, b as u32) => return i.off as usize,
            Op::Jump64(_) | Op::Jump32(_) => {}
            Op::Jump => return i.off as usize,
            Op::Load(size) => match self.mem.load(b.wrapping_add(off), size) {
                Some(value) => self.set(i.dst, value),
                None => return self.bad_access(pc, b.wrapping_add(off), size),
            },
            Op::LoadSigned(size) => match self.mem.load(b.wrapping_add(off), size) {
                Some(value) => self.set(i.dst, alu::sign_extend(value, size)),
                None => return self.bad_access(pc, b.wrapping_add(off), size),
            },
            Op::Store(size) => {
                if self.mem.store(a.wrapping_add(off), size, b).is_none() {
                    return self.bad_access(pc, a.wrapping_add(off), size);
                }
            }
            Op::Atomic(size, op) => {
                if self.atomic(op, a.wrapping_add(off), size, i.src).is_none() {
                    return self.bad_access(pc, a.wrapping_add(off), size);
                }
            }
            Op::Const => {
                self.set(i.dst, i.imm);
                return pc + 2;
            }
            Op::MapValue => {
                let id = i.off as u32;
                let Some(value) = self.helpers.map_value(id, i.imm) else {
                    return self.stop(Fault::NoHelper { pc, id });
                };
                self.set(i.dst, value);
                return pc + 2;
            }
            Op::Call => return self.call(i.imm as u32, pc),
            Op::CallX => return self.call(a as u32, pc),
            Op::CallLocal => return self.enter(i.off as usize, pc, None),
            Op::Exit => return self.leave(),
            Op::Hole => return self.stop(Fault::FellOff { pc }),
        }
        pc + 1
    }

    fn atomic(&mut self, op: Atomic, addr: u64, size: Size, src: u8) -> Option<()> {
        let old = self.mem.load(addr, size)?;
        let b = self.reg(src);
        let narrow = |v: u64| if size == Size::W { v as u32 as u64 } else { v };
        let new = match op {
            Atomic::Add | Atomic::FetchAdd => old.wrapping_add(b),
            Atomic::Or | Atomic::FetchOr => old | b,
            Atomic::And | Atomic::FetchAnd => old & b,
            Atomic::Xor | Atomic::FetchXor => old ^ b,
            Atomic::Xchg => b,
            Atomic::CmpXchg if old == narrow(self.regs[0]) => b,
            Atomic::CmpXchg => old,
        };
        self.mem.store(addr, size, new)?;
        match op {
            Atomic::Add | Atomic::Or | Atomic::And | Atomic::Xor => {}
            Atomic::CmpXchg => self.regs[0] = old,
            _ => self.set(src, old),
        }
        Some(())
    }

    #[inline(never)]
    fn call(&mut self, id: u32, pc: usize) -> usize {
        let [_, r1, r2, r3, r4, r5, ..] = self.regs;
        if id == LOOP_HELPER {
            return self.start_loop(pc);
        }
        match self.helpers.call(id, [r1, r2, r3, r4, r5], self.mem) {
            Some(r0) => self.regs[0] = r0,
            None => return self.stop(Fault::NoHelper { pc, id }),
        }
        pc + 1
    }

    /// `bpf_loop(count, callback, context, flags)`: the argument checks in Linux's order.
    fn start_loop(&mut self, pc: usize) -> usize {
        let [_, count, callback, context, flags, ..] = self.regs;
        let count = count as u32 as u64;
        let result = match () {
            _ if flags != 0 => EINVAL,
            _ if count > LOOPS_MAX => E2BIG,
            _ if count == 0 => 0,
            _ => {
                let Some(callback) = callback.checked_sub(FUNC_HANDLE) else {
                    return self.stop(Fault::NoFunction { pc });
                };
                let callback = callback as usize;
                let looping = Looping {
                    index: 0,
                    count,
                    context,
                    callback,
                };
                self.regs[1] = 0;
                self.regs[2] = context;
                return self.enter(callback, pc, Some(looping));
            }
        };
        self.regs[0] = result;
        pc + 1
    }

    fn enter(&mut self, target: usize, pc: usize, looping: Option<Looping>) -> usize {
        let [.., r6, r7, r8, r9, fp, _, _, _, _, _] = self.regs;
        if self.depth + 1 >= FRAMES_MAX {
            return self.stop(Fault::TooDeep { pc });
        }
        let Some(frame) = self.frames.get_mut(self.depth) else {
            return self.stop(Fault::TooDeep { pc });
        };
        *frame = Frame {
            pc,
            saved: [r6, r7, r8, r9],
            fp,
            looping,
        };
        self.depth += 1;
        self.regs[10] = fp.wrapping_sub(FRAME_BYTES as u64);
        target
    }

    fn leave(&mut self) -> usize {
        let Some(depth) = self.depth.checked_sub(1) else {
            return STOP;
        };
        let Some(frame) = self.frames.get_mut(depth) else {
            return STOP;
        };
        self.depth = depth;
        if let Some(l) = frame.looping.as_mut() {
            l.index += 1;
            let again = self.regs[0] == 0 && l.index < l.count;
            let (index, context, callback) = (l.index, l.context, l.callback);
            if again {
                self.depth += 1;
                // The next iteration finds the caller's r6–r9 untouched, as the first did.
                [self.regs[6], self.regs[7], self.regs[8], self.regs[9]] = frame.saved;
                self.regs[1] = index;
                self.regs[2] = context;
                return callback;
            }
            self.regs[0] = index;
        }
        let frame = *frame;
        [self.regs[6], self.regs[7], self.regs[8], self.regs[9]] = frame.saved;
        self.regs[10] = frame.fp;
        frame.pc + 1
    }
}

#[cfg(test)]
mod tests;
