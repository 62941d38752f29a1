//! What a verb needs from the machine, and getting it: Debian packages by apt, the repository's own folders.

use crate::command;
use crate::failure::{Failure, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something a verb needs from outside the repository.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The Debian package that brings it.
    package: &'static str,
    /// A program looked up on PATH, or a file if it starts with a slash; its presence means that the need is met.
    witness: &'static str,
    /// Why Gnomon needs it.
    why: &'static str,
}

/// The emulated machine.
pub const QEMU: Need = need(
    "qemu-system-arm",
    "qemu-system-aarch64",
    "boots the hypervisor on an emulated AArch64 machine",
);
/// Linker of the target.
pub const LLD: Need = need("lld", "ld.lld", "links the hypervisor and its guests");
/// eBPF compiler.
pub const CLANG: Need = need("clang", "clang", "compiles the probes from C to eBPF");
/// `bpf_helpers.h`.
pub const LIBBPF: Need = need(
    "libbpf-dev",
    "/usr/include/bpf/bpf_helpers.h",
    "has bpf_helpers.h, which probes include",
);
/// User-mode emulation.
pub const QEMU_USER: Need = need(
    "qemu-user",
    "qemu-aarch64",
    "runs the code that the probe compiler emits, in host tests",
);
/// AArch64 C compiler.
pub const GCC_A64: Need = need(
    "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc",
    "builds test programs for the path analyser and the probe compiler",
);
/// C library for that.
pub const LIBC_A64: Need = need(
    "libc6-dev-arm64-cross",
    "/usr/aarch64-linux-gnu/lib/libc.a",
    "links a program that a Linux guest runs in the tests",
);
/// File systems.
pub const MKE2FS: Need = need(
    "e2fsprogs",
    "/usr/sbin/mke2fs",
    "makes the disk of a Linux guest in the tests",
);
/// Debian's compiler, which builds `core` for the target where rustup has none.
pub const DEBIAN_RUST: [Need; 3] = [
    need(
        "rustc-web",
        "/usr/bin/rustc",
        "compiles for the target where rustup offers no core for it",
    ),
    need("cargo-web", "/usr/bin/cargo", "drives that compiler"),
    need(
        "rust-web-src",
        "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
        "is the source of the target's core",
    ),
];

/// What building needs besides a compiler.
pub const BUILD: &[Need] = &[LLD, CLANG, LIBBPF];
/// What booting a system needs.
pub const BOOT: &[Need] = &[QEMU, LLD, CLANG, LIBBPF];
/// What the whole test suite needs.
pub const TEST: &[Need] = &[QEMU, LLD, CLANG, LIBBPF, QEMU_USER, GCC_A64, LIBC_A64, MKE2FS];

/// A need of one verb.
pub const fn need(package: &'static str, witness: &'static str, why: &'static str) -> Need {
    Need { package, witness, why }
}

impl Need {
    fn met(&self) -> bool {
        match self.witness.starts_with('/') {
            true => Path::new(self.witness).exists(),
            false => find(self.witness).is_some(),
        }
    }
}

/// The first file of this name on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where the work is done, and whether the machine may be changed for it.
#[derive(Debug)]
pub struct Shop {
    root: PathBuf,
    may_install: bool,
}

impl Shop {
    /// `may_install`: missing packages are installed; otherwise they are listed and the verb stops with status 2.
    pub fn new(may_install: bool) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().unwrap_or(here).to_path_buf();
        Shop { root, may_install }
    }

    /// The root of the repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `build` puts what it built: `gnomon` looks there for the hypervisor and its guests.
    pub fn dist(&self) -> PathBuf {
        self.root.join("target/gnomon")
    }

    /// Whether the machine may be changed.
    pub fn may_install(&self) -> bool {
        self.may_install
    }

    /// The toolchain's cargo, as rustup or the caller's environment chose it, started at the root.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }

    /// Sees that every need is met, installing what is missing.
    ///
    /// # Errors
    /// [`Failure::Missing`] if something is missing and may not be installed or cannot be.
    pub fn ensure(&self, needs: &[Need]) -> Result<()> {
        let missing: Vec<Need> = needs.iter().copied().filter(|need| !need.met()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let verb = if self.may_install { "installing" } else { "missing" };
        for need in &missing {
            eprintln!("xtask: {verb} {:<22} {}", need.package, need.why);
        }
        let packages: Vec<String> = missing.iter().map(|need| need.package.to_string()).collect();
        if !self.may_install {
            return Err(Failure::Missing {
                packages,
                hint: "Run without --no-install to install them.",
            });
        }
        install(&packages)?;
        match missing.iter().find(|need| !need.met()) {
            None => Ok(()),
            Some(need) => Err(Failure::Said(format!(
                "package {} is installed, but {} is still not there. Install it by hand and try again.",
                need.package, need.witness
            ))),
        }
    }
}

/// Sees that a program of cargo's own registry is there.
///
/// # Errors
/// It is not, and may not be installed.
pub fn cargo_tool(shop: &Shop, name: &str, why: &str) -> Result<()> {
    if find(name).is_some() {
        return Ok(());
    }
    if !shop.may_install() {
        eprintln!("xtask: missing {name:<22} {why}");
        return Err(Failure::Missing {
            packages: vec![name.to_string()],
            hint: "Run without --no-install to install it with cargo.",
        });
    }
    eprintln!("xtask: installing {name:<22} {why}");
    command::quiet(
        &format!("installing {name}"),
        shop.cargo().args(["install", "--locked", name]),
    )
    .map(drop)
}

fn install(packages: &[String]) -> Result<()> {
    if find("apt-get").is_none() {
        return Err(Failure::Missing {
            packages: packages.to_vec(),
            hint: "This machine has no apt-get: install the programs of these Debian packages in its own way, then try again.",
        });
    }
    command::quiet("updating package lists", apt(packages)?.arg("update"))?;
    let mut command = apt(packages)?;
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    command::quiet(&format!("installing {}", packages.join(" ")), &mut command).map(drop)
}

/// apt-get as root: as it is, or by sudo.
fn apt(packages: &[String]) -> Result<Command> {
    let is_root = command::answer(Command::new("id").arg("-u")).as_deref() == Some("0");
    let mut command = match (is_root, find("sudo")) {
        (true, _) => Command::new("apt-get"),
        (false, Some(sudo)) => {
            // Ask for the password now, before the spinner hides the question.
            command::loud(Command::new(&sudo).arg("--validate"))?;
            let mut command = Command::new(sudo);
            command.args(["--non-interactive", "apt-get"]);
            command
        }
        (false, None) => {
            return Err(Failure::Missing {
                packages: packages.to_vec(),
                hint: "Not root and no sudo: ask an administrator for `apt-get install` of these, then try again.",
            });
        }
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}
