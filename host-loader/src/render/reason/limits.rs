//! Loops without a bound, and limits.

use verifier::reject::{Pool, Progress, Why};

use super::{Reason, Scene, value};
use crate::render::accepted::grouped;

pub(super) fn limits(scene: &Scene<'_>, why: &Why) -> Reason {
    match *why {
        Why::NoLoopBound { head, progress } => no_loop_bound(scene, head, progress),
        Why::BoundTooLarge { bound, max } => Reason::new(format!(
            "may run {} instructions; {} are allowed",
            grouped(bound),
            grouped(max)
        ))
        .help("counts of loops inside each other multiply: lower the largest constant, or `bpf_loop`'s count"),
        Why::TooMuchEffort { visits, max } => Reason::new(format!(
            "the proof was given up after {} steps; {} are allowed",
            grouped(visits),
            grouped(max)
        ))
        .help("fewer branches inside loops make it shorter"),
        Why::NoSpace { pool, size } => Reason::new(format!(
            "the program needs more {} than the verifier has space for: {size}",
            pool_name(pool)
        ))
        .help("make the program smaller, or several of it"),
        Why::Internal { line } => Reason::new(format!("the verifier contradicts itself (at its line {line})"))
            .help("this is a defect of Gnomon, not of the program: please report it with the object file"),
        ref other => Reason::new(format!("{other:?}")),
    }
}

fn no_loop_bound(scene: &Scene<'_>, head: u32, progress: Progress) -> Reason {
    let place = scene.line(head);
    let hint = "give it a bound: `for (i = 0; i < N && …; i++)` with a constant N, or bpf_loop";
    match progress {
        Progress::NoChange => Reason::new(format!(
            "the loop at {place} may never end: what is known after an iteration is what was known before it"
        ))
        .help(hint),
        Progress::Unbounded {
            followed,
            counter,
            value: v,
            step,
        } => {
            let counter_text = match (counter, step) {
                (Some(r), Some(step)) => {
                    format!(
                        "r{r} changes by {step} an iteration, and has come to {}",
                        value::value(scene, &v)
                    )
                }
                (Some(r), None) => format!("r{r} decides, and is {} at its head", value::value(scene, &v)),
                (None, _) => "no counter is known".into(),
            };
            let reason = Reason::new(format!(
                "the loop at {place} has no bound that can be proven ({} iterations followed): {counter_text}",
                grouped(followed)
            ));
            match counter {
                Some(r) => reason.of(r).help(hint),
                None => reason.help(hint),
            }
        }
    }
}

fn pool_name(pool: Pool) -> &'static str {
    match pool {
        Pool::Slots => "instructions",
        Pool::Maps => "maps",
        Pool::Blocks => "branches",
        Pool::Subprograms => "functions",
        Pool::Sites => "helper calls",
        Pool::Loops => "loops",
        Pool::States => "paths that differ",
        Pool::Chunks => "values on the stack on different paths",
        Pool::Work => "loops and calls inside each other",
        Pool::Ids => "unknown values",
    }
}
