//! A refusal as a diagnostic: on the C line where the object has lines, on the instruction otherwise.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use verifier::Rejected;
use verifier::value::{Kind, Val};

use super::reason::{self, Reason};
use super::source::Excerpt;
use super::{Scene, value};
use crate::verify::reason_name;

/// A refused program.
#[derive(Debug)]
pub struct Refusal {
    title: String,
    code: String,
    help: String,
    label: String,
    excerpt: Option<Excerpt>,
}

/// Registers worth showing: what the reason is about, and what is added to it. Reasons of shape know no values.
fn known(scene: &Scene<'_>, r: &Rejected, reason: &Reason) -> Vec<(u8, String)> {
    let Some(reg) = reason.register.filter(|reg| usize::from(*reg) < r.regs.len()) else {
        return Vec::new();
    };
    if r.regs.iter().all(|v| v.kind == Kind::Uninit) {
        return Vec::new();
    }
    let mut shown = vec![reg];
    // An arithmetic instruction with a source register (RFC 9669 section 4.1) that is no move.
    let sums = |s: &&[u8; 8]| matches!(s[0] & 0x0f, 0x0c | 0x0f) && s[0] & 0xf0 != 0xb0;
    if let Some(slot) = scene.slots.get(r.pc as usize).filter(sums) {
        shown.extend(
            [slot[1] & 15, slot[1] >> 4]
                .into_iter()
                .filter(|x| *x != reg && usize::from(*x) < r.regs.len()),
        );
    }
    shown
        .into_iter()
        .map(|reg| (reg, value::value(scene, &r.regs[usize::from(reg)])))
        .collect()
}

/// Every register of which something is known, for machines.
pub fn registers(scene: &Scene<'_>, regs: &[Val]) -> Vec<(String, String)> {
    let written = regs.iter().enumerate().filter(|(_, v)| v.kind != Kind::Uninit);
    written
        .map(|(i, v)| (format!("r{i}"), value::value(scene, v)))
        .collect()
}

impl Refusal {
    /// Builds the diagnostic of one program.
    pub fn new(scene: &Scene<'_>, name: &str, r: &Rejected) -> Refusal {
        let reason = reason::reason(scene, r);
        let pc = r.pc as usize;
        let known: Vec<String> = known(scene, r, &reason)
            .into_iter()
            .map(|(reg, text)| format!("r{reg} is {text}"))
            .collect();
        let line = scene.program.and_then(|p| Some((p, p.line_at(pc)?)));
        let excerpt = line.map(|(p, l)| Excerpt::around(p, l));
        let mut help = reason.help.clone().unwrap_or_default();
        if !help.is_empty() {
            help.push('\n');
        }
        help.push_str(&format!("instruction {pc}: {}", scene.insn(pc)));
        if excerpt.is_none() && !known.is_empty() {
            help.push_str(&format!("\n{}", known.join(", ")));
        }
        for caller in &r.callers[..usize::from(r.depth).min(r.callers.len())] {
            help.push_str(&format!("\ncalled at {}", scene.line(*caller)));
        }
        let label = if known.is_empty() {
            "here".into()
        } else {
            known.join(", ")
        };
        Refusal {
            title: format!("{name}: {}", reason.message),
            code: format!("refused::{}", reason_name(&r.why)),
            help,
            label,
            excerpt,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for Refusal {}

impl Diagnostic for Refusal {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|e| e as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            Some(self.label.clone()),
            excerpt.span(),
        ))))
    }
}
