//! The code between a point and its probes, where a branch to the one probe is not enough: a filter, or several probes.
//!
//! Everything is a constant in straight-line code, so it has nothing to read that could change under it: who attaches
//! or detaches writes a new chain beside the old one and turns one branch.

use super::a64::alu::{AddSub, add_sub_imm, ccmp_imm};
use super::a64::mem::{Access, PairMode, Size, ldp, ldp_w, ldr_post, offset, stp};
use super::a64::{Cond, Reg, Width, flow};
use super::links::ContextLink;
use crate::points::HEADER_WHO_AT;

/// Probes on one point; they run in the order of attachment.
pub const PROBES_MAX: usize = 4;
/// Words of the longest chain: saving and restoring, and for each probe its filter, its call, and what it may change.
pub const WORDS_MAX: usize = 5 + PROBES_MAX * (FILTER_WORDS_MAX + 1) + (PROBES_MAX - 1) * 3;
/// Most words of a filter: the CPU's block, the context in it, load, compare, compare, branch.
pub const FILTER_WORDS_MAX: usize = 6;
/// Highest VM that a filter can ask for: the immediate of `CMP`.
pub const VM_MAX: u32 = 0xfff;
/// Highest vCPU that a filter can ask for: the immediate of `CCMP`.
pub const VCPU_MAX: u32 = 31;
/// What a chain adds to the time of one firing, for each of its probes, beyond the point's own code of at least
/// [`SITE_LEAST`] instructions, which each attached probe is charged as if it were alone.
pub const PER_PROBE: u64 = 8;
/// Fewest instructions of a point's own code, its stub (`nop; ret`) included.
pub const SITE_LEAST: u64 = 6;

/// Whose events a probe sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Only {
    /// Of this VM.
    pub vm: u32,
    /// And of this vCPU of it; of all without.
    pub vcpu: Option<u32>,
}

/// One probe of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Run address of its code.
    pub entry: u64,
    /// Whose events it sees; everyone's without.
    pub only: Option<Only>,
}

/// Code being written.
struct Out<'o> {
    words: &'o mut [u32],
    at: usize,
    base: u64,
    context: ContextLink,
    /// Everything fitted and reached.
    good: bool,
}

impl Out<'_> {
    fn put(&mut self, word: u32) {
        match self.words.get_mut(self.at) {
            Some(place) => *place = word,
            None => self.good = false,
        }
        self.at += 1;
    }

    /// `B` or `BL` to an absolute address.
    fn to(&mut self, address: u64, encode: fn(i32) -> u32) {
        let words = (address.wrapping_sub(self.base + 4 * self.at as u64) as i64) / 4;
        self.good &= (-(1 << 25)..1 << 25).contains(&words);
        self.put(encode(words as i32));
    }

    /// `B.EQ` to an absolute address.
    fn if_equal(&mut self, address: u64) {
        let words = (address.wrapping_sub(self.base + 4 * self.at as u64) as i64) / 4;
        self.good &= (-(1 << 18)..1 << 18).contains(&words);
        self.put(flow::b_cond(Cond::Eq, words as i32));
    }

    fn access(&mut self, access: Access, size: Size, rt: Reg, rn: Reg, at: i32) {
        match offset(access, size, rt, rn, at) {
            Some(word) => self.put(word),
            None => self.good = false,
        }
    }

    /// Skips `skip` words unless the event is one of `only`.
    fn filter(&mut self, only: Option<Only>, skip: i32) {
        if let Some(only) = only {
            self.compare(only);
            self.put(flow::b_cond(Cond::Ne, skip + 1));
        }
    }

    /// Equal, if the event is one of `only`.
    fn compare(&mut self, Only { vm, vcpu }: Only) {
        self.good &= vm <= VM_MAX && vcpu.is_none_or(|vcpu| vcpu <= VCPU_MAX);
        self.put(flow::mrs(VM, self.context.base));
        let offset = self.context.offset + HEADER_WHO_AT as u32;
        // A page's worth is added apart from what a load reaches.
        if offset >> 12 != 0 {
            self.good &= offset >> 24 == 0;
            self.put(add_sub_imm(AddSub::Add, Width::X, VM, VM, (offset >> 12, true)));
        }
        let low = (offset & 0xfff) as i32;
        match vcpu {
            // The vCPU is the word behind the VM.
            Some(_) => {
                self.good &= low <= PAIR_REACH;
                self.put(ldp_w(VM, VCPU, VM, low));
            }
            None => self.access(Access::Load, Size::W, VM, VM, low),
        }
        self.put(add_sub_imm(AddSub::Subs, Width::W, Reg::ZR, VM, (vm & VM_MAX, false)));
        if let Some(vcpu) = vcpu {
            // Not equal where the VM is another.
            self.put(ccmp_imm(Width::W, VCPU, vcpu & VCPU_MAX, 0, Cond::Eq));
        }
    }
}

const VM: Reg = Reg(6);
const VCPU: Reg = Reg(7);
/// Farthest offset of a pair of words.
const PAIR_REACH: i32 = 252;
const FRAME: i32 = 48;

/// Writes the code that runs `probes` in order, to be at `at`: the address a point branches to (the probe itself if it
/// is alone and sees everything). `None`: there is no probe, `code` has fewer than [`WORDS_MAX`] words, or a probe is
/// out of reach or wants a VM above [`VM_MAX`] or a vCPU above [`VCPU_MAX`].
pub fn write(probes: &[Target], context: ContextLink, at: u64, code: &mut [u32]) -> Option<u64> {
    let code_words = code.len();
    let mut out = Out {
        words: code,
        at: 0,
        base: at,
        context,
        good: probes.len() <= PROBES_MAX && code_words >= WORDS_MAX,
    };
    match probes {
        [] => return None,
        [Target { entry, only: None }] => return Some(*entry),
        [
            Target {
                entry,
                only: Some(only),
            },
        ] => {
            out.compare(*only);
            out.if_equal(*entry);
            out.put(flow::ret());
        }
        _ => several(probes, &mut out),
    }
    out.good.then_some(at)
}

fn several(probes: &[Target], out: &mut Out<'_>) {
    const SP: Reg = Reg::SP;
    out.put(stp(PairMode::Pre, Reg::LR, Reg(5), SP, -FRAME));
    out.put(stp(PairMode::Offset, Reg(1), Reg(2), SP, 16));
    out.put(stp(PairMode::Offset, Reg(3), Reg(4), SP, 32));
    for (i, probe) in probes.iter().enumerate() {
        let last = i + 1 == probes.len();
        out.filter(probe.only, if last { 1 } else { 4 });
        out.to(probe.entry, flow::bl);
        if !last {
            out.access(Access::Load, Size::X, Reg(5), SP, 8);
            out.put(ldp(PairMode::Offset, Reg(1), Reg(2), SP, 16));
            out.put(ldp(PairMode::Offset, Reg(3), Reg(4), SP, 32));
        }
    }
    out.put(ldr_post(Reg::LR, SP, FRAME));
    out.put(flow::ret());
}
