//! Registers that distributor and redistributors share in form, and the distributor's own (IHI 0069H 12.9).

use super::lr::LrFile;
use super::{INTIDS, Kick, SPI_WORDS, SPIS, Vgic, split};

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

impl<const N: usize> Vgic<N> {
    /// Reads the word at `offset` if it is one below the arrays: GICD_CTLR, GICD_TYPER, GICD_IIDR. *Hot.*
    #[inline(always)]
    pub fn dist_peek(&self, offset: u32) -> Option<u32> {
        match offset {
            TYPER => Some(TYPER_VALUE),
            CTLR => Some(self.groups | CTLR_ARE | CTLR_DS),
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
        match self.spi.get_mut(index as usize) {
            Some(word) if offset % 4 == 0 => word.enable_quiet(bits),
            _ => false,
        }
    }

    /// Reads `size` (1, 2, 4, 8) bytes of the distributor at `offset`. `cur` is the vCPU that runs, `live` its
    /// list registers. Accesses that the architecture does not define read as zero.
    #[inline]
    pub fn dist_read<L: LrFile>(&self, offset: u32, size: u8, cur: usize, live: &L) -> u64 {
        match self.dist_peek(offset) {
            Some(value) if size == 4 => value.into(),
            _ => self.dist_read_array(offset, size, cur, live),
        }
    }

    #[inline(never)]
    fn dist_read_array<L: LrFile>(&self, offset: u32, size: u8, cur: usize, live: &L) -> u64 {
        match (offset, size) {
            (ROUTER..ROUTER_END, 4 | 8) => self.router(offset, size),
            (ID_BASE.., 4) => u64::from(id_register(0x92, offset)),
            _ if offset & !0xfff == 0 && word_index(offset) != 0 => {
                self.array_read(0, word_index(offset), offset, size, cur, live)
            }
            _ => 0,
        }
    }

    /// Writes `size` (1, 2, 4, 8) bytes to the distributor at `offset`. Undefined accesses are ignored.
    #[inline(never)]
    pub fn dist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, cur: usize, live: &mut L) -> Kick {
        if size == 4 && self.dist_poke(offset, value as u32) {
            return Kick(0);
        }
        let index = word_index(offset);
        if size == 4 && offset == CTLR {
            return self.set_control(value as u32, cur, live);
        }
        match (offset, size) {
            (ROUTER..ROUTER_END, 4 | 8) => self.set_router(offset, value, cur, live),
            _ if offset & !0xfff == 0 && index != 0 => self.array_write(0, index, offset, size, value, cur, live),
            _ => Kick(0),
        }
    }

    fn set_control<L: LrFile>(&mut self, value: u32, cur: usize, live: &mut L) -> Kick {
        let groups = value & CTLR_GROUPS;
        if groups == self.groups {
            return Kick(0);
        }
        self.groups = groups;
        let mut kick = Kick(0);
        for cpu in 0..N {
            let Some((iface, mut view, mut port)) = self.port(cpu, cur, live) else {
                break;
            };
            iface.set_groups(&mut view, groups, &mut port);
            kick |= Kick(if cpu == cur { 0 } else { 1 << (cpu % 32) });
        }
        kick
    }

    /// Reads a register of one of the arrays for word `index`, the private one of `cpu` if that is 0.
    pub(super) fn array_read<L: LrFile>(
        &self,
        cpu: usize,
        index: usize,
        offset: u32,
        size: u8,
        cur: usize,
        live: &L,
    ) -> u64 {
        let word = match index.checked_sub(1) {
            None => self.cpus.get(cpu).map(|c| &c.word),
            Some(i) => self.spi.get(i),
        };
        let Some(word) = word else { return 0 };
        if let (PRIORITY..PRIORITY_END, 1 | 4) = (offset, size) {
            let first = offset & 31;
            let mut value = 0;
            for i in 0..u32::from(size) {
                value |= u64::from(word.priority(first + i)) << (8 * i);
            }
            return value;
        }
        if size != 4 {
            return 0;
        }
        u64::from(match offset >> 7 {
            BLOCK_GROUP => word.group,
            BLOCK_SET_ENABLE | BLOCK_CLEAR_ENABLE => word.enabled,
            BLOCK_SET_PENDING | BLOCK_CLEAR_PENDING => word.pending() | self.held(cpu, index, false, cur, live),
            BLOCK_SET_ACTIVE | BLOCK_CLEAR_ACTIVE => word.active | self.held(cpu, index, true, cur, live),
            _ if (CONFIG..CONFIG_END).contains(&offset) => word.config((offset >> 2) as usize & 1),
            _ => 0,
        })
    }

    /// Pending or active bits of word `index` in list registers: of `cpu` for private interrupts, of all vCPUs for shared ones.
    fn held<L: LrFile>(&self, cpu: usize, index: usize, active: bool, cur: usize, live: &L) -> u32 {
        let mut bits = 0;
        for (i, c) in self.cpus.iter().enumerate() {
            if index != 0 || i == cpu {
                bits |= if i == cur {
                    c.iface.state(index, active, live)
                } else {
                    c.iface.state(index, active, &c.saved)
                };
            }
        }
        bits
    }

    /// Writes a register of one of the arrays for word `index`, the private one of `cpu` if that is 0.
    #[allow(
        clippy::too_many_arguments,
        reason = "one register access: where, what, and whose list registers"
    )]
    pub(super) fn array_write<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        offset: u32,
        size: u8,
        value: u64,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let bits = value as u32;
        match (offset, size) {
            (PRIORITY..PRIORITY_END, 1 | 4) => self.set_priorities(cpu, offset & 31, index, size, value, cur, live),
            (CONFIG..CONFIG_END, 4) => self.set_config(cpu, index, offset, bits, cur, live),
            (0..PRIORITY, 4) => match offset >> 7 {
                BLOCK_GROUP => self.set_group(cpu, index, bits, cur, live),
                BLOCK_SET_ENABLE => self.set_enable(cpu, index, bits, cur, live),
                BLOCK_CLEAR_ENABLE => self.clear_enable(cpu, index, bits, cur, live),
                BLOCK_SET_PENDING => self.set_pending(cpu, index, bits, cur, live),
                BLOCK_CLEAR_PENDING => {
                    self.each_touched(cpu, index, bits, cur, live, |i, v, id, l| i.clear_pending(v, id, l))
                }
                BLOCK_SET_ACTIVE => self.set_active(cpu, index, bits, cur, live),
                BLOCK_CLEAR_ACTIVE => self.clear_active(cpu, index, bits, cur, live),
                _ => Kick(0),
            },
            _ => Kick(0),
        }
    }

    fn router(&self, offset: u32, size: u8) -> u64 {
        let intid = (offset - ROUTER) / 8;
        let route = intid.checked_sub(32).and_then(|i| self.route.get(i as usize));
        // GICD_TYPER.A3V = 0: the upper half is RES0.
        match route {
            Some(r) if offset & 7 == 0 => u64::from(*r),
            _ => {
                let _ = size;
                0
            }
        }
    }

    fn set_router<L: LrFile>(&mut self, offset: u32, value: u64, cur: usize, live: &mut L) -> Kick {
        let intid = (offset - ROUTER) / 8;
        // A write of the upper half alone changes only Aff3, which is 0 on this board.
        if offset & 7 != 0 || !(32..INTIDS as u32).contains(&intid) {
            return Kick(0);
        }
        let spi = intid as usize - 32;
        if let Some(old) = self.target(0, intid)
            && let Some((iface, mut view, mut port)) = self.port(old, cur, live)
        {
            iface.withdraw(&mut view, intid, &mut port);
            iface.refill(&mut view, &mut port);
        }
        self.route[spi % SPIS] = value as u32 & ROUTER_AFFINITY;
        self.offer(0, intid, cur, live)
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

/// Calls `f` with the INTID of each set bit of `bits` in word `index`. At most 32 turns.
#[inline]
pub(super) fn each_bit(index: usize, bits: u32, mut f: impl FnMut(u32)) {
    let mut left = bits;
    for _ in 0..32 {
        if left == 0 {
            break;
        }
        f(index as u32 * 32 + left.trailing_zeros());
        left &= left - 1;
    }
}

const _: () = assert!(split(33).0 == 1);
