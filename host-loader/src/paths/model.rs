//! The time of an instruction: retired instructions, or the cycles of a core.

use board_support::{CORES, Core, core_by_name};
use clap::builder::PossibleValuesParser;
use pathwcet::timing::{Timing, is_lse};

/// Retired instructions: exact under QEMU's icount.
pub const INSNS: &str = "insns";

/// What `--model` accepts.
pub fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(std::iter::once(INSNS).chain(CORES.iter().map(|core| core.name)))
}

/// The core that is meant; `None`: instructions.
pub fn core(name: &str) -> Option<&'static Core> {
    core_by_name(name)
}

/// Unit of a bound.
pub fn unit(name: &str) -> &'static str {
    if core(name).is_some() { "cycles" } else { "instructions" }
}

/// A core's times as the analyser takes them.
pub fn timing(core: &Core) -> Timing {
    let l = core.latencies;
    Timing {
        latencies: [
            l.alu, l.multiply, l.divide, l.load, l.store, l.branch, l.vector, l.atomic, l.system,
        ],
        line: core.instructions.line,
        sets: core.instructions.sets(),
        instruction_miss: core.instructions.miss + core.walk,
        data_miss: core.data.miss + core.walk,
    }
}

/// What has to be said of a bound in cycles. `words`: the instructions of the worst path.
pub fn notes(name: &str, words: impl Iterator<Item = u32>) -> Vec<String> {
    let Some(core) = core(name) else { return Vec::new() };
    let mut notes = vec![format!(
        "cycles of {} are a model's claim, not validated on silicon: latencies and penalties are in board-support/src/core.rs",
        core.name
    )];
    let lse = words.filter(|word| is_lse(*word)).count();
    if lse > 0 && !core.has_lse {
        notes.push(format!(
            "{lse} instructions of this path are atomics of Armv8.1 (FEAT_LSE), which a {} does not have: each is charged {} cycles",
            core.name, core.latencies.atomic
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use board_support::CORTEX_A53;

    #[test]
    fn a_core_without_lse_says_so() {
        let ldaddal = 0xb8e0_0020;
        assert_eq!(notes(INSNS, [ldaddal].into_iter()), Vec::<String>::new());
        let said = notes(CORTEX_A53.name, [ldaddal, 0xd503_201f].into_iter());
        assert_eq!(said.len(), 2);
        assert!(
            said[1].starts_with("1 instructions") && said[1].contains("FEAT_LSE"),
            "{said:?}"
        );
        assert_eq!(notes(CORTEX_A53.name, std::iter::empty()).len(), 1);
    }

    #[test]
    fn no_instruction_is_free() {
        assert!(timing(&CORTEX_A53).latencies.iter().all(|l| *l > 0));
    }
}
