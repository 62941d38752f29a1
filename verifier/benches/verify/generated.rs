//! Programs made for the bench.

use super::random::{Rng, slot};

const EXIT: u64 = slot(0x95, 0, 0, 0, 0);

/// Arithmetic, branches, stack accesses and counted loops, joined as compilers do; `slots` long, always accepted.
pub(super) fn large(slots: usize) -> Vec<u64> {
    let mut rng = Rng(42);
    let mut text = vec![slot(0x79, 6, 1, 0, 0), slot(0xb7, 0, 0, 0, 0), slot(0x7b, 10, 6, -8, 0)];
    while text.len() + 16 < slots {
        let k = rng.below(100) as i32;
        match rng.below(5) {
            0 => text.extend([
                slot(0x25, 6, 0, 2, k),
                slot(0x07, 0, 0, 0, 1),
                slot(0x05, 0, 0, 1, 0),
                slot(0x07, 0, 0, 0, 3),
            ]),
            1 => text.extend([
                slot(0x79, 3, 10, -8, 0),
                slot(0x57, 3, 0, 0, 63),
                slot(0x0f, 0, 3, 0, 0),
            ]),
            2 => text.extend([
                slot(0xb7, 2, 0, 0, 0),
                slot(0x07, 0, 0, 0, 5),
                slot(0x07, 2, 0, 0, 1),
                slot(0xa5, 2, 0, -3, 10 + k),
            ]),
            3 => text.extend([slot(0x61, 4, 1, 16, 0), slot(0x15, 4, 0, 1, k), slot(0x0f, 0, 4, 0, 0)]),
            _ => text.extend([
                slot(0x7b, 10, 0, -16, 0),
                slot(0x79, 5, 10, -16, 0),
                slot(0x67, 5, 0, 0, 2),
            ]),
        }
    }
    text.extend([slot(0xb7, 0, 0, 0, 0), EXIT]);
    text
}

/// Closes a loop: back to `head` while `op` holds of r`reg` and `limit`.
fn back(text: &mut Vec<u64>, head: usize, op: u8, reg: u8, limit: i32) {
    let off = head as i16 - text.len() as i16 - 1;
    text.push(slot(op, reg, 0, off, limit));
}

/// One loop that counts to `n`.
fn counted(n: i32) -> Vec<u64> {
    let mut text = vec![slot(0xb7, 7, 0, 0, 0), slot(0xb7, 0, 0, 0, 0)];
    let head = text.len();
    text.extend([
        slot(0x0f, 0, 7, 0, 0),
        slot(0x57, 0, 0, 0, 0xffff),
        slot(0x07, 7, 0, 0, 1),
    ]);
    back(&mut text, head, 0xa5, 7, n);
    text.push(EXIT);
    text
}

/// Three loops inside each other, `n` rounds each; the innermost has an unpredictable branch.
fn nested(n: i32) -> Vec<u64> {
    let mut text = vec![slot(0x79, 6, 1, 0, 0), slot(0xb7, 0, 0, 0, 0)];
    let mut heads = Vec::new();
    for reg in 7..10 {
        text.push(slot(0xb7, reg, 0, 0, 0));
        heads.push(text.len());
    }
    text.extend([
        slot(0x45, 6, 0, 1, 1),
        slot(0x07, 0, 0, 0, 3),
        slot(0x0f, 0, 9, 0, 0),
        slot(0x77, 6, 0, 0, 1),
    ]);
    for (reg, head) in (7..10).zip(heads).rev() {
        text.push(slot(0x07, reg, 0, 0, 1));
        back(&mut text, head, 0xa5, reg, n);
    }
    text.push(EXIT);
    text
}

/// A loop over the bytes of a map value that is left early by what is read, `rounds` times around.
fn early_exit(rounds: i32) -> Vec<u64> {
    let mut text = vec![slot(0xb7, 8, 0, 0, 0), slot(0xb7, 0, 0, 0, 0)];
    let outer = text.len();
    text.extend([slot(0x18, 9, 2, 0, 0), 0, slot(0xb7, 7, 0, 0, 0)]);
    let head = text.len();
    text.extend([
        slot(0xbf, 2, 9, 0, 0),
        slot(0x0f, 2, 7, 0, 0),
        slot(0x71, 3, 2, 0, 0),
        slot(0x15, 3, 0, 3, 7),
        slot(0x0f, 0, 3, 0, 0),
        slot(0x07, 7, 0, 0, 1),
    ]);
    back(&mut text, head, 0xa5, 7, 8);
    text.push(slot(0x07, 8, 0, 0, 1));
    back(&mut text, outer, 0xa5, 8, rounds);
    text.push(EXIT);
    text
}

/// A loop that counts down and ends by `!=`.
fn down(n: i32) -> Vec<u64> {
    let mut text = vec![slot(0xb7, 7, 0, 0, n), slot(0xb7, 0, 0, 0, 1)];
    let head = text.len();
    text.extend([slot(0x27, 0, 0, 0, 31), slot(0x77, 0, 0, 0, 1), slot(0x17, 7, 0, 0, 1)]);
    back(&mut text, head, 0x55, 7, 0);
    text.push(EXIT);
    text
}

/// `bpf_loop` with `n` rounds of a callback that adds on its caller's stack.
fn callback(n: i32) -> Vec<u64> {
    vec![
        slot(0x7a, 10, 0, -8, 0),
        slot(0xb7, 1, 0, 0, n),
        slot(0x18, 2, 4, 0, 7),
        0,
        slot(0xbf, 3, 10, 0, 0),
        slot(0x07, 3, 0, 0, -8),
        slot(0xb7, 4, 0, 0, 0),
        slot(0x85, 0, 0, 0, 181),
        slot(0x79, 0, 10, -8, 0),
        EXIT,
        slot(0x79, 4, 2, 0, 0),
        slot(0x0f, 4, 1, 0, 0),
        slot(0x7b, 2, 4, 0, 0),
        slot(0xb7, 0, 0, 0, 0),
        EXIT,
    ]
}

/// A loop whose counter doubles a little each round and is followed: its step is not constant.
fn followed(rounds: i32) -> Vec<u64> {
    let mut text = vec![slot(0xb7, 8, 0, 0, 0), slot(0xb7, 0, 0, 0, 0)];
    let outer = text.len();
    text.push(slot(0xb7, 7, 0, 0, 1));
    let head = text.len();
    text.extend([slot(0x0f, 7, 7, 0, 0), slot(0x07, 0, 0, 0, 1)]);
    back(&mut text, head, 0xa5, 7, 1 << 20);
    text.push(slot(0x07, 8, 0, 0, 1));
    back(&mut text, outer, 0xa5, 8, rounds);
    text.push(EXIT);
    text
}

/// Programs of about a million instructions in the worst case.
pub(super) fn millions() -> Vec<(&'static str, Vec<u64>)> {
    vec![
        ("counted", counted(250_000)),
        ("nested", nested(60)),
        ("early_exit", early_exit(17_000)),
        ("down", down(250_000)),
        ("callback", callback(200_000)),
        ("followed", followed(16_000)),
        ("straight", straight()),
    ]
}

/// As long as a program can be, eight times each of a row of loops.
fn straight() -> Vec<u64> {
    let mut text = vec![slot(0xb7, 0, 0, 0, 0), slot(0xb7, 8, 0, 0, 0)];
    let outer = text.len();
    while text.len() < 4_080 {
        text.extend([
            slot(0x61, 4, 1, 16, 0),
            slot(0x57, 4, 0, 0, 15),
            slot(0x0f, 0, 4, 0, 0),
            slot(0x7b, 10, 0, -8, 0),
        ]);
    }
    text.push(slot(0x07, 8, 0, 0, 1));
    back(&mut text, outer, 0xa5, 8, 250);
    text.push(EXIT);
    text
}
