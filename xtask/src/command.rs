//! Running other programs: quietly with a spinner while they work, loudly when they fail.

use crate::failure::{Failure, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How the program is named in messages: its own name and its arguments.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a long step with its output kept back: a spinner with the step's last line on a terminal, one line otherwise.
/// The whole output is shown if the step fails.
pub fn quiet(step: &str, command: &mut Command) -> Result<String> {
    let name = shown(command);
    let started = Instant::now();
    let bar = spinner(step);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::Start {
            command: name.clone(),
            error,
        })?;
    let out = child.stdout.take().expect("stdout was piped above");
    let err = child.stderr.take().expect("stderr was piped above");
    let (out, err) = thread::scope(|scope| {
        let out = scope.spawn(|| drain(out, None));
        let err = drain(err, bar.as_ref());
        (out.join().unwrap_or_default(), err)
    });
    let status = child.wait().map_err(|error| Failure::Start {
        command: name.clone(),
        error,
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if status.success() {
        eprintln!("xtask: {step}: done in {:.1} s", started.elapsed().as_secs_f64());
        return Ok(out);
    }
    eprint!("{out}{err}");
    Err(Failure::Command {
        command: name,
        status: status.to_string(),
    })
}

/// Runs a step that takes no time: nothing is shown unless it fails.
pub fn silent(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| Failure::Start {
        command: name.clone(),
        error,
    })?;
    if output.status.success() {
        return Ok(());
    }
    eprint!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Err(Failure::Command {
        command: name,
        status: output.status.to_string(),
    })
}

/// Runs a step whose output is for the reader, unchanged.
pub fn loud(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command.status().map_err(|error| Failure::Start {
        command: name.clone(),
        error,
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Command {
            command: name,
            status: status.to_string(),
        }),
    }
}

/// Runs a program that reports its own errors and whose exit status is ours.
pub fn passed(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command
        .status()
        .map_err(|error| Failure::Start { command: name, error })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Passed(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::Passed(1)),
    }
}

/// Runs a program for its standard output; what it says on standard error is for the reader.
pub fn output(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::Start {
            command: name.clone(),
            error,
        })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::Command {
            command: name,
            status: output.status.to_string(),
        }),
    }
}

/// Runs a program for its standard output alone; `None` if it cannot be started or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn spinner(step: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        eprintln!("xtask: {step} ...");
        return None;
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(step.to_string());
    bar.enable_steady_tick(Duration::from_millis(120));
    Some(bar)
}

/// Reads a stream to its end as text, showing each line on the bar.
fn drain(stream: impl Read, bar: Option<&ProgressBar>) -> String {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let shown = String::from_utf8_lossy(&line);
        if let Some(bar) = bar {
            bar.set_message(shown.trim().to_string());
        }
        text.push_str(&shown);
        line.clear();
    }
    text
}

/// Runs a step whose output is for the reader, and hands each line of its standard output to `see` as well.
/// Returns whether it succeeded.
pub fn tee(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let name = shown(command);
    let start = |error| Failure::Start {
        command: name.clone(),
        error,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let out = child.stdout.take().expect("stdout was piped above");
    for line in BufReader::new(out).split(b'\n') {
        let line = line.map_err(start)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        see(&line);
    }
    Ok(child.wait().map_err(start)?.success())
}
