//! No observation above a bound, on every program of the suite in every build; and an analyser that is wrong in a small
//! way is found out by the same comparison.

mod suite;

use pathwcet::explore::ExploreError;
use pathwcet::inst::{Flow, Inst};
use suite::{BUILDS, Linked, RECURSIVE, Row};

/// Of all programs that have a bound at all, the part bounded without annotations, in percent.
const DERIVED_PERCENT_MIN: usize = 90;
/// Median of bound/observed, in percent.
const MEDIAN_PERCENT_MAX: u64 = 110;

/// A looser bound is worth a line.
const LOOSE_PERCENT: u64 = 120;

fn linked() -> Vec<Linked> {
    if suite::is_possible() {
        BUILDS.into_iter().map(suite::link).collect()
    } else {
        Vec::new()
    }
}

#[test]
fn bounds_hold_and_are_close() {
    let linked = linked();
    let rows: Vec<Row> = linked.iter().flat_map(suite::rows).collect();
    if rows.is_empty() {
        return;
    }
    let mut ratios = Vec::new();
    let (mut bounded, mut derived) = (0, 0);
    for row in &rows {
        let of = format!("{} by {} {}", row.program, row.build.compiler, row.build.level);
        match &row.outcome {
            // gcc turns this recursion into a loop at -O2 and clang does not at all: refused, or bounded by declaration only.
            outcome if row.program == RECURSIVE => assert!(outcome.is_err(), "{of} has no bound"),
            Ok(outcome) => {
                assert!(
                    outcome.bound >= row.observed,
                    "{of}: bound {} below {}",
                    outcome.bound,
                    row.observed
                );
                bounded += 1;
                derived += usize::from(row.derived().is_some());
                let ratio = outcome.bound * 100 / row.observed;
                if ratio > LOOSE_PERCENT {
                    println!("{of}: bound {} is {ratio} % of {}", outcome.bound, row.observed);
                }
                ratios.push(ratio);
            }
            Err(error) => {
                println!("{of}: {error}");
                bounded += 1;
            }
        }
    }
    ratios.sort_unstable();
    let median = ratios[ratios.len() / 2];
    println!(
        "{derived} of {bounded} without annotations; median {median} %, worst {:?} %",
        ratios.last()
    );
    assert!(derived * 100 >= bounded * DERIVED_PERCENT_MIN, "{derived} of {bounded}");
    assert!(median <= MEDIAN_PERCENT_MAX, "{median} %");
}

#[test]
fn recursion_is_refused_by_name() {
    let Some(linked) = suite::is_possible().then(|| suite::link(BUILDS[0])) else {
        return;
    };
    let outcome = suite::bound(&linked.image, RECURSIVE, &|_| 1);
    assert!(matches!(outcome, Err(ExploreError::Recursion { .. })), "{outcome:?}");
}

/// An analyser that forgets the cost of calls, of returns or of taken branches says less than was seen, and the comparison
/// shows it. (`cargo xtask mutants verifier/pathwcet` changes the analyser itself.)
#[test]
fn a_forgotten_cost_is_found() {
    let Some(linked) = suite::is_possible().then(|| suite::link(BUILDS[0])) else {
        return;
    };
    let forgets: [(&str, fn(&Inst) -> bool); 3] = [
        ("calls", |i| matches!(i.flow, Flow::Call(_) | Flow::CallReg(_))),
        ("returns", |i| matches!(i.flow, Flow::Ret(_))),
        ("branches", |i| matches!(i.flow, Flow::Cond { .. })),
    ];
    for (what, forgotten) in forgets {
        let cost = |inst: &Inst| u64::from(!forgotten(inst));
        let programs = linked.observed.iter().filter(|(program, _)| program != RECURSIVE);
        let caught = programs.filter(|(program, observed)| {
            suite::bound(&linked.image, program, &cost).is_ok_and(|o| o.bound < *observed)
        });
        assert!(caught.count() > 0, "nothing shows that {what} cost nothing");
    }
}
