//! Loads, stores and read-modify-writes, and memory handed to helpers.

use crate::compare::{spill_mask, zero_bytes};
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::{FieldKind, STACK_BYTES};
use crate::insn::{Insn, Operand, Size};
use crate::reject::{Access, Why};
use crate::scalar::Scalar;
use crate::store::{CHUNK, Slot, State};
use crate::value::{Kind, Region, Val};

/// Where an access goes, checked to be inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Bytes from `lo` to before `hi` of a frame's stack may be touched, `lo` constant if `fixed`.
    Stack { frame: u8, lo: i64, hi: i64, fixed: bool },
    /// Memory that only holds numbers.
    Plain,
    /// Memory the program may read but whose content is another address space's (fields of objects).
    Field(FieldKind),
}

/// Chunk, slot and byte of stack offset `off` (−512 to −1).
fn stack_place(off: i64) -> (u8, usize, u32) {
    let slot = (-off - 1) / 8;
    (
        (slot / CHUNK as i64) as u8,
        (slot % CHUNK as i64) as usize,
        (off + 8 * (slot + 1)) as u32,
    )
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Checks an access of `size` bytes at `v + off`, `v` from register `reg`.
    pub(crate) fn target(&mut self, reg: u8, v: &Val, off: i64, size: u32, access: Access) -> Result<Target, Fault> {
        let Kind::Pointer { region, nullable } = v.kind else {
            return Err(Why::NotAPointer { reg, access });
        };
        if nullable {
            return Err(Why::MaybeNull { reg, region });
        }
        let (min, max) = (v.num.smin.saturating_add(off), v.num.smax.saturating_add(off));
        let write = !matches!(access, Access::Read | Access::HelperRead(_));
        let limit = match region {
            Region::Stack(frame) => return self.stack_target(reg, v, frame, (min, max), size, access),
            Region::Object(n) => return self.object_target(reg, n, v, off, size, access),
            Region::MapValue(n) => {
                let map = self.map(n.into())?;
                if write && !map.writable {
                    return Err(Why::ReadOnly { reg, region });
                }
                if !write && !map.readable {
                    return Err(Why::WriteOnly { reg, region });
                }
                map.value_bytes
            }
            Region::MapKey(n) if !write => self.map(n.into())?.key_bytes,
            Region::MapKey(_) => return Err(Why::ReadOnly { reg, region }),
            Region::Mem | Region::Record => v.extra,
            Region::Packet | Region::PacketMeta => {
                if write && !self.env.rules.packet_writable {
                    return Err(Why::ReadOnly { reg, region });
                }
                let at = v.delta.saturating_add(off);
                if min < 0 || at < 0 || at.saturating_add(size.into()) > i64::from(v.extra) {
                    let limit = v.extra;
                    return Err(Why::OutOfBounds {
                        reg,
                        access,
                        region,
                        min: at,
                        max: at,
                        size,
                        limit,
                    });
                }
                return Ok(Target::Plain);
            }
            Region::Map(_) | Region::PacketEnd | Region::Func => return Err(Why::NotAPointer { reg, access }),
        };
        if min < 0 || max.saturating_add(size.into()) > i64::from(limit) {
            if v.num.smax > i64::from(u32::MAX) || v.num.smin < -i64::from(u32::MAX) {
                return Err(Why::UnboundedOffset { reg, access, region });
            }
            return Err(Why::OutOfBounds {
                reg,
                access,
                region,
                min,
                max,
                size,
                limit,
            });
        }
        if self.env.rules.strict_align && !matches!(access, Access::Helper(_) | Access::HelperRead(_))
            || access == Access::Atomic
        {
            self.aligned(reg, v, off, size)?;
        }
        Ok(Target::Plain)
    }

    pub(crate) fn aligned(&self, reg: u8, v: &Val, off: i64, size: u32) -> Result<(), Fault> {
        if !size.is_power_of_two() || size > 8 {
            return Ok(());
        }
        let at = v
            .num
            .bits
            .add(crate::tnum::Tnum::constant(off as u64))
            .low(size.trailing_zeros());
        if at.as_constant() == Some(0) {
            return Ok(());
        }
        let region = v.region().unwrap_or(Region::Mem);
        Err(Why::Misaligned {
            reg,
            region,
            offset: v.num.smin.saturating_add(off),
            size,
        })
    }

    pub(crate) fn stack_target(
        &mut self,
        reg: u8,
        v: &Val,
        frame: u8,
        (min, max): (i64, i64),
        size: u32,
        access: Access,
    ) -> Result<Target, Fault> {
        let region = Region::Stack(frame);
        let fixed = min == max;
        if !fixed && self.env.rules.fixed_stack {
            return Err(Why::VariableStack { reg });
        }
        let hi = max.saturating_add(size.into());
        if min < -i64::from(STACK_BYTES) || hi > 0 {
            return Err(Why::OutOfBounds {
                reg,
                access,
                region,
                min,
                max,
                size,
                limit: 0,
            });
        }
        if !matches!(access, Access::Helper(_) | Access::HelperRead(_)) {
            self.aligned(reg, v, min.saturating_sub(v.num.smin), size)?;
        }
        self.note_stack(frame, min);
        Ok(Target::Stack {
            frame,
            lo: min,
            hi,
            fixed,
        })
    }

    /// The subprogram of `frame` uses its stack down to `lo`.
    pub(crate) fn note_stack(&mut self, frame: u8, lo: i64) {
        let acts = self.m.acts.get(..self.acts).unwrap_or(&[]);
        let block = acts.iter().find(|a| a.depth == frame).map_or(0, |a| a.head);
        let sub = usize::from(self.block(block).sub);
        if let Some(s) = self.m.subprograms.get_mut(sub) {
            s.stack_bytes = s.stack_bytes.max((-lo) as u32).next_multiple_of(8);
        }
    }

    pub(crate) fn object_target(
        &self,
        reg: u8,
        object: u16,
        v: &Val,
        off: i64,
        size: u32,
        access: Access,
    ) -> Result<Target, Fault> {
        let offset = v.num.smin.saturating_add(off);
        let refused = Why::NoSuchField {
            reg,
            object,
            offset,
            size,
            access,
        };
        if v.num.as_constant().is_none() {
            let region = Region::Object(object);
            return Err(Why::UnboundedOffset { reg, access, region });
        }
        let Some(layout) = self.env.objects.get(usize::from(object)) else {
            return Err(refused);
        };
        if offset < 0
            || matches!(access, Access::Atomic | Access::Helper(_) | Access::HelperRead(_))
            || !size.is_power_of_two()
        {
            return Err(refused);
        }
        let at = layout.fields.partition_point(|f| i64::from(f.offset) <= offset);
        let Some(field) = at.checked_sub(1).and_then(|i| layout.fields.get(i)) else {
            return Err(refused);
        };
        let inside = offset - i64::from(field.offset);
        let widths = if access == Access::Read {
            field.read
        } else {
            field.write
        };
        let fits = inside + i64::from(size) <= i64::from(field.bytes) && inside % i64::from(size) == 0;
        if !fits || widths & (size as u8) == 0 {
            return Err(refused);
        }
        Ok(Target::Field(field.kind))
    }

    pub(crate) fn load(&mut self, s: &mut State, i: &Insn, size: Size, signed: bool, pc: u32) -> Result<(), Fault> {
        let v = self.read(s, i.src)?;
        let bytes = size.bytes();
        let target = self.target(i.src, &v, i.off.into(), bytes, Access::Read)?;
        self.same_kind(i.src, &v, pc)?;
        let loaded = match target {
            Target::Plain => Val::scalar(Scalar::zero_extended(8 * bytes)),
            Target::Field(kind) => {
                self.note_context(&v, i.off.into());
                self.field_value(kind, bytes)
            }
            Target::Stack { frame, lo, hi, fixed } => self.stack_load(s, i.src, frame, (lo, hi), bytes, fixed)?,
        };
        let v = match (signed, loaded.is_scalar()) {
            (true, true) => Val::scalar(loaded.num.sign_extended(8 * bytes)),
            (true, false) => {
                return Err(Why::PartialPointer {
                    reg: i.src,
                    offset: i.off.into(),
                    size: bytes,
                });
            }
            (false, _) => loaded,
        };
        self.store.set_reg(s, i.dst, v);
        Ok(())
    }

    /// Fields are at most 8 bytes, naturally aligned: an access lies in one word of the context.
    fn note_context(&mut self, v: &Val, off: i64) {
        if v.region() == Some(Region::Object(0)) {
            let word = v.num.smin.saturating_add(off) / 8;
            self.context_words |= 1 << word.clamp(0, 63);
        }
    }

    /// One instruction must not reach objects with field rules on one path and other memory on another: what it is
    /// translated to may differ.
    pub(crate) fn same_kind(&mut self, reg: u8, v: &Val, pc: u32) -> Result<(), Fault> {
        let kind = match v.region() {
            Some(Region::Object(n)) => 2 + (n.min(200) as u8),
            _ => 1,
        };
        match self.m.slots.get_mut(pc as usize) {
            Some(slot) if slot.access == 0 || slot.access == kind => slot.access = kind,
            _ => return Err(Why::MixedAccess { reg }),
        }
        Ok(())
    }

    pub(crate) fn field_value(&mut self, kind: FieldKind, bytes: u32) -> Val {
        match kind {
            FieldKind::Scalar => Val::scalar(Scalar::zero_extended(8 * bytes)),
            FieldKind::ScalarRange(lo, hi) => Val::scalar(Scalar::range(lo, hi)),
            FieldKind::PacketData => Val::pointer(Region::Packet),
            FieldKind::PacketEnd => Val::pointer(Region::PacketEnd),
            FieldKind::PacketMeta => Val::pointer(Region::PacketMeta),
            FieldKind::Object { index, nullable } => {
                self.ids += 1;
                let region = Region::Object(index);
                Val {
                    kind: Kind::Pointer { region, nullable },
                    id: self.ids,
                    ..Val::pointer(region)
                }
            }
        }
    }

    pub(crate) fn stack_load(
        &mut self,
        s: &mut State,
        reg: u8,
        frame: u8,
        (lo, hi): (i64, i64),
        size: u32,
        fixed: bool,
    ) -> Result<Val, Fault> {
        if !fixed {
            self.stack_readable(s, reg, frame, (lo, hi))?;
            return Ok(Val::scalar(Scalar::zero_extended(8 * size)));
        }
        let (at, n, byte) = stack_place(lo);
        let chunk = s.stack_chunk(frame, at);
        let slot = self.store.slots(chunk)[n % CHUNK];
        let mask = (spill_mask(size as u8) << byte) & 0xff;
        if slot.spill > 0 && mask & spill_mask(slot.spill) != 0 {
            if byte == 0 && u32::from(slot.spill) == size {
                return Ok(self.linked_spill(s, frame, at, n, slot));
            }
            if !slot.val.is_scalar() {
                return Err(Why::PartialPointer { reg, offset: lo, size });
            }
            if byte == 0 && size < u32::from(slot.spill) {
                return Ok(Val::scalar(slot.val.num.truncated(8 * size)));
            }
        }
        if mask & !slot.init != 0 && self.env.rules.no_uninit_stack {
            return Err(Why::UninitStack { reg, offset: lo });
        }
        if mask & !zero_bytes(&slot) == 0 {
            return Ok(Val::scalar(Scalar::constant(0)));
        }
        Ok(Val::scalar(Scalar::zero_extended(8 * size)))
    }

    /// The value of a slot; a number gets an identity, so that register and slot stay related.
    pub(crate) fn linked_spill(&mut self, s: &mut State, frame: u8, at: u8, n: usize, slot: Slot) -> Val {
        let mut v = slot.val;
        if v.is_scalar() && v.id == 0 && v.num.as_constant().is_none() {
            self.ids += 1;
            v.id = self.ids;
            v.delta = 0;
            if let Some(slots) = self.store.stack_mut(s, frame, at) {
                slots[n % CHUNK].val = v;
            }
        }
        v
    }

    /// All bytes of a stack range are initialised and none belongs to a pointer.
    pub(crate) fn stack_readable(&self, s: &State, reg: u8, frame: u8, (lo, hi): (i64, i64)) -> Result<(), Fault> {
        let mut off = lo;
        while off < hi {
            let (at, n, byte) = stack_place(off);
            let slot = &self.store.slots(s.stack_chunk(frame, at))[n % CHUNK];
            let end = hi.min(off + i64::from(8 - byte));
            let mask = (spill_mask((end - off) as u8) << byte) & 0xff;
            let pointer = slot.spill > 0 && !slot.val.is_scalar();
            if pointer && mask & spill_mask(slot.spill) != 0 && self.env.rules.hide_pointers {
                return Err(Why::PartialPointer {
                    reg,
                    offset: off,
                    size: (hi - lo) as u32,
                });
            }
            if mask & !slot.init != 0 && self.env.rules.no_uninit_stack {
                return Err(Why::UninitStack { reg, offset: off });
            }
            off = end;
        }
        Ok(())
    }

    pub(crate) fn store(&mut self, s: &mut State, i: &Insn, size: Size, o: Operand, pc: u32) -> Result<(), Fault> {
        let v = self.read(s, i.dst)?;
        let value = self.operand(s, i, o)?;
        let bytes = size.bytes();
        let target = self.target(i.dst, &v, i.off.into(), bytes, Access::Write)?;
        self.same_kind(i.dst, &v, pc)?;
        match target {
            Target::Stack { frame, lo, hi, fixed } => {
                if !value.is_scalar() && (bytes < 8 || !fixed) {
                    return Err(Why::PartialPointer {
                        reg: i.src,
                        offset: lo,
                        size: bytes,
                    });
                }
                if frame != s.depth && matches!(value.region(), Some(Region::Stack(_))) {
                    return Err(Why::DeadFrame { reg: i.src });
                }
                if !fixed {
                    return self.stack_scribble(s, i.dst, frame, (lo, hi), false);
                }
                let value = if o == Operand::Reg {
                    self.linked(s, i.src, value)
                } else {
                    value
                };
                self.stack_store(s, i.dst, frame, lo, bytes, value)
            }
            Target::Plain | Target::Field(_) if value.is_scalar() => Ok(()),
            // Where pointers need not be hidden, memory takes their bytes as numbers; objects take none.
            Target::Plain if !self.env.rules.hide_pointers => Ok(()),
            _ => Err(Why::PointerLeak { reg: i.src }),
        }
    }

    pub(crate) fn stack_store(
        &mut self,
        s: &mut State,
        reg: u8,
        frame: u8,
        lo: i64,
        size: u32,
        v: Val,
    ) -> Result<(), Fault> {
        let (at, n, byte) = stack_place(lo);
        let hide = self.env.rules.hide_pointers;
        let Some(slots) = self.store.stack_mut(s, frame, at) else {
            return Err(Why::StackTooDeep {
                bytes: STACK_BYTES + 1,
                max: STACK_BYTES,
            });
        };
        let slot = &mut slots[n % CHUNK];
        let old_pointer = slot.spill > 0 && !slot.val.is_scalar();
        if old_pointer && size < 8 && hide {
            return Err(Why::PartialPointer { reg, offset: lo, size });
        }
        let mask = (spill_mask(size as u8) << byte) & 0xff;
        let zero = v.is_scalar() && v.num.umax == 0;
        let kept = if old_pointer { 0 } else { slot.init };
        let zeros = if old_pointer { 0 } else { zero_bytes(slot) };
        let whole = byte == 0;
        if whole || mask & spill_mask(slot.spill) != 0 && slot.spill > 0 {
            slot.spill = 0;
            slot.val = Val::UNINIT;
        }
        slot.init = kept | mask;
        slot.zero = if zero { zeros | mask } else { zeros & !mask };
        if whole {
            let fits = size == 8 || v.num.umax <= spill_max(size);
            slot.val = if fits {
                v
            } else {
                Val::scalar(v.num.truncated(8 * size))
            };
            slot.spill = size as u8;
        }
        Ok(())
    }

    /// Some bytes of a stack range are overwritten with numbers, all of them if `all`.
    pub(crate) fn stack_scribble(
        &mut self,
        s: &mut State,
        reg: u8,
        frame: u8,
        (lo, hi): (i64, i64),
        all: bool,
    ) -> Result<(), Fault> {
        let hide = self.env.rules.hide_pointers;
        let mut off = lo;
        while off < hi {
            let (at, n, byte) = stack_place(off);
            let end = hi.min(off + i64::from(8 - byte));
            let mask = (spill_mask((end - off) as u8) << byte) & 0xff;
            let Some(slots) = self.store.stack_mut(s, frame, at) else {
                return Err(Why::StackTooDeep {
                    bytes: STACK_BYTES + 1,
                    max: STACK_BYTES,
                });
            };
            let slot = &mut slots[n % CHUNK];
            let pointer = slot.spill > 0 && !slot.val.is_scalar();
            if pointer && (!all || mask != 0xff && hide) {
                return Err(Why::PartialPointer {
                    reg,
                    offset: off,
                    size: (hi - lo) as u32,
                });
            }
            let zeros = if pointer { 0 } else { zero_bytes(slot) };
            slot.init = if pointer { 0 } else { slot.init } | if all { mask } else { 0 };
            slot.zero = zeros & !mask;
            slot.spill = 0;
            slot.val = Val::UNINIT;
            off = end;
        }
        Ok(())
    }
}

/// Greatest number of `size` bytes.
const fn spill_max(size: u32) -> u64 {
    crate::tnum::low_mask(8 * size)
}
