//! Directed cases: register access, linked interrupts, what no guest may do.

use std::vec::Vec;

use super::hw::Hw;
use super::*;
use crate::testrng::{Rng, steps};

const SGI_FRAME: u32 = 0x1_0000;

fn hw(lrs: usize) -> Hw {
    Hw {
        lr: std::vec![Lr(0); lrs],
        control: 0,
        eoi_count: 0,
        deactivated: Vec::new(),
    }
}

fn ready() -> (Vgic, Hw) {
    let (mut g, mut h) = (Vgic::new(0xf), hw(4));
    g.link_hardware(27);
    g.dist_write(0, 4, 3, true, &mut h);
    g.redist_write(SGI_FRAME + 0x80, 4, 0xffff_ffff, true, &mut h);
    g.redist_write(SGI_FRAME + 0x100, 4, 0xffff_ffff, true, &mut h);
    (g, h)
}

#[test]
fn identification_registers() {
    let (mut g, h) = (Vgic::new(0xf), hw(4));
    g.set_place(1, 2);
    let d = |off, size| g.dist_read(off, size, true, &h);
    assert_eq!(d(0, 4), 0x50, "DS and ARE");
    assert_eq!(d(4, 4) & 0x1f, 8, "288 INTIDs");
    assert_eq!(d(0xffe8, 4), 0x3b, "GICv3");
    assert_eq!((d(0, 1), d(0, 8), d(4, 2)), (0, 0, 0), "only words");
    let r = |off, size| g.redist_read(off, size, true, &h);
    assert_eq!(r(8, 8), 1 << 32 | 1 << 8 | 1 << 4, "affinity 1, number 1, last");
    assert_eq!((r(8, 4), r(0xc, 4)), (0x110, 1));
    assert_eq!(r(0xffe8, 4), 0x3b);
    assert_eq!(r(0x14, 4), 6, "asleep");
    assert_eq!(r(0x2_0008, 8), 0, "no other redistributor");
}

#[test]
fn bytes_words_and_doublewords() {
    let (mut g, mut h) = ready();
    g.dist_write(0x421, 1, 0xab, true, &mut h);
    g.dist_write(0x424, 4, 0x1122_33ff, true, &mut h);
    assert_eq!(g.dist_read(0x420, 4, true, &h), 0xa800);
    assert_eq!(g.dist_read(0x421, 1, true, &h), 0xa8);
    assert_eq!(g.dist_read(0x424, 4, true, &h), 0x1020_30f8);
    g.dist_write(0x402, 1, 0xff, true, &mut h);
    assert_eq!(
        g.dist_read(0x400, 4, true, &h),
        0,
        "private priorities are in the redistributor"
    );
    g.redist_write(SGI_FRAME + 0x41f, 1, 0x77, true, &mut h);
    assert_eq!(g.redist_read(SGI_FRAME + 0x41c, 4, true, &h), 0x7000_0000);
    g.dist_write(0x6000 + 8 * 40, 8, 0xff_80ab_cdef, true, &mut h);
    assert_eq!(g.dist_read(0x6000 + 8 * 40, 8, true, &h), 0x00ab_cdef);
    assert_eq!(g.dist_read(0x6000 + 8 * 40, 4, true, &h), 0x00ab_cdef);
    assert_eq!(g.dist_read(0x6004 + 8 * 40, 4, true, &h), 0, "no Aff3");
    g.dist_write(0x6004 + 8 * 40, 4, 0xffff_ffff, true, &mut h);
    g.dist_write(0x6000 + 8 * 31, 8, 7, true, &mut h);
    assert_eq!(
        g.dist_read(0x6000 + 8 * 31, 8, true, &h),
        0,
        "private interrupts have no route"
    );
    g.redist_write(0x14, 4, 0, true, &mut h);
    assert_eq!(g.redist_read(0x14, 4, true, &h), 0);
    assert_eq!(
        g.redist_read(SGI_FRAME + 0xc00, 4, true, &h),
        0xaaaa_aaaa,
        "SGIs are edge-triggered"
    );
}

#[test]
fn a_linked_timer_interrupt_and_its_end() {
    let (mut g, mut h) = ready();
    g.raise(27, true, &mut h);
    let lr = *h.lr.iter().find(|l| !l.is_empty()).unwrap();
    assert!(lr.is_pending() && lr.is_hw() && lr.is_group1() && lr.0 >> 32 & 0x1fff == 27);
    assert!(g.holds(27, &h));
    // The guest takes and ends it: the hardware empties the list register and deactivates both.
    h.lr.iter_mut().for_each(|l| *l = Lr(l.0 & !(3 << 62)));
    assert!(!g.holds(27, &h));
    g.raise(27, true, &mut h);
    assert!(h.lr.iter().filter(|l| l.is_pending()).count() == 1);
    assert!(h.deactivated.is_empty());
}

#[test]
fn a_timer_that_fell_before_it_was_taken_is_withdrawn() {
    let (mut g, mut h) = ready();
    g.line_fell(27, &mut h);
    assert!(h.deactivated.is_empty(), "nothing was pending");
    g.raise(27, true, &mut h);
    assert!(g.wants_cpu(&h, 0xff << 24 | 3));
    g.line_fell(27, &mut h);
    assert!(!g.wants_cpu(&h, 0xff << 24 | 3) && !g.holds(27, &h));
    assert_eq!(h.deactivated, [27]);
    // Active: the guest is in its handler and will end it itself.
    g.raise(27, true, &mut h);
    h.lr.iter_mut()
        .filter(|l| l.is_pending())
        .for_each(|l| *l = Lr(l.0 ^ (3 << 62)));
    g.line_fell(27, &mut h);
    assert_eq!(h.deactivated, [27]);
    assert!(g.holds(27, &h));
}

#[test]
fn clearing_a_linked_pending_interrupt_frees_the_physical_one() {
    let (mut g, mut h) = ready();
    g.redist_write(SGI_FRAME + 0x180, 4, 1 << 27, true, &mut h);
    g.raise(27, true, &mut h);
    assert!(h.lr.iter().all(|l| l.is_empty()), "disabled");
    assert!(g.holds(27, &h));
    g.redist_write(SGI_FRAME + 0x280, 4, 1 << 27, true, &mut h);
    assert_eq!(h.deactivated, [27]);
    assert!(!g.holds(27, &h));
}

#[test]
fn sgis_are_of_the_right_group() {
    let (mut g, mut h) = (Vgic::new(0xf), hw(4));
    g.dist_write(0, 4, 3, true, &mut h);
    g.redist_write(SGI_FRAME + 0x80, 4, 0xf0, true, &mut h);
    g.redist_write(SGI_FRAME + 0x100, 4, 0xffff, true, &mut h);
    let mut sent = |kind, intid| {
        g.send_sgi(kind, intid, true, &mut h);
        h.lr.iter().filter(|l| l.is_pending()).count()
    };
    assert_eq!(sent(SgiKind::Group1, 1), 0, "SGI 1 is in group 0");
    assert_eq!(sent(SgiKind::Other, 5), 0);
    assert_eq!(sent(SgiKind::Group0, 1), 1);
    assert_eq!(sent(SgiKind::Group1, 5), 2);
    assert_eq!((targets(1 << 40 | 6 << 24, 1), targets(1 << 16 | 1, 0)), (0xfffd, 0));
    assert_eq!(targets(0b1111, 2), 0b1111);
}

/// Whatever a guest writes, wherever: no panic, no storm, and at most one list register for each interrupt (which `Hw` checks).
#[test]
fn random_accesses_of_any_size_anywhere() {
    let mut rng = Rng::new("vgic mmio", 22);
    let (mut g, mut h) = (Vgic::new(0x3), hw(2));
    g.link_hardware(27);
    for _ in 0..steps(200_000) {
        let size = rng.pick(&[1, 2, 4, 4, 4, 8]);
        let value = if rng.chance(50) { rng.next() } else { 1 << rng.below(32) };
        let offset = match rng.below(4) {
            0 => rng.next() as u32 & 0x3_ffff,
            1 => 0x6000 + rng.below(0x2000) as u32,
            _ => rng.below(0xd00) as u32 & !3 | if rng.chance(50) { SGI_FRAME } else { 0 },
        };
        match rng.below(8) {
            0 => drop(g.dist_read(offset & 0xffff, size, true, &h)),
            1 => drop(g.redist_read(offset, size, true, &h)),
            2 | 3 => g.dist_write(offset & 0xffff, size, value, true, &mut h),
            4 | 5 => g.redist_write(offset, size, value, true, &mut h),
            6 => g.raise(rng.next() as u32 & 0x1ff, true, &mut h),
            _ => g.send_sgi(SgiKind::Group1, rng.next() as u32, true, &mut h),
        }
        if rng.chance(30)
            && let Some(l) = h.lr.iter_mut().find(|l| l.0 >> 62 != 0)
        {
            // The guest takes it, or ends it.
            *l = Lr(if l.is_active() {
                l.0 & !(1 << 63)
            } else {
                l.0 ^ (3 << 62)
            });
        }
        for _ in 0..2 {
            if h.maintenance_due() {
                g.maintain(&mut h);
            }
        }
        assert!(!h.maintenance_due());
    }
}
