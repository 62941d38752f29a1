//! Loads and stores.

use super::{Lower, T0, T1};
use crate::jit::a64::mem::{self as enc, Access};
use crate::jit::a64::{Reg, Width};
use verifier::cost::A64Class;
use verifier::insn::{self, Insn, Operand};

const fn size(size: insn::Size) -> enc::Size {
    match size {
        insn::Size::B => enc::Size::B,
        insn::Size::H => enc::Size::H,
        insn::Size::W => enc::Size::W,
        insn::Size::Dw => enc::Size::X,
    }
}

impl Lower<'_, '_> {
    /// Base register and offset of an access relative to eBPF register `base`.
    pub(super) fn place(&self, base: u8, off: i16) -> (Reg, i32) {
        if base == 10 {
            (Reg::SP, self.func.stack as i32 + off as i32)
        } else {
            (self.reg(base), off as i32)
        }
    }

    fn access(&mut self, access: Access, size: enc::Size, rt: Reg, base: u8, off: i16) {
        let class = if access == Access::Store {
            A64Class::Store
        } else {
            A64Class::Load
        };
        let (rn, offset) = self.place(base, off);
        let word = match enc::offset(access, size, rt, rn, offset) {
            Some(word) => word,
            None => {
                self.emit.constant(Width::X, T0, offset as i64 as u64);
                enc::indexed(access, size, rt, rn, T0)
            }
        };
        self.put(class, word);
    }

    pub(super) fn load(&mut self, insn: &Insn, bytes: insn::Size, signed: bool) {
        let access = if signed { Access::LoadSigned } else { Access::Load };
        let rt = self.target(insn.dst);
        self.access(access, size(bytes), rt, insn.src, insn.off);
    }

    pub(super) fn store(&mut self, insn: &Insn, bytes: insn::Size, operand: Operand) {
        let rt = match operand {
            Operand::Imm => {
                let width = if bytes == insn::Size::Dw { Width::X } else { Width::W };
                let shown = match bytes {
                    insn::Size::B => insn.imm as u8 as u64,
                    insn::Size::H => insn.imm as u16 as u64,
                    _ => insn.imm as i64 as u64,
                };
                if shown == 0 {
                    Reg::ZR
                } else {
                    self.emit.constant(width, T1, shown);
                    T1
                }
            }
            Operand::Reg => self.read(insn.src, T1),
        };
        self.access(Access::Store, size(bytes), rt, insn.dst, insn.off);
    }
}
