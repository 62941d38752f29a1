//! Random well-formed programs: arithmetic, branches, loops, stack, map values, subprograms, callbacks.
#![allow(dead_code)]

use super::common::{HELPERS, OBJECTS};
use verifier::env::{ArgKind as A, CallbackArg, CallbackProto, Limits, Repeat, Ret, Rules};
use verifier::{Env, HelperProto};

/// xorshift: the seed is the program.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// One slot.
pub const fn slot(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    code as u64 | (dst as u64) << 8 | (src as u64) << 12 | (off as u16 as u64) << 16 | (imm as u32 as u64) << 32
}

/// bpf_loop besides the helpers of the data sets.
pub fn env() -> Env<'static> {
    let mut all: Vec<HelperProto> = HELPERS.to_vec();
    let args = [
        CallbackArg::Index,
        CallbackArg::Passed(3),
        CallbackArg::None,
        CallbackArg::None,
        CallbackArg::None,
    ];
    all.push(HelperProto {
        callback: Some(CallbackProto {
            repeat: Repeat::Count { arg: 1, max: 1 << 23 },
            args,
        }),
        ..HelperProto::new(
            181,
            "loop",
            [A::Any, A::Callback, A::StackOrNull, A::Zero, A::None],
            Ret::Scalar,
        )
    });
    let rules = Rules {
        no_unreachable: false,
        ..Rules::GNOMON
    };
    let limits = Limits {
        insns_max: 4096,
        insn_bound_max: 1 << 24,
        visits_max: 300_000,
    };
    Env {
        helpers: Box::leak(all.into_boxed_slice()),
        objects: OBJECTS,
        rules,
        limits,
    }
}

#[allow(dead_code)]
struct Gen<'r> {
    rng: &'r mut Rng,
    text: Vec<u64>,
    /// Places of calls to the subprogram and of references to the callback.
    calls: Vec<usize>,
    refs: Vec<usize>,
    nest: u32,
}

const NUMBERS: [u8; 4] = [0, 6, 7, 8];
const IMMS: [i32; 14] = [0, 1, -1, 2, 7, 8, 15, 31, 63, 255, 0x7fff_ffff, i32::MIN, 1000, -8];
const CONDS: [u8; 11] = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];

impl Gen<'_> {
    fn emit(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) -> usize {
        self.text.push(slot(code, dst, src, off, imm));
        self.text.len() - 1
    }

    fn alu(&mut self) {
        let class = self.rng.pick(&[4u8, 7, 7]);
        let op = self.rng.pick(&[
            0x00u8, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0, 0x80, 0xd0,
        ]);
        let (dst, src, imm) = (self.rng.pick(&NUMBERS), self.rng.pick(&NUMBERS), self.rng.pick(&IMMS));
        match op {
            0x80 => self.emit(class | 0x80, dst, 0, 0, 0),
            0xd0 => {
                let bits = self.rng.pick(&[16, 32, 64]);
                let code = self.rng.pick(&[0xd4u8, 0xdc, 0xd7]);
                self.emit(code, dst, 0, 0, bits)
            }
            0xb0 if self.rng.below(3) == 0 => {
                let bits = if class == 7 {
                    self.rng.pick(&[8i16, 16, 32])
                } else {
                    self.rng.pick(&[8i16, 16])
                };
                self.emit(class | 0xb8, dst, src, bits, 0)
            }
            0x30 | 0x90 => {
                let off = self.rng.pick(&[0i16, 1]);
                if self.rng.below(2) == 0 {
                    self.emit(class | op | 8, dst, src, off, 0)
                } else {
                    self.emit(class | op, dst, 0, off, imm)
                }
            }
            0x60 | 0x70 | 0xc0 if self.rng.below(2) == 0 => {
                let by = self.rng.below(if class == 7 { 64 } else { 32 }) as i32;
                self.emit(class | op, dst, 0, 0, by)
            }
            _ if self.rng.below(2) == 0 => self.emit(class | op | 8, dst, src, 0, 0),
            _ => self.emit(class | op, dst, 0, 0, imm),
        };
    }

    fn context(&mut self) {
        let dst = self.rng.pick(&NUMBERS);
        let (code, size) = self.rng.pick(&[
            (0x61u8, 4u64),
            (0x69, 2),
            (0x71, 1),
            (0x79, 8),
            (0x81, 4),
            (0x89, 2),
            (0x91, 1),
        ]);
        let off = self.rng.below(192 / size) * size;
        self.emit(code, dst, 9, off as i16, 0);
    }

    fn stack(&mut self) {
        let reg = self.rng.pick(&NUMBERS);
        let (size, ld, st, stx) = self.rng.pick(&[
            (1u64, 0x71u8, 0x72u8, 0x73u8),
            (2, 0x69, 0x6a, 0x6b),
            (4, 0x61, 0x62, 0x63),
            (8, 0x79, 0x7a, 0x7b),
        ]);
        let off = -64 + (self.rng.below(48 / size) * size) as i16;
        match self.rng.below(4) {
            0 => self.emit(st, 10, 0, off, 77),
            1 => self.emit(stx, 10, reg, off, 0),
            _ => self.emit(ld, reg, 10, off, 0),
        };
        if size >= 4 && self.rng.below(4) == 0 {
            let code = if size == 4 { 0xc3 } else { 0xdb };
            let op = self.rng.pick(&[0, 1, 0x41, 0x50, 0xa1, 0xe1, 0xf1]);
            self.emit(code, 10, reg, off, op);
        }
    }

    fn map(&mut self) {
        let reg = self.rng.pick(&[6u8, 7, 8]);
        let off = self.rng.below(16) as i32 * 8;
        self.emit(0x18, 5, 2, 0, 0);
        self.text.push((off as u64) << 32);
        let bounded = self.rng.below(3);
        match bounded {
            0 => {
                self.emit(0x57, reg, 0, 0, 0x38);
                self.emit(0x0f, 5, reg, 0, 0);
                self.emit(0x79, 0, 5, 0, 0);
            }
            1 => {
                self.emit(0x25, reg, 0, 2, 100);
                self.emit(0x0f, 5, reg, 0, 0);
                self.emit(0x71, 0, 5, 0, 0);
            }
            _ => {
                self.emit(0x73, 5, reg, 1, 0);
            }
        }
    }

    /// Looks a number up in one of the maps and reads or writes what is found.
    fn lookup(&mut self) {
        let (reg, map) = (self.rng.pick(&NUMBERS), self.rng.below(2) as i32);
        self.emit(0x7b, 10, reg, -72, 0);
        self.emit(0xbf, 2, 10, 0, 0);
        self.emit(0x07, 2, 0, 0, -72);
        self.emit(0x18, 1, 1, 0, map);
        self.text.push(0);
        self.emit(0x85, 0, 0, 0, 1);
        let over = self.emit(0x15, 0, 0, 0, 0);
        match self.rng.below(3) {
            0 => self.emit(0x79, 7, 0, 8, 0),
            1 => self.emit(0x7b, 0, 6, 0, 0),
            _ => self.emit(0x71, 8, 0, 15, 0),
        };
        self.patch(over, self.text.len());
        self.emit(0xb7, 0, 0, 0, map);
    }

    fn branch(&mut self) {
        let class = self.rng.pick(&[5u8, 6]);
        let (cond, dst) = (self.rng.pick(&CONDS), self.rng.pick(&NUMBERS));
        let at = if self.rng.below(2) == 0 {
            let src = self.rng.pick(&NUMBERS);
            self.emit(class | cond | 8, dst, src, 0, 0)
        } else {
            let imm = self.rng.pick(&IMMS);
            self.emit(class | cond, dst, 0, 0, imm)
        };
        self.block(3);
        if self.rng.below(2) == 0 {
            let over = self.emit(0x05, 0, 0, 0, 0);
            self.patch(at, self.text.len());
            self.block(3);
            self.patch(over, self.text.len());
        } else {
            self.patch(at, self.text.len());
        }
    }

    fn patch(&mut self, at: usize, to: usize) {
        let off = (to - at - 1) as i16;
        self.text[at] = self.text[at] & !0xffff_0000 | u64::from(off as u16) << 16;
    }

    /// A counted loop in one of several forms; the counter is a register nothing else uses.
    fn looped(&mut self) {
        if self.nest >= 2 {
            return self.alu();
        }
        let counter = 2 + self.nest as u8;
        self.nest += 1;
        let (n, step) = (1 + self.rng.below(12) as i32, 1 + self.rng.below(3) as i32);
        let form = self.rng.below(5);
        let start = if form == 2 { n * step } else { 0 };
        self.emit(0xb7, counter, 0, 0, start);
        if form == 3 {
            // The number of rounds comes from the context.
            self.emit(0x79, 4, 9, 16, 0);
            self.emit(0x57, 4, 0, 0, 15);
        }
        let head = self.text.len();
        let mut exit = None;
        if form == 4 {
            exit = Some(self.emit(0x35, counter, 0, 0, n * step));
        }
        self.block_without_calls(3);
        if self.rng.below(4) == 0 {
            let reg = self.rng.pick(&NUMBERS);
            self.emit(0x07, reg, 0, 0, 1);
        }
        let class = self.rng.pick(&[4u8, 7]);
        self.emit(class, counter, 0, 0, if form == 2 { -step } else { step });
        let back = match form {
            0 => self.emit(0xa5, counter, 0, 0, n * step),
            1 => self.emit(0x55, counter, 0, 0, n * step),
            2 => self.emit(0x55, counter, 0, 0, 0),
            3 => self.emit(0xad, counter, 4, 0, 0),
            _ => self.emit(0x05, 0, 0, 0, 0),
        };
        let off = head as i64 - back as i64 - 1;
        self.text[back] |= u64::from(off as i16 as u16) << 16;
        if let Some(at) = exit {
            self.patch(at, self.text.len());
        }
        self.nest -= 1;
    }

    fn call(&mut self) {
        let (a, b) = (self.rng.pick(&NUMBERS), self.rng.pick(&NUMBERS));
        self.emit(0xbf, 1, a, 0, 0);
        self.emit(0xbf, 2, b, 0, 0);
        let at = self.emit(0x85, 0, 1, 0, 0);
        self.calls.push(at);
    }

    fn call_back(&mut self) {
        let n = self.rng.below(40) as i32;
        if self.rng.below(2) == 0 {
            self.emit(0xb7, 1, 0, 0, n);
        } else {
            self.emit(0x61, 1, 9, 24, 0);
            self.emit(0x57, 1, 0, 0, 31);
        }
        let at = self.emit(0x18, 2, 4, 0, 0);
        self.text.push(0);
        self.refs.push(at);
        self.emit(0xbf, 3, 10, 0, 0);
        self.emit(0x07, 3, 0, 0, -16);
        self.emit(0xb7, 4, 0, 0, 0);
        self.emit(0x85, 0, 0, 0, 181);
    }

    fn block_without_calls(&mut self, most: u64) {
        for _ in 0..=self.rng.below(most) {
            match self.rng.below(12) {
                0..=5 => self.alu(),
                6 => self.context(),
                7 => self.stack(),
                8 => self.map(),
                9 | 10 => self.looped(),
                _ => self.alu(),
            }
        }
    }

    fn block(&mut self, most: u64) {
        let depth = self.text.len();
        for _ in 0..=self.rng.below(most) {
            match self.rng.below(16) {
                0..=5 => self.alu(),
                6 | 7 => self.context(),
                8 if self.nest > 0 || self.rng.below(2) == 0 => self.stack(),
                9 => self.map(),
                10 | 11 if depth < 200 => self.branch(),
                12 | 13 if depth < 200 => self.looped(),
                8 => self.lookup(),
                14 if self.nest == 0 => self.call(),
                15 if self.nest == 0 => self.call_back(),
                _ => self.alu(),
            }
        }
    }
}

/// The maps of the programs: an array of one value of 256 bytes, a hash table with values of 16.
pub fn maps() -> [verifier::MapDesc; 2] {
    let (array, hash) = (verifier::env::MapKind::ARRAY, verifier::env::MapKind::HASH);
    [crate::common::map(array, 4, 256, 1), crate::common::map(hash, 8, 16, 4)]
}

/// A program.
pub fn program(rng: &mut Rng) -> Vec<u64> {
    let mut g = Gen {
        rng,
        text: Vec::new(),
        calls: Vec::new(),
        refs: Vec::new(),
        nest: 0,
    };
    g.emit(0xbf, 9, 1, 0, 0);
    g.emit(0x79, 6, 9, 0, 0);
    g.emit(0x61, 7, 9, 8, 0);
    g.emit(0xb7, 8, 0, 0, 3);
    g.emit(0xb7, 0, 0, 0, 0);
    for off in (-64..=-16).step_by(8) {
        g.emit(0x7a, 10, 0, off, 5);
    }
    g.block(10);
    g.emit(0x95, 0, 0, 0, 0);
    // The subprogram: its own arithmetic, branches and loops on r6 to r8 from its arguments.
    if !g.calls.is_empty() {
        let entry = g.text.len();
        g.emit(0xbf, 6, 1, 0, 0);
        g.emit(0xbf, 7, 2, 0, 0);
        g.emit(0xb7, 8, 0, 0, 1);
        g.emit(0xb7, 0, 0, 0, 0);
        for _ in 0..4 {
            g.alu();
        }
        g.emit(0x2d, 6, 7, 1, 0);
        g.alu();
        g.emit(0x95, 0, 0, 0, 0);
        for at in g.calls.clone() {
            g.text[at] |= ((entry - at - 1) as u64) << 32;
        }
    }
    if !g.refs.is_empty() {
        let entry = g.text.len();
        g.emit(0x79, 6, 2, 0, 0);
        g.emit(0x0f, 6, 1, 0, 0);
        g.emit(0x7b, 2, 6, 0, 0);
        g.emit(0xb7, 0, 0, 0, 0);
        let limit = g.rng.below(60) as i32;
        g.emit(0xa5, 6, 0, 1, limit);
        let stop = i32::from(g.rng.below(2) == 0);
        g.emit(0xb7, 0, 0, 0, stop);
        g.emit(0x95, 0, 0, 0, 0);
        for at in g.refs.clone() {
            g.text[at] |= ((entry - at - 1) as u64) << 32;
        }
    }
    g.text
}
