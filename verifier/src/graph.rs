//! Shape of a program: instructions, subprograms, blocks, loops as a weak topological order, register liveness.
//!
//! Loops are the strongly connected components of each subprogram, nested: a component's head is the first of its blocks
//! that control reaches, and removing the edges to it leaves the next level (Bourdoncle, "Efficient chaotic iteration
//! strategies with widenings", 1993). Every cycle passes through the head of some component, reducible or not.

use crate::env::{Env, FRAMES};
use crate::insn::{AluOp, Callee, DecodeError, Imm64, Insn, Op, Operand};
use crate::memory::{Memory, Site, SlotInfo};
use crate::reject::{Pool, Why};
use crate::store::NIL;
use crate::verified::Subprogram;

/// Deepest nesting of loops inside one subprogram.
pub const LOOP_DEPTH: u8 = 16;
pub(crate) const NONE: u32 = u32::MAX;

/// A straight run of instructions.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Slot of the first instruction.
    pub(crate) start: u32,
    /// Slot of the last instruction.
    pub(crate) last: u32,
    pub(crate) sub: u16,
    /// Innermost component, numbered from 1; 0: none.
    pub(crate) comp: u16,
    /// Place in the weak topological order.
    pub(crate) order: u32,
    pub(crate) index: u32,
    pub(crate) low: u32,
    pub(crate) edge: u8,
    pub(crate) on_stack: bool,
    /// The search is below it.
    pub(crate) open: bool,
    pub(crate) reached: bool,
    /// Registers read before they are written from here on; a bit each.
    pub(crate) live: u16,
    pub(crate) uses: u16,
    pub(crate) defs: u16,
    /// States waiting to be followed from here.
    pub(crate) pending: u16,
}

impl Block {
    /// No block.
    pub const BLANK: Block = Block {
        start: 0,
        last: 0,
        sub: 0,
        comp: 0,
        order: NONE,
        index: 0,
        low: 0,
        edge: 0,
        on_stack: false,
        open: false,
        reached: false,
        live: 0,
        uses: 0,
        defs: 0,
        pending: NIL,
    };
}

/// A loop: blocks of places `base..end` in the order, the head first.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    pub(crate) head: u32,
    pub(crate) parent: u16,
    pub(crate) base: u32,
    pub(crate) end: u32,
    pub(crate) depth: u8,
}

impl Component {
    /// No loop.
    pub const BLANK: Component = Component {
        head: 0,
        parent: 0,
        base: 0,
        end: 0,
        depth: 0,
    };
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    Scan,
    Subprograms,
    Blocks,
    Reach,
    Unreached,
    Frames,
    Sub,
    Dfs,
    NextRegion,
    Uses,
    Live,
    Done,
}

/// Builds everything; a little at every call of [`Graph::step`].
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) phase: Phase,
    pub(crate) at: u32,
    pub(crate) slots: u32,
    pub(crate) blocks: u32,
    pub(crate) subs: u32,
    pub(crate) comps: u32,
    pub(crate) sites: u32,
    pub(crate) sub: u32,
    pub(crate) region: u32,
    pub(crate) depth_top: u32,
    pub(crate) scc_top: u32,
    pub(crate) index: u32,
    pub(crate) pos: u32,
    pub(crate) placed: u32,
    pub(crate) changed: bool,
}

pub(crate) type Fault = (u32, Why);

/// Where control can go after the instruction at `pc`, calls returning.
pub(crate) fn successors(text: &[u64], pc: u32) -> [u32; 2] {
    match Insn::decode(text, pc) {
        Ok(i) => match i.op {
            Op::Exit => [NONE, NONE],
            Op::Goto { target } => [target, NONE],
            Op::Jump { target, .. } => [pc + 1, target],
            _ => [pc + i.slots(), NONE],
        },
        Err(_) => [NONE, NONE],
    }
}

impl Graph {
    pub fn new(slots: u32) -> Graph {
        Graph {
            phase: Phase::Scan,
            at: 0,
            slots,
            blocks: 0,
            subs: 0,
            comps: 0,
            sites: 0,
            sub: 0,
            region: 0,
            depth_top: 0,
            scc_top: 0,
            index: 0,
            pos: 0,
            placed: 0,
            changed: false,
        }
    }

    /// One unit of work. `Ok(true)`: complete.
    pub fn step(&mut self, m: &mut Memory<'_>, env: &Env<'_>) -> Result<bool, Fault> {
        match self.phase {
            Phase::Scan => self.scan(m, env)?,
            Phase::Subprograms => self.subprograms(m)?,
            Phase::Blocks => self.block(m)?,
            Phase::Reach => self.reach(m)?,
            Phase::Unreached => self.unreached(m, env)?,
            Phase::Frames => self.frames(m)?,
            Phase::Sub => self.next_sub(m),
            Phase::Dfs => self.dfs(m, env)?,
            Phase::NextRegion => self.next_region(m),
            Phase::Uses => self.uses(m, env),
            Phase::Live => self.live(m),
            Phase::Done => return Ok(true),
        }
        Ok(false)
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.at = 0;
    }

    pub(crate) fn scan(&mut self, m: &mut Memory<'_>, env: &Env<'_>) -> Result<(), Fault> {
        let pc = self.at;
        if pc >= self.slots {
            self.enter(Phase::Subprograms);
            return Ok(());
        }
        let text = m.text.get(..self.slots as usize).unwrap_or(&[]);
        let insn = Insn::decode(text, pc).map_err(|e| (pc, Why::Decode(e)))?;
        let code = text.get(pc as usize).map_or(0, |s| *s as u8);
        if insn.isa(code) > env.rules.isa {
            return Err((pc, Why::Decode(DecodeError::UnknownOpcode(code))));
        }
        let next = pc + insn.slots();
        mark(m, pc, SlotInfo::START);
        let mut leaders = [(NONE, 0); 2];
        match insn.op {
            Op::Jump { target, .. } => leaders = [(target, 0), (next, 0)],
            Op::Goto { target } => leaders = [(target, 0), (next, 0)],
            Op::Exit => leaders[0] = (next, 0),
            Op::Call(Callee::Local(target)) | Op::LdImm64(Imm64::Func(target)) if env.rules.no_local_calls => {
                return Err((pc, Why::LocalCall { target }));
            }
            // What a contained addition may leave on a mispredicted path is followed from the instruction after it.
            Op::Alu {
                op: AluOp::Add | AluOp::Sub,
                operand: Operand::Reg,
                ..
            } if env.rules.speculation => leaders[0] = (next, 0),
            Op::Call(Callee::Local(target)) => leaders = [(target, SlotInfo::ENTRY), (next, 0)],
            Op::LdImm64(Imm64::Func(target)) => leaders[0] = (target, SlotInfo::ENTRY | SlotInfo::CALLBACK),
            Op::Call(Callee::Helper(id)) => {
                let at = self.sites as usize;
                let size = m.sites.len() as u32;
                let site = m.sites.get_mut(at).ok_or((
                    pc,
                    Why::NoSpace {
                        pool: Pool::Sites,
                        size,
                    },
                ))?;
                *site = Site { pc, facts: None };
                self.sites += 1;
                if env.helper(id).is_some_and(|h| h.callback.is_some()) {
                    leaders[0] = (next, 0);
                }
            }
            _ => {}
        }
        for (target, flags) in leaders {
            if target == NONE || target == next && target >= self.slots {
                continue;
            }
            if target >= self.slots {
                return Err((pc, Why::JumpOutOfRange { target }));
            }
            mark(m, target, SlotInfo::LEADER | flags);
        }
        self.at = next;
        Ok(())
    }

    pub(crate) fn subprograms(&mut self, m: &mut Memory<'_>) -> Result<(), Fault> {
        let pc = self.at;
        if pc >= self.slots {
            self.enter(Phase::Blocks);
            return Ok(());
        }
        let info = m.slots.get(pc as usize).copied().unwrap_or_default();
        if info.has(SlotInfo::LEADER) && !info.has(SlotInfo::START) {
            return Err((pc.saturating_sub(1), Why::JumpIntoImm64 { target: pc }));
        }
        if pc == 0 || info.has(SlotInfo::ENTRY) {
            let size = m.subprograms.len() as u32;
            if let Some(last) = (self.subs as usize)
                .checked_sub(1)
                .and_then(|i| m.subprograms.get_mut(i))
            {
                last.end = pc;
            }
            let cell = m.subprograms.get_mut(self.subs as usize);
            let cell = cell.ok_or((
                pc,
                Why::NoSpace {
                    pool: Pool::Subprograms,
                    size,
                },
            ))?;
            let callback = info.has(SlotInfo::CALLBACK);
            *cell = Subprogram {
                entry: pc,
                end: self.slots,
                chain_frames: 1,
                callback,
                ..Subprogram::default()
            };
            self.subs += 1;
        }
        self.at += 1;
        Ok(())
    }

    pub(crate) fn block(&mut self, m: &mut Memory<'_>) -> Result<(), Fault> {
        let pc = self.at;
        let sub = self.sub as usize;
        let Some(&Subprogram { end, .. }) = m.subprograms.get(sub).filter(|_| pc < self.slots) else {
            self.enter(Phase::Reach);
            self.push_roots(m);
            return Ok(());
        };
        let info = m.slots.get(pc as usize).copied().unwrap_or_default();
        let first = m.subprograms.get(sub).is_some_and(|s| s.entry == pc);
        if first || info.has(SlotInfo::LEADER) {
            let size = m.blocks.len() as u32;
            let cell = m.blocks.get_mut(self.blocks as usize);
            let cell = cell.ok_or((
                pc,
                Why::NoSpace {
                    pool: Pool::Blocks,
                    size,
                },
            ))?;
            *cell = Block {
                start: pc,
                sub: sub as u16,
                ..Block::BLANK
            };
            self.blocks += 1;
        }
        let block = self.blocks.saturating_sub(1);
        if let Some(b) = m.blocks.get_mut(block as usize) {
            b.last = pc;
        }
        let insn = Insn::decode(m.text, pc).map_err(|e| (pc, Why::Decode(e)))?;
        let next = pc + insn.slots();
        for s in m.slots.iter_mut().take(next as usize).skip(pc as usize) {
            s.block = block;
        }
        let entry = m.subprograms.get(sub).map_or(0, |s| s.entry);
        if let Op::Jump { target, .. } | Op::Goto { target } = insn.op {
            if target < entry || target >= end {
                return Err((pc, Why::LeavesSubprogram { target }));
            }
        }
        if next >= end {
            if !matches!(insn.op, Op::Exit | Op::Goto { .. }) {
                return Err((pc, Why::FallsOffEnd));
            }
            self.sub += 1;
        }
        self.at = next;
        Ok(())
    }

    /// The program and every callback are roots; called subprograms are found through calls.
    pub(crate) fn push_roots(&mut self, m: &mut Memory<'_>) {
        self.depth_top = 0;
        for s in 0..self.subs {
            let Some(sub) = m.subprograms.get(s as usize).copied() else {
                continue;
            };
            if s == 0 || sub.callback {
                let block = m.slots.get(sub.entry as usize).map_or(0, |i| i.block);
                self.reach_block(m, block);
            }
        }
    }

    pub(crate) fn reach_block(&mut self, m: &mut Memory<'_>, block: u32) {
        if let Some(b) = m.blocks.get_mut(block as usize) {
            if !b.reached {
                b.reached = true;
                if let Some(cell) = m.stack.get_mut(self.depth_top as usize) {
                    *cell = block;
                    self.depth_top += 1;
                }
            }
        }
    }

    pub(crate) fn reach(&mut self, m: &mut Memory<'_>) -> Result<(), Fault> {
        if self.depth_top == 0 {
            self.enter(Phase::Unreached);
            return Ok(());
        }
        self.depth_top -= 1;
        let block = m.stack.get(self.depth_top as usize).copied().unwrap_or(0);
        let last = m.blocks.get(block as usize).map_or(0, |b| b.last);
        for t in successors(m.text, last) {
            if t != NONE {
                let b = m.slots.get(t as usize).map_or(0, |i| i.block);
                self.reach_block(m, b);
            }
        }
        if let Ok(Insn {
            op: Op::Call(Callee::Local(t)),
            ..
        }) = Insn::decode(m.text, last)
        {
            let b = m.slots.get(t as usize).map_or(0, |i| i.block);
            self.reach_block(m, b);
        }
        Ok(())
    }

    pub(crate) fn unreached(&mut self, m: &mut Memory<'_>, env: &Env<'_>) -> Result<(), Fault> {
        match m.blocks.get(self.at as usize).filter(|_| self.at < self.blocks) {
            Some(b) if !b.reached && env.rules.no_unreachable => return Err((b.start, Why::Unreachable)),
            Some(_) => self.at += 1,
            None => self.enter(Phase::Frames),
        }
        Ok(())
    }

    /// Longest chains of calls, by relaxation: one call instruction a unit.
    pub(crate) fn frames(&mut self, m: &mut Memory<'_>) -> Result<(), Fault> {
        let pc = self.at;
        if pc >= self.slots {
            let frames = m.subprograms.first().map_or(1, |s| s.chain_frames);
            if self.changed {
                self.changed = false;
                self.at = 0;
            } else if frames as usize > FRAMES {
                return Err((0, Why::TooManyFrames { max: FRAMES as u32 }));
            } else {
                self.enter(Phase::Sub);
                self.sub = 0;
            }
            return Ok(());
        }
        self.at += 1;
        if !m.slots.get(pc as usize).is_some_and(|s| s.has(SlotInfo::START)) {
            return Ok(());
        }
        let Ok(Insn {
            op: Op::Call(Callee::Local(t)) | Op::LdImm64(Imm64::Func(t)),
            ..
        }) = Insn::decode(m.text, pc)
        else {
            return Ok(());
        };
        let (caller, callee) = (find_sub(m, self.subs, pc), find_sub(m, self.subs, t));
        let below = m.subprograms.get(callee).map_or(0, |s| s.chain_frames);
        if let Some(s) = m.subprograms.get_mut(caller) {
            if s.chain_frames < below + 1 {
                s.chain_frames = below + 1;
                self.changed = true;
                if s.chain_frames > self.subs {
                    return Err((pc, Why::Recursion { entry: t }));
                }
            }
        }
        Ok(())
    }
}

fn mark(m: &mut Memory<'_>, pc: u32, flags: u8) {
    if let Some(s) = m.slots.get_mut(pc as usize) {
        s.flags |= flags;
    }
}

/// Index of the subprogram that holds slot `pc`.
pub(crate) fn find_sub(m: &Memory<'_>, subs: u32, pc: u32) -> usize {
    let live = m.subprograms.get(..subs as usize).unwrap_or(&[]);
    live.partition_point(|s| s.entry <= pc).saturating_sub(1)
}
