//! A compiler with a `core` for the target: rustup's if it has one or can add it, else Debian's, which builds it from source.
//! For programs inside Linux guests, one with `std`: rustup's likewise, else Debian's with the library of Debian's arm64 package.

use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Plain `aarch64-unknown-none` emits SIMD in integer code and would clobber guest FP registers.
pub const TARGET: &str = "aarch64-unknown-none-softfloat";

/// Programs inside Linux guests.
pub const LINUX_TARGET: &str = "aarch64-unknown-linux-gnu";

/// `rustup target add` needs a few MiB from the network; a machine without network may let it hang.
const TARGET_ADD_MAX: Duration = Duration::from_secs(120);

/// Who compiles for the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The pinned rustup toolchain, with its prebuilt `core`.
    Rustup,
    /// `/usr/bin/cargo`, with `core` and `alloc` built from Debian's source package.
    Debian,
}

impl Toolchain {
    /// Finds or sets up a toolchain. `GNOMON_TOOLCHAIN` (`rustup` or `debian`) overrides the search.
    pub fn ensure(shop: &Shop) -> Result<Toolchain> {
        let asked = env::var("GNOMON_TOOLCHAIN").ok();
        match asked.as_deref() {
            None | Some("") => Self::search(shop),
            Some("rustup") if has_target(shop, TARGET) || add_target(shop, TARGET) => Ok(Toolchain::Rustup),
            Some("rustup") => Err(Failure::Said(format!(
                "rustup has no {TARGET} and cannot add it. Unset GNOMON_TOOLCHAIN to let Debian's compiler build it."
            ))),
            Some("debian") => shop.ensure(&setup::DEBIAN_RUST).map(|()| Toolchain::Debian),
            Some(other) => Err(Failure::Said(format!(
                "GNOMON_TOOLCHAIN is `{other}`; it can be `rustup` or `debian`."
            ))),
        }
    }

    fn search(shop: &Shop) -> Result<Toolchain> {
        if rustup_serves(shop, TARGET)? {
            return Ok(Toolchain::Rustup);
        }
        shop.ensure(&setup::DEBIAN_RUST).map(|()| Toolchain::Debian)
    }

    /// `cargo build` for the target, to be completed with packages.
    pub fn cargo_build(self, shop: &Shop) -> Command {
        let mut command = match self {
            Toolchain::Rustup => shop.cargo(),
            Toolchain::Debian => debian_cargo(shop.root()),
        };
        if self == Toolchain::Debian {
            command.arg("-Zbuild-std=core,alloc");
        }
        command
            .args(["build", "--release", "--target", TARGET, "--target-dir"])
            .arg(self.target_dir(shop));
        command
    }

    /// Where that build's binaries are.
    pub fn binaries(self, shop: &Shop) -> PathBuf {
        self.target_dir(shop).join(TARGET).join("release")
    }

    fn target_dir(self, shop: &Shop) -> PathBuf {
        shop.root().join(match self {
            Toolchain::Rustup => "target",
            Toolchain::Debian => "target/debian",
        })
    }
}

fn debian_cargo(root: &Path) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.current_dir(root);
    // We are run by rustup's cargo, whose choices must not reach this one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") && text != "CARGO_HOME" || text.starts_with("RUST") && text != "RUST_BACKTRACE" {
            command.env_remove(&name);
        }
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let usr = std::iter::once(PathBuf::from("/usr/bin"));
    if let Ok(path) = env::join_paths(usr.chain(env::split_paths(&path))) {
        command.env("PATH", path);
    }
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    command
}

/// `cargo build` of a program for Linux guests, linked statically: it runs in any initramfs. `library` gives the folder with
/// `lib/rustlib` of Debian's standard library for arm64; it is called only if rustup has none and cannot add it.
pub fn cargo_build_linux(shop: &Shop, library: impl FnOnce() -> Result<PathBuf>) -> Result<Command> {
    let asked = env::var("GNOMON_TOOLCHAIN").ok();
    let rustup = asked.as_deref() != Some("debian") && rustup_serves(shop, LINUX_TARGET)?;
    let mut flags = String::from("-Ctarget-feature=+crt-static -Clinker=aarch64-linux-gnu-gcc");
    let mut command = match rustup {
        true => shop.cargo(),
        false => {
            shop.ensure(&setup::DEBIAN_RUST)?;
            let library = library()?;
            let library = library.to_str().filter(|path| !path.contains(' ')).ok_or_else(|| {
                Failure::Said(format!(
                    "{} cannot be passed to rustc: clone to a folder without spaces in its path",
                    library.display()
                ))
            })?;
            flags.push_str(&format!(" --sysroot={library}"));
            debian_cargo(shop.root())
        }
    };
    command.env("RUSTFLAGS", flags);
    command.args(["build", "--release", "--target", LINUX_TARGET]);
    Ok(command)
}

/// Whether rustup has the target, or adds it. A machine that once had to fall back is not asked again on every run.
fn rustup_serves(shop: &Shop, target: &str) -> Result<bool> {
    if has_target(shop, target) {
        return Ok(true);
    }
    let fell_back = shop.dist().join(format!("rustup-has-no-{target}"));
    if fell_back.exists() || !shop.may_install() {
        return Ok(false);
    }
    if add_target(shop, target) {
        return Ok(true);
    }
    fs::create_dir_all(shop.dist()).map_err(Failure::file(shop.dist()))?;
    fs::write(&fell_back, "").map_err(Failure::file(&fell_back))?;
    eprintln!("xtask: rustup cannot add {target}; Debian's compiler is used instead");
    Ok(false)
}

fn has_target(shop: &Shop, target: &str) -> bool {
    let Some(sysroot) = command::answer(
        Command::new("rustc")
            .current_dir(shop.root())
            .args(["--print", "sysroot"]),
    ) else {
        return false;
    };
    Path::new(&sysroot)
        .join("lib/rustlib")
        .join(target)
        .join("lib")
        .is_dir()
}

fn add_target(shop: &Shop, target: &str) -> bool {
    if setup::find("rustup").is_none() {
        return false;
    }
    eprintln!("xtask: installing rust's library for {target} with rustup");
    let mut command = Command::new("rustup");
    command.current_dir(shop.root()).args(["target", "add", target]);
    let Ok(mut child) = command.spawn() else { return false };
    let deadline = Instant::now() + TARGET_ADD_MAX;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.success() && has_target(shop, target),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => return false,
        }
    }
    // Both can only fail if it has just ended by itself, which is what they are for.
    let _ = child.kill();
    let _ = child.wait();
    false
}
