//! Registers whose values can still matter at the start of a block. Where it assumes the procedure call standard
//! (AAPCS64) and is wrong, a value is forgotten that was known: a looser bound, never a wrong one.

use crate::cfg::{Block, Cfg};
use crate::inst::{Address, Flow, Inst, Op, Operand, Reg, SP};

/// The condition flags' bit in a set of registers; bit n below is xn, bit 31 the stack pointer.
pub const FLAGS: u64 = 1 << 32;
/// Everything.
pub const ALL: u64 = (1 << 33) - 1;
/// Registers that a procedure of unknown content looks at: arguments, the place of a result.
pub const ARGUMENTS: u64 = 0x1ff;
/// Registers that a procedure may change: x0–x18, the link register, flags.
pub const CALLER_SAVED: u64 = 0x7_ffff | 1 << 30 | FLAGS;
/// What a caller may look at after a return: results in x0–x3, callee-saved registers, the stack pointer.
pub const AT_RETURN: u64 = 0xf | 0xfff8_0000;

fn bit(reg: Reg) -> u64 {
    if reg < 32 { 1 << reg } else { 0 }
}

fn operand(op2: Operand) -> u64 {
    match op2 {
        Operand::Imm(_) => 0,
        Operand::Shifted(reg, ..) | Operand::Extended(reg, ..) => bit(reg),
    }
}

fn address(addr: Address) -> u64 {
    bit(addr.base) | operand(addr.offset)
}

fn written_back(addr: Address) -> u64 {
    if addr.writeback.is_some() { bit(addr.base) } else { 0 }
}

fn flags(set: bool) -> u64 {
    if set { FLAGS } else { 0 }
}

/// Registers that an instruction reads, and those that it overwrites.
pub fn uses_and_defs(inst: &Inst) -> (u64, u64) {
    let (uses, defs) = match inst.op {
        Op::None => (0, 0),
        Op::Const { rd, .. } => (0, bit(rd)),
        Op::MovK { rd, .. } => (bit(rd), bit(rd)),
        Op::AddSub {
            rd, rn, op2, flags: f, ..
        }
        | Op::Logic {
            rd, rn, op2, flags: f, ..
        } => (bit(rn) | operand(op2), bit(rd) | flags(f)),
        Op::Bitfield { kind, rd, rn, .. } => {
            let old = if kind == crate::inst::Bitfield::Insert {
                bit(rd)
            } else {
                0
            };
            (bit(rn) | old, bit(rd))
        }
        Op::Select { rd, rn, rm, .. } => (bit(rn) | bit(rm) | FLAGS, bit(rd)),
        Op::CondCmp { rn, op2, .. } => (bit(rn) | operand(op2) | FLAGS, FLAGS),
        Op::MulAdd { rd, rn, rm, ra, .. } | Op::UMulAddL { rd, rn, rm, ra } => (bit(rn) | bit(rm) | bit(ra), bit(rd)),
        Op::UDiv { rd, rn, rm, .. } | Op::ShiftVar { rd, rn, rm, .. } => (bit(rn) | bit(rm), bit(rd)),
        Op::Clz { rd, rn, .. } => (bit(rn), bit(rd)),
        // Sources are not named, and their values do not matter to the result, which is unknown.
        Op::Clobber { rd, rd2, flags: f, .. } => (0, bit(rd) | bit(rd2) | flags(f)),
        Op::Load { rt, rt2, addr, .. } => (address(addr), bit(rt) | rt2.map_or(0, bit) | written_back(addr)),
        Op::Store { rt, rt2, addr, .. } => (address(addr) | bit(rt) | rt2.map_or(0, bit), written_back(addr)),
        Op::StoreOpaque { addr, .. } | Op::LoadOpaque { addr } => (address(addr), written_back(addr)),
        Op::Atomic {
            rd, rd2, status, addr, ..
        } => (address(addr), bit(rd) | bit(rd2) | bit(status)),
        Op::Mrs { rd, .. } => (0, bit(rd)),
        Op::Msr { rt, .. } => (bit(rt), 0),
        Op::Service => (0, 0x3_ffff),
    };
    let branch = match inst.flow {
        Flow::Cond { .. } => FLAGS,
        Flow::Zero { rt, .. } | Flow::Bit { rt, .. } => bit(rt),
        Flow::CallReg(reg) | Flow::JumpReg(reg) | Flow::Ret(reg) => bit(reg),
        _ => 0,
    };
    (uses | branch, defs)
}

/// Live registers at the start of every block. `arguments` says what a called or jumped-to procedure looks at.
pub fn live(cfg: &Cfg, arguments: &mut dyn FnMut(u64) -> u64) -> Vec<u64> {
    let effects: Vec<(u64, u64, u64)> = cfg
        .blocks
        .iter()
        .map(|block| {
            let exit = block.last().map_or(ALL, |last| exit_uses(cfg, block, last, arguments));
            let (mut uses, mut defs) = (0, 0);
            for inst in block.insts.iter().rev() {
                let (u, d) = match inst.flow {
                    Flow::Call(target) => (arguments(target) & CALLER_SAVED, CALLER_SAVED),
                    Flow::CallReg(reg) => (ARGUMENTS | bit(reg), CALLER_SAVED),
                    _ => uses_and_defs(inst),
                };
                (uses, defs) = (uses & !d | u, defs | d);
            }
            (uses, defs, exit)
        })
        .collect();
    let mut live = vec![bit(SP); cfg.blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for b in (0..live.len()).rev() {
            let (uses, defs, exit) = effects[b];
            let after = cfg.blocks[b].succs.iter().fold(exit, |all, s| all | live[*s]);
            let before = after & !defs | uses | bit(SP);
            changed |= before != live[b];
            live[b] = before;
        }
    }
    live
}

/// What is looked at where a block leaves its procedure.
fn exit_uses(cfg: &Cfg, block: &Block, last: &Inst, arguments: &mut dyn FnMut(u64) -> u64) -> u64 {
    let tail = |target: u64, arguments: &mut dyn FnMut(u64) -> u64| {
        if cfg.block_at(target).is_some() {
            0
        } else {
            arguments(target) | AT_RETURN & !0xf
        }
    };
    match last.flow {
        Flow::Ret(_) => AT_RETURN,
        Flow::Jump(target) | Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => {
            let next = if matches!(last.flow, Flow::Jump(_)) {
                0
            } else {
                tail(last.pc + 4, arguments)
            };
            tail(target, arguments) | next
        }
        // Targets inside are successors.
        Flow::JumpReg(_) if !block.succs.is_empty() => 0,
        Flow::JumpReg(_) => ALL,
        Flow::Next | Flow::Call(_) | Flow::CallReg(_) => tail(last.pc + 4, arguments),
        Flow::Eret | Flow::Trap => 0,
    }
}
