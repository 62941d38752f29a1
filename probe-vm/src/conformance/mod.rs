//! Running compiled programs that nobody verified, for the public conformance suites. Host only.
//!
//! [`Batch`] lays many programs with their memories out as one static AArch64 executable that calls each in turn
//! and writes all memory to standard output: real execution wherever there is a Linux on AArch64 or
//! `qemu-aarch64`, with no AArch64 tool chain.

mod elf;
pub mod emu;
mod emu_alu;
pub mod suite;

use crate::jit::a64::alu::{Wide, wide};
use crate::jit::a64::flow::{bl, ret};
use crate::jit::a64::mem::{PairMode, ldp, stp};
use crate::jit::a64::{Reg, Width};
use crate::jit::{self, CompileError, Compiler, CpuLink, HelperLink, Links, Plan, SLOT_WORDS_MAX, Scale, TimeLink};
use alloc::vec;
use alloc::vec::Vec;

/// The suite's one helper, number 5: returns its first argument.
pub const SUITE_HELPER: u32 = 5;

/// Run address of the text.
pub const TEXT_BASE: u64 = 0x40_0000;
/// Run address of results and program memory.
pub const DATA_BASE: u64 = 0x4000_0000;
/// Text the executable may have: within reach of `BL`.
const TEXT_MAX: u64 = 64 << 20;
/// Bytes kept free after each program's memory, so that neighbours do not see each other's stray accesses.
const GAP: usize = 64;

/// The links of the executable: helper 5 and register calls go to its first word, a `ret`.
pub fn links(lse: bool, helpers: &[HelperLink]) -> Links<'_> {
    Links {
        maps: &[],
        helpers,
        helper_times: &[],
        window: (TEXT_BASE, TEXT_BASE + TEXT_MAX),
        cpu: CpuLink::Single,
        time: TimeLink {
            counter: crate::jit::a64::flow::Sys::CntvctEl0,
            scale: Scale::Shift(4),
            ordered: false,
        },
        lse,
        entry: jit::Entry::Function,
        dispatch: TEXT_BASE,
    }
}

/// The helpers of the executable.
pub const HELPERS: [HelperLink; 1] = [HelperLink {
    id: SUITE_HELPER,
    address: TEXT_BASE,
}];

/// Compiles slots to run at `base`.
pub fn compile(slots: &[u64], links: &Links<'_>, base: u64) -> Result<Vec<u32>, CompileError> {
    let mut flags = vec![0; slots.len()];
    let mut offsets = vec![0; slots.len() + 1];
    let plan = Plan::unverified(slots, &mut flags, links)?;
    let mut code = vec![0; slots.len() * SLOT_WORDS_MAX as usize + 64];
    let compiled = Compiler::start_unverified(&plan, links, &mut offsets, base)?.run(&mut code)?;
    code.truncate(compiled.words as usize);
    Ok(code)
}

/// Programs to be run by one executable, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    lse: bool,
    /// Code of the programs; the calls come after it.
    text: Vec<u32>,
    entries: Vec<Entry>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Word index of the code.
    word: usize,
    /// Offset of the memory in the data after the results, and its length.
    mem: usize,
    len: usize,
    r2: u64,
}

/// A batch as memory contents.
#[derive(Clone, Debug)]
pub struct Bare {
    /// To be at [`TEXT_BASE`], executable.
    pub text: Vec<u8>,
    /// Address of the function in it that runs all programs.
    pub start: u64,
    /// To be at [`DATA_BASE`]; afterwards it is what [`Batch::outcomes`] reads.
    pub data: Vec<u8>,
}

/// What one program left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// r0 at its exit.
    pub r0: u64,
    /// Its memory.
    pub mem: Vec<u8>,
}

impl Batch {
    /// An empty batch; `lse`: the core that will run it has FEAT_LSE.
    pub fn new(lse: bool) -> Self {
        Batch {
            lse,
            text: vec![ret()],
            entries: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Programs so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Compiles a program and adds it, with `mem` as the memory r1 points at and r2 as given.
    pub fn add(&mut self, slots: &[u64], mem: &[u8], r2: u64) -> Result<(), CompileError> {
        let word = self.text.len();
        let links = links(self.lse, &HELPERS);
        let code = compile(slots, &links, TEXT_BASE + word as u64 * 4)?;
        self.text.extend(code);
        self.entries.push(Entry {
            word,
            mem: self.data.len(),
            len: mem.len(),
            r2,
        });
        self.data.extend(mem);
        self.data.resize((self.data.len() + GAP).next_multiple_of(16), 0);
        Ok(())
    }

    fn results_bytes(&self) -> usize {
        self.entries.len() * 8
    }

    /// Appends the calls of all programs, which leave each r0 in the results.
    fn calls(&self, text: &mut Vec<u32>) {
        let results = self.results_bytes() as u64;
        constant(text, Reg(19), DATA_BASE);
        for e in &self.entries {
            constant(text, Reg(0), DATA_BASE + results + e.mem as u64);
            constant(text, Reg(1), e.r2);
            text.push(bl(e.word as i32 - text.len() as i32));
            // str x0, [x19], #8: compiled code preserves x19.
            text.push(0xf800_8660);
        }
    }

    /// Results, then all memory.
    fn data(&self) -> Vec<u8> {
        let mut data = vec![0; self.results_bytes()];
        data.extend(&self.data);
        data
    }

    /// The executable.
    pub fn elf(&self) -> Vec<u8> {
        let mut text = self.text.clone();
        let start = text.len();
        self.calls(&mut text);
        let data = self.data();
        for (reg, value) in [(0, 1), (1, DATA_BASE), (2, data.len() as u64), (8, SYS_WRITE)] {
            constant(&mut text, Reg(reg), value);
        }
        text.push(SVC);
        constant(&mut text, Reg(0), 0);
        constant(&mut text, Reg(8), SYS_EXIT);
        text.push(SVC);
        elf::executable(&text, TEXT_BASE, start, &data, DATA_BASE)
    }

    /// The same without an operating system: a function that calls them all, for who brings an address space.
    pub fn bare(&self) -> Bare {
        let mut text = self.text.clone();
        let start = text.len();
        // The caller's x19 and x30 are on its stack while the programs run.
        text.push(stp(PairMode::Pre, Reg(19), Reg::LR, Reg::SP, -16));
        self.calls(&mut text);
        text.push(ldp(PairMode::Post, Reg(19), Reg::LR, Reg::SP, 16));
        text.push(ret());
        Bare {
            text: text.iter().flat_map(|w| w.to_le_bytes()).collect(),
            start: TEXT_BASE + start as u64 * 4,
            data: self.data(),
        }
    }

    /// The outcomes, from what the executable wrote. `None`: it wrote something else.
    pub fn outcomes(&self, output: &[u8]) -> Option<Vec<Outcome>> {
        let results = self.results_bytes();
        if output.len() != results + self.data.len() {
            return None;
        }
        let (values, memory) = output.split_at(results);
        let one = |(e, value): (&Entry, &[u8])| {
            let r0 = u64::from_le_bytes(value.try_into().ok()?);
            Some(Outcome {
                r0,
                mem: memory.get(e.mem..e.mem + e.len)?.to_vec(),
            })
        };
        self.entries.iter().zip(values.chunks_exact(8)).map(one).collect()
    }
}

/// `svc #0`.
const SVC: u32 = 0xd400_0001;
/// Linux's numbers on AArch64.
const SYS_WRITE: u64 = 64;
const SYS_EXIT: u64 = 93;

fn constant(text: &mut Vec<u32>, rd: Reg, value: u64) {
    text.push(wide(Wide::Movz, Width::X, rd, value as u16, 0));
    for shift in [16, 32, 48] {
        if value >> shift & 0xffff != 0 {
            text.push(wide(Wide::Movk, Width::X, rd, (value >> shift) as u16, shift));
        }
    }
}
