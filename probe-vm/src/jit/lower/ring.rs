//! Ring records in place: reserving one of a constant size, submitting, discarding. As [`crate::maps`] does it.

use super::{Lower, R0, T0, T1, X0};
use crate::jit::CompileError;
use crate::jit::a64::alu::{self as enc, AddSub, Logic, Wide};
use crate::jit::a64::mem::{Access, Size, ldar, offset, stlr};
use crate::jit::a64::{Cond, Reg, Width, flow, imm};
use crate::maps::{control, record};
use verifier::cost::A64Class;
use verifier::env::MapDesc;

/// What a reservation is made of, all encodable: its bytes with header, and the ring's.
#[derive(Clone, Copy)]
struct Reserve {
    need: (u32, bool),
    size: (u32, bool),
    /// Mask of positions.
    mask: u32,
    len: u32,
    bytes: u32,
}

impl Reserve {
    fn of(map: &MapDesc, len: u32) -> Option<Reserve> {
        // Larger records never find room; the helper counts them as lost.
        if map.entries < 4096 || len == 0 || len > map.entries / 2 - record::HEADER_BYTES {
            return None;
        }
        Some(Reserve {
            need: imm::add_sub((record::HEADER_BYTES + len.next_multiple_of(8)).into())?,
            size: imm::add_sub(map.entries.into())?,
            mask: imm::logical(u64::from(map.entries) - 1, Width::W)?,
            len,
            bytes: map.entries,
        })
    }
}

/// Whether a reservation of `len` bytes is emitted in place.
pub(crate) fn reserves_in_place(map: &MapDesc, len: u32) -> bool {
    Reserve::of(map, len).is_some()
}

const RING: Reg = T1;
const HEAD: Reg = X0;
const USED: Reg = Reg(1);
const START: Reg = Reg(2);
const FILL: Reg = Reg(3);
const BEHIND_CONTROL: i32 = control::BYTES as i32;

// Words of the parts, in their order, for the branches between them.
const ROOM: i32 = 3;
const TAKE: i32 = 8;
const WRAP: i32 = 13;
const LOST: i32 = 4;

impl Lower<'_, '_> {
    fn fetch(&mut self, rt: Reg, rn: Reg, at: i32) {
        if let Some(word) = offset(Access::Load, Size::X, rt, rn, at) {
            self.put(A64Class::Load, word);
        }
    }

    fn save(&mut self, rt: Reg, rn: Reg, at: i32) {
        if let Some(word) = offset(Access::Store, Size::X, rt, rn, at) {
            self.put(A64Class::Store, word);
        }
    }

    fn add(&mut self, rd: Reg, rn: Reg, field: (u32, bool)) {
        self.emit.alu(enc::add_sub_imm(AddSub::Add, Width::X, rd, rn, field));
    }

    /// Branches `skip` words ahead if `reg` is above the ring's size.
    fn above_size(&mut self, reg: Reg, size: (u32, bool), skip: i32) {
        self.emit
            .alu(enc::add_sub_imm(AddSub::Subs, Width::X, Reg::ZR, reg, size));
        self.put(A64Class::Branch, flow::b_cond(Cond::Hi, skip + 1));
    }

    /// `ringbuf_reserve` of a size known here. Its time is that of the longest way through: round the ring's end.
    pub(super) fn inline_ring_reserve(&mut self) -> Result<(), CompileError> {
        let missing = CompileError::NoMap { pc: self.pc };
        let index = self.plan.lookup_map(self.pc).ok_or(missing)? as usize;
        let len = self.plan.argument(self.pc, 2).ok_or(missing)? as u32;
        let (Some(map), Some(link)) = (self.plan.maps.get(index), self.links.maps.get(index)) else {
            return Err(missing);
        };
        let r = Reserve::of(map, len).ok_or(missing)?;
        self.emit.constant(Width::X, RING, link.values);
        self.add_cpu_stride(link, R0);
        self.ring_position(&r);
        let before = self.emit.time;
        let mut part = |what: &mut dyn FnMut(&mut Self)| {
            let start = self.emit.time;
            what(self);
            self.emit.time.saturating_sub(start)
        };
        let room = part(&mut |l| l.room(&r, TAKE + WRAP));
        let take = part(&mut |l| l.take(&r));
        let wrap = part(&mut |l| l.wrap(&r));
        let lose = part(&mut |l| l.lose());
        let longest = (room + take).max(wrap + take).max(wrap + lose);
        self.emit.time = before.saturating_add(longest);
        Ok(())
    }

    /// Where the next record would begin, and whether it would end in the ring.
    fn ring_position(&mut self, r: &Reserve) {
        self.fetch(HEAD, RING, control::PRODUCED as i32);
        self.add(USED, RING, (control::CONSUMED, false));
        self.put(A64Class::Load, ldar(USED, USED));
        self.emit.alu(enc::logic_imm(Logic::And, Width::W, START, HEAD, r.mask));
        self.emit
            .alu(enc::add_sub_reg(AddSub::Sub, Width::X, USED, HEAD, USED, 0));
        self.add(FILL, START, r.need);
        self.above_size(FILL, r.size, ROOM + TAKE);
    }

    /// Whether there is room.
    fn room(&mut self, r: &Reserve, lost: i32) {
        self.add(USED, USED, r.need);
        self.above_size(USED, r.size, lost);
    }

    /// The record's header, then the position behind the record with release; r0 = its data.
    fn take(&mut self, r: &Reserve) {
        let header = u64::from(r.len) | record::BUSY;
        self.emit
            .alu(enc::add_sub_reg(AddSub::Add, Width::X, R0, RING, START, 0));
        self.emit.alu(enc::wide(Wide::Movz, Width::W, USED, header as u16, 0));
        self.emit
            .alu(enc::wide(Wide::Movk, Width::W, USED, (header >> 16) as u16, 16));
        self.save(USED, R0, BEHIND_CONTROL);
        self.add(HEAD, HEAD, r.need);
        self.put(A64Class::Store, stlr(HEAD, RING));
        self.add(R0, R0, (control::BYTES + record::HEADER_BYTES, false));
        self.put(A64Class::Branch, flow::b(WRAP + LOST + 1));
    }

    /// Fills the ring's end with a discarded record, if there is room for both, and goes on at its start.
    fn wrap(&mut self, r: &Reserve) {
        self.emit.constant(Width::W, FILL, r.bytes.into());
        self.emit
            .alu(enc::add_sub_reg(AddSub::Sub, Width::X, FILL, FILL, START, 0));
        self.emit
            .alu(enc::add_sub_reg(AddSub::Add, Width::X, USED, USED, FILL, 0));
        self.room(r, WRAP - 3 - ROOM);
        self.emit
            .alu(enc::add_sub_reg(AddSub::Add, Width::X, R0, RING, START, 0));
        self.emit.alu(enc::add_sub_imm(
            AddSub::Sub,
            Width::X,
            USED,
            FILL,
            (record::HEADER_BYTES, false),
        ));
        if let Some(field) = imm::logical(record::DISCARDED, Width::X) {
            self.emit.alu(enc::logic_imm(Logic::Orr, Width::X, USED, USED, field));
        }
        self.save(USED, R0, BEHIND_CONTROL);
        self.emit
            .alu(enc::add_sub_reg(AddSub::Add, Width::X, HEAD, HEAD, FILL, 0));
        self.emit.alu(enc::wide(Wide::Movz, Width::X, START, 0, 0));
        self.put(A64Class::Branch, flow::b(1 - WRAP - TAKE));
    }

    fn lose(&mut self) {
        self.fetch(USED, RING, control::LOST as i32);
        self.add(USED, USED, (1, false));
        self.save(USED, RING, control::LOST as i32);
        self.emit.constant(Width::X, R0, 0);
    }

    /// Ends a ring record: its header word, in front of the data, loses the busy bit, with release.
    pub(super) fn inline_ring_end(&mut self, discard: bool) {
        let (header, data) = (-(record::HEADER_BYTES as i32), X0);
        self.fetch(T0, data, header);
        if let Some(field) = imm::logical(!record::BUSY, Width::X) {
            self.emit.alu(enc::logic_imm(Logic::And, Width::X, T0, T0, field));
        }
        if discard && let Some(field) = imm::logical(record::DISCARDED, Width::X) {
            self.emit.alu(enc::logic_imm(Logic::Orr, Width::X, T0, T0, field));
        }
        self.emit.alu(enc::add_sub_imm(
            AddSub::Sub,
            Width::X,
            T1,
            data,
            (record::HEADER_BYTES, false),
        ));
        self.put(A64Class::Store, stlr(T0, T1));
    }
}
