//! SGIs by system register: ICC_SGI1R_EL1, ICC_ASGI1R_EL1, ICC_SGI0R_EL1 (IHI 0069H 12.2.16).

use super::Vgic;
use super::lr::LrFile;

/// Which register was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgiKind {
    /// ICC_SGI0R_EL1: SGIs that the target has in group 0.
    Group0,
    /// ICC_SGI1R_EL1: SGIs that the target has in group 1.
    Group1,
    /// ICC_ASGI1R_EL1: group 1 of the other security state, which does not exist.
    Other,
}

/// True if ICC_SGI1R_EL1 = `value` names the vCPU of affinity 0.0.0.0 and no other. *Hot.*
#[inline(always)]
pub const fn is_for_first_only(value: u64) -> bool {
    value & (IRM | ELSEWHERE | 0xffff) == 1
}

/// The vCPU that ICC_SGI1R_EL1 = `value` names, if it is one. *Hot.*
#[inline(always)]
pub const fn one_target(value: u64) -> Option<usize> {
    let list = value & 0xffff;
    if value & (IRM | ELSEWHERE) == 0 && list.is_power_of_two() {
        Some(list.trailing_zeros() as usize)
    } else {
        None
    }
}

/// vCPUs that `value` names, as bits by affinity, when vCPU `sender` of a VM with at most 16 writes it.
pub const fn targets(value: u64, sender: u32) -> u32 {
    if value & IRM != 0 {
        0xffff & !(1 << (sender % 32))
    } else if value & ELSEWHERE != 0 {
        0
    } else {
        value as u32 & 0xffff
    }
}

const INTID_SHIFT: u32 = 24;
/// IRM: all but the sender.
const IRM: u64 = 1 << 40;
/// Aff1 [23:16], Aff2 [39:32], RS [47:44], Aff3 [55:48]: vCPUs have 0 in all of them.
const ELSEWHERE: u64 = 0xff << 16 | 0xff << 32 | 0xf << 44 | 0xff << 48;

impl Vgic {
    /// SGI `intid` (0 to 15) for this vCPU. *Hot* for one of group 1 while it runs. SGIs of the other group are dropped.
    #[inline(always)]
    pub fn send_sgi<L: LrFile>(&mut self, kind: SgiKind, intid: u32, loaded: bool, live: &mut L) {
        let group1 = self.view.books.word(0).group >> (intid & 15) & 1 != 0;
        let is_for = match kind {
            SgiKind::Group0 => !group1,
            SgiKind::Group1 => group1,
            SgiKind::Other => false,
        };
        if is_for {
            self.raise(intid & 15, loaded, live);
        }
    }
}

/// INTID of a write of one of the registers.
#[inline(always)]
pub const fn intid(value: u64) -> u32 {
    (value >> INTID_SHIFT) as u32 & 0xf
}
