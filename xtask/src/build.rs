//! `build`: hypervisor, guests, probes and the `gnomon` command, gathered in `target/gnomon`.

use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use crate::toolchain::Toolchain;
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to build; everything if nothing is named.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// Only the hypervisor and the guests, and the `gnomon` command, which bounds the hypervisor's paths; no probes.
    #[arg(long)]
    target_only: bool,
}

/// Builds, and says where the results are.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    shop.ensure(setup::BUILD)?;
    match args.target_only {
        true => bootable(shop)?,
        false => all(shop)?,
    }
    println!("{}", shop.dist().display());
    Ok(())
}

/// Everything that a system needs to be packed and run.
pub fn all(shop: &Shop) -> Result<()> {
    probes(shop)?;
    bootable(shop)
}

fn bootable(shop: &Shop) -> Result<()> {
    target(shop)?;
    gnomon(shop)?;
    bounds(shop)
}

/// The hypervisor as linked, before the table of path bounds is patched in.
const LINKED: &str = "hyp-el2.linked";

/// Works out the bounds of the hypervisor's paths and patches them into its image, unless that was done for this very image.
fn bounds(shop: &Shop) -> Result<()> {
    let (linked, patched) = (shop.dist().join(LINKED), shop.dist().join("hyp-el2"));
    let fresh = fs::read(&linked).map_err(Failure::file(&linked))?;
    let stamp = shop.dist().join("hyp-el2.bounds-of");
    let is_done = patched.is_file()
        && is_newer(&patched, &shop.dist().join("gnomon"))
        && fs::read(&stamp).is_ok_and(|old| old == fresh);
    if is_done {
        return Ok(());
    }
    let work = shop.dist().join("hyp-el2.new");
    fs::write(&work, &fresh).map_err(Failure::file(&work))?;
    let mut gnomon = gnomon_command(shop);
    gnomon.arg("paths").arg(&work).arg("--patch");
    command::quiet("bounding the hypervisor's paths", &mut gnomon)?;
    fs::rename(&work, &patched).map_err(Failure::file(&patched))?;
    fs::write(&stamp, &fresh).map_err(Failure::file(&stamp))
}

/// The built `gnomon` command, told where the rest is.
pub fn gnomon_command(shop: &Shop) -> Command {
    let mut command = Command::new(shop.dist().join("gnomon"));
    command.env("GNOMON_DIST", shop.dist());
    command
}

/// Hypervisor and guests.
pub fn target(shop: &Shop) -> Result<()> {
    let toolchain = Toolchain::ensure(shop)?;
    let mut cargo = toolchain.cargo_build(shop);
    cargo.args(["--package", "hyp-el2"]);
    for guest in guests(shop)? {
        cargo.args(["--package", &format!("guest-{guest}")]);
    }
    command::quiet("building hypervisor and guests", &mut cargo)?;
    fs::create_dir_all(shop.dist()).map_err(Failure::file(shop.dist()))?;
    let binaries = toolchain.binaries(shop);
    for entry in fs::read_dir(&binaries).map_err(Failure::file(&binaries))? {
        let file = entry.map_err(Failure::file(&binaries))?.path();
        if !is_elf(&file) {
            continue;
        }
        if file.file_name().is_some_and(|name| name == "hyp-el2") {
            let linked = shop.dist().join(LINKED);
            fs::copy(&file, &linked).map_err(Failure::file(&linked))?;
        } else {
            copy(&file, &shop.dist())?;
        }
    }
    Ok(())
}

/// The probes under probe-vm/probes, and those under refused/ that only show what is refused, compiled by clang to eBPF objects.
pub fn probes(shop: &Shop) -> Result<()> {
    for (from, to) in [
        ("probe-vm/probes", "probes"),
        ("probe-vm/probes/refused", "probes/refused"),
    ] {
        let out = shop.dist().join(to);
        fs::create_dir_all(&out).map_err(Failure::file(&out))?;
        for source in files_ending(&shop.root().join(from), ".bpf.c")? {
            compile(shop, &source, &out)?;
        }
    }
    Ok(())
}

/// Compiles a probe unless its object is newer; returns whether it did.
fn compile(shop: &Shop, source: &Path, out: &Path) -> Result<bool> {
    let name = source
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace(".bpf.c", ".bpf.o");
    let object = out.join(&name);
    if is_newer(&object, source) && is_newer(&object, &shop.root().join("probe-vm/include/gnomon.h")) {
        return Ok(false);
    }
    let mut clang = Command::new("clang");
    // Paths relative to the root, so that line info names the file as the reader knows it.
    let source = source.strip_prefix(shop.root()).unwrap_or(source);
    clang
        .current_dir(shop.root())
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror"]);
    clang.args(["-I", "probe-vm/include", "-I"]).arg(multiarch_include());
    clang.arg("-c").arg(source).arg("-o").arg(&object);
    command::silent(&mut clang).map(|()| true)
}

/// Whether a file is there and not older than another.
fn is_newer(file: &Path, than: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    match (time(file), time(than)) {
        (Some(file), Some(than)) => file >= than,
        _ => false,
    }
}

/// The `gnomon` command, in the tests' profile so that they share its build.
fn gnomon(shop: &Shop) -> Result<()> {
    let mut cargo = shop.cargo();
    cargo.args(["build", "--profile", "test", "--package", "gnomon", "--bin", "gnomon"]);
    command::quiet("building gnomon", &mut cargo)?;
    copy(&shop.root().join("target/debug/gnomon"), &shop.dist())
}

fn guests(shop: &Shop) -> Result<Vec<String>> {
    let folder = shop.root().join("guests");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Failure::file(&folder))? {
        let entry = entry.map_err(Failure::file(&folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "rt" && entry.path().join("Cargo.toml").is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The files of a folder whose names end so, sorted; none if there is no such folder.
pub fn files_ending(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::file(folder))? {
        let path = entry.map_err(Failure::file(folder))?.path();
        if path.to_string_lossy().ends_with(end) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Debian keeps `asm/types.h`, which `linux/bpf.h` includes, in a folder of the host's architecture.
fn multiarch_include() -> String {
    format!("/usr/include/{}-linux-gnu", env::consts::ARCH)
}

fn is_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    file.is_file()
        && file.extension().is_none()
        && fs::File::open(file)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok()
        && magic == *b"\x7fELF"
}

/// Copies a file into a folder by way of a temporary name: the old one may be running.
pub fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    let there = folder.join(name);
    if is_newer(&there, file) && fs::read(&there).is_ok_and(|old| fs::read(file).is_ok_and(|new| new == old)) {
        return Ok(());
    }
    let fresh = folder.join(format!("{}.new", name.to_string_lossy()));
    fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    fs::copy(file, &fresh).map_err(Failure::file(file))?;
    fs::rename(&fresh, folder.join(name)).map_err(Failure::file(folder.join(name)))
}
