//! The vGIC against an independent model of a GIC: exhaustively for few interrupts and short action sequences, at random for long ones.
//!
//! [`Hw`] imitates the virtual CPU interface (acknowledge, end, deactivate, maintenance); [`Model`] is the architecture's state machine of each
//! interrupt without any list register. After every action all readable state must agree, and an acknowledged interrupt must be one
//! that the model holds pending at its highest priority.

use std::vec;
use std::vec::Vec;

use super::hw::Hw;
use super::*;
use crate::testrng::{Rng, steps};

#[derive(Clone, Copy, Default, Debug)]
struct Int {
    enabled: bool,
    group1: bool,
    priority: u8,
    edge: bool,
    line: bool,
    latch: bool,
    active: bool,
}

impl Int {
    fn pending(&self) -> bool {
        self.latch || (self.line && !self.edge)
    }
}

/// Action of a guest, a device, or the scheduler.
#[derive(Clone, Copy, Debug)]
enum Act {
    Enable(u32),
    Disable(u32),
    SetPend(u32),
    /// ISPENDR of the interrupt's whole word.
    SetPendWord(u32, u32),
    ClearPend(u32),
    SetActive(u32),
    ClearActive(u32),
    Priority(u32, u8),
    Group(u32, bool),
    Config(u32, bool),
    Line(u32, bool),
    Sgi(u32),
    Route(u32, u32),
    Ctlr(u32),
    Ack,
    Eoi,
    Dir(u32),
    Switch,
}

#[derive(Clone)]
struct System {
    vgic: Vgic,
    hw: Hw,
    /// The vCPU is on the CPU.
    loaded: bool,
    /// Model: interrupts, route of the shared ones, group enables, running stack (priority, INTID).
    ints: Vec<Int>,
    route: Vec<u32>,
    groups: u32,
    running: Vec<(u8, u32)>,
    /// EOIR deactivates too.
    eoi_deactivates: bool,
}

impl System {
    fn new(lrs: usize, eoi_deactivates: bool) -> Self {
        let mut ints = vec![Int::default(); INTIDS];
        ints[..16].iter_mut().for_each(|i| i.edge = true);
        Self {
            vgic: Vgic::new((1 << lrs) - 1),
            hw: Hw {
                lr: vec![Lr(0); lrs],
                control: 0,
                eoi_count: 0,
                deactivated: Vec::new(),
            },
            loaded: true,
            ints,
            route: vec![0; SPIS],
            groups: 0,
            running: Vec::new(),
            eoi_deactivates,
        }
    }

    fn int(&mut self, id: u32) -> &mut Int {
        &mut self.ints[id as usize]
    }

    fn write(&mut self, base: u32, id: u32, value: u32) {
        let offset = base + 4 * (id / 32);
        if id < 32 {
            self.vgic
                .redist_write(0x1_0000 + base, 4, value.into(), self.loaded, &mut self.hw);
        } else {
            self.vgic.dist_write(offset, 4, value.into(), self.loaded, &mut self.hw);
        }
    }

    fn read(&self, base: u32, id: u32) -> u32 {
        if id < 32 {
            self.vgic.redist_read(0x1_0000 + base, 4, self.loaded, &self.hw) as u32
        } else {
            self.vgic.dist_read(base + 4 * (id / 32), 4, self.loaded, &self.hw) as u32
        }
    }

    /// Pending, enabled, not active interrupts that the running vCPU could take, whatever its running priority.
    fn candidates(&self) -> Vec<(u8, u32)> {
        let mut all = Vec::new();
        for (id, i) in self.ints.iter().enumerate() {
            let here = id < 32 || self.route[id - 32] == 0;
            if here && i.pending() && i.enabled && !i.active && self.groups >> u32::from(i.group1) & 1 == 1 {
                all.push((i.priority, id as u32));
            }
        }
        all
    }

    fn ack(&mut self) {
        let running = self.running.last().map_or(0xff, |r| r.0);
        let best = self
            .hw
            .lr
            .iter()
            .enumerate()
            .filter(|(_, l)| l.0 >> 62 == 1)
            .min_by_key(|(_, l)| l.priority())
            .map(|(n, l)| (n, *l));
        let want = self
            .candidates()
            .into_iter()
            .map(|c| c.0)
            .min()
            .filter(|p| *p < running);
        let got = best.filter(|(_, l)| l.priority() < running);
        assert_eq!(
            got.map(|(_, l)| l.priority()),
            want,
            "priority of the acknowledged interrupt"
        );
        let Some((n, lr)) = got else { return };
        let id = lr.intid();
        assert!(
            self.candidates().contains(&(lr.priority(), id)),
            "interrupt {id} is not pending in the model"
        );
        self.hw.lr[n] = Lr(lr.0 ^ (3 << 62));
        let i = self.int(id);
        i.latch = false;
        i.active = true;
        self.running.push((lr.priority(), id));
    }

    fn eoi(&mut self) {
        let Some((_, id)) = self.running.pop() else {
            return;
        };
        if self.eoi_deactivates {
            if !self.hw.end(id) {
                self.hw.eoi_count += 1;
            }
            self.int(id).active = false;
        }
    }

    fn dir(&mut self, id: u32) {
        if self.eoi_deactivates {
            return;
        }
        if self.hw.control & hcr::TDIR != 0 {
            self.vgic.deactivate(id.into(), &mut self.hw);
        } else if !self.hw.end(id) {
            self.hw.eoi_count += 1;
        }
        self.int(id).active = false;
    }

    fn switch(&mut self) {
        // As `hyp-el2` does it.
        self.loaded = !self.loaded;
        if !self.loaded {
            let leaving = self.vgic.leave(self.hw.empty());
            let saved = self.vgic.saved();
            if leaving.full | leaving.control | leaving.linked != 0 {
                let hcr = if leaving.control != 0 {
                    hcr::EN | self.hw.control | self.hw.eoi_count << hcr::EOI_COUNT_SHIFT
                } else {
                    hcr::EN
                };
                saved.save(leaving.full, hcr, 0);
                for (n, lr) in self.hw.lr.iter_mut().enumerate() {
                    if leaving.full >> n & 1 != 0 {
                        saved.put(n, *lr);
                    }
                }
            }
            return;
        }
        let saved = self.vgic.saved();
        for (n, lr) in self.hw.lr.iter_mut().enumerate() {
            *lr = if saved.full() >> n & 1 != 0 {
                saved.get(n)
            } else {
                Lr(0)
            };
        }
        self.hw.control = saved.hcr() & hcr::MANAGED;
        self.hw.eoi_count = saved.hcr() >> hcr::EOI_COUNT_SHIFT;
        saved.loaded();
    }

    fn apply(&mut self, act: Act) {
        let bit = |id: u32| 1u32 << (id % 32);
        match act {
            Act::Enable(id) => {
                self.write(0x100, id, bit(id));
                self.int(id).enabled = true;
            }
            Act::Disable(id) => {
                self.write(0x180, id, bit(id));
                self.int(id).enabled = false;
            }
            Act::SetPend(id) => {
                self.write(0x200, id, bit(id));
                self.int(id).latch = true;
            }
            Act::SetPendWord(id, bits) => {
                self.write(0x200, id, bits);
                for i in (0..32).filter(|i| bits >> i & 1 == 1) {
                    self.int(id / 32 * 32 + i).latch = true;
                }
            }
            Act::ClearPend(id) => {
                self.write(0x280, id, bit(id));
                self.int(id).latch = false;
            }
            Act::SetActive(id) => {
                self.write(0x300, id, bit(id));
                self.int(id).active = true;
            }
            Act::ClearActive(id) => {
                self.write(0x380, id, bit(id));
                self.int(id).active = false;
            }
            Act::Priority(id, p) => {
                let (base, offset) = if id < 32 {
                    (0x1_0000, 0x400 + id)
                } else {
                    (0, 0x400 + id)
                };
                if id < 32 {
                    self.vgic
                        .redist_write(base + offset, 1, p.into(), self.loaded, &mut self.hw)
                } else {
                    self.vgic.dist_write(offset, 1, p.into(), self.loaded, &mut self.hw)
                };
                self.int(id).priority = p & 0xf8;
            }
            Act::Group(id, group1) => {
                let old = self.read(0x80, id);
                self.write(0x80, id, if group1 { old | bit(id) } else { old & !bit(id) });
                self.int(id).group1 = group1;
            }
            Act::Config(id, edge) if id >= 32 => {
                let offset = 0xc00 + 4 * (id / 16);
                let old = self.vgic.dist_read(offset, 4, self.loaded, &self.hw) as u32;
                let b = 2 << (2 * (id % 16));
                let new = if edge { old | b } else { old & !b };
                self.vgic.dist_write(offset, 4, new.into(), self.loaded, &mut self.hw);
                self.int(id).edge = edge;
            }
            Act::Line(id, high) if id >= 32 => {
                self.vgic.set_line(id, high, self.loaded, &mut self.hw);
                let i = self.int(id);
                i.latch |= i.edge && high && !i.line;
                i.line = high;
            }
            Act::Config(..) | Act::Line(..) => {}
            Act::Sgi(id) => {
                self.vgic.send_sgi(SgiKind::Group1, id, self.loaded, &mut self.hw);
                let i = self.int(id);
                i.latch |= i.group1;
            }
            Act::Route(id, to) if id >= 32 => {
                self.vgic
                    .dist_write(0x6000 + 8 * id, 8, to.into(), self.loaded, &mut self.hw);
                self.route[id as usize - 32] = to;
            }
            Act::Route(..) => {}
            Act::Ctlr(groups) => {
                self.vgic.dist_write(0, 4, groups.into(), self.loaded, &mut self.hw);
                self.groups = groups;
            }
            Act::Ack if self.loaded => self.ack(),
            Act::Eoi if self.loaded => self.eoi(),
            Act::Dir(id) if self.loaded => self.dir(id),
            Act::Ack | Act::Eoi | Act::Dir(_) => {}
            Act::Switch => self.switch(),
        }
        for _ in 0..4 {
            if self.hw.maintenance_due() {
                self.vgic.maintain(&mut self.hw);
            }
        }
        assert!(!self.hw.maintenance_due(), "a maintenance interrupt must not storm");
    }

    fn check(&mut self, ids: &[u32]) {
        for &id in ids {
            let i = *self.int(id);
            let seen = |s: &Self, base| s.read(base, id) >> (id % 32) & 1 == 1;
            assert_eq!(seen(self, 0x80), i.group1, "group of {id}");
            assert_eq!(seen(self, 0x100), i.enabled, "enable of {id}");
            assert_eq!(seen(self, 0x200), i.pending(), "pending of {id}: {i:?}");
            assert_eq!(seen(self, 0x300), i.active, "active of {id}: {i:?}");
        }
        let vmcr = 0xff << 24 | 3;
        let wants = if self.loaded {
            self.vgic.view.books.assert_learnt(&self.hw);
            self.vgic.wants_cpu(&self.hw, vmcr)
        } else {
            self.vgic.view.books.assert_learnt(&self.vgic.saved);
            self.vgic.wants_cpu_saved(vmcr)
        };
        // WFI: must see what could be taken with everything unmasked, and nothing that could not.
        if self.candidates().iter().any(|c| c.0 < 0xf8) {
            assert!(wants, "a deliverable interrupt is not signalled");
        }
    }
}

fn act(s: &System, rng: &mut Rng, ids: &[u32]) -> Act {
    let id = rng.pick(ids);
    let free = !s.eoi_deactivates;
    let idle = !s.running.iter().any(|r| r.1 == id);
    match rng.below(32) {
        0..=2 => Act::Enable(id),
        3 => Act::Disable(id),
        4 => Act::SetPendWord(id, rng.next() as u32),
        5..=7 => Act::SetPend(id),
        8 => Act::ClearPend(id),
        9 if free => Act::SetActive(id),
        10 if free => Act::ClearActive(id),
        11 | 12 if free || idle => Act::Priority(id, rng.below(6) as u8 * 0x28),
        13 if free || idle => Act::Group(id, rng.chance(60)),
        14 => Act::Config(id, rng.chance(50)),
        15 | 16 => Act::Line(id, rng.chance(50)),
        17 | 18 => Act::Sgi(id % 16),
        19 if free => Act::Route(id, rng.pick(&[0, 1, 1, 7])),
        20 => Act::Ctlr(rng.pick(&[0, 1, 2, 3, 3, 3])),
        21..=24 => Act::Ack,
        25..=27 => Act::Eoi,
        28 | 29 => Act::Dir(id),
        _ => Act::Switch,
    }
}

fn random_walk(name: &str, seed: u64, lrs: usize, eoi_deactivates: bool, runs: u64) {
    let mut rng = Rng::new(name, seed);
    let ids = [0, 1, 7, 15, 16, 27, 31, 32, 33, 63, 64, 100, 255, 287];
    for _ in 0..runs {
        let mut s = System::new(lrs, eoi_deactivates);
        s.apply(Act::Ctlr(3));
        let mut log = Vec::new();
        for _ in 0..300 {
            let a = act(&s, &mut rng, &ids);
            log.push(a);
            let step = || {
                s.apply(a);
                s.check(&ids);
            };
            if let Err(e) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)) {
                let short = shrink(log, lrs, eoi_deactivates, &ids);
                std::println!("{name}: fails after {short:?}");
                std::panic::resume_unwind(e);
            }
        }
    }
}

/// A failing sequence with every action that is not needed for the failure left out.
fn shrink(mut log: Vec<Act>, lrs: usize, eoi_deactivates: bool, ids: &[u32]) -> Vec<Act> {
    let fails = |log: &[Act]| {
        let run = || {
            let mut s = System::new(lrs, eoi_deactivates);
            s.apply(Act::Ctlr(3));
            for a in log {
                s.apply(*a);
                s.check(ids);
            }
        };
        std::panic::catch_unwind(run).is_err()
    };
    std::panic::set_hook(std::boxed::Box::new(|_| {}));
    let mut i = 0;
    while i < log.len() {
        let mut less = log.clone();
        less.remove(i);
        if fails(&less) { log = less } else { i += 1 }
    }
    let _ = std::panic::take_hook();
    log
}

#[test]
fn random_one_vcpu_eoi_deactivates() {
    random_walk("vgic 1", 11, 4, true, steps(500));
}

#[test]
fn random_one_vcpu_separate_deactivation() {
    random_walk("vgic 2", 12, 2, false, steps(500));
}

/// Every sequence of these actions up to the depth, from a state with two list registers and everything enabled.
fn exhaust(s: &System, acts: &[Act], ids: &[u32], depth: u32, count: &mut u64) {
    if depth == 0 {
        return;
    }
    for a in acts {
        if matches!(a, Act::Priority(id, _) if s.running.iter().any(|r| r.1 == *id)) {
            continue;
        }
        let mut next = s.clone();
        next.apply(*a);
        next.check(ids);
        *count += 1;
        exhaust(&next, acts, ids, depth - 1, count);
    }
}

#[test]
fn every_short_sequence() {
    let ids = [1, 32, 33];
    let mut s = System::new(1, true);
    s.apply(Act::Ctlr(3));
    for (id, p) in [(1, 0x50), (32, 0x28), (33, 0x50)] {
        for a in [Act::Priority(id, p), Act::Group(id, true), Act::Enable(id)] {
            s.apply(a);
        }
    }
    let acts = [
        Act::SetPend(1),
        Act::SetPend(32),
        Act::Line(33, true),
        Act::Line(33, false),
        Act::ClearPend(32),
        Act::Disable(32),
        Act::Enable(32),
        Act::Priority(1, 0x10),
        Act::Ctlr(0),
        Act::Ctlr(2),
        Act::Ack,
        Act::Eoi,
        Act::Switch,
    ];
    let mut count = 0;
    exhaust(&s, &acts, &ids, 5, &mut count);
    std::println!("vgic: {count} states visited");
}
