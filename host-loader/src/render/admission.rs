//! What the hypervisor refused, with what the host knows of the program: the source line, the path, the shortfall.

use std::fmt;

use hyp_abi::Status;
use miette::{Diagnostic, LabeledSpan, SourceCode};
use serde::Serialize;

use super::accepted::{grouped, line_shares};
use super::reason;
use super::refusal::Refusal;
use super::source::Excerpt;
use crate::client::{ClientError, path_name};
use crate::cmd::check::Checked;
use crate::obj::Line;
use crate::verify::reason_name;

/// A refusal for machines.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalRow {
    /// The program.
    pub program: String,
    /// Why, in one word: a reason of the verifier, `over_budget`, `over_deadline`, or another status.
    pub why: String,
    /// One line for people.
    pub message: String,
    /// Source file, where the object has lines.
    pub file: Option<String>,
    /// Line in it: of the refused instruction, or of the line on which most of the time is spent.
    pub line: Option<u32>,
    /// The path whose budget does not hold.
    pub path: Option<String>,
    /// Time bound the program has.
    pub needed: Option<u64>,
    /// Largest time bound that would have fitted.
    pub available: Option<u64>,
}

/// A refusal by the hypervisor as a diagnostic and as a row.
#[derive(Debug)]
pub struct Refused {
    /// For machines.
    pub row: RefusalRow,
    diagnostic: Shown,
}

#[derive(Debug)]
enum Shown {
    Verifier(Box<Refusal>),
    Admission(Admission),
}

#[derive(Debug)]
struct Admission {
    title: String,
    code: String,
    help: String,
    label: String,
    excerpt: Option<Excerpt>,
}

/// Explains why `error` came of loading or attaching the program that the host verified as `checked`. `time_bound` is
/// the bound the hypervisor gave, if it got so far.
pub fn explain(checked: &Checked<'_>, error: &ClientError, time_bound: Option<u64>) -> Refused {
    let name = &checked.program.name;
    let mut row = RefusalRow {
        program: name.clone(),
        why: "error".into(),
        message: error.to_string(),
        file: None,
        line: None,
        path: None,
        needed: time_bound,
        available: None,
    };
    let status = error.status();
    // The hypervisor gives numbers; the words come from the host's own verification of the same program.
    if let (Some((Status::Rejected, _)), Err(rejected)) = (status, &checked.answer.verdict) {
        row.why = reason_name(&rejected.why);
        row.message = reason::reason(&checked.scene(), rejected).message;
        place(&mut row, checked.program.line_at(rejected.pc as usize));
        let refusal = Refusal::new(&checked.scene(), name, rejected);
        return Refused {
            row,
            diagnostic: Shown::Verifier(Box::new(refusal)),
        };
    }
    let worst = worst_line(checked);
    place(&mut row, worst);
    let mut help = String::new();
    if let Some((status, x)) = status {
        row.why = snake(&format!("{status:?}"));
        if matches!(status, Status::OverBudget | Status::OverDeadline) {
            row.path = (status == Status::OverBudget).then(|| path_name(x[1]));
            row.available = Some(x[3]);
            let bound = time_bound.map_or_else(String::new, |t| format!("its time bound is {}, ", grouped(t)));
            help = format!(
                "{bound}{} units too much; the largest that fits is {}",
                grouped(x[2]),
                grouped(x[3])
            );
            row.message = match status {
                Status::OverBudget => format!("the budget of path {} would not hold", path_name(x[1])),
                _ => format!("VM {} would miss its deadline", x[1]),
            };
        }
    }
    let admission = Admission {
        title: format!("{name}: {}", row.message),
        code: format!("refused::{}", row.why),
        help,
        label: "most of its time is spent here".into(),
        excerpt: worst.map(|l| Excerpt::around(checked.program, l)),
    };
    Refused {
        row,
        diagnostic: Shown::Admission(admission),
    }
}

fn place(row: &mut RefusalRow, line: Option<&Line>) {
    row.file = line.map(|l| l.file.clone());
    row.line = line.map(|l| l.line);
}

/// The line on which the worst path spends most.
fn worst_line<'c>(checked: &'c Checked<'_>) -> Option<&'c Line> {
    let accepted = checked.answer.verdict.as_ref().ok()?;
    let worst = line_shares(&checked.scene(), &accepted.witness).into_iter().next()?;
    checked
        .program
        .lines
        .iter()
        .find(|l| l.line == worst.line && l.file == worst.file)
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.diagnostic {
            Shown::Verifier(r) => r.fmt(f),
            Shown::Admission(a) => f.write_str(&a.title),
        }
    }
}

impl std::error::Error for Refused {}

impl Diagnostic for Refused {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match &self.diagnostic {
            Shown::Verifier(r) => r.code(),
            Shown::Admission(a) => Some(Box::new(&a.code)),
        }
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match &self.diagnostic {
            Shown::Verifier(r) => r.help(),
            Shown::Admission(a) if a.help.is_empty() => None,
            Shown::Admission(a) => Some(Box::new(&a.help)),
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match &self.diagnostic {
            Shown::Verifier(r) => r.source_code(),
            Shown::Admission(a) => a.excerpt.as_ref().map(|e| e as &dyn SourceCode),
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match &self.diagnostic {
            Shown::Verifier(r) => r.labels(),
            Shown::Admission(a) => {
                let span = a.excerpt.as_ref()?.span();
                Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
                    Some(a.label.clone()),
                    span,
                ))))
            }
        }
    }
}
