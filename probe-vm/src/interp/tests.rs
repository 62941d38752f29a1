extern crate std;
use super::*;
use std::vec;
use std::vec::Vec;

/// Runs a program given as slots; r1 points at 16 bytes, helper 5 returns its first argument.
fn run_slots(slots: &[u64], fuel: u64) -> Result<u64, Fault> {
    struct Unwind;
    impl<M> Helpers<M> for Unwind {
        fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
            (id == 5).then_some(args[0])
        }
        fn map_value(&self, _: u32, _: u64) -> Option<u64> {
            None
        }
    }
    let mut buffer = vec![Insn::EMPTY; slots.len()];
    let code = Code::new(slots, &mut buffer).expect("decodes");
    let (mut stack, mut data) = (vec![0u8; STACK_BYTES], vec![0u8; 16]);
    let mut space = Space::new();
    let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap() + STACK_BYTES as u64;
    let r1 = space.add(Backing::Bytes(&mut data)).unwrap();
    run(
        code,
        Start {
            args: [r1, 16],
            stack_top,
            fuel,
        },
        &mut space,
        &mut Unwind,
        &mut (),
    )
    .map(|d| d.r0)
}

const EXIT: u64 = 0x95;
fn op(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    op as u64 | (dst as u64) << 8 | (src as u64) << 12 | (off as u16 as u64) << 16 | (imm as u32 as u64) << 32
}

#[test]
fn loop_helper_counts_and_stops() {
    // r0 = bpf_loop(10, cb, 0, 0) where cb returns index == 6.
    let slots = [
        op(0xb7, 1, 0, 0, 10),
        op(0x18, 2, 4, 0, 6),
        0,
        op(0xb7, 3, 0, 0, 0),
        op(0xb7, 4, 0, 0, 0),
        op(0x85, 0, 0, 0, 181),
        EXIT,
        EXIT,
        op(0xb7, 0, 0, 0, 0),
        op(0x55, 1, 0, 1, 6),
        op(0xb7, 0, 0, 0, 1),
        EXIT,
    ];
    assert_eq!(run_slots(&slots, 1000), Ok(7));
    let mut too_many = slots;
    too_many[0] = op(0xb7, 1, 0, 0, (LOOPS_MAX + 1) as i32);
    assert_eq!(run_slots(&too_many, 1000), Ok(E2BIG));
    let mut flags = slots;
    flags[4] = op(0xb7, 4, 0, 0, 1);
    assert_eq!(run_slots(&flags, 1000), Ok(EINVAL));
}

#[test]
fn faults_are_named() {
    assert_eq!(run_slots(&[op(0x05, 0, 0, -1, 0)], 9), Err(Fault::OutOfFuel));
    let load = [op(0x79, 0, 1, 9, 0), EXIT];
    assert!(matches!(run_slots(&load, 9), Err(Fault::Access { pc: 0, size: 8, .. })));
    assert_eq!(
        run_slots(&[op(0x85, 0, 0, 0, 77), EXIT], 9),
        Err(Fault::NoHelper { pc: 0, id: 77 })
    );
    assert_eq!(
        run_slots(&[op(0x85, 0, 1, 0, -1), EXIT], 99),
        Err(Fault::TooDeep { pc: 0 })
    );
    assert_eq!(run_slots(&[op(0xb7, 0, 0, 0, 0)], 9), Err(Fault::FellOff { pc: 1 }));
}

#[test]
fn bad_slots_are_refused() {
    let mut buffer = [Insn::EMPTY; 4];
    let mut why = |slots: &[u64]| Code::new(slots, &mut buffer).err().map(|e| e.why);
    assert_eq!(why(&[op(0xff, 0, 0, 0, 0)]), Some(BadWhy::Opcode));
    assert_eq!(why(&[op(0xb7, 10, 0, 0, 0)]), Some(BadWhy::Register));
    assert_eq!(why(&[op(0xb7, 11, 0, 0, 0)]), Some(BadWhy::Register));
    assert_eq!(why(&[op(0x05, 0, 0, 1, 0), EXIT]), Some(BadWhy::Target));
    assert_eq!(why(&[op(0x18, 0, 0, 0, 0)]), Some(BadWhy::Halved));
    assert_eq!(why(&[EXIT; 5]), Some(BadWhy::TooLong));
}

#[test]
fn words_region_is_little_endian_and_bounded() {
    let words: Vec<core::sync::atomic::AtomicU64> = (0..2).map(|_| Default::default()).collect();
    let mut space = Space::new();
    let at = space.add(Backing::Words(&words)).unwrap();
    space.store(at + 4, Size::W, 0x1122_3344).unwrap();
    assert_eq!(space.load(at + 5, Size::B), Some(0x33));
    assert_eq!(space.load(at, Size::X), Some(0x1122_3344_0000_0000));
    assert_eq!(space.load(at + 6, Size::W), None);
    assert_eq!(space.load(at + 16, Size::B), None);
    assert_eq!(space.store(at + 16, Size::B, 1), None);
}

#[test]
fn trace_sees_every_step() {
    struct Count(u64, Vec<usize>);
    impl<M> Trace<M> for Count {
        fn step(&mut self, step: Step<'_>, _: &M) {
            assert_eq!(step.executed, self.0);
            self.0 += 1;
            self.1.push(step.pc);
        }
    }
    let slots = [
        op(0x18, 0, 0, 0, 1),
        0,
        op(0x85, 0, 1, 0, 1),
        EXIT,
        op(0x07, 0, 0, 0, 1),
        EXIT,
    ];
    let mut buffer = [Insn::EMPTY; 6];
    let code = Code::new(&slots, &mut buffer).unwrap();
    let mut trace = Count(0, vec![]);
    let start = Start {
        args: [0; 2],
        stack_top: 0,
        fuel: 99,
    };
    let done = run(code, start, &mut Space::new(), &mut (), &mut trace).unwrap();
    assert_eq!(done, Done { r0: 2, executed: 5 });
    assert_eq!(trace.1, [0, 2, 4, 5, 3]);
}
