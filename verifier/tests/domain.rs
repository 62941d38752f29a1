//! The abstract number at a width of 8 bits (half: 4), exhaustively against concrete arithmetic.
//!
//! Every tnum and every interval at that width is covered by generators that reach all shapes; for each pair of
//! abstract operands all pairs of members are tried.

use verifier::insn::{AluOp, Cond, Order, Width};
use verifier::scalar::{Num, concrete};
use verifier::tnum::Tnum;

type N = Num<8>;

fn sext(x: u64, bits: u32) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

fn members(n: &N) -> Vec<u64> {
    (0..256).filter(|x| n.contains(*x)).collect()
}

/// A deterministic source of numbers.
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Every constant, every unsigned and signed interval from a grid that holds all the corners, every tnum of a few
/// masks, and random mixtures of all views.
fn samples(count: usize) -> Vec<N> {
    let corners = [0u64, 1, 7, 8, 15, 127, 128, 248, 255];
    let mut all: Vec<N> = corners.iter().map(|c| N::constant(*c)).collect();
    for &a in &corners {
        for &b in &corners {
            if a < b {
                all.push(N::range(a, b));
            }
            if sext(a, 8) < sext(b, 8) {
                all.push(N::signed_range(sext(a, 8), sext(b, 8)));
            }
        }
    }
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    while all.len() < count {
        let mut n = N::UNKNOWN;
        let r = rng.next();
        if r & 1 != 0 {
            let mask = rng.next() & 255;
            n.bits = Tnum {
                value: rng.next() & 255 & !mask,
                mask,
            };
        }
        if r & 2 != 0 {
            let (a, b) = (rng.next() & 255, rng.next() & 255);
            (n.umin, n.umax) = (a.min(b), a.max(b));
        }
        if r & 4 != 0 {
            let (a, b) = (sext(rng.next(), 8), sext(rng.next(), 8));
            (n.smin, n.smax) = (a.min(b), a.max(b));
        }
        if r & 8 != 0 {
            let (a, b) = (rng.next() as u32 & 15, rng.next() as u32 & 15);
            (n.low_umin, n.low_umax) = (a.min(b), a.max(b));
        }
        if r & 16 != 0 {
            let (a, b) = (sext(rng.next(), 4) as i32, sext(rng.next(), 4) as i32);
            (n.low_smin, n.low_smax) = (a.min(b), a.max(b));
        }
        let before = members(&n);
        let mut settled = n;
        let some = settled.settle();
        // Narrowing loses no member.
        for x in &before {
            assert!(some && settled.contains(*x), "settle of {n:?} lost {x}: {settled:?}");
        }
        if some {
            all.push(settled);
        }
    }
    all
}

const OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Sdiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Smod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];

#[test]
fn arithmetic_holds_every_result() {
    let all = samples(150);
    let sets: Vec<Vec<u64>> = all.iter().map(members).collect();
    let mut checked = 0u64;
    for op in OPS {
        for (width, w) in [(Width::W64, 8), (Width::W32, 4)] {
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate().step_by(3) {
                    let r = N::alu(op, width, *a, *b);
                    for &x in &sets[i] {
                        for &y in &sets[j] {
                            let m = (1 << w) - 1;
                            let z = concrete(op, w, x & m, y & m);
                            assert!(r.contains(z), "{op:?} {w}: {x} {y} -> {z} not in {r:?}\n{a:?}\n{b:?}");
                            checked += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{checked} results");
}

/// `concrete` itself against plain 64- and 32-bit Rust arithmetic.
#[test]
fn concrete_is_the_rfc() {
    let xs = [
        0u64,
        1,
        2,
        31,
        32,
        63,
        64,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ];
    for x in xs {
        for y in xs {
            let (sx, sy) = (x as i64, y as i64);
            let (a, b) = (x as u32, y as u32);
            let (sa, sb) = (a as i32, b as i32);
            let c64 = |op| concrete(op, 64, x, y);
            let c32 = |op| concrete(op, 32, a.into(), b.into());
            assert_eq!(c64(AluOp::Div), x.checked_div(y).unwrap_or(0));
            assert_eq!(c64(AluOp::Mod), if y == 0 { x } else { x % y });
            assert_eq!(c64(AluOp::Sdiv), if y == 0 { 0 } else { sx.wrapping_div(sy) as u64 });
            assert_eq!(c64(AluOp::Smod), if y == 0 { x } else { sx.wrapping_rem(sy) as u64 });
            assert_eq!(c64(AluOp::Lsh), x.wrapping_shl(y as u32));
            assert_eq!(c64(AluOp::Rsh), x.wrapping_shr(y as u32));
            assert_eq!(c64(AluOp::Arsh), sx.wrapping_shr(y as u32) as u64);
            assert_eq!(c64(AluOp::Mul), x.wrapping_mul(y));
            assert_eq!(c32(AluOp::Div), u64::from(a.checked_div(b).unwrap_or(0)));
            assert_eq!(c32(AluOp::Mod), u64::from(a.checked_rem(b).unwrap_or(a)));
            assert_eq!(
                c32(AluOp::Sdiv),
                u64::from(if sb == 0 { 0 } else { sa.wrapping_div(sb) as u32 })
            );
            assert_eq!(
                c32(AluOp::Smod),
                u64::from(if sb == 0 { a } else { sa.wrapping_rem(sb) as u32 })
            );
            assert_eq!(c32(AluOp::Lsh), u64::from(a.wrapping_shl(b)));
            assert_eq!(c32(AluOp::Rsh), u64::from(a.wrapping_shr(b)));
            assert_eq!(c32(AluOp::Arsh), u64::from(sa.wrapping_shr(b) as u32));
            assert_eq!(c32(AluOp::Add), u64::from(a.wrapping_add(b)));
            assert_eq!(c32(AluOp::Sub), u64::from(a.wrapping_sub(b)));
        }
    }
}

fn holds(cond: Cond, w: u32, x: u64, y: u64) -> bool {
    let m = (1 << w) - 1;
    let (x, y) = (x & m, y & m);
    let (s, t) = (sext(x, w), sext(y, w));
    match cond {
        Cond::Eq => x == y,
        Cond::Ne => x != y,
        Cond::Gt => x > y,
        Cond::Ge => x >= y,
        Cond::Lt => x < y,
        Cond::Le => x <= y,
        Cond::Set => x & y != 0,
        Cond::Sgt => s > t,
        Cond::Sge => s >= t,
        Cond::Slt => s < t,
        Cond::Sle => s <= t,
    }
}

const CONDS: [Cond; 11] = [
    Cond::Eq,
    Cond::Ne,
    Cond::Gt,
    Cond::Ge,
    Cond::Lt,
    Cond::Le,
    Cond::Set,
    Cond::Sgt,
    Cond::Sge,
    Cond::Slt,
    Cond::Sle,
];

#[test]
fn comparisons_lose_nothing_and_narrow() {
    let all = samples(150);
    let sets: Vec<Vec<u64>> = all.iter().map(members).collect();
    let mut narrowed = 0u64;
    for cond in CONDS {
        for (width, w) in [(Width::W64, 8), (Width::W32, 4)] {
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate().step_by(3) {
                    for outcome in [true, false] {
                        let r = N::refine(cond, width, outcome, *a, *b);
                        for &x in &sets[i] {
                            for &y in &sets[j] {
                                if holds(cond, w, x, y) == outcome {
                                    let ok = r.is_some_and(|(p, q)| p.contains(x) && q.contains(y));
                                    assert!(ok, "{cond:?} {w} {outcome}: lost {x} {y}: {r:?}\n{a:?}\n{b:?}");
                                }
                            }
                        }
                        narrowed += u64::from(r.is_none_or(|(p, q)| p != *a || q != *b));
                    }
                }
            }
        }
    }
    // Not merely sound: most comparisons teach something.
    assert!(narrowed > 100_000, "{narrowed}");
}

/// Against a constant the unsigned and signed ends are cut exactly.
#[test]
fn comparisons_with_constants_are_exact_on_intervals() {
    for c in 0..256u64 {
        let (p, _) = match N::refine(Cond::Lt, Width::W64, true, N::UNKNOWN, N::constant(c)) {
            Some(r) => r,
            None => {
                assert_eq!(c, 0);
                continue;
            }
        };
        assert_eq!((p.umin, p.umax), (0, c - 1));
        let s = sext(c, 8);
        if s > -128 {
            let (p, _) = N::refine(Cond::Slt, Width::W64, true, N::UNKNOWN, N::constant(c)).unwrap();
            assert_eq!((p.smin, p.smax), (-128, s - 1));
        }
        let (p, _) = N::refine(Cond::Eq, Width::W64, true, N::UNKNOWN, N::constant(c)).unwrap();
        assert_eq!(p.as_constant(), Some(c));
    }
    let (p, _) = N::refine(Cond::Ne, Width::W64, true, N::range(5, 9), N::constant(9)).unwrap();
    assert_eq!((p.umin, p.umax), (5, 8));
    let (p, _) = N::refine(Cond::Ne, Width::W64, true, N::range(5, 9), N::constant(5)).unwrap();
    assert_eq!((p.umin, p.umax), (6, 9));
    let (p, _) = N::refine(Cond::Set, Width::W64, false, N::UNKNOWN, N::constant(0xf0)).unwrap();
    assert_eq!(p.umax, 15);
    assert!(N::refine(Cond::Set, Width::W64, true, N::range(0, 15), N::constant(0xf0)).is_none());
}

#[test]
fn joins_meets_and_inclusion() {
    let all = samples(300);
    for a in &all {
        for b in &all {
            let j = a.join(*b);
            assert!(a.subset(&j) && b.subset(&j));
            let m = a.intersect(b);
            let (sa, sb) = (members(a), members(b));
            for x in &sa {
                assert!(j.contains(*x));
                if sb.contains(x) {
                    assert!(m.is_some_and(|m| m.contains(*x)), "{x} lost: {a:?} {b:?}");
                }
            }
            if a.subset(b) {
                assert!(sa.iter().all(|x| sb.contains(x)), "{a:?} is no subset of {b:?}");
            }
        }
    }
}

#[test]
fn extensions_and_swaps() {
    for n in samples(1200) {
        for x in members(&n) {
            for bits in 1..=8 {
                let low = x & ((1u64 << bits) - 1);
                assert!(n.truncated(bits).contains(low), "{n:?} {bits}");
                assert!(
                    n.sign_extended(bits).contains(sext(low, bits) as u64 & 255),
                    "{n:?} {bits}"
                );
            }
            let half = x & 15;
            let moved = N::alu(AluOp::MovSx(4), Width::W64, N::UNKNOWN, n);
            assert!(moved.contains(sext(half, 4) as u64 & 255));
            assert!(N::alu(AluOp::Mov, Width::W32, N::UNKNOWN, n).contains(half));
            let negated = N::alu(AluOp::Neg, Width::W64, n, N::UNKNOWN);
            assert!(negated.contains(x.wrapping_neg() & 255));
        }
    }
    type W = Num<64>;
    for x in [0u64, 1, 0x1234_5678_9abc_def0, u64::MAX, 0x8000_0000_0000_0001] {
        for mask in [0u64, 0xff, 0xff00_0000, 0xf0f0_f0f0_f0f0_f0f0, u64::MAX] {
            let n = W::UNKNOWN
                .intersect(&W {
                    bits: Tnum { value: x & !mask, mask },
                    ..W::UNKNOWN
                })
                .unwrap();
            for (bits, swapped) in [
                (16, u64::from((x as u16).swap_bytes())),
                (32, u64::from((x as u32).swap_bytes())),
                (64, x.swap_bytes()),
            ] {
                assert!(n.swapped(Order::Swap, bits).contains(swapped));
                assert!(n.swapped(Order::ToBe, bits).contains(swapped));
                let low = if bits == 64 { x } else { x & ((1 << bits) - 1) };
                assert!(n.swapped(Order::ToLe, bits).contains(low));
                if mask == 0 {
                    assert_eq!(n.swapped(Order::Swap, bits).as_constant(), Some(swapped));
                }
            }
        }
    }
}

/// All pairs of 8-bit tnums of up to four unknown bits, all members.
#[test]
fn tnum_operations_exhaustively() {
    let mut all = Vec::new();
    for mask in 0..64u64 {
        for value in 0..64u64 {
            if mask & value == 0 {
                all.push(Tnum { value, mask });
            }
        }
    }
    let members = |t: Tnum| (0..64u64).filter(move |x| t.contains(*x));
    for &a in &all {
        for &b in &all {
            let sums = (a.add(b), a.sub(b), a.mul(b), a.and(b), a.or(b), a.xor(b));
            for x in members(a) {
                for y in members(b) {
                    let m = |t: Tnum, z: u64| t.contains(z);
                    assert!(
                        m(sums.0, x + y) && m(sums.1, x.wrapping_sub(y)) && m(sums.2, x * y),
                        "{a:?} {b:?} {x} {y}"
                    );
                    assert!(m(sums.3, x & y) && m(sums.4, x | y) && m(sums.5, x ^ y));
                }
            }
        }
    }
    for lo in 0..64 {
        for hi in lo..64 {
            let t = Tnum::range(lo, hi);
            assert!((lo..=hi).all(|x| t.contains(x)));
        }
    }
}
