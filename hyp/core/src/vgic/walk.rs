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
    Sgi(u32, u16),
    Route(u32, u32),
    Ctlr(u32),
    Ack,
    Eoi,
    Dir(u32),
    Switch,
}

#[derive(Clone)]
struct System<const N: usize> {
    vgic: Vgic<N>,
    hw: Hw,
    cur: usize,
    /// Model: private interrupts of each vCPU, shared ones, route, group enables, running stack (priority, INTID) of each vCPU.
    private: Vec<[Int; 32]>,
    shared: Vec<Int>,
    route: Vec<u32>,
    /// vCPU where a shared interrupt became active.
    owner: Vec<usize>,
    groups: u32,
    running: Vec<Vec<(u8, u32)>>,
    /// EOIR deactivates too.
    eoi_deactivates: bool,
}

impl<const N: usize> System<N> {
    fn new(lrs: usize, eoi_deactivates: bool) -> Self {
        let mut private = [Int::default(); 32];
        private[..16].iter_mut().for_each(|i| i.edge = true);
        Self {
            vgic: Vgic::new(N, (1 << lrs) - 1),
            hw: Hw {
                lr: vec![Lr(0); lrs],
                control: 0,
                eoi_count: 0,
                deactivated: Vec::new(),
            },
            cur: 0,
            private: vec![private; N],
            shared: vec![Int::default(); SPIS],
            route: vec![0; SPIS],
            owner: vec![0; SPIS],
            groups: 0,
            running: vec![Vec::new(); N],
            eoi_deactivates,
        }
    }

    fn int(&mut self, id: u32) -> &mut Int {
        if id < 32 {
            &mut self.private[self.cur][id as usize]
        } else {
            &mut self.shared[id as usize - 32]
        }
    }

    fn write(&mut self, base: u32, id: u32, value: u32) {
        let offset = base + 4 * (id / 32);
        if id < 32 {
            let _ = self.vgic.redist_write(
                self.cur as u32 * 0x2_0000 + 0x1_0000 + base,
                4,
                value.into(),
                self.cur,
                &mut self.hw,
            );
        } else {
            let _ = self.vgic.dist_write(offset, 4, value.into(), self.cur, &mut self.hw);
        }
    }

    fn read(&self, base: u32, id: u32) -> u32 {
        if id < 32 {
            self.vgic
                .redist_read(self.cur as u32 * 0x2_0000 + 0x1_0000 + base, 4, self.cur, &self.hw) as u32
        } else {
            self.vgic.dist_read(base + 4 * (id / 32), 4, self.cur, &self.hw) as u32
        }
    }

    /// Pending, enabled, not active interrupts that the running vCPU could take, whatever its running priority.
    fn candidates(&self) -> Vec<(u8, u32)> {
        let mut all = Vec::new();
        let ints = self.private[self.cur].iter().chain(&self.shared);
        for (id, i) in ints.enumerate() {
            let here = id < 32 || self.route[id - 32] as usize == self.cur;
            if here && i.pending() && i.enabled && !i.active && self.groups >> u32::from(i.group1) & 1 == 1 {
                all.push((i.priority, id as u32));
            }
        }
        all
    }

    fn ack(&mut self) {
        let running = self.running[self.cur].last().map_or(0xff, |r| r.0);
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
        if id >= 32 {
            self.owner[id as usize - 32] = self.cur;
        }
        self.running[self.cur].push((lr.priority(), id));
    }

    fn eoi(&mut self) {
        let Some((_, id)) = self.running[self.cur].pop() else {
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
        // Which vCPU deactivates is the guest's affair; the one that did not take the interrupt has no list register for it.
        if self.eoi_deactivates || (id >= 32 && self.owner[id as usize - 32] != self.cur) {
            return;
        }
        if self.hw.control & hcr::TDIR != 0 {
            self.vgic.deactivate(self.cur, id.into(), &mut self.hw);
        } else if !self.hw.end(id) {
            self.hw.eoi_count += 1;
        }
        self.int(id).active = false;
    }

    fn switch(&mut self) {
        // As `hyp-el2` does it.
        let leaving = self.vgic.leave(self.cur, self.hw.empty()).unwrap();
        let saved = self.vgic.saved(self.cur).unwrap();
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
        self.cur = (self.cur + 1) % N;
        let saved = self.vgic.saved(self.cur).unwrap();
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
                if !self.int(id).active && id >= 32 {
                    let to = self.route[id as usize - 32] as usize;
                    self.owner[id as usize - 32] = if to < N { to } else { 0 };
                }
                self.int(id).active = true;
            }
            Act::ClearActive(id) => {
                self.write(0x380, id, bit(id));
                self.int(id).active = false;
            }
            Act::Priority(id, p) => {
                let (base, offset) = if id < 32 {
                    (self.cur as u32 * 0x2_0000 + 0x1_0000, 0x400 + id)
                } else {
                    (0, 0x400 + id)
                };
                let _ = if id < 32 {
                    self.vgic
                        .redist_write(base + offset, 1, p.into(), self.cur, &mut self.hw)
                } else {
                    self.vgic.dist_write(offset, 1, p.into(), self.cur, &mut self.hw)
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
                let old = self.vgic.dist_read(offset, 4, self.cur, &self.hw) as u32;
                let b = 2 << (2 * (id % 16));
                let new = if edge { old | b } else { old & !b };
                let _ = self.vgic.dist_write(offset, 4, new.into(), self.cur, &mut self.hw);
                self.int(id).edge = edge;
            }
            Act::Line(id, high) if id >= 32 => {
                let _ = self.vgic.set_line(id, high, self.cur, &mut self.hw);
                let i = self.int(id);
                i.latch |= i.edge && high && !i.line;
                i.line = high;
            }
            Act::Config(..) | Act::Line(..) => {}
            Act::Sgi(id, list) => {
                let value = u64::from(id) << 24 | u64::from(list);
                let _ = self.vgic.send_sgi(SgiKind::Group1, value, self.cur, &mut self.hw);
                for cpu in 0..N {
                    let i = &mut self.private[cpu][id as usize];
                    i.latch |= list >> cpu & 1 != 0 && i.group1;
                }
            }
            Act::Route(id, to) if id >= 32 => {
                let _ = self
                    .vgic
                    .dist_write(0x6000 + 8 * id, 8, to.into(), self.cur, &mut self.hw);
                self.route[id as usize - 32] = to;
            }
            Act::Route(..) => {}
            Act::Ctlr(groups) => {
                let _ = self.vgic.dist_write(0, 4, groups.into(), self.cur, &mut self.hw);
                self.groups = groups;
            }
            Act::Ack => self.ack(),
            Act::Eoi => self.eoi(),
            Act::Dir(id) => self.dir(id),
            Act::Switch => self.switch(),
        }
        for _ in 0..4 {
            if self.hw.maintenance_due() {
                let _ = self.vgic.maintain(self.cur, &mut self.hw);
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
        for c in &self.vgic.cpus {
            c.iface.assert_learnt(&c.word);
        }
        // WFI: must see what could be taken with everything unmasked, and nothing that could not.
        let wants = self.vgic.wants_cpu(self.cur, &self.hw, 0xff << 24 | 3);
        if self.candidates().iter().any(|c| c.0 < 0xf8) {
            assert!(wants, "a deliverable interrupt is not signalled");
        }
    }
}

fn act<const N: usize>(s: &System<N>, rng: &mut Rng, ids: &[u32]) -> Act {
    let id = rng.pick(ids);
    let free = !s.eoi_deactivates;
    let idle = !s.running.iter().flatten().any(|r| r.1 == id);
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
        17 | 18 => Act::Sgi(id % 16, rng.below(4) as u16),
        19 if free => Act::Route(id, rng.pick(&[0, 1, 1, 7])),
        20 => Act::Ctlr(rng.pick(&[0, 1, 2, 3, 3, 3])),
        21..=24 => Act::Ack,
        25..=27 => Act::Eoi,
        28 | 29 => Act::Dir(id),
        _ if N > 1 => Act::Switch,
        _ => Act::Ack,
    }
}

fn random_walk<const N: usize>(name: &str, seed: u64, lrs: usize, eoi_deactivates: bool, runs: u64) {
    let mut rng = Rng::new(name, seed);
    let ids = [0, 1, 7, 15, 16, 27, 31, 32, 33, 63, 64, 100, 255, 287];
    for _ in 0..runs {
        let mut s = System::<N>::new(lrs, eoi_deactivates);
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
                let short = shrink::<N>(log, lrs, eoi_deactivates, &ids);
                std::println!("{name}: fails after {short:?}");
                std::panic::resume_unwind(e);
            }
        }
    }
}

/// A failing sequence with every action that is not needed for the failure left out.
fn shrink<const N: usize>(mut log: Vec<Act>, lrs: usize, eoi_deactivates: bool, ids: &[u32]) -> Vec<Act> {
    let fails = |log: &[Act]| {
        let run = || {
            let mut s = System::<N>::new(lrs, eoi_deactivates);
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
    random_walk::<1>("vgic 1", 11, 4, true, steps(300));
}

#[test]
fn random_one_vcpu_separate_deactivation() {
    random_walk::<1>("vgic 2", 12, 2, false, steps(300));
}

#[test]
fn random_two_vcpus() {
    random_walk::<2>("vgic 3", 13, 2, true, steps(200));
    random_walk::<2>("vgic 4", 14, 4, false, steps(200));
}

/// Every sequence of these actions up to the depth, from a state with two list registers and everything enabled.
fn exhaust<const N: usize>(s: &System<N>, acts: &[Act], ids: &[u32], depth: u32, count: &mut u64) {
    if depth == 0 {
        return;
    }
    for a in acts {
        if matches!(a, Act::Priority(id, _) if s.running.iter().flatten().any(|r| r.1 == *id)) {
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
    let mut s = System::<1>::new(1, true);
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
    ];
    let mut count = 0;
    exhaust(&s, &acts, &ids, 5, &mut count);
    std::println!("vgic: {count} states visited");
}
