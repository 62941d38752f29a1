//! `linux-matrix`: Debian's kernels as guests, each with several numbers of vCPUs: boot, a workload, power off.

use crate::build;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The kernels: the package, and what it is.
const KERNELS: &[(&str, &str)] = &[
    ("bookworm", "linux-image-arm64"),
    ("bookworm", "linux-image-rt-arm64"),
    ("trixie", "linux-image-arm64"),
    ("trixie", "linux-image-rt-arm64"),
];
/// vCPUs, each on a physical CPU of its own.
const VCPUS: &[u32] = &[1, 2, 4];
/// A run that has not ended by then hangs: ten times what the slowest takes on two cores of a host.
const TIMEOUT_S: u32 = 400;
/// What a run's disk needs besides the kernel: a shell, and the workload with its libraries.
const PACKAGES: &str = "\"busybox-static\", \"rt-tests\", \"libc6\", \"libnuma1\"";

/// Which runs, and where the rows go.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only runs whose name (such as `trixie/linux-image-rt-arm64 x2`) contains this.
    filter: Option<String>,
    /// Write the rows to this file as a JSON array.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One run.
#[derive(Clone, Debug, Default, Serialize)]
struct Row {
    kernel: String,
    vcpus: u32,
    /// Version that the guest says it has.
    version: String,
    /// vCPUs that the guest counts.
    online: u32,
    /// Time of the workload of messages, seconds of the guest.
    hackbench_s: Option<f64>,
    /// Latest of 300 wake-ups a millisecond apart, microseconds of the guest.
    cyclictest_max_us: Option<u64>,
    /// Lines of the kernel's log that tell of a fault.
    faults: Option<u32>,
    /// Seconds of the host for all of it.
    host_s: f64,
    ok: bool,
}

/// Builds, runs every combination, prints the table. Fails if one of them did.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    shop.ensure(setup::BOOT)?;
    build::all(shop)?;
    let folder = shop.root().join("target/linux-matrix");
    fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
    let mut rows = Vec::new();
    for (suite, package) in KERNELS {
        for vcpus in VCPUS {
            let name = format!("{suite}/{package} x{vcpus}");
            if args
                .filter
                .as_ref()
                .is_some_and(|filter| !name.contains(filter.as_str()))
            {
                continue;
            }
            eprintln!("xtask: {name} ...");
            let row = one(shop, &folder, &format!("{suite}/{package}"), *vcpus)?;
            eprintln!("xtask: {name}: {}", if row.ok { "ok" } else { "FAILED" });
            rows.push(row);
        }
    }
    println!("{}", table(&rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| Failure::Said(error.to_string()))?;
        fs::write(path, text).map_err(Failure::file(path))?;
    }
    match rows.iter().filter(|row| !row.ok).count() {
        0 if rows.is_empty() => Err(Failure::Said("no run has such a name".into())),
        0 => Ok(()),
        bad => Err(Failure::Said(format!("{bad} of {} runs failed", rows.len()))),
    }
}

/// Time follows instructions: then one thread runs all CPUs, and one that waits in WFE gives its turn away. With a thread for each CPU, more of them
/// than the host has cores, whoever has a lock is not running when the others, in the order in which they came, spin for it.
fn manifest(root: &Path, kernel: &str, vcpus: u32) -> String {
    let cpus: Vec<String> = (0..vcpus).map(|cpu| cpu.to_string()).collect();
    format!(
        "[system]\ncpus = {vcpus}\n\n[[vm]]\nname = \"linux\"\nimage = \"debian:{kernel}\"\n\
         initramfs = {{ packages = [{PACKAGES}], init = \"{}\" }}\ncmdline = \"console=ttyAMA0 quiet smoke=1\"\n\
         memory = \"384M\"\ncpus = [{}]\n",
        root.join("guests/linux/init").display(),
        cpus.join(", ")
    )
}

fn one(shop: &Shop, folder: &Path, kernel: &str, vcpus: u32) -> Result<Row> {
    let file = folder.join(format!("{}-{vcpus}.toml", kernel.replace('/', "-")));
    fs::write(&file, manifest(shop.root(), kernel, vcpus)).map_err(Failure::file(&file))?;
    let mut command: Command = build::gnomon_command(shop);
    command
        .arg("run")
        .arg(&file)
        .arg("--timeout")
        .arg(TIMEOUT_S.to_string());
    let started = Instant::now();
    let output = command.output().map_err(|error| Failure::Start {
        command: "gnomon run".into(),
        error,
    })?;
    let console = String::from_utf8_lossy(&output.stdout);
    let mut row = read(&console);
    (row.kernel, row.vcpus) = (kernel.to_string(), vcpus);
    row.host_s = started.elapsed().as_secs_f64();
    row.ok = output.status.success()
        && row.online == vcpus
        && row.hackbench_s.is_some()
        && row.cyclictest_max_us.is_some()
        && row.faults == Some(0);
    if !row.ok {
        let lines: Vec<&str> = console.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(20));
        eprintln!("{}", last.copied().collect::<Vec<_>>().join("\n"));
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(row)
}

/// What guests/linux/init says.
fn read(console: &str) -> Row {
    let mut row = Row::default();
    for line in console.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("gnomon-linux: ") {
            let mut words = rest.split([',', ' ']).filter(|word| !word.is_empty());
            row.version = words.next().unwrap_or_default().to_string();
            row.online = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        } else if let Some(time) = line.strip_prefix("smoke: hackbench: Time:") {
            row.hackbench_s = time.trim().parse().ok();
        } else if let Some(rest) = line.strip_prefix("smoke: cyclictest: T:") {
            let max = rest
                .rsplit_once("Max:")
                .and_then(|(_, max)| max.trim().parse::<u64>().ok());
            row.cyclictest_max_us = row.cyclictest_max_us.max(max);
        } else if let Some(count) = line.strip_prefix("smoke: faults: ") {
            row.faults = count.parse().ok();
        }
    }
    row
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "kernel",
        "version",
        "vCPUs",
        "hackbench s",
        "cyclictest max µs",
        "host s",
        "",
    ]);
    for row in rows {
        let number = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        table.add_row([
            row.kernel.clone(),
            row.version.clone(),
            row.vcpus.to_string(),
            number(row.hackbench_s.map(|s| format!("{s:.2}"))),
            number(row.cyclictest_max_us.map(|us| us.to_string())),
            format!("{:.0}", row.host_s),
            if row.ok { "ok" } else { "FAILED" }.into(),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_run_is_read_from_what_the_guest_says() {
        let row = read(
            "[    0.1] boot\r\ngnomon-linux: 6.1.0-56-arm64, 2 CPUs\r\nsmoke: hackbench: Time: 0.482\r\n\
             smoke: cyclictest: T: 0 (   61) P:80 I:1000 C:    500 Min:     50 Act:  120 Avg:  130 Max:     900\r\n\
             smoke: cyclictest: T: 1 (   62) P:80 I:1500 C:    333 Min:     50 Act:  120 Avg:  130 Max:    1200\r\n\
             smoke: faults: 0\r\n",
        );
        assert_eq!((row.version.as_str(), row.online), ("6.1.0-56-arm64", 2));
        assert_eq!(
            (row.hackbench_s, row.cyclictest_max_us, row.faults),
            (Some(0.482), Some(1200), Some(0))
        );
        assert!(read("nothing").faults.is_none());
    }
}
