//! Time of instructions on a core: worst latencies by class, and what is certainly in its first-level caches.
//!
//! Under random replacement a line is certainly there only until another line of its set may be fetched, whatever the number
//! of ways. Of instructions every address is known; of data mostly not, so that only the last line accessed is counted on.

use crate::inst::{Flow, Inst, Op};
use crate::sorted::Sorted;
use crate::state::Value;

/// Classes of instructions with a latency of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Integer operations between registers.
    Alu,
    /// Multiplication.
    Multiply,
    /// Division, and what is not told apart from it.
    Divide,
    /// Load.
    Load,
    /// Store.
    Store,
    /// Any change of control.
    Branch,
    /// Vector and floating point.
    Vector,
    /// Exclusive and atomic accesses.
    Atomic,
    /// System registers, barriers, maintenance.
    System,
}

/// A core's times, in cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Worst latency of [`Class::Alu`], and so on in the order of the classes.
    pub latencies: [u64; 9],
    /// Bytes of a line of either cache.
    pub line: u64,
    /// Sets of the instruction cache.
    pub sets: u64,
    /// Fetching a line of instructions, with the walk of the translation tables.
    pub instruction_miss: u64,
    /// The same of data.
    pub data_miss: u64,
}

/// What is certainly in the caches.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resident {
    /// Set → line of instructions.
    lines: Sorted<u64, u64>,
    /// The last access to data: address and bytes.
    last: Option<(Value, u64)>,
}

/// SYS and SYSL: maintenance of caches and TLBs among them (Arm ARM C4.1, system instructions).
const fn is_maintenance(bits: u32) -> bool {
    bits & 0xffd8_0000 == 0xd508_0000
}

/// Barriers and hints but NOP (Arm ARM C4.1).
const fn is_barrier(bits: u32) -> bool {
    bits & 0xffff_f000 == 0xd503_3000 || bits & 0xffff_f01f == 0xd503_201f && bits != NOP
}

const NOP: u32 = 0xd503_201f;

/// Atomic instructions of FEAT_LSE: CAS, CASP, SWP and the LD operations (Arm ARM C4.1, loads and stores).
pub const fn is_lse(bits: u32) -> bool {
    let compare = bits & 0x3fa0_7c00 == 0x08a0_7c00 || bits & 0xbfa0_7c00 == 0x0820_7c00;
    let operation = bits & 0x3f20_0c00 == 0x3820_0000;
    compare || operation
}

impl Class {
    /// The class of an instruction.
    pub fn of(inst: &Inst) -> Class {
        if inst.flow != Flow::Next {
            return Class::Branch;
        }
        match inst.op {
            Op::Load { .. } | Op::LoadOpaque { .. } => Class::Load,
            Op::Store { .. } | Op::StoreOpaque { .. } => Class::Store,
            Op::Atomic { .. } => Class::Atomic,
            Op::MulAdd { .. } | Op::UMulAddL { .. } => Class::Multiply,
            Op::UDiv { .. } => Class::Divide,
            Op::Mrs { .. } | Op::Msr { .. } | Op::Service => Class::System,
            // Bits 28 to 25 of x111 are data processing of vectors (Arm ARM C4.1).
            Op::None | Op::Clobber { .. } if inst.bits >> 25 & 7 == 7 => Class::Vector,
            Op::None if is_maintenance(inst.bits) || is_barrier(inst.bits) => Class::System,
            // What is clobbered may be a quotient.
            Op::Clobber { .. } => Class::Divide,
            _ => Class::Alu,
        }
    }
}

impl Timing {
    /// Worst latency where every access hits.
    pub fn latency(&self, inst: &Inst) -> u64 {
        self.latencies[Class::of(inst) as usize]
    }
}

impl Resident {
    /// Time of an instruction; `access`: the address and bytes of its access to data.
    pub fn time(&mut self, timing: &Timing, inst: &Inst, access: Option<(Value, u64)>) -> u64 {
        let mut time = timing.latency(inst);
        let line = inst.pc / timing.line;
        if self.lines.get(&(line % timing.sets)) != Some(&line) {
            time += timing.instruction_miss;
            self.lines.insert(line % timing.sets, line);
        }
        if let Some((at, bytes)) = access {
            time += self.data(timing, at, bytes);
        }
        if is_maintenance(inst.bits) {
            *self = Resident::default();
        }
        time
    }

    fn data(&mut self, timing: &Timing, at: Value, bytes: u64) -> u64 {
        let hits = self.last.is_some_and(|(last, size)| last == at && bytes <= size);
        self.last = Some((at, bytes));
        if hits {
            return 0;
        }
        // Where an access lies in its line is known of absolute addresses only: others may reach into two lines.
        let lines = match at.as_exact() {
            Some(first) if first / timing.line == (first + bytes.max(1) - 1) / timing.line => 1,
            _ if bytes > 1 => 2,
            _ => 1,
        };
        lines * timing.data_miss
    }

    /// Keeps what `other` has, too.
    pub fn meet(&mut self, other: &Resident) {
        if !self.lines.is_shared(&other.lines) {
            self.lines.retain(|set, line| other.lines.get(set) == Some(line));
        }
        self.last = self.last.filter(|last| other.last == Some(*last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    const TIMING: Timing = Timing {
        latencies: [4, 5, 36, 6, 7, 10, 33, 40, 41],
        line: 64,
        sets: 256,
        instruction_miss: 100,
        data_miss: 1000,
    };

    #[test]
    fn classes_are_those_of_the_words() {
        for (bits, class) in [
            (0x9100_0400u32, Class::Alu),   // add x0, x0, #1
            (0x9b00_7c00, Class::Multiply), // mul x0, x0, x0
            (0x9ac1_0800, Class::Divide),   // udiv x0, x0, x1
            (0x9ac1_0c00, Class::Divide),   // sdiv x0, x0, x1
            (0xf940_0000, Class::Load),     // ldr x0, [x0]
            (0xf900_0000, Class::Store),    // str x0, [x0]
            (0xd65f_03c0, Class::Branch),   // ret
            (0xd503_201f, Class::Alu),      // nop
            (0xd503_3fdf, Class::System),   // isb
            (0xd50c_871f, Class::System),   // tlbi alle2
            (0xd53b_e040, Class::System),   // mrs x0, cntvct_el0
            (0xb8e0_0020, Class::Atomic),   // ldaddal w0, w0, [x1]
            (0x1e62_1820, Class::Vector),   // fdiv d0, d1, d2
        ] {
            let inst = decode(0, bits).unwrap();
            assert_eq!(Class::of(&inst), class, "{bits:#x}");
        }
        assert!(is_lse(0xb8e0_0020) && is_lse(0xc8e0_7c41) && !is_lse(0xf940_0000) && !is_lse(0xc85f_7c00));
    }

    /// Two lines of one set push each other out; a line of another set stays.
    #[test]
    fn a_line_is_there_until_its_set_is_fetched_into() {
        let mut resident = Resident::default();
        let mut add = |pc: u64| resident.time(&TIMING, &decode(pc, 0x9100_0400).unwrap(), None);
        let same_set = 64 * 256;
        assert_eq!([add(0), add(60), add(64)], [104, 4, 104]);
        assert_eq!([add(same_set), add(64), add(0)], [104, 4, 104]);
    }

    #[test]
    fn data_hits_only_where_the_same_was_accessed_last() {
        let mut resident = Resident::default();
        let load = decode(0, 0xf940_0000).unwrap();
        let exact = Value::exact;
        let unknown = Value {
            base: 7,
            index: 0,
            add: 8,
        };
        let mut at = |value| resident.time(&TIMING, &load, Some((value, 8)));
        assert_eq!(at(exact(0x100)), 6 + 100 + 1000);
        assert_eq!(at(exact(0x100)), 6);
        assert_eq!([at(unknown), at(unknown), at(exact(0x100))], [2006, 6, 1006]);
        assert_eq!(at(exact(0x13c)), 2006, "over the end of a line");
    }

    #[test]
    fn only_what_both_ways_have_stays() {
        let word = |pc| decode(pc, 0x9100_0400).unwrap();
        let (mut a, mut b) = (Resident::default(), Resident::default());
        a.time(&TIMING, &word(0), None);
        a.time(&TIMING, &word(64), None);
        b.time(&TIMING, &word(64), None);
        a.meet(&b);
        assert_eq!(
            [a.time(&TIMING, &word(64), None), a.time(&TIMING, &word(0), None)],
            [4, 104]
        );
    }
}
