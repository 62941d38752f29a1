//! `bench`: measures, prints each value with its goal beside it, and writes rows as JSON.
//!
//! Every bench program, on the host or in a guest, prints each result as a line
//!
//! ```text
//! @row {"name": "exits.psci_version", "value": 70, "unit": "insns"}
//! ```
//!
//! with `"goal"` and `"better"` (`"lower"`, the default, or `"higher"`) if it knows them, and `"peer"`, another project's
//! figure in words; [`goals`] has the goals of guests.

mod goals;
mod mixed;

use crate::build;
use crate::command;
use crate::failure::{Failure, Result};
use crate::setup::{self, Shop};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// `--json` without a file.
const STDOUT: &str = "-";

/// Which benches to run and where the rows go.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// One of: exits, points, paths, mixed, jit, interp, verifier, wcet. All of them if none is named.
    name: Option<String>,
    /// Write the rows to this file as a JSON array; without a file to standard output, and the tables to standard error.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    json: Option<PathBuf>,
}

/// Where a bench's lines come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A system that boots in QEMU and whose guests print the lines.
    System(&'static str),
    /// A host program: `cargo bench -p PACKAGE --bench NAME`.
    Host { package: &'static str, bench: &'static str },
    /// Likewise, with two control loops whose releases are compared with what its budgets allow.
    Mixed(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Bench {
    name: &'static str,
    about: &'static str,
    sources: &'static [Source],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "exits",
        about: "hypervisor exits, instructions under icount",
        sources: &[
            Source::System("systems/bench.toml"),
            Source::System("systems/bench-smp.toml"),
        ],
    },
    Bench {
        name: "points",
        about: "firing a probe, instructions more than a disabled point",
        sources: &[Source::System("systems/points.toml")],
    },
    Bench {
        name: "paths",
        about: "every path under load: longest exit seen beside its bound",
        sources: &[Source::System("systems/paths.toml")],
    },
    Bench {
        name: "mixed",
        about: "control loops beside Linux under load: latest release beside what the budgets allow",
        sources: &[
            Source::Mixed("systems/mixed.toml"),
            Source::System("systems/linux-paths.toml"),
        ],
    },
    Bench {
        name: "jit",
        about: "code of the probe compiler",
        sources: &[Source::Host {
            package: "probe-vm",
            bench: "jit",
        }],
    },
    Bench {
        name: "interp",
        about: "reference interpreter",
        sources: &[Source::Host {
            package: "probe-vm",
            bench: "interp",
        }],
    },
    Bench {
        name: "verify",
        about: "time and memory to verify",
        sources: &[
            Source::Host {
                package: "verifier",
                bench: "verify",
            },
            Source::System("systems/verify.toml"),
        ],
    },
    Bench {
        name: "wcet",
        about: "bounds of the path analyser",
        sources: &[Source::Host {
            package: "pathwcet",
            bench: "wcet",
        }],
    },
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    #[default]
    Lower,
    Higher,
}

/// Seconds of the host after which a system hangs: several times what a minute of Linux under load takes on two cores.
const TIMEOUT_S: &str = "900";

/// One measured number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    #[serde(default)]
    goal: Option<f64>,
    #[serde(default)]
    better: Better,
    /// What another project has of it, for the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
}

/// Runs the benches; fails if one does not run to its end or prints no row. A missed goal is shown, not an error.
pub fn run(shop: &Shop, args: &Args) -> Result<()> {
    let known = BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
    let chosen: Vec<&Bench> = match &args.name {
        None => BENCHES.iter().filter(|bench| is_present(shop, bench)).collect(),
        Some(name) => BENCHES.iter().filter(|bench| bench.name == name).collect(),
    };
    if chosen.is_empty() {
        return Err(Failure::Said(format!("no such bench; there are: {known}")));
    }
    shop.ensure(setup::TEST)?;
    build::all(shop)?;
    let mut rows = Vec::new();
    let to_stdout = args.json.as_ref().is_some_and(|file| file.as_os_str() == STDOUT);
    for bench in chosen {
        let mine = measure(shop, bench)?;
        match to_stdout {
            true => eprintln!("{}\n", table(bench, &mine)),
            false => println!("{}\n", table(bench, &mine)),
        }
        rows.extend(mine);
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| Failure::Said(error.to_string()))?;
        match to_stdout {
            true => println!("{text}"),
            false => fs::write(file, text + "\n").map_err(Failure::file(file))?,
        }
    }
    Ok(())
}

/// Whether the bench's program is in the tree.
fn is_present(shop: &Shop, bench: &Bench) -> bool {
    let root = shop.root();
    bench.sources.iter().all(|source| match *source {
        Source::System(manifest) | Source::Mixed(manifest) => root.join(manifest).is_file(),
        Source::Host { package, bench } => {
            let folder = if package == "pathwcet" {
                "verifier/pathwcet"
            } else {
                package
            };
            root.join(folder).join("benches").join(format!("{bench}.rs")).is_file()
        }
    })
}

fn measure(shop: &Shop, bench: &Bench) -> Result<Vec<Row>> {
    let mut out = String::new();
    for source in bench.sources {
        let mut command = command_of(shop, *source);
        let said = command::quiet(&format!("bench {}", bench.name), &mut command)?;
        out += &match *source {
            Source::Mixed(manifest) => {
                let file = shop.root().join(manifest);
                mixed::rows(&said, &fs::read_to_string(&file).map_err(Failure::file(&file))?)?
            }
            _ => said,
        };
    }
    let rows: Vec<Row> = out
        .lines()
        .filter_map(|line| parse(line).transpose())
        .collect::<Result<_>>()?;
    match rows.is_empty() {
        true => Err(Failure::Said(format!(
            "bench {} ended well but printed no row:\n{out}",
            bench.name
        ))),
        false => Ok(rows),
    }
}

fn command_of(shop: &Shop, source: Source) -> Command {
    match source {
        Source::System(manifest) | Source::Mixed(manifest) => {
            let mut command = build::gnomon_command(shop);
            command
                .arg("run")
                .arg(shop.root().join(manifest))
                .args(["--icount", "--timeout", TIMEOUT_S]);
            command
        }
        Source::Host { package, bench } => {
            let mut command = shop.cargo();
            command
                .args(["bench", "--quiet", "--package", package, "--bench", bench])
                .env("GNOMON_DIST", shop.dist());
            command
        }
    }
}

/// A row from one line of output, which may carry the prefix of a VM's console; `None` for any other line.
///
/// # Errors
/// A line that is marked as a row and cannot be read as one.
fn parse(line: &str) -> Result<Option<Row>> {
    let Some((_, json)) = line.split_once("@row ") else {
        return Ok(None);
    };
    let mut row: Row =
        serde_json::from_str(json.trim()).map_err(|error| Failure::Said(format!("`{line}` is not a row: {error}")))?;
    row.goal = row.goal.or_else(|| goals::of(&row.name));
    Ok(Some(row))
}

/// The row has a goal and does not reach it.
fn is_missed(row: &Row) -> bool {
    match (row.goal, row.better) {
        (None, _) => false,
        (Some(goal), Better::Lower) => row.value > goal,
        (Some(goal), Better::Higher) => row.value < goal,
    }
}

fn table(bench: &Bench, rows: &[Row]) -> String {
    let mut table = Table::new();
    let peer = if rows.iter().any(|row| row.peer.is_some()) {
        "peer"
    } else {
        ""
    };
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(["", "value", "goal", "unit", "", peer]);
    for row in rows {
        let verdict = match row.goal {
            None => "",
            Some(_) if is_missed(row) => "missed",
            Some(_) => "met",
        };
        let goal = match (row.goal, row.better) {
            (None, _) => String::new(),
            (Some(goal), Better::Lower) => format!("≤ {}", number(goal)),
            (Some(goal), Better::Higher) => format!("≥ {}", number(goal)),
        };
        table.add_row([
            row.name.clone(),
            number(row.value),
            goal,
            row.unit.clone(),
            verdict.to_string(),
            row.peer.clone().unwrap_or_default(),
        ]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let missed = rows.iter().filter(|row| is_missed(row));
    let obstacles: String = missed
        .filter_map(|row| Some(format!("\nmissed: {}: {}", row.name, goals::obstacle(&row.name)?)))
        .collect();
    format!("{}: {}\n{table}{obstacles}", bench.name, bench.about)
}

/// At most three decimals, and none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::{Better, Row, number, parse};

    #[test]
    fn lines_become_rows() {
        let row = |name: &str, goal, better| Row {
            name: name.into(),
            value: 12.5,
            unit: "insns".into(),
            goal,
            better,
            peer: None,
        };
        let read = |line: &str| parse(line).expect("a row or another line");
        let plain = r#"@row {"name":"x.y","value":12.5,"unit":"insns"}"#;
        assert_eq!(read(plain), Some(row("x.y", None, Better::Lower)));
        let full = r#"bench | @row {"name":"x.y","value":12.5,"unit":"insns","goal":10,"better":"higher"}"#;
        assert_eq!(read(full), Some(row("x.y", Some(10.0), Better::Higher)));
        let known = r#"@row {"name":"exits.psci_version","value":12.5,"unit":"insns"}"#;
        assert_eq!(read(known), Some(row("exits.psci_version", Some(75.0), Better::Lower)));
        assert_eq!(read("booted"), None);
        assert!(parse("@row {\"name\":\"x\"}").is_err());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(70.0), "70");
        assert_eq!(number(0.1254), "0.125");
    }
}
