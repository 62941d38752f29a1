//! Packages by name, through the host's own apt and with its keys, but with lists and archives in our cache.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result, WrapErr, miette};

/// Architecture of the guests.
const ARCHITECTURE: &str = "arm64";
/// A metapackage names the kernel's real package; one that names another metapackage is followed so many times.
const FOLLOW_MAX: usize = 3;
/// Seconds without an answer after which apt gives a server up.
const APT_TIMEOUT_S: u32 = 20;

/// A package, and the release of Debian that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Code name such as `trixie`; `None`: the releases that the host itself uses.
    pub suite: Option<String>,
    /// Name.
    pub package: String,
}

impl Source {
    /// Reads `PACKAGE` or `SUITE/PACKAGE`; `None` if it cannot be a name of one.
    pub fn parse(text: &str) -> Option<Source> {
        let word = |word: &str| {
            !word.is_empty()
                && word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        };
        let (suite, package) = match text.split_once('/') {
            Some((suite, package)) => (Some(suite), package),
            None => (None, text),
        };
        (word(package) && suite.is_none_or(word)).then(|| Source {
            suite: suite.map(str::to_string),
            package: package.to_string(),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.suite {
            Some(suite) => write!(f, "{suite}/{}", self.package),
            None => write!(f, "{}", self.package),
        }
    }
}

/// Whether a package is taken as it is, or is a metapackage that names a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// As it is.
    No,
    /// Its first dependency that is a kernel.
    Kernel,
}

/// The package's file in the cache. One that was fetched before is used as it is: delete the cache to get a newer version.
///
/// # Errors
/// There is no apt, no such package, or no network.
pub fn fetch(source: &Source, cache: &Path, follow: Follow) -> Result<PathBuf> {
    let folder = cache.join(source.suite.as_deref().unwrap_or("host"));
    let note = folder.join(format!("{}.name", source.package));
    if let Some(file) = fetched(&folder, &note) {
        return Ok(file);
    }
    // apt refuses a second run over one state; another process may be fetching the very same.
    let _turn = turn(&folder)?;
    if let Some(file) = fetched(&folder, &note) {
        return Ok(file);
    }
    let apt = Apt::open(source, &folder)?;
    let mut package = source.package.clone();
    if follow == Follow::Kernel {
        for _ in 0..FOLLOW_MAX {
            match apt.kernel_of(&package)? {
                Some(next) => package = next,
                None => break,
            }
        }
    }
    let file = apt.download(&package)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    write_whole(&note, name.as_bytes())?;
    Ok(file)
}

/// The file that a note names, if it is there.
fn fetched(folder: &Path, note: &Path) -> Option<PathBuf> {
    let name = std::fs::read_to_string(note).ok()?;
    Some(folder.join(name.trim())).filter(|file| file.is_file())
}

/// Waits until no other run uses this part of the cache; until the file is dropped none does.
fn turn(folder: &Path) -> Result<std::fs::File> {
    let path = folder.join("lock");
    let take = || -> std::io::Result<std::fs::File> {
        std::fs::create_dir_all(folder)?;
        let file = std::fs::File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    take()
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot lock {}", path.display()))
}

/// Writes a file at once or not at all: two runs may fill one cache.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map_err(|error| error.error)
    };
    write()
        .map(|_| ())
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

/// apt brought nothing: most likely the machine is offline.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[error("apt-get {what}: {why}")]
#[diagnostic(help("is the network there? what was fetched once is kept and needs none"))]
pub struct NotFetched {
    what: String,
    why: String,
}

/// apt with our own state.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// Prepares the folder and has the package lists fetched.
    fn open(source: &Source, folder: &Path) -> Result<Apt> {
        for part in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(folder.join(part))
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot make {}", folder.join(part).display()))?;
        }
        let folder = folder.canonicalize().into_diagnostic()?;
        let lists = folder.join("lists");
        let mut options = vec![
            format!("APT::Architecture={ARCHITECTURE}"),
            format!("APT::Architectures={ARCHITECTURE}"),
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", folder.display()),
            // The cache is the user's, not apt's.
            "APT::Sandbox::User=root".into(),
            format!("Acquire::http::Timeout={APT_TIMEOUT_S}"),
            format!("Acquire::https::Timeout={APT_TIMEOUT_S}"),
            "Acquire::Languages=none".into(),
        ];
        if let Some(suite) = &source.suite {
            let list = folder.join("sources.list");
            write_whole(&list, sources(suite)?.as_bytes())?;
            options.push(format!("Dir::Etc::SourceList={}", list.display()));
            options.push("Dir::Etc::SourceParts=/dev/null".into());
        }
        let apt = Apt { folder, options };
        apt.with_progress("package lists", &["update"])
            .wrap_err_with(|| format!("the package lists for {source} cannot be fetched"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.env("LC_ALL", "C").current_dir(&self.folder);
        command
    }

    /// The kernel that `package` depends on, if it is a metapackage of one.
    fn kernel_of(&self, package: &str) -> Result<Option<String>> {
        let mut show = self.command("apt-cache");
        let text = output(show.args(["show", "--no-all-versions", package]))?;
        let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "));
        Ok(depends.and_then(kernel_in).map(str::to_string))
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        // `name_version_arch.deb` as apt writes it: asked for, since the version's colon is escaped in it.
        let mut uris = self.command("apt-get");
        let text = output(uris.args(["download", "--print-uris", package]))?;
        let name = text
            .lines()
            .find_map(|line| line.split_whitespace().nth(1))
            .ok_or_else(|| miette!("apt does not say where {package} comes from"))?;
        let file = self.folder.join(name);
        if !file.is_file() {
            self.with_progress(package, &["download", package])?;
        }
        match file.is_file() {
            true => Ok(file),
            false => Err(miette!("apt did not bring {}", file.display())),
        }
    }

    /// Runs apt-get with a bar that follows what it reports (`dlstatus:N:PERCENT:TEXT`).
    fn with_progress(&self, what: &str, arguments: &[&str]) -> Result<()> {
        let style = ProgressStyle::with_template("fetching {msg} [{bar:32}] {percent}%").into_diagnostic()?;
        let bar = ProgressBar::new(100).with_style(style).with_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        let mut command = self.command("apt-get");
        command.args(["-q", "-o", "APT::Status-Fd=1"]).args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_apt)?;
        let said = child.stderr.take();
        let errors = std::thread::spawn(move || said.map(std::io::read_to_string));
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines().map_while(std::io::Result::ok) {
                if let Some(percent) = percent(&line) {
                    bar.set_position(percent);
                }
            }
        }
        let status = child.wait().into_diagnostic()?;
        bar.finish_and_clear();
        let said = errors
            .join()
            .ok()
            .flatten()
            .and_then(std::io::Result::ok)
            .unwrap_or_default();
        match status.success() && !said.contains("Failed to fetch") {
            true => Ok(()),
            false => Err(NotFetched {
                what: arguments.join(" "),
                why: said.lines().next().unwrap_or("failed").to_string(),
            }
            .into()),
        }
    }
}

/// The first package of a `Depends:` field that is a kernel.
fn kernel_in(depends: &str) -> Option<&str> {
    let names = depends.split(',').filter_map(|entry| entry.split_whitespace().next());
    names
        .filter(|name| name.starts_with("linux-image-"))
        .find(|name| name.contains(|c: char| c.is_ascii_digit()))
}

fn percent(line: &str) -> Option<u64> {
    let percent = line.strip_prefix("dlstatus:")?.split(':').nth(1)?;
    percent.parse::<f64>().ok().map(|percent| percent as u64)
}

fn no_apt(error: std::io::Error) -> miette::Report {
    miette!(
        help = "a manifest can name files instead of Debian packages: `image = \"Image\"`",
        "apt cannot be run on this machine: {error}"
    )
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(no_apt)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(miette!("{}", said.lines().next().unwrap_or("apt failed")))
        }
    }
}

/// A sources.list for another release, from the server and with the key that the host uses for Debian's main archive.
fn sources(suite: &str) -> Result<String> {
    const FORMAT: &str = "$(ORIGIN)|$(COMPONENT)|$(RELEASE)|$(CODENAME)|$(REPO_URI)";
    let text = output(Command::new("apt-get").args(["indextargets", "--format", FORMAT]))?;
    let uri = archive(&text).ok_or_else(|| {
        miette!(
            help = "name the package without a release to use the host's own sources",
            "the host's apt has no source of Debian's main archive to take {suite} from"
        )
    })?;
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    Ok(format!("deb [signed-by={key}] {uri} {suite} main\n"))
}

/// The server of a plain release (not of updates to one) in a list of index targets.
fn archive(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        match fields.as_slice() {
            ["Debian", "main", release, codename, uri] if !release.contains('-') && !codename.contains('-') => {
                Some(*uri)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Source, archive, kernel_in, percent};

    #[test]
    fn packages_are_named_with_or_without_a_release() {
        let source = |suite: Option<&str>, package: &str| {
            Some(Source {
                suite: suite.map(str::to_string),
                package: package.into(),
            })
        };
        assert_eq!(Source::parse("linux-image-arm64"), source(None, "linux-image-arm64"));
        assert_eq!(Source::parse("trixie/libstdc++6"), source(Some("trixie"), "libstdc++6"));
        for bad in ["", "/x", "x/", "-o", "a b", "a/b/c", "../x", "a;b"] {
            assert_eq!(Source::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_metapackage_names_its_kernel() {
        assert_eq!(
            kernel_in("linux-image-6.1.0-56-arm64"),
            Some("linux-image-6.1.0-56-arm64")
        );
        assert_eq!(
            kernel_in("x (>= 1), linux-image-6.12-rt (= 2)"),
            Some("linux-image-6.12-rt")
        );
        assert_eq!(kernel_in("kmod, linux-base (>= 4.3~), initramfs-tools"), None);
    }

    #[test]
    fn the_archive_is_that_of_a_release() {
        let text = "Debian|main|bookworm-updates|bookworm-updates|S/u/\nOther|main|x|x|S/o/\nDebian|main|bookworm|bookworm|S/d/\n";
        assert_eq!(archive(text), Some("S/d/"));
        assert_eq!(archive(""), None);
    }

    #[test]
    fn progress_lines() {
        assert_eq!(percent("dlstatus:1:33.5000:Retrieving file 1 of 1"), Some(33));
        assert_eq!(percent("Get:1 something"), None);
    }
}
