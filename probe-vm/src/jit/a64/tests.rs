//! Every encoder against GNU `as`: the same instruction as text, over a grid of operands.
extern crate std;
use super::alu::*;
use super::flow::*;
use super::mem::*;
use super::*;
use std::format;
use std::process::Command;
use std::string::{String, ToString};
use std::vec::Vec;

/// A deterministic walk over operands (xorshift64*).
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    fn reg(&mut self) -> Reg {
        Reg(self.below(31) as u8)
    }
    fn width(&mut self) -> Width {
        if self.below(2) == 0 { Width::W } else { Width::X }
    }
}

fn x(r: Reg) -> String {
    if r.0 == 31 {
        "xzr".to_string()
    } else {
        format!("x{}", r.0)
    }
}
fn r(w: Width, r: Reg) -> String {
    let p = if w == Width::W { "w" } else { "x" };
    if r.0 == 31 {
        format!("{p}zr")
    } else {
        format!("{p}{}", r.0)
    }
}

type Cases = Vec<(u32, String)>;

fn alu_cases(g: &mut Rng, out: &mut Cases) {
    let (w, d, n, m, a) = (g.width(), g.reg(), g.reg(), g.reg(), g.reg());
    let (rd, rn, rm, ra) = (r(w, d), r(w, n), r(w, m), r(w, a));
    let imm = (g.below(4096) as u32, g.below(2) == 1);
    let lsl = if imm.1 { ", lsl #12" } else { "" };
    for (op, name) in [
        (AddSub::Add, "add"),
        (AddSub::Adds, "adds"),
        (AddSub::Sub, "sub"),
        (AddSub::Subs, "subs"),
    ] {
        out.push((
            add_sub_imm(op, w, d, n, imm),
            format!("{name} {rd}, {rn}, #{}{lsl}", imm.0),
        ));
        let s = g.below(w.bits() as u64) as u32;
        out.push((
            add_sub_reg(op, w, d, n, m, s),
            format!("{name} {rd}, {rn}, {rm}, lsl #{s}"),
        ));
    }
    out.push((
        add_sub_imm(AddSub::Add, Width::X, d, Reg::SP, (imm.0, false)),
        format!("add {}, sp, #{}", x(d), imm.0),
    ));
    out.push((
        add_sub_ext(AddSub::Add, Width::X, d, Reg::SP, m),
        format!("add {}, sp, {}, uxtx", x(d), x(m)),
    ));
    let s = g.below(5) as u32;
    out.push((
        add_uxtw(d, n, m, s),
        format!("add x{}, x{}, w{}, uxtw #{s}", d.0, n.0, m.0),
    ));
    let ops = [
        (Logic::And, "and"),
        (Logic::Orr, "orr"),
        (Logic::Eor, "eor"),
        (Logic::Ands, "ands"),
        (Logic::Bic, "bic"),
        (Logic::Orn, "orn"),
    ];
    for (op, name) in ops {
        out.push((logic_reg(op, w, d, n, m), format!("{name} {rd}, {rn}, {rm}")));
    }
    for (op, name) in [
        (Two::Udiv, "udiv"),
        (Two::Sdiv, "sdiv"),
        (Two::Lslv, "lsl"),
        (Two::Lsrv, "lsr"),
        (Two::Asrv, "asr"),
    ] {
        out.push((two(op, w, d, n, m), format!("{name} {rd}, {rn}, {rm}")));
    }
    out.push((mov_reg(w, d, m), format!("mov {rd}, {rm}")));
    out.push((madd(w, d, n, m, a), format!("madd {rd}, {rn}, {rm}, {ra}")));
    out.push((msub(w, d, n, m, a), format!("msub {rd}, {rn}, {rm}, {ra}")));
    out.push((
        umaddl(d, n, m, a),
        format!("umaddl x{}, w{}, w{}, x{}", d.0, n.0, m.0, a.0),
    ));
    out.push((umulh(d, n, m), format!("umulh x{}, x{}, x{}", d.0, n.0, m.0)));
    let s = g.below(w.bits() as u64) as u32;
    out.push((lsl_imm(w, d, n, s), format!("lsl {rd}, {rn}, #{s}")));
    out.push((lsr_imm(w, d, n, s), format!("lsr {rd}, {rn}, #{s}")));
    out.push((asr_imm(w, d, n, s), format!("asr {rd}, {rn}, #{s}")));
    out.push((extr(d, n, m, s), format!("extr x{}, x{}, x{}, #{s}", d.0, n.0, m.0)));
    out.push((rev(w, d, n), format!("rev {rd}, {rn}")));
    out.push((rev16(d, n), format!("rev16 w{}, w{}", d.0, n.0)));
    for bits in [8, 16] {
        let c = if bits == 8 { "b" } else { "h" };
        out.push((zero_extend(d, n, bits), format!("uxt{c} w{}, w{}", d.0, n.0)));
        out.push((sign_extend(w, d, n, bits), format!("sxt{c} {rd}, w{}", n.0)));
    }
    out.push((sign_extend(Width::X, d, n, 32), format!("sxtw x{}, w{}", d.0, n.0)));
    let shift = g.below(w.bits() as u64 / 16) as u32 * 16;
    let v = g.below(1 << 16) as u16;
    for (op, name) in [(Wide::Movn, "movn"), (Wide::Movz, "movz"), (Wide::Movk, "movk")] {
        out.push((wide(op, w, d, v, shift), format!("{name} {rd}, #{v}, lsl #{shift}")));
    }
}

const CONDS: [(Cond, &str); 10] = [
    (Cond::Eq, "eq"),
    (Cond::Ne, "ne"),
    (Cond::Hs, "hs"),
    (Cond::Lo, "lo"),
    (Cond::Hi, "hi"),
    (Cond::Ls, "ls"),
    (Cond::Ge, "ge"),
    (Cond::Lt, "lt"),
    (Cond::Gt, "gt"),
    (Cond::Le, "le"),
];

fn flow_cases(g: &mut Rng, out: &mut Cases) {
    let (w, d, n, m) = (g.width(), g.reg(), g.reg(), g.reg());
    let (rd, rn, rm) = (r(w, d), r(w, n), r(w, m));
    let words = g.below(1 << 13) as i32 - (1 << 12);
    for (cond, name) in CONDS {
        let nzcv = g.below(16) as u32;
        let imm = g.below(32) as u32;
        out.push((csel(w, d, n, m, cond), format!("csel {rd}, {rn}, {rm}, {name}")));
        out.push((
            ccmp_imm(w, n, imm, nzcv, cond),
            format!("ccmp {rn}, #{imm}, #{nzcv}, {name}"),
        ));
        out.push((
            ccmp_reg(w, n, m, nzcv, cond),
            format!("ccmp {rn}, {rm}, #{nzcv}, {name}"),
        ));
        out.push((b_cond(cond, words), format!("b.{name} .+({})", words * 4)));
    }
    out.push((b(words), format!("b .+({})", words * 4)));
    out.push((adr(d, words), format!("adr x{}, .+({})", d.0, words * 4)));
    out.push((bl(words), format!("bl .+({})", words * 4)));
    let bit = g.below(64) as u32;
    let bw = if bit < 32 { Width::W } else { Width::X };
    for (nonzero, n) in [(false, "z"), (true, "nz")] {
        out.push((cbz(nonzero, w, d, words), format!("cb{n} {rd}, .+({})", words * 4)));
        out.push((
            tbz(nonzero, bit, d, words),
            format!("tb{n} {}, #{bit}, .+({})", r(bw, d), words * 4),
        ));
    }
    out.push((blr(n), format!("blr x{}", n.0)));
    out.push((ret(), "ret".to_string()));
    out.push((NOP, "nop".to_string()));
    out.push((ISB, "isb".to_string()));
    let sys = [
        (Sys::CntpctEl0, "cntpct_el0"),
        (Sys::CntvctEl0, "cntvct_el0"),
        (Sys::TpidrEl2, "tpidr_el2"),
        (Sys::TpidrEl1, "tpidr_el1"),
        (Sys::TpidrEl0, "tpidr_el0"),
    ];
    for (s, name) in sys {
        out.push((mrs(d, s), format!("mrs x{}, {name}", d.0)));
    }
}

fn mem_cases(g: &mut Rng, out: &mut Cases) {
    let (w, d, n, m) = (g.width(), g.reg(), g.reg(), g.reg());
    for (size, suffix) in [(Size::B, "b"), (Size::H, "h"), (Size::W, ""), (Size::X, "")] {
        let rt = if size == Size::X { x(d) } else { format!("w{}", d.0) };
        let scaled = g.below(4096) as i32 * size.bytes() as i32;
        let unscaled = -(g.below(256) as i32) - 1;
        out.push((
            offset(Access::Load, size, d, n, scaled).unwrap(),
            format!("ldr{suffix} {rt}, [x{}, #{scaled}]", n.0),
        ));
        out.push((
            offset(Access::Store, size, d, n, unscaled).unwrap(),
            format!("stur{suffix} {rt}, [x{}, #{unscaled}]", n.0),
        ));
        out.push((
            indexed(Access::Load, size, d, n, m),
            format!("ldr{suffix} {rt}, [x{}, x{}]", n.0, m.0),
        ));
        out.push((
            indexed(Access::Store, size, d, n, m),
            format!("str{suffix} {rt}, [x{}, x{}]", n.0, m.0),
        ));
    }
    for (size, suffix) in [(Size::B, "sb"), (Size::H, "sh"), (Size::W, "sw")] {
        let at = g.below(64) as i32 * size.bytes() as i32;
        out.push((
            offset(Access::LoadSigned, size, d, n, at).unwrap(),
            format!("ldr{suffix} x{}, [x{}, #{at}]", d.0, n.0),
        ));
        out.push((
            indexed(Access::LoadSigned, size, d, n, m),
            format!("ldr{suffix} x{}, [x{}, x{}]", d.0, n.0, m.0),
        ));
    }
    // A pair loaded into one register twice, or over its own base, is not an instruction.
    let (p, q, base) = (Reg(n.0 % 10), Reg(10 + m.0 % 10), Reg(20 + d.0 % 10));
    let at = g.below(127) as i32 * 8 - 512;
    for (mode, text) in [
        (PairMode::Offset, format!("[x{}, #{at}]", base.0)),
        (PairMode::Pre, format!("[x{}, #{at}]!", base.0)),
        (PairMode::Post, format!("[x{}], #{at}", base.0)),
    ] {
        out.push((stp(mode, p, q, base, at), format!("stp x{}, x{}, {text}", p.0, q.0)));
        out.push((ldp(mode, p, q, base, at), format!("ldp x{}, x{}, {text}", p.0, q.0)));
        if mode == PairMode::Offset {
            let at = at / 2;
            let text = format!("ldp w{}, w{}, [x{}, #{at}]", p.0, q.0, base.0);
            out.push((ldp_w(p, q, base, at), text));
        }
    }
    let at = g.below(512) as i32 - 256;
    out.push((str_pre(p, Reg::SP, at), format!("str x{}, [sp, #{at}]!", p.0)));
    out.push((ldr_post(p, Reg::SP, at), format!("ldr x{}, [sp], #{at}", p.0)));
    out.push((stlr(p, base), format!("stlr x{}, [x{}]", p.0, base.0)));
    out.push((ldar(p, base), format!("ldar x{}, [x{}]", p.0, base.0)));
    for (op, name) in [
        (Lse::Add, "ldadd"),
        (Lse::Clr, "ldclr"),
        (Lse::Eor, "ldeor"),
        (Lse::Set, "ldset"),
        (Lse::Swp, "swp"),
    ] {
        out.push((
            lse(op, w, true, d, n, m),
            format!("{name}al {}, {}, [x{}]", r(w, d), r(w, n), m.0),
        ));
        out.push((
            lse(op, w, false, d, n, m),
            format!("{name} {}, {}, [x{}]", r(w, d), r(w, n), m.0),
        ));
    }
    out.push((casal(w, d, n, m), format!("casal {}, {}, [x{}]", r(w, d), r(w, n), m.0)));
    out.push((ldaxr(w, d, n), format!("ldaxr {}, [x{}]", r(w, d), n.0)));
    out.push((
        stlxr(w, p, q, base),
        format!("stlxr w{}, {}, [x{}]", p.0, r(w, q), base.0),
    ));
}

fn assemble(cases: &Cases) -> Option<Vec<u32>> {
    let dir = std::env::temp_dir().join(format!("gnomon-a64-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut text = String::from(".arch armv8.2-a\n");
    for (_, line) in cases {
        text.push_str(line);
        text.push('\n');
    }
    let (src, obj, bin) = (dir.join("a.s"), dir.join("a.o"), dir.join("a.bin"));
    std::fs::write(&src, text).unwrap();
    let status = Command::new("aarch64-linux-gnu-as")
        .arg("-o")
        .arg(&obj)
        .arg(&src)
        .status()
        .ok()?;
    assert!(status.success(), "as refused a case");
    let status = Command::new("aarch64-linux-gnu-objcopy")
        .args(["-O", "binary"])
        .arg(&obj)
        .arg(&bin)
        .status()
        .ok()?;
    assert!(status.success());
    let bytes = std::fs::read(&bin).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    Some(
        bytes
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes(c.try_into().unwrap()))
            .collect(),
    )
}

#[test]
fn words_equal_those_of_gnu_as() {
    let mut g = Rng(0x9e37_79b9_7f4a_7c15);
    let mut cases = Cases::new();
    for _ in 0..64 {
        alu_cases(&mut g, &mut cases);
        flow_cases(&mut g, &mut cases);
        mem_cases(&mut g, &mut cases);
    }
    let Some(words) = assemble(&cases) else {
        std::println!("skipped: aarch64-linux-gnu-as is not installed");
        return;
    };
    assert_eq!(words.len(), cases.len());
    for ((ours, text), theirs) in cases.iter().zip(&words) {
        assert_eq!(ours, theirs, "{text}: ours {ours:08x}, as {theirs:08x}");
    }
}

/// `DecodeBitMasks` of the Arm ARM, for 64 bits.
fn decode_logical(field: u32) -> Option<u64> {
    let (n, immr, imms) = (field >> 12 & 1, field >> 6 & 63, field & 63);
    let combined = n << 6 | (!imms & 63);
    let len = combined.checked_ilog2()?;
    if len == 0 {
        return None;
    }
    let size = 1u32 << len;
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    if s == size - 1 || immr >= size {
        return None;
    }
    let ones = (1u64 << (s + 1)) - 1;
    let mask = if size == 64 { u64::MAX } else { (1 << size) - 1 };
    let element = if r == 0 {
        ones
    } else {
        (ones >> r | ones << (size - r)) & mask
    };
    let mut value = 0;
    for i in 0..64 / size {
        value |= element << (i * size);
    }
    Some(value)
}

#[test]
fn logical_immediates_are_exactly_the_5334() {
    let mut values = std::collections::BTreeMap::new();
    for field in 0..1 << 13 {
        if let Some(value) = decode_logical(field) {
            assert!(values.insert(value, field).is_none());
        }
    }
    assert_eq!(values.len(), 5334);
    for (value, field) in &values {
        assert_eq!(imm::logical(*value, Width::X), Some(*field), "{value:x}");
    }
    let mut g = Rng(7);
    for _ in 0..200_000 {
        let near = *values.keys().nth(g.below(5334) as usize % 64).unwrap() ^ 1 << g.below(64);
        assert_eq!(imm::logical(near, Width::X), values.get(&near).copied());
    }
}

#[test]
fn constants_come_back() {
    let mut g = Rng(11);
    for i in 0..300_000u64 {
        let mut value = g.next() & g.next();
        for chunk in 0..4 {
            match g.below(4) {
                0 => value &= !(0xffff << (chunk * 16)),
                1 => value |= 0xffff << (chunk * 16),
                _ => {}
            }
        }
        if i < 65_536 {
            value = i << g.below(49);
        }
        let (plan, words) = imm::mov(value, Width::X);
        let made = match plan {
            imm::Plan::Logical(f) => decode_logical(f).unwrap(),
            imm::Plan::Patched(f, shift) => decode_logical(f).unwrap() & !(0xffff << shift) | value & 0xffff << shift,
            imm::Plan::Zero | imm::Plan::Ones => value,
        };
        assert_eq!(made, value);
        assert!((1..=imm::MOV_MAX).contains(&words));
    }
}
