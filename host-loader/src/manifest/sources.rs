//! Where images, RAM disks and time come from.

use std::ops::Range;

use toml::Spanned;

use super::check::{Checker, Result};
use super::error::{Text, closest};
use super::{Clock, ImageSource, RamDisk, raw};
use crate::debian::{Initramfs, Source};

/// Prefix of an image that is built with Gnomon.
const BUILT_IN: &str = "guest:";
/// Prefix of an image that a Debian package has.
const DEBIAN: &str = "debian:";

/// `clock` of `[system]`.
pub fn clock(text: &Text, word: Option<&Spanned<String>>) -> Result<Clock> {
    let Some(word) = word else { return Ok(Clock::default()) };
    match word.get_ref().as_str() {
        "instructions" => Ok(Clock::Instructions),
        "host" => Ok(Clock::Host),
        other => {
            let fault = text
                .error(format!("time cannot follow `{other}`"))
                .at(word.span(), "here");
            Err(match closest(other, ["instructions", "host"]) {
                Some(near) => fault.advise(format!("did you mean \"{near}\"?")),
                None => {
                    fault.advise("clock is \"instructions\" (exact, the default) or \"host\" (for use by a person)")
                }
            })
        }
    }
}

impl Checker<'_> {
    pub(super) fn image(&self, image: &Spanned<String>) -> Result<ImageSource> {
        let word = image.get_ref();
        if let Some(name) = word.strip_prefix(BUILT_IN) {
            return Ok(ImageSource::BuiltIn(name.to_string()));
        }
        match word.strip_prefix(DEBIAN) {
            Some(name) => Ok(ImageSource::Debian(self.package(name, image.span())?)),
            None => Ok(ImageSource::File(self.folder.join(word))),
        }
    }

    fn package(&self, name: &str, span: Range<usize>) -> Result<Source> {
        Source::parse(name).ok_or_else(|| {
            self.text
                .error(format!("`{name}` cannot name a package of Debian"))
                .at(span, "here")
                .advise("say PACKAGE, or RELEASE/PACKAGE such as trixie/linux-image-arm64")
        })
    }

    /// Modules of the VM's kernel, which must be a package's.
    fn modules(&self, names: &Spanned<Vec<String>>, vm: &raw::Vm) -> Result<(Source, Vec<String>)> {
        match self.image(&vm.image)? {
            ImageSource::Debian(kernel) => Ok((kernel, names.get_ref().clone())),
            _ => Err(self
                .text
                .error("modules are of a kernel that is a package of Debian")
                .at(names.span(), "these")
                .at(vm.image.span(), "is another image")
                .advise("put the modules in by `files`, or name a kernel such as debian:linux-image-arm64")),
        }
    }

    /// The RAM disk of a VM: a file, or made.
    pub(super) fn ram_disk(&self, vm: &raw::Vm) -> Result<Option<(RamDisk, Range<usize>)>> {
        match (&vm.initrd, &vm.initramfs) {
            (None, None) => Ok(None),
            (Some(path), None) => Ok(Some((RamDisk::File(self.folder.join(path.get_ref())), path.span()))),
            (None, Some(made)) => {
                let raw = made.get_ref();
                let packages = raw
                    .packages
                    .iter()
                    .map(|name| self.package(name.get_ref(), name.span()));
                let packages = packages.collect::<Result<_>>()?;
                let files = raw.files.iter();
                let files = files.map(|(inside, path)| (inside.trim_start_matches('/').into(), self.folder.join(path)));
                let modules = raw.modules.as_ref().map(|names| self.modules(names, vm)).transpose()?;
                let init = self.folder.join(&raw.init);
                let disk = Initramfs {
                    packages,
                    init,
                    files: files.collect(),
                    modules,
                };
                Ok(Some((RamDisk::Made(disk), made.span())))
            }
            (Some(file), Some(made)) => Err(self
                .text
                .error("a VM has one RAM disk")
                .at(file.span(), "this file")
                .at(made.span(), "and this one that is to be made")
                .advise("leave one of them out")),
        }
    }
}
