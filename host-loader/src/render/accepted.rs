//! An accepted program for people: verdict, bounds, stack, loops, and which source lines the worst path is spent on.

use std::collections::HashMap;
use std::fmt::Write;

use verifier::verified::{LoopKind, WitnessRun};

use super::Scene;
use crate::verify::Accepted;

/// Lines of the worst path that are shown; the rest is summed up.
const LINES_SHOWN: usize = 12;
/// Width of the bar of a share of 100 %.
const BAR_CELLS: usize = 20;

/// What the worst path spends on one source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineShare {
    /// File, empty where the object has no lines.
    pub file: String,
    /// Line number, or the slot where the compiler gave no line.
    pub line: u32,
    /// Its text.
    pub text: String,
    /// Executed instructions.
    pub insns: u64,
    /// Time, in the cost model's unit.
    pub time: u64,
}

/// The worst path by source line, most time first. A run that spans lines is split by its instructions.
pub fn line_shares(scene: &Scene<'_>, witness: &[WitnessRun]) -> Vec<LineShare> {
    let mut sums: HashMap<(String, u32), LineShare> = HashMap::new();
    for run in witness {
        let pcs = instructions(scene.slots, run);
        // The run's time by instructions, all of it: costs within a run are not told apart.
        let until = |n: usize| u128::from(run.time) * n as u128 / pcs.len().max(1) as u128;
        for (n, pc) in pcs.iter().enumerate() {
            let mut share = place(scene, *pc);
            share.insns = run.count;
            share.time = (until(n + 1) - until(n)) as u64;
            sums.entry((share.file.clone(), share.line))
                .and_modify(|s| {
                    s.insns = s.insns.saturating_add(share.insns);
                    s.time = s.time.saturating_add(share.time);
                })
                .or_insert(share);
        }
    }
    let mut out: Vec<LineShare> = sums.into_values().collect();
    out.sort_by(|a, b| b.time.cmp(&a.time).then(a.file.cmp(&b.file)).then(a.line.cmp(&b.line)));
    out
}

/// First slots of the instructions of a run.
fn instructions(slots: &[[u8; 8]], run: &WitnessRun) -> Vec<usize> {
    let mut out = Vec::new();
    let mut pc = run.start as usize;
    while pc < (run.end as usize).min(slots.len()) {
        out.push(pc);
        pc += if slots[pc][0] == 0x18 { 2 } else { 1 };
    }
    out
}

fn place(scene: &Scene<'_>, pc: usize) -> LineShare {
    match scene.program.and_then(|p| p.line_at(pc)) {
        Some(l) => LineShare {
            file: l.file.clone(),
            line: l.line,
            text: l.text.trim().into(),
            insns: 0,
            time: 0,
        },
        None => LineShare {
            file: String::new(),
            line: pc as u32,
            text: scene.insn(pc),
            insns: 0,
            time: 0,
        },
    }
}

/// The report of one accepted program.
pub fn report(scene: &Scene<'_>, name: &str, a: &Accepted, time_unit: &str) -> String {
    let mut out = String::new();
    let t = &a.totals;
    let _ = writeln!(out, "{name} ({}): accepted", scene.env.name);
    let _ = writeln!(out, "  instructions  at most {}", grouped(t.insn_bound));
    let _ = writeln!(out, "  time          at most {} {time_unit}", grouped(t.time_bound));
    let frames = if t.frames == 1 {
        "1 frame".to_string()
    } else {
        format!("{} frames", t.frames)
    };
    let _ = writeln!(out, "  stack         {} bytes in {frames}", t.stack_bytes);
    for l in &a.loops {
        let what = match l.kind {
            LoopKind::Branch => "loop",
            LoopKind::Callback => "callback",
        };
        let how = if l.derived {
            "derived from its counter"
        } else {
            "followed to its end"
        };
        let at = scene.line(l.head);
        let _ = writeln!(
            out,
            "  {what:<12}  {at}: at most {} times, {how}",
            grouped(l.iterations)
        );
    }
    lines(scene, a, time_unit, &mut out);
    out
}

fn lines(scene: &Scene<'_>, a: &Accepted, time_unit: &str, out: &mut String) {
    let shares = line_shares(scene, &a.witness);
    if shares.is_empty() {
        return;
    }
    let of_lines = shares.iter().fold(0u64, |sum, s| sum.saturating_add(s.time));
    let total = a.totals.time_bound.max(of_lines).max(1);
    let _ = writeln!(out, "  worst path by source line ({time_unit}):");
    let places: Vec<String> = shares.iter().take(LINES_SHOWN).map(place_name).collect();
    let width = places.iter().map(|p| p.chars().count()).max().unwrap_or(0);
    for (s, place) in shares.iter().zip(&places) {
        let cells = (u128::from(s.time) * BAR_CELLS as u128).div_ceil(u128::from(total)) as usize;
        let share = s.time as f64 * 100.0 / total as f64;
        let bar = "█".repeat(cells.min(BAR_CELLS));
        let text: String = s.text.chars().take(60).collect();
        let _ = writeln!(
            out,
            "  {:>10} {share:>5.1}% {bar:<BAR_CELLS$} {place:<width$}  {text}",
            grouped(s.time),
        );
    }
    let mut rest = |time: u64, what: &str| {
        let share = time as f64 * 100.0 / total as f64;
        let _ = writeln!(out, "  {:>10} {share:>5.1}% {:BAR_CELLS$} {what}", grouped(time), "");
    };
    if shares.len() > LINES_SHOWN {
        let hidden = shares[LINES_SHOWN..]
            .iter()
            .fold(0, |sum: u64, s| sum.saturating_add(s.time));
        rest(hidden, &format!("in {} other lines", shares.len() - LINES_SHOWN));
    }
    if total > of_lines {
        rest(total - of_lines, "entry, exit, and the context's fields");
    }
}

/// `file:line` without the directories, as a line of a header looks like any other; `insn N` where there is no line.
fn place_name(share: &LineShare) -> String {
    match share.file.rsplit('/').next() {
        Some(file) if !file.is_empty() => format!("{file}:{}", share.line),
        _ => format!("insn {}", share.line),
    }
}

/// A number with its thousands apart.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
    }
}
