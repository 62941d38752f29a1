//! Timing of cores, as data for the path analyser. Cycles here are claims of a model that no silicon has confirmed.

/// Worst latencies by class of instruction, in cycles. An in-order core that starts two instructions in a cycle is taken as one
/// that starts one after the other has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// Integer operations, moves, address generation.
    pub alu: u64,
    /// Multiplication.
    pub multiply: u64,
    /// Division.
    pub divide: u64,
    /// A load that hits.
    pub load: u64,
    /// A store that hits.
    pub store: u64,
    /// A branch, predicted wrongly.
    pub branch: u64,
    /// Vector and floating-point operations.
    pub vector: u64,
    /// Exclusive and atomic accesses that hit.
    pub atomic: u64,
    /// System registers, barriers, cache and TLB maintenance.
    pub system: u64,
}

/// A first-level cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of all ways.
    pub bytes: u64,
    /// Ways.
    pub ways: u64,
    /// Bytes of a line.
    pub line: u64,
    /// Cycles to fetch a line that is not there: a parameter of the board.
    pub miss: u64,
}

impl Cache {
    /// Lines of one way.
    pub const fn sets(&self) -> u64 {
        self.bytes / self.ways / self.line
    }
}

/// A core on its board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// Name, as `--model` takes it.
    pub name: &'static str,
    /// Latencies.
    pub latencies: Latencies,
    /// Instructions.
    pub instructions: Cache,
    /// Data.
    pub data: Cache,
    /// Cycles of a walk of the translation tables, added to each miss: a parameter of the board.
    pub walk: u64,
    /// The core has the atomic instructions of Armv8.1 (FEAT_LSE).
    pub has_lse: bool,
}

/// Arm Cortex-A53, 32 KiB of either cache.
///
/// * `alu`, `multiply`, `load`, `store`: the full latencies without forwarding of LLVM's scheduling model for this core
///   (`AArch64SchedA53.td`), which follows Arm's "Cortex-A53 Software Optimisation Specification – Instruction Timings" v1.0.
/// * `branch`: 1, and the 9 of a wrong prediction from the same model.
/// * `vector`: its longest, the division of doubles (33).
/// * `divide`, `atomic`, `system`: in no public source as worst cases; stated here, to be replaced by whoever measures them.
/// * Caches: 2-way for instructions and 4-way for data, 64-byte lines, pseudo-random replacement
///   (Cortex-A53 Technical Reference Manual, DDI 0500, chapter 6).
/// * `miss`, `walk`: stated for a board with DRAM and no second-level cache that is counted on; four levels of a walk that miss.
pub const CORTEX_A53: Core = Core {
    name: "cortex-a53",
    latencies: Latencies {
        alu: 4,
        multiply: 4,
        divide: 36,
        load: 4,
        store: 4,
        branch: 10,
        vector: 33,
        atomic: 40,
        system: 40,
    },
    instructions: Cache {
        bytes: 32 << 10,
        ways: 2,
        line: 64,
        miss: 150,
    },
    data: Cache {
        bytes: 32 << 10,
        ways: 4,
        line: 64,
        miss: 150,
    },
    walk: 600,
    has_lse: false,
};

/// All cores with a model.
pub const CORES: &[&Core] = &[&CORTEX_A53];

/// The core of this name.
pub fn core_by_name(name: &str) -> Option<&'static Core> {
    CORES.iter().copied().find(|core| core.name == name)
}

const _: () = assert!(CORTEX_A53.instructions.sets() == 256 && CORTEX_A53.data.sets() == 128);
