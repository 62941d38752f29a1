//! The repository's own files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The files that git tracks, or would if they were added, relative to the root; those that still exist.
pub fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().expect("git lists the files");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = text
        .lines()
        .map(PathBuf::from)
        .filter(|file| root().join(file).is_file())
        .collect();
    assert!(files.len() > 20, "the repository has more than {} files", files.len());
    files
}

/// The text of a tracked file.
pub fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The tracked files with one of these extensions.
pub fn files_with(extensions: &[&str]) -> Vec<PathBuf> {
    let wanted = |file: &PathBuf| {
        file.extension()
            .is_some_and(|end| extensions.iter().any(|known| end == *known))
    };
    files().into_iter().filter(wanted).collect()
}
