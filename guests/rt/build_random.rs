// Random programs and what the reference interpreter says of them: included by build.rs.
//
// A program computes on all registers and the stack, folds the registers into one value, and stores it in its map. The
// guest compares what the hypervisor's compiled code stored. The registers start as constants plus a zero that the
// verifier cannot know to be one (time XOR time), so that nothing is decided before it runs.

use probe_vm::interp::{Code, Insn, Start, run};
use probe_vm::interp::{Backing, Space};

/// Programs made.
const PROGRAMS: u64 = 96;
/// Operations between prologue and fold.
const OPERATIONS: u64 = 48;
/// Branches at most: a verifier may look at each way of each.
const BRANCHES_MAX: u64 = 6;
/// Words of stack the operations use, below r10.
const STACK_WORDS: i16 = 8;
const SEED: u64 = 0x6a69_7431;

/// SplitMix64, as in the runtime.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Constants with their edges often.
    fn constant(&mut self) -> u64 {
        match self.below(6) {
            0 => [0, 1, 2, u64::MAX, 1 << 63, 1 << 31, u32::MAX as u64, i32::MIN as u64][self.below(8) as usize],
            1 => self.next() as u32 as u64,
            2 => self.next() as i32 as i64 as u64,
            _ => self.next(),
        }
    }
}

fn lddw(dst: u8, value: u64) -> [Slot; 2] {
    [insn(LDDW, dst, 0, 0, value as i32), insn(0, 0, 0, 0, (value >> 32) as i32)]
}

/// r9 = 0: in the hypervisor so that it is not known; for the interpreter, which has no context, plainly. Equally long.
fn zero(known: bool) -> Vec<Slot> {
    if known {
        vec![insn(MOV_IMM, 9, 0, 0, 0); 3]
    } else {
        vec![insn(LDXDW, 9, 1, 0, 0), insn(MOV_REG, 8, 9, 0, 0), insn(0xaf, 9, 8, 0, 0)]
    }
}

/// One ALU operation of any kind and width.
fn alu(rng: &mut Rng) -> Slot {
    let (dst, src) = (rng.below(10) as u8, rng.below(10) as u8);
    let wide = rng.below(2) == 0;
    let class = if wide { 0x07 } else { 0x04 };
    let bits = if wide { 64 } else { 32 };
    match rng.below(14) {
        8 => insn(0x80 | class, dst, 0, 0, 0),
        // Byte order: to little, to big endian, or swapped.
        13 => insn([0xd4, 0xdc, 0xd7][rng.below(3) as usize], dst, 0, 0, [16, 32, 64][rng.below(3) as usize]),
        // Moves, half of them with sign extension.
        11 if rng.below(2) == 0 => {
            let from = [8, 16, 32][rng.below(if wide { 3 } else { 2 }) as usize];
            insn(0xb8 | class, dst, src, from, 0)
        }
        code => {
            // Division and remainder, signed by offset 1.
            let signed = if code == 3 || code == 9 { rng.below(2) as i16 } else { 0 };
            let op = (code as u8) << 4 | class;
            if rng.below(2) == 0 {
                insn(op | 0x08, dst, src, signed, 0)
            } else {
                let imm = match code {
                    6 | 7 | 12 => rng.below(bits) as i32,
                    3 | 9 => (rng.next() as i32).max(1) * if rng.below(2) == 0 { 1 } else { -1 },
                    _ => rng.constant() as i32,
                };
                insn(op, dst, 0, signed, imm)
            }
        }
    }
}

/// A store to or a load from the stack, of any width, loads with either extension.
fn memory(rng: &mut Rng) -> Slot {
    let (size, bytes) = [(0x10, 1), (0x08, 2), (0x00, 4), (0x18, 8)][rng.below(4) as usize];
    let slots = u64::from(STACK_WORDS as u16) * 8 / bytes;
    let offset = -(((1 + rng.below(slots)) * bytes) as i16);
    let register = rng.below(10) as u8;
    match rng.below(4) {
        0 => insn(0x62 | size, 10, 0, offset, rng.next() as i32),
        1 => insn(0x63 | size, 10, register, offset, 0),
        2 if bytes < 8 => insn(0x81 | size, register, 10, offset, 0),
        _ => insn(0x61 | size, register, 10, offset, 0),
    }
}

/// A conditional jump over the next operation.
fn branch(rng: &mut Rng) -> Slot {
    let code = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xa, 0xb, 0xc, 0xd][rng.below(11) as usize] << 4;
    let class = if rng.below(2) == 0 { 0x05 } else { 0x06 };
    if rng.below(2) == 0 {
        insn(code | class | 0x08, rng.below(10) as u8, rng.below(10) as u8, 1, 0)
    } else {
        insn(code | class, rng.below(10) as u8, 0, 1, rng.constant() as i32)
    }
}

/// Everything between the zero and the end: r0 is the result.
fn body(rng: &mut Rng) -> Vec<Slot> {
    let mut slots = Vec::new();
    for register in 0..9 {
        slots.extend(lddw(register, rng.constant()));
        slots.push(insn(0x0f, register, 9, 0, 0));
    }
    for word in 1..=STACK_WORDS {
        slots.push(insn(STXDW, 10, (word % 10) as u8, -8 * word, 0));
    }
    let mut branches = 0;
    for _ in 0..OPERATIONS {
        if branches < BRANCHES_MAX && rng.below(8) == 0 {
            branches += 1;
            slots.push(branch(rng));
            slots.push(alu(rng));
        }
        slots.push(if rng.below(4) == 0 { memory(rng) } else { alu(rng) });
    }
    for register in 1..10 {
        slots.push(insn(0x27, 0, 0, 0, 31));
        slots.push(insn(0x0f, 0, register, 0, 0));
    }
    slots
}

/// Stores r0 in entry 0 of the map.
fn store() -> Vec<Slot> {
    let below = -8 * (STACK_WORDS + 1);
    let mut slots = vec![insn(STXDW, 10, 0, below, 0), insn(STW, 10, 0, below - 4, 0)];
    slots.extend(lookup());
    let key = slots.len() - 2;
    slots[key] = insn(ADD_IMM, 2, 0, 0, i32::from(below - 4));
    slots.extend(unless_null(vec![insn(LDXDW, 1, 10, below, 0), insn(STXDW, 0, 1, 0, 0)]));
    slots.extend(end());
    slots
}

fn interpret(slots: &[Slot]) -> u64 {
    let words: Vec<u64> = slots.iter().map(|slot| u64::from_le_bytes(*slot)).collect();
    let mut buffer = vec![Insn::EMPTY; words.len()];
    let code = Code::new(&words, &mut buffer).expect("the generator knows its opcodes");
    let mut stack = [0; 512];
    let mut space = Space::new();
    let base = space.add(Backing::Bytes(&mut stack)).expect("one region fits");
    let start = Start { args: [0; 2], stack_top: base + 512, fuel: 1 << 16 };
    run(code, start, &mut space, &mut (), &mut ()).expect("the generator stays in its stack").r0
}

/// Images and what each must store.
fn random_programs(point: &Point, map: MapDef) -> Vec<(Vec<u8>, u64)> {
    let mut rng = Rng(SEED);
    let mut made = Vec::new();
    for _ in 0..PROGRAMS {
        let body = body(&mut rng);
        let program = |known, last: Vec<Slot>| [zero(known), body.clone(), last].concat();
        let expected = interpret(&program(true, vec![insn(EXIT, 0, 0, 0, 0)]));
        made.push((image("random", point, Some(("result", map)), &program(false, store())), expected));
    }
    made
}
