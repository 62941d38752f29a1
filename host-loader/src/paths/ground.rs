//! What the analysis stands on: the hypervisor's image with its facts, probe sites, counter reads and vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::cases::Vector;
use hyp_abi::facts::{self, FACT_BYTES, Fact};
use pathwcet::decode::decode;
use pathwcet::elf::{ElfError, Image};
use pathwcet::explore::Classes;
use pathwcet::inst::{Flow, SP};
use pathwcet::range::Range;
use pathwcet::state::{Objects, State, Symbols, Value};
use pathwcet::timing::Timing;

/// Why an image cannot be analysed.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    /// No ELF file of the right kind, or a symbol is missing.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The image's facts cannot be read.
    #[error(
        "the facts of the path analyser ({}) are cut off or of a kind unknown here",
        facts::SYMBOL
    )]
    Facts,
}

/// `wfi`.
const WFI: u32 = 0xd503_207f;
/// `mrs xN, pmevcntr3_el0`, N in the low five bits: EL2's own counter.
const COUNTER_READ: u32 = 0xd53b_e860;
/// Bytes of one record of `.probe_sites`: address of the nop, of its block, point.
const SITE_BYTES: usize = 24;
/// From the vector table to the first vector of a lower EL in AArch64 state (Arm ARM D1.3.1.5), and between vectors.
const LOWER_EL: u64 = 0x400;
const VECTOR_BYTES: u64 = 0x80;

/// A probe site.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The instruction that becomes a branch.
    pub at: u64,
    /// Where it branches to.
    pub block: u64,
    /// Number of its point.
    pub point: u8,
}

/// The image and what was found in it.
pub struct Ground {
    /// The linked hypervisor.
    pub image: Image,
    /// Every probe site.
    pub sites: Vec<Site>,
    /// Reads of EL2's own counter.
    pub marks: BTreeSet<u64>,
    /// Instructions at which a stay ends because the CPU sleeps.
    pub sleeps: BTreeSet<u64>,
    /// Loops that go round again only where another CPU interferes: header → 1. The bounds are those of one CPU; while
    /// several run, hypercalls on probes are refused.
    pub contended: BTreeMap<u64, u32>,
    /// Times of a core; `None`: every instruction is 1.
    pub timing: Option<Timing>,
    facts: Vec<Fact>,
}

/// What a stay begins with.
pub struct Start {
    /// Registers and memory.
    pub state: State,
    /// The counters that tell paths apart.
    pub classes: Option<Classes>,
    /// The CPU's state, and the stack that grows down from it: no address of one is ever computed from the other.
    pub stack: (Value, Value),
}

impl Ground {
    /// Reads an image.
    ///
    /// # Errors
    /// It is no AArch64 ELF file, or lacks what the hypervisor leaves for the analysis.
    pub fn read(bytes: &[u8]) -> Result<Self, GroundError> {
        let image = Image::parse(bytes)?;
        let at = image.address_of(facts::SYMBOL)?;
        let size = image.symbol_size(facts::SYMBOL).ok_or(GroundError::Facts)?;
        let raw = image.bytes(at, size as usize).ok_or(GroundError::Facts)?;
        let facts: Vec<Fact> = raw.chunks(FACT_BYTES).map_while(Fact::read).collect();
        let known = |f: &Fact| (facts::COUNTERS..=facts::VCPU_RUNNING).contains(&f.kind);
        if facts.len() * FACT_BYTES != raw.len() || !facts.iter().all(known) {
            return Err(GroundError::Facts);
        }
        let (marks, sleeps) = landmarks(&image);
        let sites = sites(&image)?;
        let contended = contended(&image);
        Ok(Self {
            image,
            sites,
            marks,
            sleeps,
            contended,
            timing: None,
            facts,
        })
    }

    /// First instruction of a vector.
    ///
    /// # Errors
    /// The image has no vector table.
    pub fn vector(&self, vector: Vector) -> Result<u64, ElfError> {
        let index = match vector {
            Vector::Sync => 0,
            Vector::Irq => 1,
            Vector::Serror => 3,
            Vector::Woken => return self.image.address_of("woken"),
        };
        Ok(self.image.address_of("vector_table")? + LOWER_EL + index * VECTOR_BYTES)
    }

    /// What a stay begins with at `vector` while the vCPU of `slot` is loaded.
    pub fn start(&self, symbols: &mut Symbols, slot: u64, vector: Vector) -> Start {
        let mut state = State::entry(symbols);
        let mut object = || Value {
            base: symbols.fresh(),
            index: 0,
            add: 0,
        };
        let (cpu, stack) = (object(), object());
        let mut ground = Objects::default();
        ground.apart.extend([cpu.base, stack.base]);
        state.stack = stack.base;
        state.sysregs.insert(sysreg(4, 13, 0, 2), cpu);
        let frame = self
            .fact(facts::FRAMES)
            .map_or(cpu, |f| cpu.plus(f.offset + slot * f.lo));
        state.set(SP, frame);
        for fact in &self.facts {
            let (at, range) = match fact.kind {
                facts::LOADED => (cpu.plus(fact.offset), Some(Range::exact(slot))),
                facts::RUNNING | facts::VCPU_RUNNING if vector == Vector::Woken => continue,
                facts::STATE | facts::RUNNING => (cpu.plus(fact.offset), Range::new(fact.lo, fact.hi)),
                facts::VCPU | facts::VCPU_RUNNING => (frame.plus(fact.offset), Range::new(fact.lo, fact.hi)),
                _ => continue,
            };
            if let Some(range) = range {
                let value = state.number(symbols, range);
                state.memory.insert((at.base, at.add), (fact.size as u8, value));
                ground.firm.insert((at.base, at.add));
            }
        }
        state.ground = Rc::new(ground);
        let classes = self.fact(facts::COUNTERS).map(|f| Classes {
            base: cpu.plus(f.offset),
            stride: f.lo,
            count: f.hi as u32,
        });
        Start {
            state,
            classes,
            stack: (cpu, stack),
        }
    }

    /// Where a stay, or the whole system, ends other than by `eret`: the CPU sleeps, or the machine goes off.
    pub fn stops(&self) -> BTreeSet<u64> {
        let off = self.image.address_of("system_end").ok();
        self.sleeps.iter().copied().chain(off).collect()
    }

    /// Address of a site → its point.
    pub fn points(&self) -> BTreeMap<u64, u8> {
        self.sites.iter().map(|s| (s.at, s.point)).collect()
    }

    fn fact(&self, kind: u32) -> Option<&Fact> {
        self.facts.iter().find(|f| f.kind == kind)
    }
}

/// Key of a system register of Op0 3, as the analyser names it: bits 20 to 5 of MRS.
pub const fn sysreg(op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    3 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

fn landmarks(image: &Image) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut marks, mut sleeps) = (BTreeSet::new(), BTreeSet::new());
    for (pc, word) in image.words() {
        match word {
            WFI => sleeps.insert(pc),
            word if word & !31 == COUNTER_READ => marks.insert(pc),
            _ => false,
        };
    }
    (marks, sleeps)
}

/// `isb`, which is what spinning executes.
const SPIN: u32 = 0xd503_3fdf;
/// Longest loop of this kind, in instructions.
const CONTENDED_INSNS_MAX: u64 = 16;

/// Back edges over an exclusive store or a spin: their targets.
fn contended(image: &Image) -> BTreeMap<u64, u32> {
    let mut out = BTreeMap::new();
    for (pc, word) in image.words() {
        let Some(target) = branch_back(pc, word).filter(|t| pc - t < 4 * CONTENDED_INSNS_MAX) else {
            continue;
        };
        let mut body = (target..=pc).step_by(4).filter_map(|at| image.word(at));
        if body.any(|word| word == SPIN || is_exclusive_store(word)) {
            out.insert(target, 1);
        }
    }
    out
}

/// STXR, STLXR and their pairs and narrower forms (Arm ARM C4.1.94.22).
const fn is_exclusive_store(word: u32) -> bool {
    word & 0x3fc0_0000 == 0x0800_0000
}

/// Target of a branch that goes back.
fn branch_back(pc: u64, word: u32) -> Option<u64> {
    match decode(pc, word).ok()?.flow {
        Flow::Jump(target) | Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => {
            Some(target).filter(|target| *target < pc)
        }
        _ => None,
    }
}

fn sites(image: &Image) -> Result<Vec<Site>, GroundError> {
    let start = image.address_of("__probe_sites_start")?;
    let end = image.address_of("__probe_sites_end")?;
    let raw = image
        .bytes(start, end.saturating_sub(start) as usize)
        .ok_or(GroundError::Facts)?;
    let site = |record: &[u8]| {
        let word = |i: usize| Some(u64::from_le_bytes(*record.get(i * 8..)?.first_chunk()?));
        Some(Site {
            at: word(0)?,
            block: word(1)?,
            point: u8::try_from(word(2)?).ok()?,
        })
    };
    raw.chunks(SITE_BYTES)
        .map(|record| site(record).ok_or(GroundError::Facts))
        .collect()
}
