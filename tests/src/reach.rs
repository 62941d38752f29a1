//! What code a linked AArch64 image can reach from an address, by its branches alone.
//!
//! A second opinion beside the path analyser: it knows the seven kinds of branch (Arm ARM C4.1.66) and nothing else, follows both
//! sides of every condition and every call, and reports what it cannot follow.

use std::collections::{BTreeMap, HashMap};

use goblin::elf::Elf;
use goblin::elf::program_header::{PF_X, PT_LOAD};
use goblin::elf::sym::STT_FUNC;

/// Code and symbols of an image.
pub struct Image {
    /// Executable segments: address and words.
    code: Vec<(u64, Vec<u32>)>,
    /// Names by address, functions and labels.
    names: BTreeMap<u64, String>,
}

/// Where an instruction goes on.
enum Flow {
    Next,
    /// Next instruction and, or only (`false`), that address.
    To(u64, bool),
    /// Register-indirect: a jump table or a call by pointer.
    Indirect {
        call: bool,
    },
    End,
}

/// What was reached.
pub struct Reached {
    /// Every instruction's address, with the one it was first reached from.
    from: HashMap<u64, Option<u64>>,
    /// Register-indirect branches.
    pub indirect: Vec<u64>,
    /// Branches into what a panic goes through, which is not followed.
    pub panics: Vec<u64>,
    /// Addresses outside the code.
    pub lost: Vec<u64>,
}

fn flow(at: u64, word: u32) -> Flow {
    let signed = |bits: u32, low: u32| {
        let field = u64::from(word >> low) & ((1 << bits) - 1);
        (field << (64 - bits)) as i64 >> (64 - bits)
    };
    let target = |offset: i64| at.wrapping_add((offset * 4) as u64);
    match word {
        w if w & 0xfc00_0000 == 0x1400_0000 => Flow::To(target(signed(26, 0)), false),
        w if w & 0xfc00_0000 == 0x9400_0000 => Flow::To(target(signed(26, 0)), true),
        // B.cond, BC.cond; CBZ, CBNZ; TBZ, TBNZ.
        w if w & 0xff00_0000 == 0x5400_0000 || w & 0x7e00_0000 == 0x3400_0000 => Flow::To(target(signed(19, 5)), true),
        w if w & 0x7e00_0000 == 0x3600_0000 => Flow::To(target(signed(14, 5)), true),
        w if w & 0xffff_fc1f == 0xd61f_0000 => Flow::Indirect { call: false },
        w if w & 0xffff_fc1f == 0xd63f_0000 => Flow::Indirect { call: true },
        // RET, ERET; UDF; BRK.
        w if w & 0xffff_fc1f == 0xd65f_0000 || w == 0xd69f_03e0 || w >> 16 == 0 || w & 0xffe0_001f == 0xd420_0000 => {
            Flow::End
        }
        _ => Flow::Next,
    }
}

impl Image {
    /// Reads an ELF.
    ///
    /// # Panics
    /// If it is none, or has no symbols.
    pub fn read(bytes: &[u8]) -> Self {
        let elf = Elf::parse(bytes).expect("an ELF");
        let code = elf
            .program_headers
            .iter()
            .filter(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0);
        let code = code.map(|h| {
            let (words, _) = bytes[h.file_range()].as_chunks::<4>();
            (h.p_vaddr, words.iter().map(|w| u32::from_le_bytes(*w)).collect())
        });
        let mut names = BTreeMap::new();
        for symbol in &elf.syms {
            let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
            if !name.is_empty() && !name.starts_with('$') && (symbol.st_type() == STT_FUNC || symbol.st_shndx != 0) {
                let plain = format!("{:#}", rustc_demangle::demangle(name));
                names.entry(symbol.st_value).or_insert(plain);
            }
        }
        assert!(!names.is_empty(), "the image has no symbols");
        Self {
            code: code.collect(),
            names,
        }
    }

    fn word(&self, at: u64) -> Option<u32> {
        let (base, words) = self
            .code
            .iter()
            .find(|(base, words)| (*base..base + words.len() as u64 * 4).contains(&at))?;
        words.get((at - base) as usize / 4).copied()
    }

    /// Address of a symbol.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.names.iter().find(|(_, n)| *n == name).map(|(at, _)| *at)
    }

    /// The function or label that an address lies in.
    pub fn name(&self, at: u64) -> &str {
        self.names.range(..=at).next_back().map_or("?", |(_, n)| n)
    }

    /// Everything that can be executed from `roots` on.
    pub fn reach(&self, roots: &[u64]) -> Reached {
        let mut reached = Reached {
            from: HashMap::new(),
            indirect: Vec::new(),
            panics: Vec::new(),
            lost: Vec::new(),
        };
        let mut left: Vec<(u64, Option<u64>)> = roots.iter().map(|at| (*at, None)).collect();
        while let Some((at, from)) = left.pop() {
            if reached.from.contains_key(&at) {
                continue;
            }
            reached.from.insert(at, from);
            let Some(word) = self.word(at) else {
                reached.lost.push(at);
                continue;
            };
            let next = (at + 4, Some(at));
            match flow(at, word) {
                Flow::Next => left.push(next),
                Flow::To(to, both) => {
                    // Nothing comes back from a panic, nor from a call that stands last in its function: what stands behind is
                    // other code.
                    let panics = is_panic(self.name(to));
                    if panics {
                        reached.panics.push(at);
                    } else {
                        left.push((to, Some(at)));
                    }
                    let ends = is_call(word) && (panics || self.names.contains_key(&next.0));
                    if both && !ends {
                        left.push(next);
                    }
                }
                Flow::Indirect { call } => {
                    reached.indirect.push(at);
                    if call {
                        left.push(next);
                    }
                }
                Flow::End => {}
            }
        }
        reached
    }

    /// The chain of functions by which an address was reached, the innermost first.
    pub fn chain(&self, reached: &Reached, at: u64) -> String {
        let mut chain: Vec<&str> = Vec::new();
        let mut place = Some(at);
        while let Some(at) = place {
            let name = self.name(at);
            if chain.last() != Some(&name) {
                chain.push(name);
            }
            place = reached.from.get(&at).copied().flatten();
        }
        chain.join("\n    from ")
    }
}

impl Reached {
    /// Instructions that were reached.
    pub fn count(&self) -> usize {
        self.from.len()
    }
}

const fn is_call(word: u32) -> bool {
    word & 0xfc00_0000 == 0x9400_0000
}

/// True for what a panic in Rust code goes through.
pub fn is_panic(name: &str) -> bool {
    [
        "core::panicking::",
        "core::slice::index::slice_index_fail",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
        "core::result::unwrap_failed",
        "core::str::slice_error_fail",
        "core::cell::panic_",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}
