//! The suite of small programs: compiled by gcc and by clang at three levels, bounded, and observed in QEMU, where one
//! retired instruction is one tick of the counter.
#![allow(dead_code, reason = "the test and the bench look at different parts")]

use pathwcet::elf::Image;
use pathwcet::explore::{ExploreError, Graphs, Outcome, Query, explore_with};
use pathwcet::inst::Inst;
use pathwcet::state::{State, Symbols};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const GCC: &str = "aarch64-linux-gnu-gcc";
const FLAGS: &[&str] = &[
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-mgeneral-regs-only",
    // The programs run with the MMU off, where unaligned accesses may fault (Arm ARM B2.5.2).
    "-mstrict-align",
    "-fno-pic",
    "-w",
];
/// `mov w0, #0; ret`: what the driver's empty call costs in either compiler's code.
const EMPTY: &str = "-DEMPTY_INSNS=2";
/// The program that must be refused.
pub const RECURSIVE: &str = "recursive";
/// Euclid's algorithm on 32-bit numbers: at most 47 divisions (Lamé), and one that finds zero.
pub const DECLARED: (&str, u32) = ("euclid", 48);

/// Loops of the suite have fewer iterations.
const UNROLL: u32 = 1_000;
/// What `gnomon wcet` asks with, too.
const DISJUNCTS_AGAIN: usize = 160;

/// One way to compile the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    pub compiler: &'static str,
    pub level: &'static str,
}

/// All of them.
pub const BUILDS: [Build; 6] = [
    Build {
        compiler: "gcc",
        level: "-O1",
    },
    Build {
        compiler: "gcc",
        level: "-O2",
    },
    Build {
        compiler: "gcc",
        level: "-O3",
    },
    Build {
        compiler: "clang",
        level: "-O1",
    },
    Build {
        compiler: "clang",
        level: "-O2",
    },
    Build {
        compiler: "clang",
        level: "-O3",
    },
];

/// A program of one build.
#[derive(Debug)]
pub struct Row {
    pub program: String,
    pub build: Build,
    /// Most instructions seen.
    pub observed: u64,
    pub outcome: Result<Outcome, ExploreError>,
    pub time: Duration,
}

impl Row {
    /// The bound, if it was found without help.
    pub fn derived(&self) -> Option<u64> {
        self.outcome
            .as_ref()
            .ok()
            .filter(|o| o.loops.values().all(|(_, declared)| !declared))
            .map(|o| o.bound)
    }
}

/// A linked build and what was seen of it.
pub struct Linked {
    pub build: Build,
    pub image: Image,
    pub observed: Vec<(String, u64)>,
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

fn has(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
}

/// Whether the tools are there; CI needs them.
pub fn is_possible() -> bool {
    let missing: Vec<&str> = [GCC, "clang", "qemu-system-aarch64"]
        .into_iter()
        .filter(|t| !has(t))
        .collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none(),
        "CI needs {missing:?}"
    );
    if !missing.is_empty() {
        println!("skipped: there is no {}", missing.join(", no "));
    }
    missing.is_empty()
}

fn compile(compiler: &str, arguments: &[&str], from: &Path, to: &Path) {
    let program = if compiler == "gcc" { GCC } else { compiler };
    let mut command = Command::new(program);
    if compiler == "clang" {
        command.arg("--target=aarch64-none-elf");
    }
    let status = command
        .args(FLAGS)
        .args(arguments)
        .arg("-c")
        .arg(from)
        .arg("-o")
        .arg(to)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "{program} {from:?}");
}

/// Compiles, links and runs one build.
pub fn link(build: Build) -> Linked {
    let folder = tempfile::tempdir().expect("a folder");
    let elf = folder.path().join("suite.elf");
    link_at(build, &elf);
    let bytes = std::fs::read(&elf).expect("linked");
    Linked {
        build,
        image: Image::parse(&bytes).expect("an AArch64 ELF"),
        observed: observe(&elf),
    }
}

/// Compiles and links one build.
pub fn link_at(build: Build, elf: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    compile(build.compiler, &[build.level], &source("programs.c"), &at("programs.o"));
    compile("gcc", &["-O1", EMPTY], &source("driver.c"), &at("driver.o"));
    compile("gcc", &[], &source("start.S"), &at("start.o"));
    let status = Command::new(GCC)
        .args(FLAGS)
        .args(["-no-pie", "-Wl,--build-id=none", "-T"])
        .arg(source("link.ld"))
        .args([at("start.o"), at("driver.o"), at("programs.o")])
        .arg("-o")
        .arg(elf)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "link of {build:?}");
}

/// Boots a build and reads what its driver says: program and most instructions, line by line.
fn observe(elf: &Path) -> Vec<(String, u64)> {
    let machine =
        "-machine virt -cpu cortex-a57 -display none -serial none -monitor none -nic none -icount shift=0 -semihosting";
    let out = Command::new("timeout")
        .args(["60", "qemu-system-aarch64"])
        .args(machine.split(' '))
        .arg("-kernel")
        .arg(elf)
        .output()
        .expect("QEMU");
    // Semihosting writes to stderr.
    let text = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    let rows: Vec<(String, u64)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, n)| Some((name.to_owned(), n.trim().parse().ok()?)))
        .collect();
    assert!(
        out.status.success() && rows.len() >= 25,
        "QEMU ended with {}: {text}",
        out.status
    );
    rows
}

/// Bounds one program; one that needs a declared bound gets it.
pub fn bound(image: &Image, program: &str, cost: &dyn Fn(&Inst) -> u64) -> Result<Outcome, ExploreError> {
    let entry = image.address_of(program).expect("every program is a symbol");
    let mut graphs = Graphs::new(image);
    let mut symbols = Symbols::default();
    let start = State::entry(&mut symbols);
    let mut query = Query::new(entry, start, cost);
    query.limits.disjuncts_again = DISJUNCTS_AGAIN;
    query.limits.unroll = UNROLL;
    let first = explore_with(&mut graphs, &query, symbols);
    if let (Err(ExploreError::Unbounded { header, .. }), true) = (&first, program == DECLARED.0) {
        query.declared.insert(*header, DECLARED.1);
        let mut symbols = Symbols::default();
        query.start = State::entry(&mut symbols);
        return explore_with(&mut graphs, &query, symbols);
    }
    first
}

/// Bounds every program of a build.
pub fn rows(linked: &Linked) -> Vec<Row> {
    let row = |(program, observed): &(String, u64)| {
        let begin = Instant::now();
        let outcome = bound(&linked.image, program, &|_| 1);
        Row {
            program: program.clone(),
            build: linked.build,
            observed: *observed,
            outcome,
            time: begin.elapsed(),
        }
    };
    linked.observed.iter().map(row).collect()
}
