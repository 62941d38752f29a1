//! Objects for the tests, compiled by clang from the C files beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the C files.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects")
}

/// Compiles `NAME.bpf.c`, or says that it cannot: without clang the test is skipped, but not where CI runs it.
pub fn compile(name: &str) -> Option<PathBuf> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.bpf.o", std::process::id()));
    let source = format!("{name}.bpf.c");
    let asm = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let mut clang = Command::new("clang");
    clang.args([
        "-target",
        "bpf",
        "-mcpu=v3",
        "-O2",
        "-g",
        "-Wall",
        "-Werror",
        "-fdebug-compilation-dir=.",
        "-I",
    ]);
    clang.args([&asm, "-c", &source, "-o"]).arg(&out).current_dir(sources());
    match clang.output() {
        Ok(run) if run.status.success() => Some(out),
        Ok(run) => panic!("clang {source}: {}", String::from_utf8_lossy(&run.stderr)),
        Err(e) if std::env::var_os("CI").is_some() => panic!("clang is needed: {e}"),
        Err(e) => {
            println!("skipped: clang does not run: {e}");
            None
        }
    }
}

/// A generator of numbers that are the same in every run: xorshift64*.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
