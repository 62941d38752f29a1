//! A stand-in for the virtual CPU interface.

use std::vec::Vec;

use super::*;

/// List registers and CPU interface of the vCPU that runs.
#[derive(Clone)]
pub struct Hw {
    pub lr: Vec<Lr>,
    pub control: u32,
    pub eoi_count: u32,
    /// Physical interrupts deactivated.
    pub deactivated: Vec<u32>,
}

impl LrFile for Hw {
    fn usable(&self) -> u32 {
        (1 << self.lr.len()) - 1
    }
    fn empty(&self) -> u32 {
        self.lr
            .iter()
            .enumerate()
            .map(|(n, lr)| u32::from(lr.is_empty()) << n)
            .sum()
    }
    fn read(&self, n: usize) -> Lr {
        self.lr.get(n).copied().unwrap_or_default()
    }
    fn write(&mut self, n: usize, lr: Lr) {
        assert!(
            self.lr
                .iter()
                .enumerate()
                .all(|(m, o)| m == n || o.is_empty() || lr.0 >> 62 == 0 || o.intid() != lr.intid()),
            "two list registers for one interrupt"
        );
        self.lr[n] = lr;
    }
    fn control(&mut self, bits: u32) {
        assert_eq!(bits & !hcr::MANAGED, 0);
        self.control = bits;
    }
    fn take_eoi(&mut self) -> bool {
        let some = self.eoi_count != 0;
        self.eoi_count = self.eoi_count.saturating_sub(1);
        some
    }
    fn forget_eois(&mut self) {
        self.eoi_count = 0;
    }
    fn deactivate(&mut self, pintid: u32) {
        self.deactivated.push(pintid);
    }
}

impl Hw {
    pub fn maintenance_due(&self) -> bool {
        let no_pending = !self.lr.iter().any(|l| l.0 >> 62 == 1);
        self.lr.iter().any(|l| l.is_finished())
            || (self.control & hcr::NPIE != 0 && no_pending)
            || (self.control & hcr::LRENPIE != 0 && self.eoi_count != 0)
    }

    /// Deactivation by INTID as the hardware does it: true if a list register was active.
    pub fn end(&mut self, intid: u32) -> bool {
        match self.lr.iter_mut().find(|l| l.is_active() && l.intid() == intid) {
            Some(l) => {
                *l = Lr(l.0 & !(1 << 63));
                true
            }
            None => false,
        }
    }
}
