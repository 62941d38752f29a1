//! The sink of the lowering: counts words and time, and writes words where there is something to write to.

use super::a64::{Reg, Width, alu, flow, imm};
use verifier::cost::{A64Class, CoreModel};

/// A conditional branch whose displacement is not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Branch {
    /// `B`, ±2^25 words.
    Always,
    /// `BL`.
    Link,
    /// `B.cond`, ±2^18 words.
    If(super::a64::Cond),
    /// `CBZ`/`CBNZ`, ±2^18 words.
    Zero { nonzero: bool, width: Width, reg: Reg },
    /// `TBZ`/`TBNZ`, ±2^13 words.
    Bit { nonzero: bool, bit: u32, reg: Reg },
    /// Not a branch but the address of one's target: `ADR`, ±2^18 words.
    Address(Reg),
}

impl Branch {
    const fn reach(self) -> i64 {
        match self {
            Branch::Always | Branch::Link => 1 << 25,
            Branch::If(_) | Branch::Zero { .. } | Branch::Address(_) => 1 << 18,
            Branch::Bit { .. } => 1 << 13,
        }
    }

    const fn word(self, words: i32) -> u32 {
        match self {
            Branch::Always => flow::b(words),
            Branch::Link => flow::bl(words),
            Branch::If(cond) => flow::b_cond(cond, words),
            Branch::Zero { nonzero, width, reg } => flow::cbz(nonzero, width, reg, words),
            Branch::Bit { nonzero, bit, reg } => flow::tbz(nonzero, bit, reg, words),
            Branch::Address(reg) => flow::adr(reg, words),
        }
    }
}

/// Counts and, in the last pass, writes.
pub(crate) struct Emit<'o> {
    /// Where words go; none while only lengths or times are wanted.
    pub out: Option<&'o mut [u32]>,
    /// Word index of each slot's code, known in the last pass.
    pub offsets: Option<&'o [u32]>,
    /// Run address of word 0, for calls to absolute addresses.
    pub base: u64,
    /// Next word's index.
    pub at: u32,
    /// Time of all words so far, by `core`.
    pub time: u64,
    pub core: &'o CoreModel,
    /// A branch did not reach, or the buffer was too small.
    pub failed: bool,
}

impl<'o> Emit<'o> {
    /// A sink that only counts.
    pub fn meter(core: &'o CoreModel) -> Self {
        Emit {
            out: None,
            offsets: None,
            base: 0,
            at: 0,
            time: 0,
            core,
            failed: false,
        }
    }

    pub fn put(&mut self, class: A64Class, word: u32) {
        if let Some(out) = self.out.as_deref_mut() {
            match out.get_mut(self.at as usize) {
                Some(place) => *place = word,
                None => self.failed = true,
            }
        }
        self.at = self.at.saturating_add(1);
        self.time = self.time.saturating_add(self.core.class(class) as u64);
    }

    pub fn alu(&mut self, word: u32) {
        self.put(A64Class::Alu, word);
    }

    /// A branch to the code of slot `target`, less `back` words (a function's prologue lies before its slot).
    pub fn branch(&mut self, branch: Branch, target: u32, back: u32) {
        let to = match self.offsets {
            None => self.at as i64,
            Some(offsets) => match offsets.get(target as usize) {
                Some(&word) => word as i64 - back as i64,
                None => {
                    self.failed = true;
                    return;
                }
            },
        };
        self.branch_words(branch, to - self.at as i64);
    }

    fn branch_words(&mut self, branch: Branch, words: i64) {
        if words >= branch.reach() || words < -branch.reach() {
            self.failed = true;
        }
        let class = if matches!(branch, Branch::Address(_)) {
            A64Class::Alu
        } else {
            A64Class::Branch
        };
        self.put(class, branch.word(words as i32));
    }

    /// `BL` to an absolute run address.
    pub fn call_near(&mut self, address: u64) {
        let here = self.base.wrapping_add(self.at as u64 * 4);
        let words = if self.out.is_some() {
            (address.wrapping_sub(here) as i64) / 4
        } else {
            0
        };
        self.branch_words(Branch::Link, words);
    }

    /// The shortest way to a constant.
    pub fn constant(&mut self, width: Width, rd: Reg, value: u64) {
        use alu::Wide;
        let (plan, _) = imm::mov(value, width);
        let chunk = |shift: u32| (value >> shift) as u16;
        let fill = match plan {
            imm::Plan::Logical(field) => return self.alu(alu::logic_imm(alu::Logic::Orr, width, rd, Reg::ZR, field)),
            imm::Plan::Patched(field, shift) => {
                self.alu(alu::logic_imm(alu::Logic::Orr, width, rd, Reg::ZR, field));
                return self.alu(alu::wide(Wide::Movk, width, rd, chunk(shift), shift));
            }
            imm::Plan::Zero => 0,
            imm::Plan::Ones => 0xffff,
        };
        let mut first = true;
        let mut shift = 0;
        while shift < width.bits() {
            let is_last_chance = first && shift + 16 == width.bits();
            if chunk(shift) != fill || is_last_chance {
                let (op, bits) = match (first, fill) {
                    (false, _) => (Wide::Movk, chunk(shift)),
                    (true, 0) => (Wide::Movz, chunk(shift)),
                    (true, _) => (Wide::Movn, !chunk(shift)),
                };
                self.alu(alu::wide(op, width, rd, bits, shift));
                first = false;
            }
            shift += 16;
        }
    }
}
