//! What can be wrong with a manifest. Every error points at the line and says what to do.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// A fault of a manifest, with the place where it stands.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ManifestError {
    message: String,
    help: String,
    labels: Vec<LabeledSpan>,
    source_text: NamedSource<Arc<str>>,
}

impl Diagnostic for ManifestError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn std::fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source_text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// The text of a manifest, which its errors quote.
#[derive(Clone, Debug)]
pub struct Text {
    name: String,
    text: Arc<str>,
}

impl Text {
    /// `path` is shown, never opened.
    pub fn new(path: &Path, text: String) -> Self {
        Text {
            name: path.display().to_string(),
            text: text.into(),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// An error that points at nothing yet.
    pub fn error(&self, message: impl Into<String>) -> ManifestError {
        ManifestError {
            message: message.into(),
            help: String::new(),
            labels: Vec::new(),
            source_text: NamedSource::new(&self.name, Arc::clone(&self.text)).with_language("TOML"),
        }
    }
}

impl ManifestError {
    /// Points at a place; the empty range at offset 0 stands for a default, which has no place.
    pub fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        if span != (0..0) {
            self.labels.push(LabeledSpan::new_with_span(Some(label.into()), span));
        }
        self
    }

    /// Says what to do.
    pub fn advise(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// The candidate closest to a word, if it is close enough to be what was meant.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .min()?;
    let most = word.chars().count() / 3 + 1;
    (near.0 <= most).then_some(near.1)
}

/// Levenshtein distance by one row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("memry", "memory", 1),
        ] {
            assert_eq!(distance(a, b), d);
            assert_eq!(distance(b, a), d);
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(closest("memry", ["name", "memory"]), Some("memory"));
        assert_eq!(closest("colour", ["name", "memory"]), None);
    }
}
