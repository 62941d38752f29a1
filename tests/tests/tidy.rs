//! The rules of the house that a reader would otherwise have to watch over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gnomon_tests::repo;

/// A file holds one idea, a function one step.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Files and functions that were longer when the rule came, with their lengths then. They only shrink: a length here is the
/// most that is allowed, and what has come under the limit leaves the list.
const LONG_FILES: &[(&str, usize)] = &[];
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[("hyp/core/src/dispatch/hypercall.rs", "call", 73)];
/// The comment that an unsafe block rests on stands at most this far above it.
const SAFETY_LINES_MAX: usize = 8;
/// Where unsafe code may be.
const UNSAFE_FOLDERS: &[&str] = &["hyp/el2/", "guests/rt/"];
const LEDGER: &str = "docs/SAFETY.md";

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The code of a line: no comment, and nothing inside double quotes.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut previous = ' ';
    for letter in line.chars() {
        if letter == '"' && previous != '\\' && previous != '\'' {
            quoted = !quoted;
        } else if !quoted {
            code.push(letter);
            if code.ends_with("//") {
                code.truncate(code.len() - 2);
                break;
            }
        }
        previous = letter;
    }
    code
}

/// Whether a word stands in a text by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for file in repo::files_with(&["rs", "S", "c", "h", "ld"]) {
        let lines = repo::text(&file).lines().count();
        let known = LONG_FILES
            .iter()
            .find(|(name, _)| file == Path::new(name))
            .map(|(_, lines)| *lines);
        if known.is_some() && lines <= FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines: take it off LONG_FILES", file.display()));
        }
        if lines > known.unwrap_or(FILE_LINES_MAX) {
            faults.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.display()));
        }
    }
    report(&faults);
}

#[test]
fn functions_are_short() {
    let mut faults = Vec::new();
    for file in repo::files_with(&["rs"]).into_iter().filter(|file| !is_test(file)) {
        let text = repo::text(&file);
        for (name, first, last) in functions(&text) {
            let lines = last - first + 1;
            let long = LONG_FUNCTIONS
                .iter()
                .find(|(path, long, _)| file == Path::new(path) && *long == name);
            if lines > long.map_or(FUNCTION_LINES_MAX, |(.., lines)| *lines) {
                faults.push(format!(
                    "{}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                    file.display()
                ));
            }
        }
    }
    report(&faults);
}

/// Whether a file is a module of tests: data cases make long functions that hide nothing.
fn is_test(file: &Path) -> bool {
    let Some(name) = file.file_stem().and_then(|stem| stem.to_str()) else {
        return false;
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut parents = vec![folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs")];
    parents.push(folder.with_extension("rs"));
    let declared = |parent: &PathBuf| {
        let text = std::fs::read_to_string(repo::root().join(parent)).unwrap_or_default();
        text.contains(&format!("#[cfg(test)]\nmod {name};"))
    };
    file.starts_with("tests")
        || file.components().any(|part| part.as_os_str() == "tests")
        || parents.iter().any(declared)
}

/// Functions with a body, by name, first and last line (from 1), in text that rustfmt has indented.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = code(line);
        let before = code.split_once("fn ").map(|(before, _)| before.trim());
        let is_fn = before.is_some_and(|before| {
            before.split_whitespace().all(|word| {
                word.starts_with("pub") || word.contains(')') || ["const", "unsafe", "extern", "async"].contains(&word)
            })
        });
        if is_fn && !line.trim_end().ends_with(';') && !(line.contains('{') && line.trim_end().ends_with('}')) {
            let name = code.split_once("fn ").map_or("", |(_, rest)| rest);
            let name = name.split(['(', '<']).next().unwrap_or("").to_string();
            open.push((name, index + 1, indent));
        } else if line.trim() == "}" {
            while open.last().is_some_and(|(_, _, at)| *at > indent) {
                open.pop();
            }
            if let Some((name, first, _)) = open.pop_if(|(_, _, at)| *at == indent) {
                found.push((name, first, index + 1));
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_unfinished() {
    // In pieces, so that this file does not find itself.
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[ign", "ore"),
    ];
    let mut faults = Vec::new();
    for file in repo::files_with(&["rs", "S", "c", "h", "ld", "toml"]) {
        for (index, line) in repo::text(&file).lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                faults.push(format!("{}:{}: {mark}", file.display(), index + 1));
            }
        }
    }
    report(&faults);
}

/// Lines (from 1) with an unsafe block or implementation.
fn unsafe_lines(text: &str) -> Vec<usize> {
    let is_unsafe = |line: &str| {
        let code = code(line);
        ["unsafe {", "unsafe impl"]
            .iter()
            .any(|form| code.contains(form) && has_word(&code, "unsafe"))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| is_unsafe(line))
        .map(|(index, _)| index + 1)
        .collect()
}

fn may_be_unsafe(file: &Path) -> bool {
    UNSAFE_FOLDERS.iter().any(|folder| file.starts_with(folder))
}

#[test]
fn unsafe_stays_where_it_belongs() {
    let mut faults = Vec::new();
    for file in repo::files_with(&["rs"])
        .into_iter()
        .filter(|file| !may_be_unsafe(file))
    {
        for (index, line) in repo::text(&file).lines().enumerate() {
            if has_word(&code(line), "unsafe") {
                faults.push(format!(
                    "{}:{}: unsafe belongs in {}",
                    file.display(),
                    index + 1,
                    UNSAFE_FOLDERS.join(" and ")
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let mut faults = Vec::new();
    for file in repo::files_with(&["rs"]).into_iter().filter(|file| may_be_unsafe(file)) {
        let text = repo::text(&file);
        let lines: Vec<&str> = text.lines().collect();
        for at in unsafe_lines(&text) {
            let above = &lines[at.saturating_sub(SAFETY_LINES_MAX + 1)..at];
            if !above.iter().any(|line| is_reason(line, file.starts_with("hyp/el2"))) {
                faults.push(format!("{}:{at}: no `// SAFETY: N. …` above", file.display()));
            }
        }
    }
    report(&faults);
}

/// A `SAFETY:` comment with a reason; the hypervisor's begin with the number of an argument in docs/SAFETY.md.
fn is_reason(line: &str, numbered: bool) -> bool {
    let Some((_, reason)) = line.split_once("// SAFETY:") else {
        return false;
    };
    let reason = reason.trim();
    !reason.is_empty() && (!numbered || reason.starts_with(|first: char| first.is_ascii_digit()))
}

#[test]
fn the_unsafe_ledger_is_true() {
    let counted: BTreeMap<PathBuf, usize> = repo::files_with(&["rs"])
        .into_iter()
        .filter(|file| may_be_unsafe(file))
        .map(|file| (file.clone(), unsafe_lines(&repo::text(&file)).len()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let ledger = ledger(&repo::text(Path::new(LEDGER)));
    let table: String = counted
        .iter()
        .map(|(file, count)| format!("| `{}` | {count} |\n", file.display()))
        .collect();
    assert!(
        ledger == counted,
        "the table in {LEDGER} is not what the code has. Say there why a count rose; the true rows are\n{table}"
    );
}

/// Rows `| `file` | count | …` of a Markdown text.
fn ledger(text: &str) -> BTreeMap<PathBuf, usize> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let file = cells.next()?.trim().strip_suffix('`')?;
        Some((PathBuf::from(file), cells.next()?.trim().parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn the_rules_see_what_they_should() {
    assert_eq!(code("let a = \"unsafe // x\"; // unsafe"), "let a = ; ");
    assert!(has_word("a unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
    assert_eq!(
        unsafe_lines("fn f() {\n    unsafe { g() }\n}\n// unsafe {\nunsafe impl S for T {}"),
        [2, 5]
    );
    let text = "impl A {\n    pub fn f() {\n        {\n        }\n    }\n\n    const fn g(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n}\n";
    assert_eq!(functions(text), [("f".to_string(), 2, 5), ("g".to_string(), 7, 11)]);
    assert_eq!(
        ledger("| `a/b.rs` | 3 | why |\n| file | count |\n"),
        BTreeMap::from([(PathBuf::from("a/b.rs"), 3)])
    );
}
