//! Calls: helpers out of line, helpers in place, subprograms, callbacks.

use super::frame::LOOP_REGS;
use super::{Lower, R0, T0, T1, X0};
use crate::jit::CompileError;
use crate::jit::a64::alu::{self as enc, AddSub, Wide};
use crate::jit::a64::mem::{Access, Size, offset};
use crate::jit::a64::{Cond, Reg, Width, flow, imm};
use crate::jit::emit::Branch;
use crate::jit::links::{CpuLink, MapLink, Scale};
use crate::jit::plan::{INLINE, Key, helper};
use verifier::cost::A64Class;
use verifier::env::{MapDesc, MapKind};

/// `bpf_loop`'s own limit, 2^23 (Linux `BPF_MAX_LOOPS`), as an `ADD`/`SUB` immediate.
const LOOPS_MAX: (u32, bool) = ((8 << 20) >> 12, true);
const EINVAL: u16 = 22;
const E2BIG: u16 = 7;

impl Lower<'_, '_> {
    pub(super) fn call_local(&mut self, target: u32) -> Result<(), CompileError> {
        let callee = self.plan.func(target);
        let back = self.prologue_words(&callee);
        self.emit.branch(Branch::Link, target, back);
        Ok(())
    }

    pub(super) fn call_helper(&mut self, id: u32) -> Result<(), CompileError> {
        if self.plan.flag(self.pc, INLINE) {
            match id {
                helper::MAP_LOOKUP_ELEM => return self.inline_lookup(),
                helper::KTIME_GET_NS => self.time_into(R0),
                helper::GET_SMP_PROCESSOR_ID => self.cpu_number(R0),
                helper::RINGBUF_RESERVE => return self.inline_ring_reserve(),
                helper::RINGBUF_SUBMIT => self.inline_ring_end(false),
                helper::RINGBUF_DISCARD => self.inline_ring_end(true),
                _ => self.inline_loop(),
            }
            return Ok(());
        }
        let address = self
            .links
            .helper(id)
            .ok_or(CompileError::NoHelper { pc: self.pc, id })?;
        if self.links.near(address) {
            self.emit.call_near(address);
        } else {
            self.emit.constant(Width::X, T0, address);
            self.put(A64Class::Branch, flow::blr(T0));
        }
        self.emit.alu(enc::mov_reg(Width::X, R0, X0));
        Ok(())
    }

    /// A call of the helper whose number is in a register: only the conformance suite has these.
    pub(super) fn call_register(&mut self, reg: u8) {
        let number = self.read(reg, T1);
        self.emit.alu(enc::mov_reg(Width::X, R0, number));
        self.emit.constant(Width::X, T0, self.links.dispatch);
        self.put(A64Class::Branch, flow::blr(T0));
        self.emit.alu(enc::mov_reg(Width::X, R0, X0));
    }

    /// `rd` = this CPU's number.
    fn cpu_number(&mut self, rd: Reg) {
        match self.links.cpu {
            CpuLink::Single => self.emit.constant(Width::W, rd, 0),
            CpuLink::PerCpu { base, id_offset } => {
                self.put(A64Class::System, flow::mrs(rd, base));
                // The offset is a multiple of 4 within the scaled form, or masked to be one.
                let at = (id_offset & 0x3ffc) as i32;
                if let Some(word) = offset(Access::Load, Size::W, rd, rd, at) {
                    self.put(A64Class::Load, word);
                }
            }
        }
    }

    /// `rd += index * stride`, 32-bit unsigned factors; `scratch` is overwritten.
    fn add_scaled(&mut self, rd: Reg, index: Reg, stride: u32, scratch: Reg) {
        if stride.is_power_of_two() {
            let shift = stride.trailing_zeros();
            self.emit
                .alu(enc::add_sub_reg(AddSub::Add, Width::X, rd, rd, index, shift));
        } else {
            self.emit.constant(Width::W, scratch, stride as u64);
            self.put(A64Class::Mul, enc::umaddl(rd, index, scratch, rd));
        }
    }

    /// `map_lookup_elem` of an array: the key is an index, so the value's address is computed. The address is
    /// selected, not branched around: a mispredicted branch cannot form one out of bounds. A key that the program
    /// just stored to its stack is taken from where it was stored from.
    fn inline_lookup(&mut self) -> Result<(), CompileError> {
        let missing = CompileError::NoMap { pc: self.pc };
        let index = self.plan.lookup_map(self.pc).ok_or(missing)? as usize;
        let (Some(map), Some(link)) = (self.plan.maps.get(index), self.links.maps.get(index)) else {
            return Err(missing);
        };
        let known = self.plan.lookup_key(self.pc);
        let key = match known {
            Some(Key::Imm(key)) => {
                self.constant_lookup(map, link, key);
                return Ok(());
            }
            Some(Key::Reg(reg)) => self.reg(reg),
            None => {
                if let Some(word) = offset(Access::Load, Size::W, R0, Reg(1), 0) {
                    self.put(A64Class::Load, word);
                }
                R0
            }
        };
        match imm::add_sub(map.entries as u64) {
            Some(field) => self
                .emit
                .alu(enc::add_sub_imm(AddSub::Subs, Width::W, Reg::ZR, key, field)),
            None => {
                self.emit.constant(Width::W, T0, map.entries as u64);
                self.emit
                    .alu(enc::add_sub_reg(AddSub::Subs, Width::W, Reg::ZR, key, T0, 0));
            }
        }
        self.emit.constant(Width::X, T1, link.values);
        self.add_cpu(map, link, key);
        let log = link.stride.trailing_zeros();
        if link.stride.is_power_of_two() && log <= 4 {
            self.emit.alu(enc::add_uxtw(T1, T1, key, log));
        } else {
            let mut index = key;
            if known.is_some() && link.stride.is_power_of_two() {
                // Only the low half of the register is the key.
                self.emit.alu(enc::mov_reg(Width::W, R0, key));
                index = R0;
            }
            self.add_scaled(T1, index, link.stride, T0);
        }
        self.emit.alu(enc::csel(Width::X, R0, T1, Reg::ZR, Cond::Lo));
        Ok(())
    }

    /// A lookup of a constant key: there or not, once and for all.
    fn constant_lookup(&mut self, map: &MapDesc, link: &MapLink, key: u32) {
        if key >= map.entries {
            return self.emit.constant(Width::X, R0, 0);
        }
        let address = link.values.wrapping_add(key as u64 * link.stride as u64);
        if map.kind == MapKind::PERCPU_ARRAY && self.links.cpu != CpuLink::Single {
            self.emit.constant(Width::X, T1, address);
            self.add_cpu(map, link, R0);
            self.emit.alu(enc::mov_reg(Width::X, R0, T1));
        } else {
            self.emit.constant(Width::X, R0, address);
        }
    }

    /// Adds this CPU's part of a per-CPU array to `T1`. `key` is left alone.
    fn add_cpu(&mut self, map: &MapDesc, link: &MapLink, key: Reg) {
        if map.kind == MapKind::PERCPU_ARRAY {
            self.add_cpu_stride(link, key);
        }
    }

    /// Adds the distance of this CPU's part of a map to `T1`. `key` is left alone.
    pub(super) fn add_cpu_stride(&mut self, link: &MapLink, key: Reg) {
        if self.links.cpu != CpuLink::Single {
            self.cpu_number(T0);
            // r1–r5 are dead after the call, so one that is not the key is free.
            let scratch = if key == X0 { Reg(1) } else { X0 };
            self.add_scaled(T1, T0, link.cpu_stride, scratch);
        }
    }

    /// `rd` = now, in ns. `rd` is neither scratch register.
    pub(super) fn time_into(&mut self, rd: Reg) {
        let time = self.links.time;
        if time.ordered {
            self.put(A64Class::Barrier, flow::ISB);
        }
        self.put(A64Class::System, flow::mrs(rd, time.counter));
        match time.scale {
            Scale::Shift(0) => {}
            Scale::Shift(n) => self.emit.alu(enc::lsl_imm(Width::X, rd, rd, n as u32 & 63)),
            Scale::MulShift { mult, shift } => {
                self.emit.constant(Width::X, T0, mult);
                self.put(A64Class::Mul, enc::madd(Width::X, T1, rd, T0, Reg::ZR));
                self.put(A64Class::Mul, enc::umulh(rd, rd, T0));
                self.emit.alu(enc::extr(rd, rd, T1, shift as u32));
            }
        }
    }

    /// `bpf_loop(count, callback, context, flags)`, its checks in Linux's order. Displacements are within the
    /// sequence: 18 words.
    fn inline_loop(&mut self) {
        let [index, count, context, callback] = LOOP_REGS;
        let (w, x) = (Width::W, Width::X);
        self.emit.alu(enc::wide(Wide::Movn, x, R0, EINVAL - 1, 0));
        self.put(A64Class::Branch, flow::cbz(true, x, Reg(3), 17));
        self.emit.alu(enc::wide(Wide::Movn, x, R0, E2BIG - 1, 0));
        self.emit.alu(enc::add_sub_imm(AddSub::Subs, w, Reg::ZR, X0, LOOPS_MAX));
        self.put(A64Class::Branch, flow::b_cond(Cond::Hi, 14));
        self.emit.alu(enc::wide(Wide::Movz, x, index, 0, 0));
        self.put(A64Class::Branch, flow::cbz(false, w, X0, 11));
        self.emit.alu(enc::mov_reg(w, count, X0));
        self.emit.alu(enc::mov_reg(x, context, Reg(2)));
        self.emit.alu(enc::mov_reg(x, callback, Reg(1)));
        let before = self.emit.time;
        self.emit.alu(enc::mov_reg(x, X0, index));
        self.emit.alu(enc::mov_reg(x, Reg(1), context));
        self.put(A64Class::Branch, flow::blr(callback));
        self.emit
            .alu(enc::add_sub_imm(AddSub::Add, x, index, index, (1, false)));
        self.put(A64Class::Branch, flow::cbz(true, x, R0, 3));
        self.emit
            .alu(enc::add_sub_reg(AddSub::Subs, x, Reg::ZR, index, count, 0));
        self.put(A64Class::Branch, flow::b_cond(Cond::Lo, -6));
        self.iteration = self.emit.time.saturating_sub(before);
        self.emit.time = before;
        self.emit.alu(enc::mov_reg(x, R0, index));
    }
}
