//! Every operation holds every concrete result, on all small ranges.

use super::*;

/// All ranges over five-bit numbers that one can write down, with the numbers they hold.
fn samples() -> Vec<(Range, Vec<u64>)> {
    let mut out = Vec::new();
    for lo in 0..20u64 {
        for hi in lo..20 {
            for stride in [1u64, 2, 3, 4, 6] {
                for (bits, known) in [(0u64, 0u64), (1, 1), (0, 3), (4, 4), (2, 6)] {
                    let raw = Range {
                        lo,
                        hi,
                        stride,
                        bits,
                        unknown: !known,
                        ones: 64,
                    };
                    let held: Vec<u64> = (lo..=hi)
                        .filter(|v| (v - lo) % stride == 0 && (v ^ bits) & known == 0)
                        .collect();
                    if let Some(range) = raw.tighten() {
                        assert!(held.iter().all(|v| range.contains(*v)), "{raw:?} {range:?} {held:?}");
                        out.push((range, held));
                    } else {
                        assert!(held.is_empty(), "{raw:?} holds {held:?}");
                    }
                }
            }
        }
    }
    out
}

#[test]
fn unary_operations_hold_every_concrete_result() {
    for (range, held) in samples() {
        for c in [0u64, 1, 2, 3, 5, 8, 13] {
            let check = |name: &str, got: Option<Range>, f: &dyn Fn(u64) -> u64| {
                if let Some(got) = got {
                    for v in &held {
                        assert!(
                            got.contains(f(*v)),
                            "{name} {c} of {range:?}: {v} gives {} not in {got:?}",
                            f(*v)
                        );
                    }
                }
            };
            check("add", range.add_const(c), &|v| v + c);
            check("and", Some(range.and_const(c)), &|v| v & c);
            check("eor", Some(range.eor_const(c)), &|v| v ^ c);
            check("low", Some(range.low_bits(7)), &|v| v & 7);
            check("clear", Some(range.without_lowest_one()), &|v| v & v.wrapping_sub(1));
            check("shl", range.shl(c as u32), &|v| v << c);
            check("shr", Some(range.shr(c as u32)), &|v| v >> c);
            check("mul", range.mul_const(c), &|v| v * c);
            let without = range.without(c);
            for v in held.iter().filter(|v| **v != c) {
                assert!(
                    without.is_some_and(|w| w.contains(*v)),
                    "without {c} of {range:?} loses {v}"
                );
            }
        }
    }
}

#[test]
fn binary_operations_hold_every_concrete_result() {
    let all = samples();
    for (a, held_a) in all.iter().step_by(37) {
        for (b, held_b) in all.iter().step_by(53) {
            let (join, meet, or, add, eor) = (a.join(*b), a.meet(*b), a.or(*b), a.add(*b), a.eor(*b));
            assert!(
                held_a.iter().chain(held_b).all(|v| join.contains(*v)),
                "{a:?} {b:?} join {join:?}"
            );
            for v in held_a {
                if held_b.contains(v) {
                    assert!(
                        meet.is_some_and(|m| m.contains(*v)),
                        "meet of {a:?} {b:?} loses {v}: {meet:?}"
                    );
                }
                for w in held_b {
                    assert!(or.contains(v | w), "{v}|{w} not in {or:?}");
                    assert!(eor.contains(v ^ w), "{v}^{w} not in {eor:?}");
                    assert!(add.is_none_or(|r| r.contains(v + w)), "{v}+{w} not in {add:?}");
                }
            }
        }
    }
}
