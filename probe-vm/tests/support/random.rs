//! Random well-formed programs: every operation, with forward jumps, counted loops, subprograms, callbacks, stack
//! and memory accesses. They end, access only what is theirs, and compute nothing from addresses, so every
//! engine must agree on r0 and memory.

/// Deterministic (xorshift64*).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    /// Constants near the limits of immediates and of values.
    fn imm(&mut self) -> i32 {
        let value = self.next() as i32;
        match self.below(9) {
            0 => self.pick(&[0, 1, -1, 2, 3, i32::MIN, i32::MAX, 0xfff, 0x1000, -0x1000, 0xff_f000]),
            1 => 1 << self.below(32),
            2 => value >> self.below(31),
            3 => (1i32 << self.below(31))
                .wrapping_sub(1)
                .wrapping_mul(self.pick(&[1, -1])),
            4 => 0x0101_0101u32.wrapping_mul(value as u8 as u32) as i32,
            5 => value & 0xfff,
            6 => -(value & 0xfff),
            7 => value & 0xff_ffff,
            _ => value,
        }
    }
}

/// Bytes of memory at r1.
pub const MEM: usize = 64;
/// Bytes of stack used in each frame.
const STACK: i16 = 48;

pub use probe_vm::conformance::suite::slot;

/// r9 points at the memory, r8 counts loops, r10 is the stack: never operated on.
const DATA: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const SIZES: [(u8, i16); 4] = [(0x10, 1), (0x08, 2), (0x00, 4), (0x18, 8)];

struct Gen<'r> {
    rng: &'r mut Rng,
    out: Vec<u64>,
    /// Subprograms below this one may be called: slot patches (call site, function).
    calls: Vec<(usize, usize)>,
    level: usize,
    functions: usize,
}

impl Gen<'_> {
    fn reg(&mut self) -> u8 {
        self.rng.pick(&DATA)
    }

    fn constant(&mut self, dst: u8) {
        let mut value = self.rng.next();
        if self.rng.below(3) == 0 {
            value = (self.rng.imm() as i64 as u64) << self.rng.below(33);
        }
        self.out.push(slot(0x18, dst, 0, 0, value as i32));
        self.out.push(slot(0, 0, 0, 0, (value >> 32) as i32));
    }

    fn alu(&mut self) {
        let class = self.rng.pick(&[4u8, 7]);
        let op = self.rng.pick(&[
            0x00u8, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0,
        ]);
        let (dst, src, imm) = (self.reg(), self.reg(), self.rng.imm());
        let from_reg = self.rng.below(2) == 0;
        match op {
            0x80 => self.out.push(slot(class | op, dst, 0, 0, 0)),
            0xd0 => {
                let big = class == 4 && from_reg;
                let bits = self.rng.pick(&[16, 32, 64]);
                self.out
                    .push(slot(class | op | if big { 8 } else { 0 }, dst, 0, 0, bits));
            }
            0xb0 if from_reg => {
                let off = self
                    .rng
                    .pick(if class == 7 { &[0i16, 8, 16, 32] } else { &[0i16, 8, 16] });
                self.out.push(slot(class | op | 8, dst, src, off, 0));
            }
            _ => {
                let off = if op == 0x30 || op == 0x90 {
                    self.rng.below(2) as i16
                } else {
                    0
                };
                let shifts = matches!(op, 0x60 | 0x70 | 0xc0);
                let imm = if shifts {
                    imm & if class == 7 { 63 } else { 31 }
                } else {
                    imm
                };
                self.out.push(if from_reg {
                    slot(class | op | 8, dst, src, off, 0)
                } else {
                    slot(class | op, dst, 0, off, imm)
                });
            }
        }
    }

    /// `mov` and an operation on its result: what the compiler merges.
    fn moved(&mut self) {
        let (dst, src) = (self.reg(), self.reg());
        self.out.push(slot(self.rng.pick(&[0xbc, 0xbf]), dst, src, 0, 0));
        let at = self.out.len();
        self.alu();
        let made = self.out[at];
        if made as u8 & 7 == 4 || made as u8 & 7 == 7 {
            self.out[at] = made & !0xf00 | (dst as u64) << 8;
        }
    }

    /// Base register and offset of a random aligned place.
    fn place(&mut self, bytes: i16) -> (u8, i16) {
        if self.rng.below(2) == 0 {
            (9, self.rng.below((MEM as i16 / bytes) as u64) as i16 * bytes)
        } else {
            (10, -(self.rng.below((STACK / bytes) as u64) as i16 + 1) * bytes)
        }
    }

    fn memory(&mut self) {
        let (size, bytes) = self.rng.pick(&SIZES);
        let (base, off) = self.place(bytes);
        let reg = self.reg();
        match self.rng.below(6) {
            0 => self.out.push(slot(0x62 | size, base, 0, off, self.rng.imm())),
            1 | 2 => self.out.push(slot(0x63 | size, base, reg, off, 0)),
            3 if bytes < 8 => self.out.push(slot(0x81 | size, reg, base, off, 0)),
            4 if base == 10 => {
                // A pointer made from r10, and used.
                self.out.push(slot(0xbf, reg, 10, 0, 0));
                self.out.push(slot(0x07, reg, 0, 0, off as i32));
                self.out.push(slot(0x61 | size, reg, reg, 0, 0));
            }
            _ => self.out.push(slot(0x61 | size, reg, base, off, 0)),
        }
    }

    fn atomic(&mut self) {
        let (size, bytes) = self.rng.pick(&[(0x00u8, 4i16), (0x18, 8)]);
        let (base, off) = self.place(bytes);
        let op = self
            .rng
            .pick(&[0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1]);
        let src = self.reg();
        self.out.push(slot(0xc3 | size, base, src, off, op));
    }

    /// A conditional jump over a few items.
    fn jump(&mut self, depth: u32) {
        let class = self.rng.pick(&[5u8, 6]);
        let op = self
            .rng
            .pick(&[0x10u8, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0]);
        let (dst, src) = (self.reg(), self.reg());
        let at = self.out.len();
        self.out.push(if self.rng.below(2) == 0 {
            slot(class | op | 8, dst, src, 0, 0)
        } else {
            slot(class | op, dst, 0, 0, self.rng.imm())
        });
        self.items(1, 4, depth + 1);
        let skipped = self.out.len() - at - 1;
        self.out[at] |= (skipped as u64 & 0xffff) << 16;
        if self.rng.below(4) == 0 {
            // The other arm: the first ends in a jump over it.
            let end = self.out.len();
            self.out.push(0);
            self.out[at] += 1 << 16;
            self.items(1, 3, depth + 1);
            let over = (self.out.len() - end - 1) as i32;
            let long = self.rng.below(2) == 0;
            self.out[end] = if long {
                slot(0x06, 0, 0, 0, over)
            } else {
                slot(0x05, 0, 0, over as i16, 0)
            };
        }
    }

    /// A loop of up to seven rounds, counted in r8.
    fn counted(&mut self) {
        self.out.push(slot(0xb7, 8, 0, 0, self.rng.below(7) as i32 + 1));
        let head = self.out.len();
        self.items(1, 4, 3);
        self.out.push(slot(0x17, 8, 0, 0, 1));
        let back = head as i64 - self.out.len() as i64 - 1;
        self.out.push(slot(0x55, 8, 0, back as i16, 0));
    }

    fn set_arguments(&mut self) {
        for dst in 1..6 {
            self.constant(dst);
        }
    }

    fn call(&mut self) {
        let callee = self.level + 1 + self.rng.below(2) as usize;
        if callee < self.functions && self.rng.below(3) > 0 {
            if self.rng.below(3) == 0 {
                self.out.push(slot(0xb7, 1, 0, 0, self.rng.below(5) as i32));
                self.calls.push((self.out.len(), callee));
                self.out.push(slot(0x18, 2, 4, 0, 0));
                self.out.push(0);
                self.out.push(slot(0xbf, 3, 9, 0, 0));
                self.out.push(slot(0xb7, 4, 0, 0, (self.rng.below(10) == 0) as i32));
                self.out.push(slot(0x85, 0, 0, 0, 181));
            } else {
                self.out.push(slot(0xbf, 2, 9, 0, 0));
                self.calls.push((self.out.len(), callee));
                self.out.push(slot(0x85, 0, 1, 0, 0));
            }
        } else {
            self.constant(1);
            self.out.push(slot(0x85, 0, 0, 0, 5));
        }
        self.set_arguments();
    }

    fn items(&mut self, least: u64, most: u64, depth: u32) {
        for _ in 0..least + self.rng.below(most - least + 1) {
            match self.rng.below(20) {
                0..7 => self.alu(),
                7..10 => self.moved(),
                10..13 => self.memory(),
                13 => self.atomic(),
                14 => {
                    let dst = self.reg();
                    self.constant(dst);
                }
                15..=17 if depth < 3 => self.jump(depth),
                18 if depth == 0 => self.counted(),
                19 if depth == 0 => self.call(),
                _ => self.alu(),
            }
        }
    }

    /// The memory's address is in r1 in the program itself, else in r2 (as for callbacks).
    fn function(&mut self, level: usize) {
        self.level = level;
        self.out.push(slot(0xbf, 9, if level == 0 { 1 } else { 2 }, 0, 0));
        for dst in DATA {
            self.constant(dst);
        }
        let uses_stack = (1..=STACK / 8).map(|i| slot(0x7b, 10, (i % 8) as u8, -8 * i, 0));
        self.out.extend(uses_stack);
        self.items(2, 14, 0);
        for src in 1..8 {
            if self.rng.below(3) == 0 {
                self.out.push(slot(0xaf, 0, src, 0, 0));
            }
        }
        if level > 0 {
            // Callbacks go on or stop.
            self.out.push(slot(0x57, 0, 0, 0, 1));
        }
        self.out.push(slot(0x95, 0, 0, 0, 0));
    }
}

/// A program.
pub fn program(rng: &mut Rng) -> Vec<u64> {
    let functions = 1 + rng.below(4) as usize;
    let mut g = Gen {
        rng,
        out: Vec::new(),
        calls: Vec::new(),
        level: 0,
        functions,
    };
    let mut entries = Vec::new();
    for level in 0..functions {
        entries.push(g.out.len());
        g.function(level);
    }
    for (at, callee) in &g.calls {
        let delta = entries[*callee] as i64 - *at as i64 - 1;
        g.out[*at] |= (delta as i32 as u32 as u64) << 32;
    }
    g.out
}

/// Its memory.
pub fn memory(rng: &mut Rng) -> Vec<u8> {
    (0..MEM).map(|_| rng.next() as u8).collect()
}
