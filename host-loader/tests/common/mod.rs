//! Objects for the tests, compiled by clang from the C files beside them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The folder of the C files.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects")
}

/// Compiles `NAME.bpf.c` of [`sources`], or says that it cannot.
#[allow(dead_code)]
pub fn compile(name: &str) -> Option<PathBuf> {
    compile_file(&sources().join(format!("{name}.bpf.c")))
}

/// Compiles a file, or says that it cannot: without clang the test is skipped, but not where CI runs it.
pub fn compile_file(file: &Path) -> Option<PathBuf> {
    let (folder, source) = (file.parent()?, file.file_name()?);
    // Tests of one program run at the same time.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.{unique}.o", source.to_string_lossy()));
    let gnomon = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe-vm/include");
    let mut clang = Command::new("clang");
    clang.args("-target bpf -mcpu=v3 -O2 -g -Wall -Werror -fdebug-compilation-dir=. -I".split(' '));
    clang
        .arg(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg("-I")
        .arg(gnomon);
    clang.arg("-c").arg(source).arg("-o").arg(&out).current_dir(folder);
    match clang.output() {
        Ok(run) if run.status.success() => Some(out),
        Ok(run) => panic!("clang {}: {}", file.display(), String::from_utf8_lossy(&run.stderr)),
        Err(e) if std::env::var_os("CI").is_some_and(|v| v == "true") => panic!("clang is needed: {e}"),
        Err(e) => {
            println!("skipped: clang does not run: {e}");
            None
        }
    }
}

/// clang's version, `14.0.6`.
#[allow(dead_code)]
pub fn clang_version() -> Option<String> {
    let run = Command::new("clang").arg("-dumpversion").output().ok()?;
    Some(String::from_utf8_lossy(&run.stdout).trim().to_string())
}

#[allow(dead_code)]
/// A generator of numbers that are the same in every run: xorshift64*.
pub struct Random(pub u64);

#[allow(dead_code)]
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
