//! What a write to a register array changes, and the redistributor's registers (IHI 0069H 12.10, 12.11).

use super::dist::{IIDR_VALUE, each_bit, id_register, word_index};
use super::iface::Iface;
use super::lr::LrFile;
use super::word::Word;
use super::{Kick, Port, REDIST_BYTES, SPI_WORDS, Vgic, View, WORDS};

const IIDR: u32 = 0x0004;
const TYPER: u32 = 0x0008;
const TYPER_HIGH: u32 = 0x000c;
const WAKER: u32 = 0x0014;
/// GICR_WAKER: ProcessorSleep and ChildrenAsleep, which follows it at once.
const WAKER_SLEEP: u32 = 1 << 1;
const WAKER_ASLEEP: u32 = 1 << 2;
/// Second 64 KiB of a redistributor: the SGI frame.
const SGI_FRAME: u32 = 0x1_0000;

impl<const N: usize> Vgic<N> {
    /// Reads `size` bytes at `offset` from the base of the VM's redistributors, which lie one after the other.
    /// Accesses that the architecture does not define read as zero.
    pub fn redist_read<L: LrFile>(&self, offset: u32, size: u8, cur: usize, live: &L) -> u64 {
        let (cpu, offset) = locate(offset);
        if cpu >= self.vcpus as usize {
            return 0;
        }
        if offset & SGI_FRAME != 0 {
            let offset = offset & 0xffff;
            let index = word_index(offset);
            return if offset < 0x1000 && index == 0 {
                self.array_read(cpu, 0, offset, size, cur, live)
            } else {
                0
            };
        }
        match (offset, size) {
            (TYPER, 8) => self.typer(cpu),
            (TYPER, 4) => self.typer(cpu) & 0xffff_ffff,
            (TYPER_HIGH, 4) => self.typer(cpu) >> 32,
            (IIDR, 4) => u64::from(IIDR_VALUE),
            (WAKER, 4) => match self.cpus.get(cpu) {
                Some(c) if c.asleep => u64::from(WAKER_SLEEP | WAKER_ASLEEP),
                _ => 0,
            },
            (0xffd0.., 4) => u64::from(id_register(0x93, offset)),
            _ => 0,
        }
    }

    /// Writes `size` bytes at `offset` from the base of the VM's redistributors. *Hot* for ISENABLER. Undefined accesses are ignored.
    #[inline(always)]
    pub fn redist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, cur: usize, live: &mut L) -> Kick {
        let (cpu, register) = locate(offset);
        if size == 4 && register == SGI_FRAME + ISENABLER && self.enable_quiet(cpu, 0, value as u32) {
            return Kick(0);
        }
        self.redist_write_slow(offset, size, value, cur, live)
    }

    #[inline(never)]
    fn redist_write_slow<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, cur: usize, live: &mut L) -> Kick {
        let (cpu, offset) = locate(offset);
        if cpu >= self.vcpus as usize {
            return Kick(0);
        }
        if offset & SGI_FRAME != 0 {
            let offset = offset & 0xffff;
            if offset < 0x1000 && word_index(offset) == 0 {
                return self.array_write(cpu, 0, offset, size, value, cur, live);
            }
        } else if let (WAKER, 4, Some(c)) = (offset, size, self.cpus.get_mut(cpu)) {
            c.asleep = value as u32 & WAKER_SLEEP != 0;
        }
        Kick(0)
    }

    /// Affinity [63:32], Processor_Number [23:8], Last [4].
    fn typer(&self, cpu: usize) -> u64 {
        let cpu = cpu as u32 + self.first;
        let last = u64::from(cpu + 1 == self.total);
        u64::from(cpu) << 32 | u64::from(cpu) << 8 | last << 4
    }

    /// Those of `bits` of word `index` that are pending or active somewhere: all others have no place but their word.
    fn touched<L: LrFile>(&mut self, cpu: usize, index: usize, bits: u32, cur: usize, live: &mut L) -> u32 {
        let mut mask = self.word(cpu, index).map_or(0, |w| w.pending() | w.active);
        let range = if index == 0 { cpu..cpu + 1 } else { 0..N };
        for k in range {
            let Some((iface, _, port)) = self.port(k, cur, live) else {
                break;
            };
            mask |= iface.held(index, port.empty());
        }
        bits & mask
    }

    /// [`Self::each`] of those of `bits` that are pending or active somewhere.
    pub(super) fn each_touched<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
        f: impl Fn(&mut Iface, &mut View<'_>, u32, &mut Port<'_, L>),
    ) -> Kick {
        let touched = if index < WORDS {
            self.touched(cpu, index, bits, cur, live)
        } else {
            0
        };
        self.each(cpu, index, touched, cur, live, f)
    }

    /// Runs `f` on the books of every vCPU that can hold the interrupts `bits` of word `index`, then refills its list registers.
    pub(super) fn each<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
        f: impl Fn(&mut Iface, &mut View<'_>, u32, &mut Port<'_, L>),
    ) -> Kick {
        if index >= WORDS || bits == 0 {
            return Kick(0);
        }
        let range = if index == 0 { cpu..cpu + 1 } else { 0..N };
        for k in range {
            let Some((iface, mut view, mut port)) = self.port(k, cur, live) else {
                break;
            };
            each_bit(index, bits, |intid| f(iface, &mut view, intid, &mut port));
            iface.refill(&mut view, &mut port);
        }
        self.offer_all(cpu, index, bits, cur, live)
    }

    /// Offers those of `bits` that are deliverable: all of them first, then one refill.
    fn offer_all<L: LrFile>(&mut self, cpu: usize, index: usize, bits: u32, cur: usize, live: &mut L) -> Kick {
        let mut targets = Kick(0);
        let Some(word) = self.word(cpu, index) else {
            return targets;
        };
        let deliverable = word.deliverable() & bits;
        if deliverable == 0 {
            return targets;
        }
        each_bit(index, deliverable, |intid| {
            let Some(target) = self.target(cpu, intid) else { return };
            if N > 1 && self.active_elsewhere(target, intid, cur, live) {
                return;
            }
            if let Some((iface, mut view, mut port)) = self.port(target, cur, live) {
                iface.offer_later(&mut view, intid, &mut port);
                targets |= Kick(1 << (target % 32));
            }
        });
        for k in 0..N {
            let Some((iface, mut view, mut port)) = self.port(k, cur, live) else {
                break;
            };
            if targets.0 >> (k % 32) & 1 != 0 {
                iface.refill(&mut view, &mut port);
            }
        }
        if cur < 32 {
            Kick(targets.0 & !(1 << cur))
        } else {
            targets
        }
    }

    #[inline]
    fn word(&mut self, cpu: usize, index: usize) -> Option<&mut Word> {
        match index.checked_sub(1) {
            None => self.cpus.get_mut(cpu).map(|c| &mut c.word),
            Some(i) => self.spi.get_mut(i),
        }
    }

    /// ISENABLER, in the usual case that nothing becomes deliverable by it. *Hot.* False: not the usual case, nothing done.
    #[inline(always)]
    pub(super) fn enable_quiet(&mut self, cpu: usize, index: usize, bits: u32) -> bool {
        let word = match index.checked_sub(1) {
            None => self.cpus.get_mut(cpu).map(|c| &mut c.word),
            Some(i) => self.spi.get_mut(i),
        };
        if !word.is_some_and(|word| word.enable_quiet(bits)) {
            return false;
        }
        if index == 0
            && let Some(c) = self.cpus.get_mut(cpu)
        {
            c.iface.learn(&c.word);
        }
        true
    }

    /// ISENABLER, in any case.
    pub(super) fn set_enable<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        if self.enable_quiet(cpu, index, bits) {
            return Kick(0);
        }
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        let fresh = bits & !word.enabled;
        word.enabled |= bits;
        self.learn(cpu, index);
        self.offer_all(cpu, index, fresh, cur, live)
    }

    fn learn(&mut self, cpu: usize, index: usize) {
        if index == 0
            && let Some(c) = self.cpus.get_mut(cpu)
        {
            c.iface.learn(&c.word);
        }
    }

    /// ICENABLER.
    pub(super) fn clear_enable<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        let gone = bits & word.enabled;
        word.enabled &= !bits;
        self.learn(cpu, index);
        self.each_touched(cpu, index, gone, cur, live, |iface, view, intid, lrs| {
            iface.withdraw(view, intid, lrs)
        })
    }

    /// ISPENDR.
    pub(super) fn set_pending<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        word.latch |= bits;
        self.offer_all(cpu, index, bits, cur, live)
    }

    /// ISACTIVER: at the vCPU that the interrupt goes to. One that is active already stays where it is.
    pub(super) fn set_active<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let fresh = bits & !(self.array_read(cpu, index, ISACTIVER + 4 * index as u32, 4, cur, live) as u32);
        let bits = if index < WORDS { fresh } else { 0 };
        each_bit(index, bits, |intid| {
            let to = self.target(cpu, intid).unwrap_or(0);
            if let Some((iface, mut view, mut port)) = self.port(to, cur, live) {
                iface.set_active(&mut view, intid, &mut port);
                iface.refill(&mut view, &mut port);
            }
        });
        Kick(0)
    }

    /// ICACTIVER.
    pub(super) fn clear_active<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        self.each_touched(cpu, index, bits, cur, live, |iface, view, intid, lrs| {
            iface.clear_active(view, intid, lrs)
        })
    }

    /// IGROUPR.
    pub(super) fn set_group<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        let changed = word.group ^ bits;
        self.rerank(cpu, index, changed, cur, live, |word| word.group = bits)
    }

    /// IPRIORITYR: `size` bytes from interrupt `first` of word `index`.
    #[allow(
        clippy::too_many_arguments,
        reason = "one register access: where, what, and whose list registers"
    )]
    pub(super) fn set_priorities<L: LrFile>(
        &mut self,
        cpu: usize,
        first: u32,
        index: usize,
        size: u8,
        value: u64,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let base = if size == 1 { first & 31 } else { first & 28 };
        let bits = if size == 1 { 1 << base } else { 0xf << base };
        self.rerank(cpu, index, bits, cur, live, |word| {
            each_bit(index, bits, |intid| {
                let byte = (value >> (8 * ((intid & 31).wrapping_sub(base) & 7))) as u8;
                word.set_priority(intid, byte);
            });
        })
    }

    /// Applies `change` of rank to `bits` of word `index`, and moves those that are pending or active to their new rank.
    fn rerank<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        bits: u32,
        cur: usize,
        live: &mut L,
        change: impl Fn(&mut Word),
    ) -> Kick {
        let touched = if index < WORDS {
            self.touched(cpu, index, bits, cur, live)
        } else {
            0
        };
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        let old = word.clone();
        change(word);
        if index == 0
            && let Some(c) = self.cpus.get_mut(cpu)
        {
            c.iface.learn(&c.word);
            each_bit(0, bits, |intid| c.iface.learn_entry(&c.word, intid));
        }
        self.each(cpu, index, touched, cur, live, |iface, view, intid, port| {
            iface.rerank(view, intid, old.level(intid), port);
        })
    }

    /// ICFGR: a level that is high becomes or stops being pending.
    pub(super) fn set_config<L: LrFile>(
        &mut self,
        cpu: usize,
        index: usize,
        offset: u32,
        bits: u32,
        cur: usize,
        live: &mut L,
    ) -> Kick {
        let half = (offset >> 2) as usize & 1;
        let Some(word) = self.word(cpu, index) else {
            return Kick(0);
        };
        let before = word.edge;
        word.set_config(half, bits);
        let changed = (before ^ word.edge) & word.line;
        let edge = word.edge;
        self.each(cpu, index, changed, cur, live, |iface, view, intid, lrs| {
            iface.line_changed(view, intid, edge >> (intid & 31) & 1 == 0, lrs);
        })
    }
}

const ISENABLER: u32 = 0x100;
const ISACTIVER: u32 = 0x300;

/// vCPU and offset in its redistributor.
const fn locate(offset: u32) -> (usize, u32) {
    ((offset as u64 / REDIST_BYTES) as usize, offset % REDIST_BYTES as u32)
}

const _: () = assert!(SPI_WORDS + 1 == WORDS);
