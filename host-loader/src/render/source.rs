//! Source lines as BTF has them, for miette: no file needs to be there.

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::obj::{Line, Program};

/// Lines shown before and after the one in question, where the object knows them.
const CONTEXT_LINES: u32 = 2;

/// Some consecutive lines of a file.
#[derive(Debug, Clone)]
pub struct Excerpt {
    file: String,
    /// Number of the first line, from 0.
    first: usize,
    text: String,
    span: SourceSpan,
}

impl Excerpt {
    /// The lines around `line` that the program's line records know without a gap.
    pub fn around(program: &Program, line: &Line) -> Excerpt {
        let known = |n: u32| program.lines.iter().find(|l| l.line == n && l.file == line.file);
        let mut first = line.line;
        while first > 1 && line.line - first < CONTEXT_LINES && known(first - 1).is_some() {
            first -= 1;
        }
        let mut text = String::new();
        let mut start = 0;
        for n in first..=line.line + CONTEXT_LINES {
            let Some(l) = known(n) else { break };
            if n == line.line {
                start = text.len();
            }
            text.push_str(&l.text);
            text.push('\n');
        }
        let column = (line.column.max(1) - 1) as usize;
        let indent = line.text.len() - line.text.trim_start().len();
        let from = column.max(indent).min(line.text.len());
        let len = line.text[from_boundary(&line.text, from)..].trim_end().len();
        let span = (start + from_boundary(&line.text, from), len).into();
        Excerpt {
            file: line.file.clone(),
            first: first.saturating_sub(1) as usize,
            text,
            span,
        }
    }

    /// What to underline.
    pub fn span(&self) -> SourceSpan {
        self.span
    }
}

fn from_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        let name = self.file.rsplit('/').next().unwrap_or(&self.file).to_string();
        Ok(Box::new(MietteSpanContents::new_named(
            name,
            inner.data(),
            *inner.span(),
            inner.line() + self.first,
            inner.column(),
            inner.line_count(),
        )))
    }
}
