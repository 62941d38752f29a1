//! eBPF instructions as text, in the notation of LLVM and bpftool (RFC 9669 gives the encodings).

/// One decoded field set of a slot (RFC 9669 section 3).
#[derive(Clone, Copy)]
struct Slot {
    op: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

fn slot(bytes: [u8; 8]) -> Slot {
    let [op, regs, o0, o1, i0, i1, i2, i3] = bytes;
    Slot {
        op,
        dst: regs & 15,
        src: regs >> 4,
        off: i16::from_le_bytes([o0, o1]),
        imm: i32::from_le_bytes([i0, i1, i2, i3]),
    }
}

/// What an instruction's operand is called, where relocations or symbols know it.
pub trait Names {
    /// Name of the thing that the 64-bit immediate at `pc` refers to.
    fn wide(&self, pc: usize) -> Option<String>;
    /// Name of the function called at `pc`.
    fn callee(&self, pc: usize) -> Option<String>;
}

/// The text of the instruction at `pc`, and how many slots it takes (2 for a 64-bit immediate, else 1).
///
/// # Panics
/// If `pc` is not an index of `slots`.
pub fn insn(slots: &[[u8; 8]], pc: usize, names: &dyn Names) -> (String, usize) {
    let s = slot(slots[pc]);
    if s.op == 0x18 {
        let Some(next) = slots.get(pc + 1) else {
            return (unknown(s), 1);
        };
        return (wide(s, slot(*next).imm, pc, names), 2);
    }
    let text = match s.op & 7 {
        0 => legacy_packet(s),
        1 => load(s),
        2 | 3 => store(s),
        4 => alu(s, 'w'),
        7 => alu(s, 'r'),
        5 => jump(s, pc, 'r', names),
        _ => jump(s, pc, 'w', names),
    };
    (text.unwrap_or_else(|| unknown(s)), 1)
}

fn unknown(s: Slot) -> String {
    format!(
        "<unknown opcode 0x{:02x}, dst r{}, src r{}, offset {}, imm {}>",
        s.op, s.dst, s.src, s.off, s.imm
    )
}

/// Load of a 64-bit immediate; the source register says what it means (RFC 9669 section 5.4).
fn wide(s: Slot, high: i32, pc: usize, names: &dyn Names) -> String {
    let value = (s.imm as u32 as u64) | ((high as u32 as u64) << 32);
    let named = names.wide(pc);
    let what = match (s.src, named) {
        (_, Some(name)) => name,
        (0, None) => format!("0x{value:x}"),
        (1, None) => format!("map[{}]", s.imm),
        (2, None) => format!("map[{}].value + {high}", s.imm),
        (3, None) => format!("variable[{}]", s.imm),
        (4, None) => format!("code {:+}", s.imm),
        (5, None) => format!("map by index {}", s.imm),
        (6, None) => format!("map by index {}.value + {high}", s.imm),
        (n, None) => format!("0x{value:x} (type {n})"),
    };
    format!("r{} = {what} ll", s.dst)
}

fn size_name(op: u8) -> &'static str {
    match op & 0x18 {
        0x00 => "u32",
        0x08 => "u16",
        0x10 => "u8",
        _ => "u64",
    }
}

fn address(reg: u8, off: i16) -> String {
    let sign = if off < 0 { '-' } else { '+' };
    format!("(r{reg} {sign} {:#x})", off.unsigned_abs())
}

/// `ld_abs`, `ld_ind`: packet access of classic BPF (RFC 9669 section 5.5, deprecated).
fn legacy_packet(s: Slot) -> Option<String> {
    let size = size_name(s.op);
    match s.op & 0xe0 {
        0x20 => Some(format!("r0 = *({size} *)skb[{}]", s.imm)),
        0x40 => Some(format!("r0 = *({size} *)skb[r{} {:+}]", s.src, s.imm)),
        _ => None,
    }
}

fn load(s: Slot) -> Option<String> {
    let size = size_name(s.op);
    let at = address(s.src, s.off);
    match s.op & 0xe0 {
        0x60 => Some(format!("r{} = *({size} *){at}", s.dst)),
        0x80 if size != "u64" => Some(format!("r{} = *({} *){at}", s.dst, size.replace('u', "s"))),
        _ => None,
    }
}

fn store(s: Slot) -> Option<String> {
    let size = size_name(s.op);
    let at = address(s.dst, s.off);
    match (s.op & 7, s.op & 0xe0) {
        (2, 0x60) => Some(format!("*({size} *){at} = {}", s.imm)),
        (3, 0x60) => Some(format!("*({size} *){at} = r{}", s.src)),
        (3, 0xc0) => atomic(s, &at),
        _ => None,
    }
}

fn atomic(s: Slot, at: &str) -> Option<String> {
    let (size, r) = match s.op & 0x18 {
        0x00 => ("u32", 'w'),
        0x18 => ("u64", 'r'),
        _ => return None,
    };
    let suffix = if r == 'w' { "32_" } else { "_" };
    let src = s.src;
    let (sign, word) = match s.imm & !1 {
        0x00 => ("+", "add"),
        0x40 => ("|", "or"),
        0x50 => ("&", "and"),
        0xa0 => ("^", "xor"),
        0xe0 if s.imm == 0xe1 => return Some(format!("{r}{src} = xchg{suffix}{}({at}, {r}{src})", &size[1..])),
        0xf0 if s.imm == 0xf1 => return Some(format!("{r}0 = cmpxchg{suffix}{}({at}, {r}0, {r}{src})", &size[1..])),
        _ => return None,
    };
    if s.imm & 1 == 0 {
        return Some(format!("lock *({size} *){at} {sign}= {r}{src}"));
    }
    Some(format!("{r}{src} = atomic_fetch_{word}(({size} *){at}, {r}{src})"))
}

fn alu(s: Slot, r: char) -> Option<String> {
    let d = s.dst;
    let operand = if s.op & 8 != 0 {
        format!("{r}{}", s.src)
    } else {
        s.imm.to_string()
    };
    let plain = |sign: &str| Some(format!("{r}{d} {sign}= {operand}"));
    match (s.op >> 4, s.off) {
        (0x0, 0) => plain("+"),
        (0x1, 0) => plain("-"),
        (0x2, 0) => plain("*"),
        (0x3, 0) => plain("/"),
        (0x3, 1) => plain("s/"),
        (0x4, 0) => plain("|"),
        (0x5, 0) => plain("&"),
        (0x6, 0) => plain("<<"),
        (0x7, 0) => plain(">>"),
        (0x8, 0) if s.op & 8 == 0 => Some(format!("{r}{d} = -{r}{d}")),
        (0x9, 0) => plain("%"),
        (0x9, 1) => plain("s%"),
        (0xa, 0) => plain("^"),
        (0xb, 0) => Some(format!("{r}{d} = {operand}")),
        (0xb, 8 | 16 | 32) if s.op & 8 != 0 => Some(format!("{r}{d} = (s{}){operand}", s.off)),
        (0xc, 0) => plain("s>>"),
        (0xd, 0) if matches!(s.imm, 16 | 32 | 64) => {
            let order = match (r, s.op & 8) {
                ('r', 0) => "bswap",
                ('r', _) => return None,
                (_, 0) => "le",
                _ => "be",
            };
            Some(format!("r{d} = {order}{} r{d}", s.imm))
        }
        _ => None,
    }
}

fn jump(s: Slot, pc: usize, r: char, names: &dyn Names) -> Option<String> {
    let target = |delta: i64| format!("goto {:+} <{}>", delta, pc as i64 + 1 + delta);
    let sign = match s.op >> 4 {
        0x0 if r == 'r' => return Some(target(i64::from(s.off))),
        0x0 => return Some(target(i64::from(s.imm)).replacen("goto", "gotol", 1)),
        0x8 if r == 'r' => return call(s, pc, names),
        0x9 if r == 'r' => return Some("exit".into()),
        0x1 => "==",
        0x2 => ">",
        0x3 => ">=",
        0x4 => "&",
        0x5 => "!=",
        0x6 => "s>",
        0x7 => "s>=",
        0xa => "<",
        0xb => "<=",
        0xc => "s<",
        0xd => "s<=",
        _ => return None,
    };
    let operand = if s.op & 8 != 0 {
        format!("{r}{}", s.src)
    } else {
        s.imm.to_string()
    };
    Some(format!("if {r}{} {sign} {operand} {}", s.dst, target(i64::from(s.off))))
}

fn call(s: Slot, pc: usize, names: &dyn Names) -> Option<String> {
    if s.op & 8 != 0 {
        return Some(format!("callx r{}", if s.imm != 0 { s.imm as u8 } else { s.dst }));
    }
    let named = names.callee(pc);
    Some(match (s.src, named) {
        (_, Some(name)) => format!("call {name}"),
        (0, None) => format!("call helper {}", s.imm),
        (1, None) => format!("call {:+} <{}>", s.imm, pc as i64 + 1 + i64::from(s.imm)),
        (2, None) => format!("call kernel function {}", s.imm),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is known but the bytes.
    pub struct NoNames;

    impl Names for NoNames {
        fn wide(&self, _: usize) -> Option<String> {
            None
        }
        fn callee(&self, _: usize) -> Option<String> {
            None
        }
    }

    fn check(hex: &str, expect: &[&str]) {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        let slots: Vec<[u8; 8]> = bytes.chunks_exact(8).map(|c| c.try_into().unwrap()).collect();
        let mut got = Vec::new();
        let mut pc = 0;
        while pc < slots.len() {
            let (text, width) = insn(&slots, pc, &NoNames);
            got.push(text);
            pc += width;
        }
        assert_eq!(got, expect);
    }

    #[test]
    fn arithmetic() {
        check("b701000011000000", &["r1 = 17"]);
        check("0c10000000000000", &["w0 += w1"]);
        check("3f21010000000000", &["r1 s/= r2"]);
        check("bf12080000000000", &["r2 = (s8)r1"]);
        check("8700000000000000", &["r0 = -r0"]);
        check("dc01000020000000", &["r1 = be32 r1"]);
        check("d701000040000000", &["r1 = bswap64 r1"]);
        check("c70000003f000000", &["r0 s>>= 63"]);
    }

    #[test]
    fn memory() {
        check("7a0af8ff10010000", &["*(u64 *)(r10 - 0x8) = 272"]);
        check("9112040000000000", &["r2 = *(s8 *)(r1 + 0x4)"]);
        check("db1af8ff51000000", &["r1 = atomic_fetch_and((u64 *)(r10 - 0x8), r1)"]);
        check("c31afcff00000000", &["lock *(u32 *)(r10 - 0x4) += w1"]);
        check("db1af8fff1000000", &["r0 = cmpxchg_64((r10 - 0x8), r0, r1)"]);
        check(
            "1801000001000000000000000200000095000000000000 00"
                .replace(' ', "")
                .as_str(),
            &["r1 = 0x200000001 ll", "exit"],
        );
        check(
            "181100000300000000000000000000 00".replace(' ', "").as_str(),
            &["r1 = map[3] ll"],
        );
    }

    #[test]
    fn jumps() {
        check("5500020010000000", &["if r0 != 16 goto +2 <3>"]);
        check("3e12ffff00000000", &["if w2 >= w1 goto -1 <0>"]);
        check("06000000f6ffffff", &["gotol -10 <-9>"]);
        check("8500000001000000", &["call helper 1"]);
        check("8510000001000000", &["call +1 <2>"]);
    }

    #[test]
    fn any_slot_has_a_text() {
        for op in 0..=255u8 {
            for rest in [[0u8; 7], [0xff; 7], [0x12, 1, 0, 8, 0, 0, 0]] {
                let mut s = [0u8; 8];
                s[0] = op;
                s[1..].copy_from_slice(&rest);
                let (text, width) = insn(&[s], 0, &NoNames);
                assert!(!text.is_empty() && width == 1);
            }
        }
    }
}
