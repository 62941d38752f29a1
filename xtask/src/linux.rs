//! `linux-agent`: what a Linux guest needs to load probes: the `gnomon` command for it and the kernel module, in target/gnomon/linux.

use crate::build;
use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Need, Shop};
use crate::toolchain::{self, LINUX_TARGET};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel that the module is built for, as a package whose newest version is taken: the one that guests/linux-probes.toml boots.
const KERNEL: &str = "linux-image-arm64";
/// Debian's standard library for arm64, of the compiler that `rustc-web` is.
const LIBRARY: &str = "libstd-rust-web-dev";

/// What the agent needs besides a compiler for it.
const NEEDS: &[Need] = &[
    setup::GCC_A64,
    setup::need(
        "libc6-dev-arm64-cross",
        "/usr/aarch64-linux-gnu/lib/libc.a",
        "is the C library of the gnomon command for Linux guests",
    ),
    setup::need("make", "make", "drives the build of the kernel module"),
    setup::need(
        "linux-kbuild-6.1",
        "/usr/lib/linux-kbuild-6.1/scripts/mod/modpost",
        "has the host's part of the kernel's build, for the module that Linux guests load",
    ),
];

/// Builds, and says where the results are.
pub fn run(shop: &Shop) -> Result<()> {
    shop.ensure(setup::BUILD)?;
    build::all(shop)?;
    agent(shop)?;
    println!("{}", folder(shop).display());
    Ok(())
}

/// Whether the packages are here or can be had; a machine without a network has no Linux to build for.
pub fn is_possible(shop: &Shop) -> bool {
    fetch(shop, KERNEL).is_ok()
}

/// Builds both into the folder from where guests/linux-probes.toml takes them; `gnomon` must be built.
pub fn agent(shop: &Shop) -> Result<()> {
    shop.ensure(NEEDS)?;
    let out = folder(shop);
    fs::create_dir_all(&out).map_err(Failure::file(&out))?;
    command_for_linux(shop, &out)?;
    module(shop, &out)
}

fn folder(shop: &Shop) -> PathBuf {
    shop.dist().join("linux")
}

fn command_for_linux(shop: &Shop, out: &Path) -> Result<()> {
    let mut cargo = toolchain::cargo_build_linux(shop, || {
        let package = fetch(shop, LIBRARY)?;
        unpack(&package, &shop.root().join("target/linux/rust")).map(|root| root.join("usr"))
    })?;
    // It waits for the hypervisor most of the time: a quick build matters more than quick code.
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .args([
            "--package",
            "gnomon",
            "--bin",
            "gnomon",
            "--target-dir",
            "target/linux/agent",
        ]);
    command::quiet("building gnomon for Linux guests", &mut cargo)?;
    let built = shop
        .root()
        .join("target/linux/agent")
        .join(LINUX_TARGET)
        .join("release/gnomon");
    build::copy(&built, out)
}

fn module(shop: &Shop, out: &Path) -> Result<()> {
    let headers = headers(shop)?;
    // The kernel's build writes beside the sources.
    let work = shop.root().join("target/linux/module");
    fs::create_dir_all(&work).map_err(Failure::file(&work))?;
    for name in ["gnomon.c", "link.h", "Makefile"] {
        build::copy(&shop.root().join("guests/linux/module").join(name), &work)?;
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(&headers).arg(format!("M={}", work.display()));
    // Debian's headers name the compiler's version that built the kernel; any that is near makes a module for it.
    make.args([
        "ARCH=arm64",
        "CROSS_COMPILE=aarch64-linux-gnu-",
        "CC=aarch64-linux-gnu-gcc",
        "modules",
    ]);
    command::quiet("building the kernel module", &mut make)?;
    build::copy(&work.join("gnomon.ko"), out)
}

/// The unpacked headers of [`KERNEL`], made to work where they lie.
fn headers(shop: &Shop) -> Result<PathBuf> {
    let kernel = fetch(shop, KERNEL)?;
    let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // linux-image-6.1.0-56-arm64_6.1.192-2_arm64.deb
    let release = name
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.split_once('_'))
        .map(|(release, _)| release)
        .ok_or_else(|| Failure::Said(format!("{name} is not a kernel's package")))?;
    let version = release.trim_end_matches("-arm64");
    let root = shop.root().join("target/linux").join(format!("headers-{release}"));
    let tree = root.join("usr/src").join(format!("linux-headers-{release}"));
    let makefile = tree.join("Makefile");
    for package in [
        format!("linux-headers-{release}"),
        format!("linux-headers-{version}-common"),
    ] {
        unpack(&fetch(shop, &package)?, &root)?;
    }
    // Packages expect to lie at the root of the file system.
    let source = root.join("usr/src");
    let text = fs::read_to_string(&makefile).map_err(Failure::file(&makefile))?;
    let moved = text.replace("include /usr/src/", &format!("include {}/", source.display()));
    fs::write(&makefile, moved).map_err(Failure::file(&makefile))?;
    let kbuild = root.join("usr/lib/linux-kbuild-6.1");
    if !kbuild.exists() {
        fs::create_dir_all(root.join("usr/lib")).map_err(Failure::file(&root))?;
        symlink("/usr/lib/linux-kbuild-6.1", &kbuild).map_err(Failure::file(&kbuild))?;
    }
    Ok(tree)
}

/// A Debian package for arm64, from the cache that guests' packages are kept in.
fn fetch(shop: &Shop, package: &str) -> Result<PathBuf> {
    let text = command::output(build::gnomon_command(shop).args(["fetch", package]))?;
    Ok(PathBuf::from(text.trim()))
}

/// Unpacks a package below `root`, unless that was done, and gives `root` back.
fn unpack(package: &Path, root: &Path) -> Result<PathBuf> {
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    let done = root.join(format!(".{name}"));
    if !done.exists() {
        fs::create_dir_all(root).map_err(Failure::file(root))?;
        command::silent(Command::new("dpkg-deb").arg("-x").arg(package).arg(root))?;
        fs::write(&done, "").map_err(Failure::file(&done))?;
    }
    Ok(root.to_path_buf())
}
