//! How stays at EL2 begin: the cases of `hyp/el2/paths.toml`, read and checked to leave no gap.

use std::collections::BTreeMap;

use hyp_abi::PathId;
use serde::Deserialize;

/// The file beside the code it describes.
const TEXT: &str = include_str!("../../../hyp/el2/paths.toml");

/// Where a stay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vector {
    /// Synchronous exception of a guest.
    Sync,
    /// Interrupt while a guest runs.
    Irq,
    /// System error while a guest runs.
    Serror,
    /// Interrupt that ends the sleep of an idle CPU.
    Woken,
}

/// First and last of some numbers.
pub type Span = [u64; 2];

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// For people.
    pub name: String,
    /// Why it is not analysed: known to have no bound yet.
    pub open: Option<String>,
    /// Where it begins.
    pub vector: Vector,
    /// ESR_EL2.EC.
    pub class: Option<Span>,
    /// The guest's x0; empty: any.
    #[serde(default)]
    pub x0: Vec<Span>,
    /// HPFAR_EL2's page; empty: any.
    #[serde(default)]
    pub page: Vec<Span>,
    /// What the interrupt controller answers; empty: any.
    #[serde(default)]
    pub intid: Vec<Span>,
    /// What it may be met as.
    #[serde(deserialize_with = "paths")]
    pub paths: Vec<PathId>,
}

fn paths<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<PathId>, D::Error> {
    let path = |name: &String| {
        PathId::from_name(name).ok_or_else(|| serde::de::Error::custom(format!("no path is called `{name}`")))
    };
    Vec::<String>::deserialize(d)?.iter().map(path).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// Why cases are refused.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// No TOML, or not of this shape.
    #[error("cases of paths: {0}")]
    Toml(#[from] toml::de::Error),
    /// Something may happen that no case describes, or that two do.
    #[error("cases of {vector:?}{class}: {what} {first:#x} to {last:#x} {problem}")]
    Cover {
        /// Vector.
        vector: Vector,
        /// Class of syndrome.
        class: String,
        /// Dimension.
        what: &'static str,
        /// First number concerned.
        first: u64,
        /// Last.
        last: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The cases of this hypervisor.
///
/// # Errors
/// They do not tile what can happen.
pub fn all() -> Result<Vec<Case>, CaseError> {
    parse(TEXT)
}

/// Greatest ESR_EL2.EC, greatest page number in HPFAR_EL2, and greatest answer of the interrupt controller.
const CLASS_LAST: u64 = 0x3f;
const PAGE_LAST: u64 = 0xfff_ffff_ffff;
const INTID_LAST: u64 = 0xff_ffff;

fn parse(text: &str) -> Result<Vec<Case>, CaseError> {
    let File { case } = toml::from_str(text)?;
    for vector in [Vector::Sync, Vector::Irq, Vector::Serror, Vector::Woken] {
        let of: Vec<&Case> = case.iter().filter(|c| c.vector == vector).collect();
        let mut classes: BTreeMap<Span, Vec<&Case>> = BTreeMap::new();
        for c in of {
            classes.entry(c.class.unwrap_or([0, CLASS_LAST])).or_default().push(c);
        }
        let spans = classes.keys().copied().collect();
        tile(spans, CLASS_LAST).map_err(|bad| error(vector, None, "class", bad))?;
        for (class, cases) in &classes {
            for (what, last, spans) in [
                ("x0", u64::MAX, cases.iter().map(|c| &c.x0).collect::<Vec<_>>()),
                ("page", PAGE_LAST, cases.iter().map(|c| &c.page).collect()),
                ("intid", INTID_LAST, cases.iter().map(|c| &c.intid).collect()),
            ] {
                // A class is divided along one of them; the others are left open in every case.
                if spans.iter().all(|s| s.is_empty()) && (cases.len() == 1 || what != divided(cases)) {
                    continue;
                }
                let spans = spans.into_iter().flatten().copied().collect();
                tile(spans, last).map_err(|bad| error(vector, Some(*class), what, bad))?;
            }
        }
    }
    Ok(case)
}

/// The dimension along which cases differ.
fn divided(cases: &[&Case]) -> &'static str {
    let any = |f: fn(&Case) -> &Vec<Span>| cases.iter().any(|c| !f(c).is_empty());
    match (any(|c| &c.x0), any(|c| &c.page)) {
        (true, _) => "x0",
        (_, true) => "page",
        _ => "intid",
    }
}

type Bad = (u64, u64, &'static str);

/// Whether the spans are 0 to `last`, each number once.
fn tile(mut spans: Vec<Span>, last: u64) -> Result<(), Bad> {
    spans.sort_unstable();
    let mut next = Some(0);
    for [from, to] in spans {
        match next {
            Some(n) if from > n => return Err((n, from - 1, "are in no case")),
            Some(n) if from == n && to >= from => next = to.checked_add(1),
            _ => return Err((from, to, "are in two cases, or no span")),
        }
    }
    match next {
        Some(n) if n <= last => Err((n, last, "are in no case")),
        Some(n) if n > last + 1 => Err((last + 1, n - 1, "cannot happen")),
        _ => Ok(()),
    }
}

fn error(vector: Vector, class: Option<Span>, what: &'static str, (first, last, problem): Bad) -> CaseError {
    CaseError::Cover {
        vector,
        class: class.map_or(String::new(), |[a, b]| format!(", class {a:#x} to {b:#x}")),
        what,
        first,
        last,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_this_hypervisor_leave_no_gap_and_meet_every_path() {
        let cases = all().unwrap();
        for path in PathId::ALL {
            assert!(cases.iter().any(|c| c.paths.contains(path)), "{}", path.name());
        }
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let without = |text: &str| {
            let from = TEXT.find(text).unwrap();
            let start = TEXT[..from].rfind("[[case]]").unwrap();
            let end = TEXT[from..].find("[[case]]").map_or(TEXT.len(), |e| from + e);
            format!("{}{}", &TEXT[..start], &TEXT[end..])
        };
        for (name, says) in [
            ("\"hvc ipc_call\"", "x0 0xc6000010 to 0xc6000010 are in no case"),
            ("\"wfi, wfe\"", "class 0x1 to 0x1 are in no case"),
            ("\"data abort: redistributors\"", "page 0x80a0 to 0x8fff are in no case"),
            ("\"virtual timer while idle\"", "intid 0x1b to 0x1b are in no case"),
        ] {
            let error = parse(&without(name)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let twice = TEXT.replace("class = [0x07, 0x07]", "class = [0x01, 0x07]");
        assert!(parse(&twice).unwrap_err().to_string().contains("two cases"));
    }
}
