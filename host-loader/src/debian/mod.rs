//! Guests made of Debian's own arm64 packages: fetched by name, kept in a cache, never changed.
//!
//! [`apt`] fetches with a state of its own, so the host's package lists stay as they are; [`package`] reads files out of a package;
//! [`kernel`] unpacks a kernel to the plain `Image`; [`initramfs`] makes a RAM disk of packages' files and an init script; [`modules`] finds a kernel's
//! modules and what they need.

mod apt;
mod initramfs;
mod kernel;
mod modules;
mod package;

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

pub use apt::{NotFetched, Source};
pub use kernel::{KernelError, unpack};

/// A RAM disk to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initramfs {
    /// Packages whose files it holds.
    pub packages: Vec<Source>,
    /// Script or program that becomes `/init`.
    pub init: PathBuf,
    /// More files: path inside, path on the host.
    pub files: Vec<(String, PathBuf)>,
    /// Modules, and the package of the kernel that they are of.
    pub modules: Option<(Source, Vec<String>)>,
}

/// The file of a package; a metapackage of a kernel stands for the kernel's own.
///
/// # Errors
/// The package cannot be had.
pub fn package(source: &Source, cache: &Path) -> Result<PathBuf> {
    apt::fetch(source, cache, apt::Follow::Kernel)
}

/// A kernel package's kernel, as a plain `Image`; what was fetched and unpacked once is not fetched again.
///
/// # Errors
/// The package cannot be had, or holds no kernel.
pub fn kernel(source: &Source, cache: &Path) -> Result<Vec<u8>> {
    let package = package(source, cache)?;
    let plain = package.with_extension("Image");
    if let Ok(bytes) = std::fs::read(&plain) {
        return Ok(bytes);
    }
    let mut found = None;
    package::each_file(&package, |file| {
        if file.path.starts_with("boot/vmlinuz-") {
            found = Some(std::mem::take(&mut file.bytes));
        }
    })?;
    let packed = found.ok_or_else(|| miette!("{} holds no boot/vmlinuz-*", package.display()))?;
    let image = kernel::unpack(packed).into_diagnostic()?;
    apt::write_whole(&plain, &image)?;
    Ok(image)
}

/// A RAM disk.
///
/// # Errors
/// A package cannot be had, or a file cannot be read.
pub fn initramfs(wanted: &Initramfs, cache: &Path) -> Result<Vec<u8>> {
    let mut disk = initramfs::Builder::new();
    for source in &wanted.packages {
        let package = apt::fetch(source, cache, apt::Follow::No)?;
        package::each_file(&package, |file| disk.package_file(file))?;
    }
    if let Some((kernel, names)) = &wanted.modules {
        let found = modules::modules(&package(kernel, cache)?, names)?;
        let order: String = found.iter().map(|(name, _)| format!("{name}\n")).collect();
        disk.file(
            &format!("{}/{}", modules::FOLDER, modules::ORDER),
            0o644,
            order.as_bytes(),
        );
        for (name, bytes) in &found {
            disk.file(&modules::file_name(name).to_string_lossy(), 0o644, bytes);
        }
    }
    for (inside, path) in &wanted.files {
        disk.file(inside, 0o755, &read(path)?);
    }
    disk.file("init", 0o755, &read(&wanted.init)?);
    Ok(disk.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}
