//! `gnomon check --json`: one object a program.

use serde::Serialize;
use verifier::verified::LoopKind;

use super::Checked;
use super::trial::RunRow;
use crate::render::{accepted, reason, refusal};
use crate::verify::reason_name;

/// One program.
#[derive(Serialize)]
pub struct ProgramRow {
    program: String,
    section: String,
    environment: String,
    verdict: &'static str,
    slots: usize,
    micros: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<AcceptedRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunRow>,
}

#[derive(Serialize)]
struct AcceptedRow {
    insn_bound: u64,
    time_bound: u64,
    time_unit: &'static str,
    stack: u32,
    frames: u32,
    units: u64,
    visits: u64,
    loops: Vec<LoopRow>,
    lines: Vec<LineRow>,
}

#[derive(Serialize)]
struct LoopRow {
    pc: u32,
    line: Option<u32>,
    kind: &'static str,
    iterations: u64,
    derived: bool,
}

#[derive(Serialize)]
struct LineRow {
    file: String,
    line: u32,
    insns: u64,
    time: u64,
    text: String,
}

#[derive(Serialize)]
struct RefusedRow {
    pc: u32,
    insn: String,
    why: String,
    message: String,
    help: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    source: Option<String>,
    function: Option<String>,
    registers: std::collections::BTreeMap<String, String>,
}

/// The row of a program, and of its run if it was run.
pub fn program(checked: &Checked<'_>, run: Option<RunRow>) -> ProgramRow {
    let verdict = &checked.answer.verdict;
    ProgramRow {
        program: checked.program.name.clone(),
        section: checked.program.section.clone(),
        environment: checked.env.name.clone(),
        verdict: if verdict.is_ok() { "ACCEPT" } else { "REJECT" },
        slots: checked.program.slots.len(),
        micros: checked.answer.micros,
        accepted: verdict.as_ref().ok().map(|a| accepted_row(checked, a)),
        refused: verdict.as_ref().err().map(|r| refused_row(checked, r)),
        run,
    }
}

fn accepted_row(checked: &Checked<'_>, a: &crate::verify::Accepted) -> AcceptedRow {
    let line = |pc: u32| checked.program.line_at(pc as usize).map(|l| l.line);
    let kind = |k: LoopKind| if k == LoopKind::Branch { "loop" } else { "callback" };
    let shares = accepted::line_shares(&checked.scene(), &a.witness);
    let lines = shares
        .into_iter()
        .map(|s| LineRow {
            file: s.file,
            line: s.line,
            insns: s.insns,
            time: s.time,
            text: s.text,
        })
        .collect();
    let loops = a
        .loops
        .iter()
        .map(|l| LoopRow {
            pc: l.head,
            line: line(l.head),
            kind: kind(l.kind),
            iterations: l.iterations,
            derived: l.derived,
        })
        .collect();
    AcceptedRow {
        insn_bound: a.totals.insn_bound,
        time_bound: a.totals.time_bound,
        time_unit: checked.time_unit,
        stack: a.totals.stack_bytes,
        frames: a.totals.frames,
        units: a.totals.units,
        visits: a.totals.visits,
        loops,
        lines,
    }
}

fn refused_row(checked: &Checked<'_>, r: &verifier::Rejected) -> RefusedRow {
    let scene = checked.scene();
    let words = reason::reason(&scene, r);
    let line = checked.program.line_at(r.pc as usize);
    RefusedRow {
        pc: r.pc,
        insn: scene.insn(r.pc as usize),
        why: reason_name(&r.why),
        message: words.message,
        help: words.help,
        file: line.map(|l| l.file.clone()),
        line: line.map(|l| l.line),
        column: line.map(|l| l.column),
        source: line.map(|l| l.text.clone()),
        function: scene.function(r.pc as usize).map(String::from),
        registers: refusal::registers(&scene, &r.regs).into_iter().collect(),
    }
}
