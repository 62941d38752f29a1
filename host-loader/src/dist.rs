//! Where the built hypervisor, guests and probes are.

use std::path::{Path, PathBuf};

use miette::miette;

/// The hypervisor's file name in a dist folder.
const HYPERVISOR: &str = "hyp-el2";

/// The folder that `cargo xtask build` fills.
#[derive(Clone, Debug)]
pub struct Dist {
    folder: PathBuf,
}

impl Dist {
    /// `GNOMON_DIST`; else the folder of this program; else `target/gnomon` in the current folder or one above.
    ///
    /// # Errors
    /// There is no hypervisor in any of them.
    pub fn find() -> miette::Result<Dist> {
        let named = std::env::var_os("GNOMON_DIST").map(PathBuf::from);
        let own = std::env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_path_buf));
        let here = std::env::current_dir().unwrap_or_default();
        let above = here.ancestors().map(|folder| folder.join("target/gnomon"));
        let mut candidates = named.into_iter().chain(own).chain(above);
        candidates
            .find(|folder| folder.join(HYPERVISOR).is_file())
            .map(|folder| Dist { folder })
            .ok_or_else(|| {
                miette!(
                    help = "run `cargo xtask build`, or set GNOMON_DIST to the folder it filled",
                    "the hypervisor is not built"
                )
            })
    }

    /// A dist folder that is known.
    pub fn at(folder: impl Into<PathBuf>) -> Dist {
        Dist { folder: folder.into() }
    }

    /// The hypervisor's ELF file.
    pub fn hypervisor(&self) -> PathBuf {
        self.folder.join(HYPERVISOR)
    }

    /// A built-in guest's ELF file.
    pub fn guest(&self, name: &str) -> PathBuf {
        let prefixed = self.folder.join(format!("guest-{name}"));
        if prefixed.is_file() {
            prefixed
        } else {
            self.folder.join(name)
        }
    }

    /// Names of the built-in guests.
    pub fn guests(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("guest-")?.to_string()));
        let mut names: Vec<String> = names.filter(|name| !name.contains('.')).collect();
        names.sort();
        names
    }

    /// Where packages of Debian that guests are made of are kept: `GNOMON_CACHE`, or `debian` in this folder.
    pub fn cache(&self) -> PathBuf {
        let named = std::env::var_os("GNOMON_CACHE").map(PathBuf::from);
        named.unwrap_or_else(|| self.folder.join("debian"))
    }

    /// The folder of what Linux guests need to load probes: this command, built for them, and the kernel module.
    pub fn linux(&self) -> PathBuf {
        self.folder.join("linux")
    }

    /// The folder of compiled probes; those that must be refused are in `refused` below it.
    pub fn probes(&self) -> PathBuf {
        self.folder.join("probes")
    }

    /// A compiled probe's object.
    pub fn probe(&self, name: &str) -> PathBuf {
        self.folder.join("probes").join(format!("{name}.bpf.o"))
    }
}
