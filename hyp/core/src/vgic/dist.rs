//! Registers that distributor and redistributors share in form, and the distributor's own (IHI 0069H 12.9).

use super::lr::LrFile;
use super::{INTIDS, SPI_WORDS, View, WORDS, split};

const CTLR: u32 = 0x000;
const TYPER: u32 = 0x004;
const IIDR: u32 = 0x008;
const ID_BASE: u32 = 0xffd0;

const CTLR_GROUPS: u32 = 0b11;
/// Affinity routing is always on: RAO/WI.
const CTLR_ARE: u32 = 1 << 4;
/// One security state: RAO/WI.
const CTLR_DS: u32 = 1 << 6;
/// ITLinesNumber [4:0]; IDbits [23:19] = 9: INTIDs have 10 bits; No1N [25]: no 1-of-N routing.
const TYPER_VALUE: u32 = SPI_WORDS as u32 | 9 << 19 | 1 << 25;
/// ProductID 'G', implementer Arm's code as other virtual GICs show it.
pub(super) const IIDR_VALUE: u32 = 0x4700_043b;

/// GICD_ISENABLER1.
const ISENABLER1: u32 = 0x104;

/// Blocks of 0x80 bytes: one register of 32 bits for each 32 interrupts.
const BLOCK_GROUP: u32 = 1;
const BLOCK_SET_ENABLE: u32 = 2;
const BLOCK_CLEAR_ENABLE: u32 = 3;
const BLOCK_SET_PENDING: u32 = 4;
const BLOCK_CLEAR_PENDING: u32 = 5;
const BLOCK_SET_ACTIVE: u32 = 6;
const BLOCK_CLEAR_ACTIVE: u32 = 7;
/// One byte for each interrupt.
const PRIORITY: u32 = 0x400;
const PRIORITY_END: u32 = 0x800;
/// Two bits for each interrupt.
const CONFIG: u32 = 0xc00;
const CONFIG_END: u32 = 0xd00;
/// Eight bytes for each interrupt, from INTID 0.
const ROUTER: u32 = 0x6000;
const ROUTER_END: u32 = 0x8000;
const ROUTER_AFFINITY: u32 = 0x00ff_ffff;

/// GICD_PIDR4–7, PIDR0–3, CIDR0–3 from 0xffd0. PIDR2.ArchRev = 3.
pub(super) const fn id_register(part: u8, offset: u32) -> u32 {
    let ids: [u8; 12] = [0x44, 0, 0, 0, part, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1];
    let i = (offset.wrapping_sub(ID_BASE) / 4) as usize;
    if offset >= ID_BASE && i < ids.len() {
        ids[i] as u32
    } else {
        0
    }
}

impl View {
    /// Reads the word at `offset` if it is one below the arrays: GICD_CTLR, GICD_TYPER, GICD_IIDR. *Hot.*
    #[inline(always)]
    pub fn dist_peek(&self, offset: u32) -> Option<u32> {
        match offset {
            TYPER => Some(TYPER_VALUE),
            CTLR => Some(self.books.groups() | CTLR_ARE | CTLR_DS),
            IIDR => Some(IIDR_VALUE),
            0..0x80 => Some(0),
            _ => None,
        }
    }

    /// Writes `bits` to GICD_ISENABLER<n> at `offset` if nothing becomes deliverable by it. *Hot.* False: something else, nothing done.
    #[inline(always)]
    pub fn dist_poke(&mut self, offset: u32, bits: u32) -> bool {
        // GICD_ISENABLER0 is the redistributor's.
        let index = offset.wrapping_sub(ISENABLER1) / 4;
        if offset % 4 != 0 || index >= SPI_WORDS as u32 {
            return false;
        }
        self.books.word_mut(index as usize + 1).enable_quiet(bits)
    }

    /// Reads `size` (1, 2, 4, 8) bytes of the distributor at `offset`. Accesses that the architecture does not define read
    /// as zero.
    #[inline]
    pub fn dist_read<L: LrFile>(&self, offset: u32, size: u8, lrs: &L) -> u64 {
        match self.dist_peek(offset) {
            Some(value) if size == 4 => value.into(),
            _ => self.dist_read_array(offset, size, lrs),
        }
    }

    #[inline(never)]
    fn dist_read_array<L: LrFile>(&self, offset: u32, size: u8, lrs: &L) -> u64 {
        match (offset, size) {
            (ROUTER..ROUTER_END, 4 | 8) => self.router(offset),
            (ID_BASE.., 4) => u64::from(id_register(0x92, offset)),
            _ if offset & !0xfff == 0 && word_index(offset) != 0 => {
                self.array_read(word_index(offset), offset, size, lrs)
            }
            _ => 0,
        }
    }

    /// Writes `size` (1, 2, 4, 8) bytes to the distributor at `offset`. Undefined accesses are ignored.
    #[inline(never)]
    pub fn dist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, lrs: &mut L) {
        if size == 4 && offset == CTLR {
            return self.set_control(value as u32, lrs);
        }
        match (offset, size) {
            (ROUTER..ROUTER_END, 4 | 8) => self.set_router(offset, value, lrs),
            _ if offset & !0xfff == 0 && word_index(offset) != 0 => {
                self.array_write(word_index(offset), offset, size, value as u32, lrs);
            }
            _ => {}
        }
    }

    fn set_control<L: LrFile>(&mut self, value: u32, lrs: &mut L) {
        let groups = value & CTLR_GROUPS;
        if groups != self.books.groups() {
            self.books.set_groups(groups, lrs);
        }
    }

    /// Reads a register of one of the arrays for word `w`.
    pub(super) fn array_read<L: LrFile>(&self, w: usize, offset: u32, size: u8, lrs: &L) -> u64 {
        if w >= WORDS {
            return 0;
        }
        let word = self.books.word(w);
        match (offset, size) {
            (PRIORITY..PRIORITY_END, 1) => return word.priority(offset & 31).into(),
            (PRIORITY..PRIORITY_END, 4) => return word.priorities(offset & 28).into(),
            (CONFIG..CONFIG_END, 4) => return word.config(offset >> 2 & 1).into(),
            (0..PRIORITY, 4) => {}
            _ => return 0,
        }
        u64::from(match offset >> 7 {
            BLOCK_GROUP => word.group,
            BLOCK_SET_ENABLE | BLOCK_CLEAR_ENABLE => word.enabled,
            BLOCK_SET_PENDING | BLOCK_CLEAR_PENDING => word.pending() | self.books.state(w, false, lrs),
            BLOCK_SET_ACTIVE | BLOCK_CLEAR_ACTIVE => word.active | self.books.state(w, true, lrs),
            _ => 0,
        })
    }

    /// Writes a register of one of the arrays for word `w`.
    pub(super) fn array_write<L: LrFile>(&mut self, w: usize, offset: u32, size: u8, bits: u32, lrs: &mut L) {
        if w >= WORDS {
            return;
        }
        match (offset, size) {
            (PRIORITY..PRIORITY_END, 1) => {
                let (which, shift) = (1 << (offset & 3), 8 * (offset & 3));
                self.set_priorities(w, offset & 28, which, bits << shift, lrs);
            }
            (PRIORITY..PRIORITY_END, 4) => self.set_priorities(w, offset & 28, 0xf, bits, lrs),
            (CONFIG..CONFIG_END, 4) => self.set_config(w, offset >> 2 & 1, bits, lrs),
            (0..PRIORITY, 4) => match offset >> 7 {
                BLOCK_GROUP => self.set_group(w, bits, lrs),
                BLOCK_SET_ENABLE => self.set_enable(w, bits, lrs),
                BLOCK_CLEAR_ENABLE => self.clear_enable(w, bits, lrs),
                BLOCK_SET_PENDING => self.set_pending(w, bits, lrs),
                BLOCK_CLEAR_PENDING => self.clear_pending(w, bits, lrs),
                BLOCK_SET_ACTIVE => self.set_active(w, bits, lrs),
                BLOCK_CLEAR_ACTIVE => self.clear_active(w, bits, lrs),
                _ => {}
            },
            _ => {}
        }
    }

    fn router(&self, offset: u32) -> u64 {
        let route = ((offset - ROUTER) / 8)
            .checked_sub(32)
            .and_then(|i| self.route.get(i as usize));
        // GICD_TYPER.A3V = 0: the upper half is RES0.
        match route {
            Some(r) if offset & 7 == 0 => u64::from(*r),
            _ => 0,
        }
    }

    fn set_router<L: LrFile>(&mut self, offset: u32, value: u64, lrs: &mut L) {
        let intid = (offset - ROUTER) / 8;
        // A write of the upper half alone changes only Aff3, which is 0 on this board.
        if offset & 7 == 0 && (32..INTIDS as u32).contains(&intid) {
            self.set_route(intid, value as u32 & ROUTER_AFFINITY, lrs);
        }
    }
}

/// Word of 32 interrupts that a register of the arrays below 0x1000 belongs to; [`super::WORDS`] or more where there is none.
#[inline]
pub(super) const fn word_index(offset: u32) -> usize {
    (match offset {
        0..PRIORITY => (offset >> 2) & 31,
        PRIORITY..PRIORITY_END => (offset - PRIORITY) >> 5,
        CONFIG..CONFIG_END => (offset - CONFIG) >> 3,
        _ => super::WORDS as u32,
    }) as usize
}

const _: () = assert!(split(33).0 == 1);
