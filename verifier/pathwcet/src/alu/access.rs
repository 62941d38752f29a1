//! Loads and stores.

use super::{Constants, LOW32, Machine};
use crate::effects::Load;
use crate::inst::{Address, Op, Reg, Shift};
use crate::state::Value;

impl<C: Constants> Machine<'_, C> {
    /// Effect of an access to memory.
    pub(super) fn access(&mut self, op: Op) {
        match op {
            Op::Load {
                rt,
                rt2,
                size,
                signed,
                addr,
            } => self.load(rt, rt2, size, signed, addr),
            Op::Store { rt, rt2, size, addr } => self.store(rt, rt2, size, addr),
            Op::StoreOpaque { bytes, addr } => {
                let at = self.address(addr);
                self.put(at, bytes, None);
                self.write_back(addr);
            }
            Op::LoadOpaque { addr } => self.write_back(addr),
            Op::Atomic {
                rd,
                rd2,
                status,
                size,
                addr,
            } => {
                let at = self.address(addr);
                self.put(at, size, None);
                self.clobber(rd, size.saturating_mul(8));
                self.clobber(rd2, size.saturating_mul(8));
                self.clobber(status, 1);
            }
            _ => {}
        }
    }

    /// Address of an access.
    pub fn address(&mut self, addr: Address) -> Value {
        let base = self.state.get(addr.base);
        let offset = self.operand(addr.offset, true);
        self.add(base, offset)
    }

    fn write_back(&mut self, addr: Address) {
        if let Some(by) = addr.writeback {
            let base = self.state.get(addr.base);
            self.state.set(addr.base, base.plus(by as u64));
        }
    }

    /// A store, noted where a procedure is summarised.
    fn put(&mut self, at: Value, size: u8, value: Option<Value>) {
        if let Some(log) = &mut self.symbols.log {
            log.store(self.state.hit(at, size));
            if let Some(value) = value {
                log.blur(value.base);
            }
        }
        self.state.store(at, size, value);
    }

    /// Bytes out of a number that was stored as a whole.
    fn part(&mut self, at: Value, size: u8) -> Option<Value> {
        if at.index != 0 || size > 4 {
            return None;
        }
        let (whole, skipped) = [8u8, 4, 2]
            .into_iter()
            .filter(|wide| *wide > size)
            .flat_map(|wide| (0..=wide - size).map(move |skipped| (wide, skipped)))
            .find_map(|(wide, skipped)| {
                let start = at.plus(u64::from(skipped).wrapping_neg());
                Some((self.state.load(start, wide)?, skipped))
            })?;
        let rest = match skipped {
            0 => whole,
            _ => self.shift(whole, Shift::Lsr, u32::from(skipped) * 8, true),
        };
        if size == 4 {
            return Some(self.narrow32(rest));
        }
        let mask = (1 << (size * 8)) - 1;
        let range = self.state.range(rest).and_const(mask);
        Some(self.state.number(self.symbols, range))
    }

    /// The value of `size` bytes at `at`: known, constant of the image, or a new unknown that later loads agree on.
    pub fn read(&mut self, at: Value, size: u8) -> Value {
        if let Some(v) = self.state.load(at, size) {
            return v;
        }
        if let Some(v) = self.part(at, size) {
            return v;
        }
        if let Some(v) = at.as_exact().and_then(|a| self.constants.read_only(a, size)) {
            return Value::exact(v);
        }
        let value = self.state.unknown(self.symbols, size.saturating_mul(8));
        let stable = at.base != 0 || self.constants.is_memory(at.add);
        if at.index == 0 && stable {
            self.state.memory.insert((at.base, at.add), (size, value));
            if let Some(log) = &mut self.symbols.log {
                log.load(Load {
                    base: at.base,
                    offset: at.add,
                    size,
                    value: value.base | value.index,
                });
            }
        }
        value
    }

    fn load(&mut self, rt: Reg, rt2: Option<Reg>, size: u8, signed: Option<bool>, addr: Address) {
        let at = self.address(addr);
        let first = self.read(at, size);
        let second = rt2.map(|_| self.read(at.plus(size as u64), size));
        self.write_back(addr);
        let put = |machine: &mut Self, reg: Reg, value: Value| {
            let value = match signed {
                None => value,
                Some(to_wide) => machine.sign_extend(value, size, to_wide),
            };
            machine.state.set(reg, value);
        };
        put(self, rt, first);
        if let (Some(reg), Some(value)) = (rt2, second) {
            put(self, reg, value);
        }
    }

    fn sign_extend(&mut self, value: Value, size: u8, wide: bool) -> Value {
        let bits = size as u32 * 8;
        if bits >= 64 {
            return value;
        }
        let mask = if wide { u64::MAX } else { LOW32 };
        if let Some(v) = value.as_exact() {
            return Value::exact((((v << (64 - bits)) as i64) >> (64 - bits)) as u64 & mask);
        }
        if self.state.range(value).hi <= (1u64 << (bits - 1)) - 1 {
            return value;
        }
        self.state.unknown(self.symbols, if wide { 64 } else { 32 })
    }

    fn store(&mut self, rt: Reg, rt2: Option<Reg>, size: u8, addr: Address) {
        let at = self.address(addr);
        let first = self.stored(rt, size);
        self.put(at, size, first);
        if let Some(reg) = rt2 {
            let second = self.stored(reg, size);
            self.put(at.plus(size as u64), size, second);
        }
        self.write_back(addr);
    }

    fn stored(&mut self, reg: Reg, size: u8) -> Option<Value> {
        let value = self.state.get(reg);
        let fits = size >= 8 || self.state.range(value).hi < 1u64 << (size * 8);
        if fits {
            return Some(value);
        }
        if size == 4 {
            return Some(self.narrow32(value));
        }
        let range = self.state.range(value).and_const((1u64 << (size * 8)) - 1);
        Some(self.state.number(self.symbols, range))
    }
}
