//! A step interpreter of the A64 words the compiler emits, to count them as they are executed.
//!
//! Decoded from the Arm ARM's tables (C4.1) apart from the encoders. Any other word ends the run: the count of a
//! program that the emulator does not understand is an error, never a smaller number.

use super::emu_alu::{Flags, data_processing};
use crate::interp::{Helpers, Memory, Size};
use alloc::vec::Vec;

/// Address whose call or return ends the run.
pub const RETURN: u64 = 0xdead_0000_0000;
/// Helper `id` is called at this plus `4 * id`.
pub const HELPER_BASE: u64 = 0xca11_0000_0000;
/// Register calls go here, with the helper's number in x5.
pub const DISPATCH: u64 = HELPER_BASE - 4;
/// What registers a callee may change hold after a helper.
const POISON: u64 = 0xbad0_bad0_bad0_bad0;

/// The address to link helper `id` at.
pub const fn helper_address(id: u32) -> u64 {
    HELPER_BASE + 4 * id as u64
}

/// Why a run ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A word outside the emitted subset, with its index.
    Unknown(usize, u32),
    /// An access that faults: word index, address.
    Access(usize, u64),
    /// A jump out of the code.
    Outside(u64),
    /// No such helper.
    NoHelper(u32),
    /// More words than allowed.
    OutOfFuel,
    /// A register that callees preserve came back changed, or SP did.
    NotPreserved(u8),
}

/// The state of a core, as far as compiled code sees it.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// x0–x30.
    pub x: [u64; 31],
    /// SP.
    pub sp: u64,
    /// NZCV.
    pub flags: Flags,
    /// What `TPIDR_ELx` reads as.
    pub tpidr: u64,
    /// What the counters read as.
    pub counter: u64,
    /// Store-exclusives that are to fail before one succeeds.
    pub failures: u32,
    /// An exclusive load waits for its store.
    pub exclusive: bool,
}

/// A finished run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ran {
    /// x0 at the final return.
    pub x0: u64,
    /// Words executed, helpers not counted.
    pub executed: u64,
}

impl Cpu {
    pub(super) fn zr(&self, n: u32) -> u64 {
        self.x.get(n as usize).copied().unwrap_or(0)
    }

    pub(super) fn set_zr(&mut self, n: u32, wide: bool, value: u64) {
        if let Some(x) = self.x.get_mut(n as usize) {
            *x = if wide { value } else { value as u32 as u64 };
        }
    }

    pub(super) fn spr(&self, n: u32) -> u64 {
        if n == 31 { self.sp } else { self.zr(n) }
    }

    pub(super) fn set_sp(&mut self, n: u32, wide: bool, value: u64) {
        if n == 31 {
            self.sp = value
        } else {
            self.set_zr(n, wide, value)
        }
    }
}

/// Runs `code`, placed at `base`, from its first word, with `x0` and `x1` given and `sp` the top of a stack.
pub fn run<M: Memory, H: Helpers<M>>(
    code: &[u32],
    base: u64,
    cpu: &mut Cpu,
    mem: &mut M,
    helpers: &mut H,
    fuel: u64,
) -> Result<Ran, Stop> {
    let kept: Vec<u64> = (19..30).map(|n| 0x5a5a_0000 + n).collect();
    cpu.x.iter_mut().skip(19).zip(&kept).for_each(|(x, k)| *x = *k);
    cpu.x[30] = RETURN;
    let sp = cpu.sp;
    let mut pc = base;
    let mut executed = 0;
    while executed < fuel {
        if pc == RETURN {
            for (n, want) in (19..).zip(&kept) {
                if cpu.zr(n) != *want {
                    return Err(Stop::NotPreserved(n as u8));
                }
            }
            return if cpu.sp == sp {
                Ok(Ran { x0: cpu.x[0], executed })
            } else {
                Err(Stop::NotPreserved(31))
            };
        }
        if (DISPATCH..HELPER_BASE + (1 << 20)).contains(&pc) {
            let id = if pc == DISPATCH {
                cpu.x[5] as u32
            } else {
                ((pc - HELPER_BASE) / 4) as u32
            };
            let [a, b, c, d, e, ..] = cpu.x;
            let result = helpers.call(id, [a, b, c, d, e], mem).ok_or(Stop::NoHelper(id))?;
            cpu.x.iter_mut().take(19).for_each(|x| *x = POISON);
            cpu.x[0] = result;
            cpu.flags = Flags {
                n: true,
                z: true,
                c: true,
                v: true,
            };
            pc = cpu.x[30];
            continue;
        }
        let index = (pc.wrapping_sub(base) / 4) as usize;
        let word = *code.get(index).ok_or(Stop::Outside(pc))?;
        executed += 1;
        pc = step(cpu, mem, word, pc).map_err(|e| e.at(index, word))?;
    }
    Err(Stop::OutOfFuel)
}

/// What went wrong with one word.
pub(super) enum Bad {
    Unknown,
    Access(u64),
}

impl Bad {
    fn at(self, index: usize, word: u32) -> Stop {
        match self {
            Bad::Unknown => Stop::Unknown(index, word),
            Bad::Access(addr) => Stop::Access(index, addr),
        }
    }
}

fn signed(word: u32, low: u32, bits: u32) -> i64 {
    ((word as i64) << (64 - low - bits)) >> (64 - bits)
}

/// Executes one word; the next address.
fn step<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32, pc: u64) -> Result<u64, Bad> {
    let next = pc.wrapping_add(4);
    let to = |words: i64| pc.wrapping_add(words.wrapping_mul(4) as u64);
    let (rt, rn) = (w & 31, w >> 5 & 31);
    // C4.1.93: branches and system instructions.
    if w >> 26 & 31 == 0b00101 {
        if w >> 31 == 1 {
            cpu.x[30] = next;
        }
        return Ok(to(signed(w, 0, 26)));
    }
    if w >> 24 == 0x54 && w & 16 == 0 {
        return Ok(if cpu.flags.holds(w & 15) {
            to(signed(w, 5, 19))
        } else {
            next
        });
    }
    if w >> 25 & 63 == 0b01_1010 {
        let value = if w >> 31 == 1 {
            cpu.zr(rt)
        } else {
            cpu.zr(rt) & 0xffff_ffff
        };
        let taken = (value == 0) != (w >> 24 & 1 == 1);
        return Ok(if taken { to(signed(w, 5, 19)) } else { next });
    }
    if w >> 25 & 63 == 0b01_1011 {
        let bit = (w >> 26 & 32) | (w >> 19 & 31);
        let taken = (cpu.zr(rt) >> bit & 1 == 0) != (w >> 24 & 1 == 1);
        return Ok(if taken { to(signed(w, 5, 14)) } else { next });
    }
    match w & 0xffff_fc1f {
        0xd63f_0000 => {
            let target = cpu.zr(rn);
            cpu.x[30] = next;
            return Ok(target);
        }
        0xd65f_0000 => return Ok(cpu.zr(rn)),
        _ => {}
    }
    if w >> 20 == 0xd53 {
        let value = match w & 0xf_ffe0 {
            0xb_e020 | 0xb_e040 => cpu.counter,
            0xc_d040 | 0x8_d080 | 0xb_d040 => cpu.tpidr,
            _ => return Err(Bad::Unknown),
        };
        cpu.set_zr(rt, true, value);
        return Ok(next);
    }
    if w == 0xd503_3fdf || w == 0xd503_201f {
        return Ok(next);
    }
    if w >> 24 & 0x9f == 0x10 {
        cpu.set_zr(rt, true, to(signed(w, 5, 19)).wrapping_add((w >> 29 & 3) as u64));
        return Ok(next);
    }
    // C4.1: bit 27 set and bit 25 clear: loads and stores.
    if w >> 25 & 0b101 == 0b100 {
        load_store(cpu, mem, w)?;
    } else {
        data_processing(cpu, w)?;
    }
    Ok(next)
}

const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::X];

fn load_store<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32) -> Result<(), Bad> {
    let (rt, rn) = (w & 31, w >> 5 & 31);
    let Some(&size) = SIZES.get((w >> 30) as usize) else {
        return Err(Bad::Unknown);
    };
    match w >> 24 & 0x3f {
        0x39 => {
            let addr = cpu.spr(rn).wrapping_add(((w >> 10 & 0xfff) * size as u32) as u64);
            single(cpu, mem, w, rt, size, addr)
        }
        0x38 if w >> 21 & 1 == 0 => {
            let offset = signed(w, 12, 9) as u64;
            let base = cpu.spr(rn);
            let addr = if w >> 10 & 3 == 1 {
                base
            } else {
                base.wrapping_add(offset)
            };
            single(cpu, mem, w, rt, size, addr)?;
            match w >> 10 & 3 {
                0 => {}
                1 | 3 => cpu.set_sp(rn, true, base.wrapping_add(offset)),
                _ => return Err(Bad::Unknown),
            }
            Ok(())
        }
        0x38 if w >> 10 & 0x3f == 0b01_1010 => {
            let addr = cpu.spr(rn).wrapping_add(cpu.zr(w >> 16 & 31));
            single(cpu, mem, w, rt, size, addr)
        }
        0x38 if w >> 10 & 3 == 0 => lse(cpu, mem, w, size),
        0x08 => exclusive_or_cas(cpu, mem, w, size),
        0x28 | 0x29 if w >> 30 & 1 == 0 => pair(cpu, mem, w),
        _ => Err(Bad::Unknown),
    }
}

fn single<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32, rt: u32, size: Size, addr: u64) -> Result<(), Bad> {
    match w >> 22 & 3 {
        0 => mem.store(addr, size, cpu.zr(rt)).ok_or(Bad::Access(addr)),
        opc @ (1 | 2) => {
            let value = mem.load(addr, size).ok_or(Bad::Access(addr))?;
            let value = match (opc, size) {
                (1, _) => value,
                (_, Size::B) => value as i8 as u64,
                (_, Size::H) => value as i16 as u64,
                (_, Size::W) => value as i32 as u64,
                (_, Size::X) => return Err(Bad::Unknown),
            };
            cpu.set_zr(rt, true, value);
            Ok(())
        }
        _ => Err(Bad::Unknown),
    }
}

fn pair<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32) -> Result<(), Bad> {
    let (rt, rt2, rn) = (w & 31, w >> 10 & 31, w >> 5 & 31);
    let base = cpu.spr(rn);
    let (size, bytes) = if w >> 31 == 1 { (Size::X, 8) } else { (Size::W, 4) };
    let moved = base.wrapping_add((signed(w, 15, 7) * bytes) as u64);
    let mode = w >> 23 & 3;
    let addr = if mode == 1 { base } else { moved };
    for (at, r) in [(addr, rt), (addr.wrapping_add(bytes as u64), rt2)] {
        if w >> 22 & 1 == 1 {
            let value = mem.load(at, size).ok_or(Bad::Access(at))?;
            cpu.set_zr(r, true, value);
        } else {
            mem.store(at, size, cpu.zr(r)).ok_or(Bad::Access(at))?;
        }
    }
    match mode {
        1 | 3 => cpu.set_sp(rn, true, moved),
        2 => {}
        _ => return Err(Bad::Unknown),
    }
    Ok(())
}

fn lse<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32, size: Size) -> Result<(), Bad> {
    if !matches!(size, Size::W | Size::X) {
        return Err(Bad::Unknown);
    }
    let addr = cpu.spr(w >> 5 & 31);
    let value = cpu.zr(w >> 16 & 31);
    let old = mem.load(addr, size).ok_or(Bad::Access(addr))?;
    let new = match w >> 12 & 15 {
        0b0000 => old.wrapping_add(value),
        0b0001 => old & !value,
        0b0010 => old ^ value,
        0b0011 => old | value,
        0b1000 => value,
        _ => return Err(Bad::Unknown),
    };
    mem.store(addr, size, new).ok_or(Bad::Access(addr))?;
    cpu.set_zr(w & 31, size == Size::X, old);
    Ok(())
}

fn exclusive_or_cas<M: Memory>(cpu: &mut Cpu, mem: &mut M, w: u32, size: Size) -> Result<(), Bad> {
    let wide = size == Size::X;
    let (rs, rt) = (w >> 16 & 31, w & 31);
    let addr = cpu.spr(w >> 5 & 31);
    let old = mem.load(addr, size).ok_or(Bad::Access(addr))?;
    let narrow = |v: u64| if wide { v } else { v as u32 as u64 };
    match w & 0x3fe0_fc00 {
        0x08e0_fc00 => {
            if old == narrow(cpu.zr(rs)) {
                mem.store(addr, size, cpu.zr(rt)).ok_or(Bad::Access(addr))?;
            }
            cpu.set_zr(rs, wide, old);
        }
        0x0880_fc00 if rs == 31 => mem.store(addr, size, cpu.zr(rt)).ok_or(Bad::Access(addr))?,
        0x08c0_fc00 if rs == 31 => cpu.set_zr(rt, wide, old),
        0x0840_fc00 if rs == 31 => {
            cpu.exclusive = true;
            cpu.set_zr(rt, wide, old);
        }
        0x0800_fc00 => {
            let fails = !cpu.exclusive || cpu.failures > 0;
            cpu.failures = cpu.failures.saturating_sub(1);
            cpu.exclusive = false;
            if !fails {
                mem.store(addr, size, cpu.zr(rt)).ok_or(Bad::Access(addr))?;
            }
            cpu.set_zr(rs, false, fails as u64);
        }
        _ => return Err(Bad::Unknown),
    }
    Ok(())
}

impl Default for Cpu {
    fn default() -> Self {
        let flags = Flags {
            n: false,
            z: false,
            c: false,
            v: false,
        };
        Cpu {
            x: [POISON; 31],
            sp: 0,
            flags,
            tpidr: 0,
            counter: 0,
            failures: 0,
            exclusive: false,
        }
    }
}
