//! Runs the cases: for each path the largest bound of the cases it is met in, or why it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyp_abi::PathId;
use hyp_abi::bounds::POINTS;
use pathwcet::decode::decode;
use pathwcet::explore::{Graphs, Limits, OnPanic, Outcome, Query, explore_with};
use pathwcet::inst::{Flow, SP};
use pathwcet::range::Range;
use pathwcet::state::{State, Symbols};
use probe_vm::jit::chain;

use super::cases::{Case, Span, Vector};
use super::ground::{Ground, Start, sysreg};

/// Slot whose vCPU is loaded at the start. All slots are alike: the code finds a slot's parts by one multiplication.
const SLOT: u64 = 1;

/// Abstract instructions of one run: a build must end.
pub const STEPS_MAX: u64 = 300_000;

/// The same of one firing, which is a few dozen instructions.
const FIRE_STEPS_MAX: u64 = 10_000;

/// What is known of one path.
#[derive(Debug, Clone)]
pub struct PathBound {
    /// Most instructions of a stay, from the vector to `eret`.
    pub bound: u64,
    /// Most of them between EL2's own two reads of its counter: what it can observe of itself.
    pub window: u64,
    /// Most firings of each point.
    pub firings: [u32; POINTS],
    /// The case of the bound.
    pub case: String,
    /// Blocks of the worst path: first address, and after the last.
    pub path: Vec<(u64, u64)>,
}

/// Why a case has no bound.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The case.
    pub case: String,
    /// Its paths.
    pub paths: Vec<PathId>,
    /// Reason.
    pub why: String,
}

/// What the analysis found.
#[derive(Debug)]
pub struct Analysis {
    /// By path; `None`: not bounded.
    pub paths: Vec<Option<PathBound>>,
    /// Cases without a bound.
    pub failures: Vec<Failure>,
    /// Loops met: header → (most turns, declared).
    pub loops: BTreeMap<u64, (u32, bool)>,
    /// By point: what one probe costs there beyond its own code, at the dearest site; `None`: not bounded.
    pub fire: [Option<u64>; POINTS],
}

/// One run of the engine: a case narrowed to one span of what divides it.
struct Run<'a> {
    case: &'a Case,
    span: Option<(Divide, Span)>,
}

#[derive(Clone, Copy)]
enum Divide {
    X0,
    Page,
    Intid,
}

/// Bounds every path, each run within `steps` abstract instructions. Runs are spread over the host's cores.
pub fn analyse(ground: &Ground, cases: &[Case], steps: u64) -> Analysis {
    let runs: Vec<Run<'_>> = cases.iter().flat_map(runs_of).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Outcome, String>)>> = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(runs.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut graphs = Graphs::new(&ground.image);
                while let Some((i, run)) = take(&next, &runs) {
                    let outcome = one(ground, &mut graphs, run, steps);
                    if let Ok(mut done) = done.lock() {
                        done.push((i, outcome));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(i, _)| *i);
    gather(&runs, done, fire(ground))
}

fn take<'r, 'a>(next: &AtomicUsize, runs: &'r [Run<'a>]) -> Option<(usize, &'r Run<'a>)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    runs.get(i).map(|run| (i, run))
}

fn runs_of(case: &Case) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    for (divide, spans) in [
        (Divide::X0, &case.x0),
        (Divide::Page, &case.page),
        (Divide::Intid, &case.intid),
    ] {
        runs.extend(spans.iter().map(|span| Run {
            case,
            span: Some((divide, *span)),
        }));
    }
    if case.open.is_some() {
        runs.clear();
    }
    if runs.is_empty() {
        runs.push(Run { case, span: None });
    }
    runs
}

fn one(ground: &Ground, graphs: &mut Graphs<'_>, run: &Run<'_>, steps: u64) -> Result<Outcome, String> {
    if let Some(why) = &run.case.open {
        return Err(why.clone());
    }
    let entry = ground.vector(run.case.vector).map_err(|e| e.to_string())?;
    let mut symbols = Symbols::default();
    let mut start = ground.start(&mut symbols, SLOT, run.case.vector);
    suppose(&mut start.state, &mut symbols, run);
    let outcome = bound(ground, graphs, entry, ground.stops(), steps, start, symbols)?;
    for class in outcome.classes.keys() {
        match class.and_then(PathId::from_number) {
            None => return Err("an end that counts as no path".to_owned()),
            Some(path) if !run.case.paths.contains(&path) => {
                return Err(format!("it is met as {}, too", path.name()));
            }
            Some(_) => {}
        }
    }
    Ok(outcome)
}

fn bound(
    ground: &Ground,
    graphs: &mut Graphs<'_>,
    entry: u64,
    stops: BTreeSet<u64>,
    steps: u64,
    start: Start,
    symbols: Symbols,
) -> Result<Outcome, String> {
    let query = Query {
        stops,
        declared: ground.contended.clone(),
        sites: ground.points(),
        classes: start.classes,
        stack: Some(start.stack),
        marks: ground.marks.clone(),
        timing: ground.timing,
        on_panic: OnPanic::Refuse,
        limits: Limits {
            steps,
            ..Limits::default()
        },
        ..Query::new(entry, start.state, &|_| 1)
    };
    explore_with(graphs, &query, symbols).map_err(|e| e.to_string())
}

/// ESR_EL2, HPFAR_EL2 and ICC_IAR1_EL1.
const ESR: u16 = sysreg(4, 5, 2, 0);
const HPFAR: u16 = sysreg(4, 6, 0, 4);
const IAR1: u16 = sysreg(0, 12, 12, 0);
/// ESR_EL2.EC's place. What lies above the class is zero on cores without FEAT_LS64 (Arm ARM D17.2.37).
const CLASS_SHIFT: u32 = 26;
/// HPFAR_EL2.FIPA's place.
const PAGE_SHIFT: u32 = 4;

/// What the case and its span say of registers.
fn suppose(state: &mut State, symbols: &mut Symbols, run: &Run<'_>) {
    let set = |state: &mut State, symbols: &mut Symbols, key: u16, first: u64, last: u64| {
        if let Some(range) = Range::new(first, last) {
            let value = state.number(symbols, range);
            state.sysregs.insert(key, value);
        }
    };
    if let Some([first, last]) = run.case.class {
        let end = (last << CLASS_SHIFT) | ((1 << CLASS_SHIFT) - 1);
        set(state, symbols, ESR, first << CLASS_SHIFT, end);
    }
    match run.span {
        Some((Divide::X0, [first, last])) => {
            if let Some(range) = Range::new(first, last) {
                let value = state.number(symbols, range);
                state.set(0, value);
            }
        }
        Some((Divide::Page, [first, last])) => {
            let end = (last << PAGE_SHIFT) | ((1 << PAGE_SHIFT) - 1);
            set(state, symbols, HPFAR, first << PAGE_SHIFT, end);
        }
        Some((Divide::Intid, [first, last])) => set(state, symbols, IAR1, first, last),
        None => {}
    }
}

fn gather(runs: &[Run<'_>], done: Vec<(usize, Result<Outcome, String>)>, fire: [Option<u64>; POINTS]) -> Analysis {
    let mut out = Analysis {
        paths: vec![None; PathId::COUNT],
        failures: Vec::new(),
        loops: BTreeMap::new(),
        fire,
    };
    let mut failed: Vec<PathId> = Vec::new();
    for (i, outcome) in done {
        let Some(run) = runs.get(i) else { continue };
        match outcome {
            Err(why) => {
                failed.extend(&run.case.paths);
                out.failures.push(Failure {
                    case: run.case.name.clone(),
                    paths: run.case.paths.clone(),
                    why,
                });
            }
            Ok(outcome) => merge(&mut out, run, outcome),
        }
    }
    for path in failed {
        if let Some(slot) = out.paths.get_mut(path as usize) {
            *slot = None;
        }
    }
    out
}

fn merge(out: &mut Analysis, run: &Run<'_>, outcome: Outcome) {
    for (header, (turns, declared)) in outcome.loops {
        let seen = out.loops.entry(header).or_insert((0, declared));
        *seen = (seen.0.max(turns), declared);
    }
    for (class, longest) in outcome.classes {
        let Some(slot) = class.and_then(|c| out.paths.get_mut(c as usize)) else {
            continue;
        };
        let old = slot.get_or_insert_with(|| PathBound {
            bound: 0,
            window: 0,
            firings: [0; POINTS],
            case: String::new(),
            path: Vec::new(),
        });
        old.window = old.window.max(longest.window);
        for (n, m) in old.firings.iter_mut().zip(longest.firings) {
            *n = (*n).max(m);
        }
        if longest.bound > old.bound {
            old.bound = longest.bound;
            old.case = run.case.name.clone();
            old.path = longest.path;
        }
    }
}

/// Where a stay that did not fire at `site` can come to, calls not followed: every address behind the `nop`.
///
/// A block that fires ends at the first of them. Mostly that is the next one, but the compiler may let a block go on elsewhere.
fn behind(ground: &Ground, site: u64) -> BTreeSet<u64> {
    // Nothing leads into a block but its site: what seems to is a call that does not return.
    let blocks: BTreeSet<u64> = ground.sites.iter().map(|s| s.block).collect();
    let mut seen = BTreeSet::new();
    let mut next = vec![site + 4];
    while let Some(at) = next.pop() {
        let Some(inst) = ground.image.word(at).and_then(|word| decode(at, word).ok()) else {
            continue;
        };
        if blocks.contains(&at) || !seen.insert(at) {
            continue;
        }
        match inst.flow {
            Flow::Jump(to) => next.push(to),
            Flow::Ret(_) | Flow::JumpReg(_) | Flow::Eret | Flow::Trap => {}
            Flow::Next | Flow::Call(_) | Flow::CallReg(_) => next.push(at + 4),
            Flow::Cond { target, .. } | Flow::Zero { target, .. } | Flow::Bit { target, .. } => {
                next.extend([at + 4, target]);
            }
        }
    }
    seen
}

/// Cost of firing for each probe: from a site's block to where it would have come without, and its share of the chain.
fn fire(ground: &Ground) -> [Option<u64>; POINTS] {
    let mut out = [Some(0); POINTS];
    let mut graphs = Graphs::new(&ground.image);
    for site in &ground.sites {
        let Some(cost) = out.get_mut(usize::from(site.point)) else {
            continue;
        };
        let mut symbols = Symbols::default();
        let mut start = ground.start(&mut symbols, SLOT, Vector::Sync);
        start.state.set(SP, start.stack.1);
        start.classes = None;
        let mut stops = ground.stops();
        stops.extend(behind(ground, site.at));
        let found = bound(ground, &mut graphs, site.block, stops, FIRE_STEPS_MAX, start, symbols).ok();
        let found = found.and_then(|found| charge(found.bound));
        *cost = cost.zip(found).map(|(cost, found)| cost.max(found));
    }
    out
}

/// What one probe is charged at a site whose block costs `block`: where a filter or several probes are attached, each has its share of
/// the code between. That share is stated for blocks of a least length; a shorter one is not bounded.
fn charge(block: u64) -> Option<u64> {
    (block >= chain::SITE_LEAST).then(|| block + chain::PER_PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_charged_its_share_of_the_chain() {
        assert_eq!(charge(chain::SITE_LEAST), Some(chain::SITE_LEAST + chain::PER_PROBE));
        assert_eq!(
            charge(chain::SITE_LEAST - 1),
            None,
            "the share is not stated for so short a block"
        );
    }
}
