//! Admission against brute force: totals summed probe by probe, deadlines by simulating the worst case tick by tick.

use std::vec;
use std::vec::Vec;

use super::rta::{Costs, Linear, check, is_shielded, response_time};
use super::*;
use crate::testrng::{Rng, steps};

fn table() -> Bounds {
    let mut t = Bounds {
        model: [0; 16],
        own: [100; PATHS],
        fire: [10; POINTS],
        firings: [[0; POINTS]; PATHS],
    };
    t.firings[PathId::Wfi as usize][PointId::VcpuBlock as usize] = 2;
    t.firings[PathId::IpcCall as usize][PointId::VcpuBlock as usize] = 1;
    t
}

#[test]
fn the_bound_is_own_plus_firings_and_the_refusal_tells_what_fits() {
    let mut a = Admission::new(Some(&table()));
    a.set_budget(PathId::Wfi, 220);
    assert_eq!(
        a.admit(PointId::VcpuBlock, 51, None, &[]),
        Err(Refusal::Path {
            path: PathId::Wfi,
            shortfall: 2,
            fits: 50
        })
    );
    let ok = a.admit(PointId::VcpuBlock, 50, None, &[]).unwrap();
    assert!(a.commit(&ok));
    assert!(!a.commit(&ok), "a token is good for one state");
    assert_eq!(
        a.row(PathId::Wfi),
        PathRow {
            own: 100,
            probes: 120,
            probes_most: 120,
            budget: 220,
            basis: Basis::Proven
        }
    );
    assert_eq!(a.row(PathId::IpcCall).probes, 60);
    assert_eq!(
        a.admit(PointId::VcpuBlock, 1, None, &[]),
        Err(Refusal::Path {
            path: PathId::Wfi,
            shortfall: 22,
            fits: 0
        })
    );
    let swap = a.admit(PointId::VcpuBlock, 20, Some(50), &[]).unwrap();
    assert!(a.commit(&swap));
    assert_eq!(a.row(PathId::Wfi).probes, 60);
    a.release(PointId::VcpuBlock, 20);
    assert!(a.is_unloaded());
    let row = a.row(PathId::Wfi);
    assert_eq!(
        (row.probes, row.probes_most),
        (0, 120),
        "an observation may hold them still"
    );
    a.forget();
    assert_eq!(a.row(PathId::Wfi).probes_most, 0);
}

#[test]
fn points_that_touch_no_budgeted_path_are_free_and_overflow_is_refused() {
    let mut a = Admission::new(Some(&table()));
    a.set_budget(PathId::Wfi, 0);
    assert!(
        a.admit(PointId::Mmio, u64::MAX, None, &[]).is_ok(),
        "no path has this point"
    );
    assert!(matches!(
        a.admit(PointId::VcpuBlock, u64::MAX, None, &[]),
        Err(Refusal::Path { fits: 0, .. })
    ));
}

#[test]
fn what_exceeds_the_probes_is_the_paths_own() {
    let mut t = table();
    t.own[PathId::Wfi as usize] = 0;
    let mut a = Admission::new(Some(&t));
    a.observe(PathId::Wfi, 70);
    let ok = a.admit(PointId::VcpuBlock, 40, None, &[]).unwrap();
    assert!(a.commit(&ok));
    a.observe(PathId::Wfi, 150);
    assert_eq!(a.row(PathId::Wfi).own, 70, "two firings of 50 may be in it");
    a.observe(PathId::Wfi, 180);
    assert_eq!((a.row(PathId::Wfi).own, a.row(PathId::IpcCall).own), (80, 100));
}

#[test]
fn without_a_table_nothing_is_admitted_whatever_was_observed() {
    let mut a = Admission::new(None);
    a.observe(PathId::MmioUart, 90);
    assert_eq!(a.admit(PointId::Mmio, 1, None, &[]), Err(Refusal::NoTable));
    assert_eq!(a.row(PathId::MmioUart).basis, Basis::Observed);
}

#[test]
fn a_path_without_a_bound_stands_on_what_was_observed_and_says_so() {
    let mut t = table();
    t.own[PathId::Wfi as usize] = 0;
    let mut a = Admission::new(Some(&t));
    a.set_budget(PathId::Wfi, 220);
    for (path, max) in [(PathId::Wfi, 90), (PathId::Wfi, 80), (PathId::IpcCall, 900)] {
        a.observe(path, max);
    }
    assert_eq!(
        (a.row(PathId::Wfi).own, a.row(PathId::Wfi).basis),
        (90, Basis::Observed)
    );
    let proven = a.row(PathId::IpcCall);
    assert_eq!((proven.own, proven.basis), (100, Basis::Proven));
    assert!(a.admit(PointId::VcpuBlock, 55, None, &[]).is_ok());
    assert!(matches!(
        a.admit(PointId::VcpuBlock, 56, None, &[]),
        Err(Refusal::Path {
            path: PathId::Wfi,
            shortfall: 2,
            fits: 55
        })
    ));
}

#[test]
fn random_attach_and_detach_agree_with_a_sum() {
    let mut rng = Rng::new("admit", 9);
    for _ in 0..steps(300) {
        let mut t = table();
        for row in &mut t.firings {
            for n in row {
                *n = if rng.chance(30) { rng.below(4) as u16 } else { 0 };
            }
        }
        let mut a = Admission::new(Some(&t));
        let budgets: Vec<u64> = PathId::ALL
            .iter()
            .map(|_| {
                if rng.chance(50) {
                    100 + rng.below(3000)
                } else {
                    u64::MAX
                }
            })
            .collect();
        for (p, b) in PathId::ALL.iter().zip(&budgets) {
            a.set_budget(*p, *b);
        }
        let mut attached: Vec<(PointId, u64)> = vec![];
        let total = |attached: &[(PointId, u64)], p: usize| {
            100 + attached
                .iter()
                .map(|(q, w)| u64::from(t.firings[p][*q as usize]) * (10 + w))
                .sum::<u64>()
        };
        for _ in 0..40 {
            if rng.chance(30) && !attached.is_empty() {
                let (q, w) = attached.swap_remove(rng.below(attached.len() as u64) as usize);
                a.release(q, w);
                continue;
            }
            let point = probe_vm::points::POINTS[rng.below(16) as usize].id;
            let w = rng.below(400);
            let mut with = attached.clone();
            let old = with
                .iter()
                .position(|(q, _)| *q == point)
                .filter(|_| rng.chance(50))
                .map(|i| with.swap_remove(i).1);
            let without = with.clone();
            with.push((point, w));
            let touched = |p: usize| t.firings[p][point as usize] > 0;
            let bad = (0..PATHS).find(|p| touched(*p) && total(&with, *p) > budgets[*p]);
            match (a.admit(point, w, old, &[]), bad) {
                (Ok(token), None) => {
                    assert!(a.commit(&token));
                    attached = with;
                }
                (Err(Refusal::Path { path, shortfall, fits }), Some(p)) => {
                    assert_eq!((path as usize, shortfall), (p, total(&with, p) - budgets[p]));
                    let try_w = |w| {
                        let mut v = without.clone();
                        v.push((point, w));
                        total(&v, p) <= budgets[p]
                    };
                    assert!(fits == 0 || try_w(fits));
                    assert!(!try_w(fits + 1));
                }
                other => panic!("{other:?}"),
            }
            for (p, path) in PathId::ALL.iter().enumerate() {
                assert_eq!(a.row(*path).probes + 100, total(&attached, p));
            }
        }
    }
}

fn task(vm: u32, priority: u32, period: u64, deadline: u64, budget: u64) -> Task {
    Task {
        vm,
        priority,
        period,
        deadline,
        budget,
        ..Task::NONE
    }
}

/// Every stay at EL2 costs `stay` + one firing.
fn costs(stay: u64) -> Costs {
    Costs::of(|_| Linear { base: stay, slope: 1 })
}

#[test]
fn a_textbook_set() {
    // Joseph and Pandya: C = 3, 3, 5; T = 7, 12, 20: responses 3, 6, 20 without any overhead.
    let set = [task(0, 3, 7, 7, 3), task(1, 2, 12, 12, 3), task(2, 1, 20, 20, 5)];
    let free = Costs::of(|_| Linear::default());
    let got: Vec<_> = set.iter().map(|t| response_time(&set, t, &free)).collect();
    assert_eq!(got, [Some(3), Some(6), Some(20)]);
    let tight = [set[0], set[1], Task { deadline: 19, ..set[2] }];
    assert_eq!(response_time(&tight, &tight[2], &free), None);
}

#[test]
fn a_probe_that_breaks_a_deadline_names_the_vcpu_and_what_fits() {
    let set = [task(4, 9, 1000, 500, 100), task(5, 1, 0, 0, 0)];
    let c = costs(10);
    // block + wake + release + sleep + one timer of the other vCPU: five stays, so 100 + 5 · (10 + x) ≤ 500.
    assert_eq!(check(&set, &c, &c, 70), Ok(()));
    let miss = check(&set, &c, &c, 71).unwrap_err();
    assert_eq!((miss.vm, miss.shortfall, miss.fits), (4, 5, 70));
    let mut a = Admission::new(Some(&table()));
    a.firings = [[1; POINTS]; PATHS];
    let r = a.admit(PointId::Mmio, 1000, None, &[task(4, 9, 100_000, 1000, 100)]);
    assert!(matches!(r, Err(Refusal::Deadline { vm: 4, vcpu: 0, .. })), "{r:?}");
}

#[test]
fn undeclared_equals_and_lost_deadlines_guard_nothing() {
    let c = costs(10);
    let set = [task(0, 9, 1000, 500, 100), task(1, 9, 0, 0, 0)];
    assert_eq!(response_time(&set, &set[0], &c), None);
    assert_eq!(check(&set, &c, &c, u64::MAX), Ok(()));
    let lost = [task(0, 9, 1000, 100, 100)];
    assert_eq!(check(&lost, &c, &c, 1), Ok(()));
    let elsewhere = [
        task(0, 9, 1000, 500, 100),
        Task {
            cpu: 1,
            ..task(1, 9, 0, 0, 0)
        },
    ];
    assert_eq!(check(&elsewhere, &c, &c, 90), Ok(()));
    assert!(check(&elsewhere, &c, &c, 91).is_err());
}

#[test]
fn messages_of_other_cpus_wait_or_nothing_is_proven() {
    let c = costs(10);
    let spread = |priority, period| Task {
        spread: true,
        ..task(1, priority, period, period, 0)
    };
    let above = [task(0, 9, 1000, 500, 100), spread(8, 0)];
    assert!(is_shielded(&above, &above[0]) && response_time(&above, &above[0], &c).is_some());
    let beside = [above[0], spread(9, 1000)];
    assert!(!is_shielded(&beside, &beside[0]));
    assert_eq!(
        response_time(&beside, &beside[0], &c),
        None,
        "its messages have no rate"
    );
    let elsewhere = [above[0], Task { cpu: 1, ..beside[1] }];
    assert!(is_shielded(&elsewhere, &elsewhere[0]));
    let undeclared = [task(0, 9, 0, 0, 100), spread(8, 0)];
    assert!(!is_shielded(&undeclared, &undeclared[0]), "it may never sleep");
}

#[test]
fn messages_of_a_vm_to_itself_are_among_its_exits() {
    let long = Costs::of(|path| Linear {
        base: if path == PathId::IrqOther { 50 } else { 10 },
        slope: 1,
    });
    let mut own = task(0, 9, 1000, 500, 100);
    (own.exits, own.spread) = (2, true);
    let sibling = Task {
        vcpu: 1,
        priority: 1,
        ..own
    };
    let alone = response_time(&[own], &own, &long).unwrap();
    own.spread = false;
    assert_eq!(alone - response_time(&[own], &own, &long).unwrap(), 2 * 40);
    own.spread = true;
    assert_eq!(
        response_time(&[own, sibling], &own, &long),
        Some(alone + 10),
        "and its sibling's timer"
    );
}

/// Fixed-priority execution tick by tick from the worst instant: everything released at 0, one blocking stay just begun.
fn simulate(set: &[Task], of: &Task, stay: u64, firing: u64) -> Option<u64> {
    let stay = stay + firing;
    let others = set.iter().filter(|o| o.vm != of.vm).count() as u64;
    let devices: u64 = set.iter().map(|o| u64::from(o.devices)).sum();
    let mut fixed = stay * (1 + others + devices);
    let job = |t: &Task| t.budget + stay * (3 + u64::from(t.exits));
    let (mut mine, mut rest) = (job(of), vec![0u64; set.len()]);
    for now in 0..of.deadline {
        for (o, r) in set.iter().zip(&mut rest) {
            if o.vm != of.vm && o.period != 0 && o.priority >= of.priority && now % o.period == 0 {
                *r += job(o);
            }
        }
        if fixed > 0 {
            fixed -= 1;
        } else if let Some(r) = rest.iter_mut().find(|r| **r > 0) {
            *r -= 1;
        } else {
            mine = mine.saturating_sub(1);
        }
        if mine == 0 && fixed == 0 && rest.iter().all(|r| *r == 0) {
            return Some(now + 1);
        }
    }
    None
}

#[test]
fn response_times_agree_with_simulation() {
    let mut rng = Rng::new("rta", 10);
    let mut refused = 0;
    for _ in 0..steps(2_000) {
        let mut set = Vec::new();
        for vm in 0..1 + rng.below(4) as u32 {
            let period = 20 + rng.below(400);
            let mut t = task(vm, rng.below(4) as u32, period, 1 + rng.below(period), rng.below(40));
            t.exits = rng.below(3) as u32;
            t.devices = rng.below(2) as u32;
            set.push(t);
        }
        let stay = rng.below(4);
        let c = costs(stay);
        for t in &set {
            let (got, want) = (response_time(&set, t, &c), simulate(&set, t, stay, 0));
            assert!(got.is_none() || got == want, "{set:?}: {got:?} instead of {want:?}");
            refused += u64::from(got.is_none() && want.is_some());
        }
        let x = rng.below(12);
        match check(&set, &c, &c, x) {
            Ok(()) => {
                for t in set.iter().filter(|t| response_time(&set, t, &c).is_some()) {
                    assert!(simulate(&set, t, stay, x).is_some());
                }
            }
            Err(miss) => {
                assert!(miss.fits < x);
                let t = set.iter().find(|t| t.vm == miss.vm).unwrap();
                assert!(
                    miss.fits == 0 || simulate(&set, t, stay, miss.fits).is_some(),
                    "what fits must fit"
                );
            }
        }
    }
    std::println!("rta: {refused} deadlines refused for want of steps");
}
