//! Modules of a packaged kernel, with those that they need first.
//!
//! What needs what is not in the package: `depmod` finds it out at installation, from the modules' own `depends=` (Linux: modpost). So
//! does this, once for each package; the answer and the modules that were wanted are kept beside the package.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::apt::write_whole;
use super::package::each_file;

/// A module: its name and its content, not compressed.
pub type Module = (String, Vec<u8>);

/// The modules named, each after those it needs.
///
/// # Errors
/// The package has no such module, or is damaged.
pub fn modules(package: &Path, wanted: &[String]) -> Result<Vec<Module>> {
    let needs = needs(package)?;
    let mut order = Vec::new();
    for name in wanted {
        let name = normal(name);
        if !needs.contains_key(&name) {
            return Err(miette!("{} has no module {name}", package.display()));
        }
        add(&name, &needs, &mut order);
    }
    let folder = package.with_extension("modules");
    let place = |name: &String| folder.join(name).with_extension("ko");
    if order.iter().any(|name| !place(name).is_file()) {
        std::fs::create_dir_all(&folder).into_diagnostic()?;
        each_module(package, |name, bytes| match order.contains(&name) {
            true => write_whole(&place(&name), &bytes),
            false => Ok(()),
        })?;
    }
    let read = |name: String| {
        let bytes = std::fs::read(place(&name)).into_diagnostic();
        bytes.map(|bytes| (name, bytes))
    };
    order.into_iter().map(read).collect()
}

/// `name` after what it needs. Kernels have no circles of modules; one would end here all the same.
fn add(name: &str, needs: &BTreeMap<String, Vec<String>>, order: &mut Vec<String>) {
    let mut open = vec![(name.to_string(), false)];
    let mut seen = Vec::new();
    while let Some((name, ready)) = open.pop() {
        if ready {
            order.push(name);
        } else if !order.contains(&name) && !seen.contains(&name) {
            seen.push(name.clone());
            let before = needs.get(&name).cloned().unwrap_or_default();
            open.push((name, true));
            open.extend(before.into_iter().map(|name| (name, false)));
        }
    }
}

/// What each module of the package needs.
fn needs(package: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let index = package.with_extension("depends");
    if let Ok(text) = std::fs::read_to_string(&index) {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let words = |rest: &str| rest.split_whitespace().map(str::to_string).collect();
        return Ok(lines.map(|(name, rest)| (name.to_string(), words(rest))).collect());
    }
    let mut needs = BTreeMap::new();
    each_module(package, |name, bytes| {
        needs.insert(name, depends(&bytes));
        Ok(())
    })?;
    let line = |(name, needs): (&String, &Vec<String>)| format!("{name}: {}\n", needs.join(" "));
    let text: String = needs.iter().map(line).collect();
    write_whole(&index, text.as_bytes())?;
    Ok(needs)
}

/// Calls `take` with each module's name and content.
fn each_module(package: &Path, mut take: impl FnMut(String, Vec<u8>) -> Result<()>) -> Result<()> {
    let mut outcome = Ok(());
    each_file(package, |file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let plain = name.strip_suffix(".xz").unwrap_or(name);
        let Some(module) = plain.strip_suffix(".ko").filter(|_| outcome.is_ok()) else {
            return;
        };
        let bytes = std::mem::take(&mut file.bytes);
        let bytes = if plain == name { Ok(bytes) } else { xz(bytes) };
        outcome = bytes.and_then(|bytes| take(normal(module), bytes));
    })?;
    outcome
}

/// As the kernel names modules: with `_` for `-`.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The names in a module's `depends=`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let list = module.get(at + KEY.len()..).unwrap_or_default();
    let list: Vec<u8> = list.iter().copied().take_while(|byte| *byte != 0).collect();
    let names = String::from_utf8_lossy(&list).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

/// What `xz` makes of packed bytes.
fn xz(packed: Vec<u8>) -> Result<Vec<u8>> {
    let mut child = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .into_diagnostic()
        .wrap_err("xz cannot be run on this machine")?;
    let mut input = child.stdin.take().ok_or_else(|| miette!("xz has no input"))?;
    let writer = std::thread::spawn(move || input.write_all(&packed));
    let output = child.wait_with_output().into_diagnostic()?;
    let written = writer.join().map_err(|_| miette!("xz was not fed"))?;
    written.into_diagnostic()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(miette!("a module's compressed data is damaged")),
    }
}

/// Where a module lies in a RAM disk, and where the order of all of them stands.
pub const FOLDER: &str = "usr/lib/modules";
/// File in [`FOLDER`]: the modules' names, in the order in which they can be loaded.
pub const ORDER: &str = "order";

/// File name of a module in [`FOLDER`].
pub fn file_name(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name).with_extension("ko")
}

#[cfg(test)]
mod tests {
    use super::{add, depends};
    use std::collections::BTreeMap;

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(
            depends(b"x\0depends=virtio-ring,virtio\0name=y\0"),
            ["virtio_ring", "virtio"]
        );
        assert_eq!(depends(b"x\0depends=\0name=y\0"), [""; 0]);
        assert_eq!(depends(b"no module"), [""; 0]);
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
        let needs: BTreeMap<String, Vec<String>> = [
            ("blk", list(&["ring", "core"])),
            ("ring", list(&["core"])),
            ("core", list(&["ring"])),
        ]
        .into_iter()
        .map(|(name, needs)| (name.to_string(), needs))
        .collect();
        let mut order = Vec::new();
        add("blk", &needs, &mut order);
        add("ring", &needs, &mut order);
        assert_eq!(order.len(), 3, "also where there is a circle: {order:?}");
        assert_eq!(order.last().map(String::as_str), Some("blk"));
    }
}
