//! Files of a Debian package.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

/// What a package's entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A symbolic link to this.
    Link(String),
    /// A folder.
    Folder,
}

/// An entry of a package.
#[derive(Clone, Debug)]
pub struct File {
    /// Path without leading `./`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Content of a file.
    pub bytes: Vec<u8>,
}

/// Calls `take` with each entry, in the package's order.
///
/// # Errors
/// dpkg-deb is not there, or the package is damaged.
pub fn each_file(package: &Path, mut take: impl FnMut(&mut File)) -> Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .into_diagnostic()
        .wrap_err("dpkg-deb cannot be run on this machine")?;
    let tar = child.stdout.take().ok_or_else(|| miette!("dpkg-deb has no output"))?;
    let mut archive = tar::Archive::new(tar);
    let damaged = || format!("{} is damaged", package.display());
    for entry in archive.entries().into_diagnostic()? {
        let mut entry = entry.into_diagnostic().wrap_err_with(damaged)?;
        let path = entry.path().into_diagnostic()?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_string();
        let header = entry.header();
        let mode = header.mode().into_diagnostic()? & 0o7777;
        let target = entry.link_name().into_diagnostic()?;
        let target = target.map(|target| target.to_string_lossy().into_owned());
        let kind = match (header.entry_type(), target) {
            (tar::EntryType::Directory, _) => Kind::Folder,
            (tar::EntryType::Symlink, Some(target)) => Kind::Link(target),
            (tar::EntryType::Regular, _) => Kind::File,
            // Hard links and devices: no package that makes a guest has them.
            _ => continue,
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).into_diagnostic().wrap_err_with(damaged)?;
        take(&mut File {
            path,
            kind,
            mode,
            bytes,
        });
    }
    match child.wait().into_diagnostic()?.success() {
        true => Ok(()),
        false => Err(miette!("{}", damaged())),
    }
}
