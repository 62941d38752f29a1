//! `mutants`: changes the code in small ways and sees whether a test goes red, by cargo-mutants.

use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use std::path::Path;

/// What to change.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The package whose code is changed.
    #[arg(default_value = "hyp-core")]
    package: String,
    /// Only files whose path matches this glob.
    #[arg(long)]
    file: Option<String>,
    /// Of a list of changes begin with this one, counted from 1.
    #[arg(long, default_value_t = 1, conflicts_with = "file")]
    from: usize,
}

/// Reports each change that no test of the package noticed; fails if there is one. A package with a list of its own,
/// `tests/data/mutations.txt`, gets exactly those changes.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    let list = shop.root().join(&args.package).join("tests/data/mutations.txt");
    if args.file.is_none() && list.is_file() {
        return listed(shop, &args.package, &list, args.from);
    }
    setup::cargo_tool(
        shop,
        "cargo-mutants",
        "changes the code to see whether the tests notice",
    )?;
    let mut cargo = shop.cargo();
    cargo.args([
        "mutants",
        "--package",
        &args.package,
        "--output",
        "target",
        "--no-shuffle",
    ]);
    if let Some(file) = &args.file {
        cargo.args(["--file", file]);
    }
    command::passed(&mut cargo)
}

/// One change of a list: file under `src`, the text that goes, the text that comes.
struct Change {
    file: String,
    from: String,
    to: String,
}

fn changes(text: &str) -> Vec<Change> {
    let plain = |s: &str| s.trim().replace("\\|", "|");
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .filter_map(|l| {
            let mut parts = l.splitn(3, " | ");
            let (file, from, to) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Change {
                file: plain(file),
                from: plain(from),
                to: plain(to),
            })
        })
        .collect()
}

/// The names in the list's line `# tests: NAME…`: test programs, the quickest first.
fn tests_of(text: &str) -> Vec<String> {
    let line = text.lines().find_map(|l| l.strip_prefix("# tests:"));
    line.unwrap_or("").split_whitespace().map(str::to_string).collect()
}

/// Whether one of the package's test programs goes red. One after the other, so that what the first one sees needs no
/// building of the rest; a change that does not compile is an error of the list.
fn notices(shop: &Shop, tree: &Path, package: &str, tests: &[String]) -> Result<bool> {
    // The package may be named by its folder.
    let package = package.rsplit('/').next().unwrap_or(package);
    let cargo = |args: &[&str]| {
        let mut cargo = shop.cargo();
        cargo
            .current_dir(tree)
            .args(args)
            .args(["--quiet", "--package", package])
            .env("CARGO_TARGET_DIR", shop.root().join("target/mutants/target"))
            .env("GNOMON_SHARED", shop.root().join("../shared"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        cargo
            .status()
            .map(|s| s.success())
            .map_err(|e| Failure::Said(e.to_string()))
    };
    if !cargo(&["check"])? {
        return Err(Failure::Said("the change does not compile".into()));
    }
    for test in tests {
        if !cargo(&["test", "--test", test])? {
            return Ok(true);
        }
    }
    Ok(tests.is_empty() && !cargo(&["test", "--tests"])?)
}

/// Applies each change of `list`, from number `from` on, to a copy of the sources and expects the package's tests to go red.
fn listed(shop: &Shop, package: &str, list: &Path, from: usize) -> Result<()> {
    let tree = shop.root().join("target/mutants/tree");
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|e| Failure::Said(format!("{}: {e}", path.display())));
    copy_sources(shop, &tree)?;
    let mut survived = Vec::new();
    let text = read(list)?;
    let (all, tests) = (changes(&text), tests_of(&text));
    for (n, change) in all.iter().enumerate().skip(from.saturating_sub(1)) {
        let file = tree.join(package).join("src").join(&change.file);
        let before = read(&file)?;
        let after = before.replacen(&change.from, &change.to, 1);
        if after == before {
            return Err(Failure::Said(format!("{}: no such text: {}", change.file, change.from)));
        }
        let write = |text: &str| std::fs::write(&file, text).map_err(|e| Failure::Said(e.to_string()));
        write(&after)?;
        let noticed = notices(shop, &tree, package, &tests);
        write(&before)?;
        let noticed = noticed?;
        let verdict = if noticed { "noticed" } else { "SURVIVED" };
        println!(
            "{}/{} {verdict}: {}: {} -> {}",
            n + 1,
            all.len(),
            change.file,
            change.from,
            change.to
        );
        if !noticed {
            survived.push(n + 1);
        }
    }
    let made = all.len().saturating_sub(from.saturating_sub(1));
    println!("{} of {made} changes noticed", made - survived.len());
    if survived.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said(format!("not noticed: {survived:?}")))
    }
}

/// Copies every file git knows.
fn copy_sources(shop: &Shop, tree: &Path) -> Result<()> {
    let io = |e: std::io::Error| Failure::Said(e.to_string());
    let files = std::process::Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(shop.root())
        .output()
        .map_err(io)?;
    for name in String::from_utf8_lossy(&files.stdout)
        .split('\0')
        .filter(|n| !n.is_empty())
    {
        let to = tree.join(name);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        std::fs::copy(shop.root().join(name), to).map_err(io)?;
    }
    Ok(())
}
