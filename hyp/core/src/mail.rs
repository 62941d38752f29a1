//! What the CPUs tell one another: words that one sets and another takes, never a lock.
//!
//! Each CPU keeps its vCPUs, and the state of the VMs whose vCPU 0 it has, to itself. Who wants something of another CPU's puts it
//! into that CPU's [`Inbox`] and sends it an interrupt; the other takes what is there in one bounded turn. A taker that finds
//! nothing, because an earlier interrupt brought it all, has done nothing wrong.

#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hyp_abi::{CPUS_MAX, VMS_MAX};

use crate::grace::Grace;
use crate::psci::Power;
use crate::report::Reports;
use crate::sched::SLOTS;

/// vCPUs of one VM: bits of the words here, and what one target list of an SGI reaches (16).
pub const VCPUS_PER_VM: usize = 8;
/// Bytes typed at a VM of another CPU that may wait there: as many as its UART's line holds.
const KEYS: usize = 256;

/// Orders to a vCPU, as bits.
pub mod order {
    /// Start at what [`super::VmMail::start`] says.
    pub const START: u32 = 1 << 0;
    /// Its VM has stopped.
    pub const STOP: u32 = 1 << 1;
    /// What it asked for is there.
    pub const ANSWER: u32 = 1 << 2;
    /// Bytes for the console of its VM.
    pub const KEYS: u32 = 1 << 3;
}

/// Place of the slots with orders in [`Inbox::slots`].
const ORDERS: u32 = u32::BITS;
const _: () = assert!(SLOTS <= ORDERS as usize);

/// What came for one CPU.
#[derive(Debug)]
#[repr(align(64))]
pub struct Inbox {
    /// Slots with SGIs; those with orders from bit [`ORDERS`] on.
    slots: AtomicU64,
    /// VMs with vCPUs that ask.
    vms: AtomicU32,
    /// SGIs by slot: bit n is SGI n of group 1, bit 16 + n of group 0.
    sgis: [AtomicU32; SLOTS],
    orders: [AtomicU32; SLOTS],
    /// vCPUs that ask, by VM.
    asking: [AtomicU32; VMS_MAX],
}

/// A register access that a vCPU waits for: its state belongs to another CPU.
#[derive(Debug)]
struct Request {
    ipa: AtomicU64,
    value: AtomicU64,
    /// Bytes, and bit 8: a write.
    shape: AtomicU32,
}

/// A register access of a device, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Guest-physical address.
    pub ipa: u64,
    /// 1, 2, 4 or 8 bytes.
    pub size: u8,
    /// What is written; `None` for a read.
    pub write: Option<u64>,
}

const WRITE: u32 = 1 << 8;

/// What the CPUs know of a VM.
#[derive(Debug)]
#[repr(align(64))]
pub struct VmMail {
    /// CPU << 8 | slot of each vCPU; [`NOWHERE`].
    places: [AtomicU32; VCPUS_PER_VM],
    /// The same while the vCPU is on; else [`NOWHERE`]. What an SGI looks at.
    reach: [AtomicU32; VCPUS_PER_VM],
    power: [AtomicU32; VCPUS_PER_VM],
    entry: [AtomicU64; VCPUS_PER_VM],
    context: [AtomicU64; VCPUS_PER_VM],
    requests: [Request; VCPUS_PER_VM],
    /// GICD_CTLR's enables, for vCPUs that start.
    groups: AtomicU32,
    /// A vCPU stopped it by a fault, or with an exit code.
    faulted: AtomicU32,
    /// It is to start again.
    resetting: AtomicU32,
    keys: [AtomicU32; KEYS / 4],
    typed: AtomicU32,
    taken: AtomicU32,
}

const NOWHERE: u32 = u32::MAX;

/// Everything.
#[derive(Debug)]
pub struct Mail {
    cpus: [Inbox; CPUS_MAX],
    vms: [VmMail; VMS_MAX],
    /// VMs that have not stopped.
    alive: AtomicU32,
    /// VMs that have stopped and whose probes are not cleared away, as bits: a CPU was in the way.
    left: AtomicU32,
    /// When the CPUs have left probes.
    pub grace: Grace,
    /// What they have counted.
    pub reports: Reports,
}

/// Of the running system.
pub static MAIL: Mail = Mail::new();

impl Default for Mail {
    fn default() -> Self {
        Self::new()
    }
}

impl Mail {
    /// Nothing there.
    pub const fn new() -> Self {
        Self {
            cpus: [const {
                Inbox {
                    slots: AtomicU64::new(0),
                    vms: AtomicU32::new(0),
                    sgis: [const { AtomicU32::new(0) }; SLOTS],
                    orders: [const { AtomicU32::new(0) }; SLOTS],
                    asking: [const { AtomicU32::new(0) }; VMS_MAX],
                }
            }; CPUS_MAX],
            vms: [const { VmMail::new() }; VMS_MAX],
            alive: AtomicU32::new(0),
            left: AtomicU32::new(0),
            grace: Grace::new(),
            reports: Reports::new(),
        }
    }

    /// What is known of `vm`.
    pub fn vm(&self, vm: u8) -> Option<&VmMail> {
        self.vms.get(usize::from(vm))
    }

    fn inbox(&self, cpu: u32) -> Option<&Inbox> {
        self.cpus.get(cpu as usize)
    }

    /// A VM starts.
    pub fn started(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// A VM has stopped; true if it was the last.
    pub fn stopped(&self) -> bool {
        self.alive.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// These VMs, as bits, have left probes behind.
    pub fn leave(&self, vms: u32) {
        self.left.fetch_or(vms, Ordering::SeqCst);
    }

    /// Nothing is left of these VMs.
    pub fn cleared(&self, vms: u32) {
        self.left.fetch_and(!vms, Ordering::SeqCst);
    }

    /// VMs that have left probes behind.
    #[inline]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::SeqCst)
    }

    /// SGIs for the vCPU in `slot` of `cpu` (see [`Inbox`]). The caller interrupts that CPU. *Hot.*
    #[inline]
    pub fn send_sgis(&self, cpu: u32, slot: usize, bits: u32) {
        let Some(inbox) = self.inbox(cpu) else { return };
        if let Some(word) = inbox.sgis.get(slot) {
            word.fetch_or(bits, Ordering::Relaxed);
            inbox.slots.fetch_or(bit(slot), Ordering::Release);
        }
    }

    /// Orders for the vCPU in `slot` of `cpu`. The caller interrupts that CPU.
    pub fn send_order(&self, cpu: u32, slot: usize, bits: u32) {
        let Some(inbox) = self.inbox(cpu) else { return };
        if let Some(word) = inbox.orders.get(slot) {
            word.fetch_or(bits, Ordering::Release);
            inbox.slots.fetch_or(bit(slot) << ORDERS, Ordering::Release);
        }
    }

    /// Takes the slots of `cpu` for which something came, as bits.
    pub fn take_slots(&self, cpu: u32) -> u32 {
        let both = self
            .inbox(cpu)
            .map_or(0, |inbox| inbox.slots.swap(0, Ordering::Acquire));
        both as u32 | (both >> ORDERS) as u32
    }

    /// Whether what came for `cpu` is nothing but SGIs for the vCPU in `slot`. What comes later interrupts again. *Hot.*
    #[inline]
    pub fn only_sgis(&self, cpu: u32, slot: usize) -> bool {
        self.inbox(cpu).is_some_and(|inbox| {
            inbox.slots.load(Ordering::Acquire) == bit(slot) && inbox.vms.load(Ordering::Relaxed) == 0
        })
    }

    /// Takes the SGIs of a slot, and nothing else. *Hot.*
    #[inline]
    pub fn take_sgis(&self, cpu: u32, slot: usize) -> u32 {
        let Some(inbox) = self.inbox(cpu) else { return 0 };
        inbox.slots.fetch_and(!bit(slot), Ordering::Acquire);
        inbox.sgis.get(slot).map_or(0, |word| word.swap(0, Ordering::Acquire))
    }

    /// Takes the SGIs and the orders of a slot.
    pub fn take(&self, cpu: u32, slot: usize) -> (u32, u32) {
        let take = |words: &[AtomicU32; SLOTS]| words.get(slot).map_or(0, |word| word.swap(0, Ordering::Acquire));
        self.inbox(cpu)
            .map_or((0, 0), |inbox| (take(&inbox.sgis), take(&inbox.orders)))
    }

    /// vCPU `index` of `vm` asks `cpu` for a register access. The caller interrupts that CPU; [`order::ANSWER`] says that it is done.
    pub fn ask(&self, cpu: u32, vm: u8, index: u8, asked: Asked) {
        let Some(request) = self.vm(vm).and_then(|v| v.requests.get(usize::from(index))) else {
            return;
        };
        request.ipa.store(asked.ipa, Ordering::Relaxed);
        request.value.store(asked.write.unwrap_or(0), Ordering::Relaxed);
        let write = if asked.write.is_some() { WRITE } else { 0 };
        request.shape.store(u32::from(asked.size) | write, Ordering::Relaxed);
        let Some(inbox) = self.inbox(cpu) else { return };
        if let Some(word) = inbox.asking.get(usize::from(vm)) {
            word.fetch_or(1 << (index % 32), Ordering::Release);
            inbox.vms.fetch_or(1 << (vm % 32), Ordering::Release);
        }
    }

    /// Takes the VMs whose vCPUs ask `cpu`, as bits.
    pub fn take_vms(&self, cpu: u32) -> u32 {
        self.inbox(cpu).map_or(0, |inbox| inbox.vms.swap(0, Ordering::Acquire))
    }

    /// Takes the vCPUs of `vm` that ask `cpu`, as bits.
    pub fn take_asking(&self, cpu: u32, vm: u8) -> u32 {
        let word = self.inbox(cpu).and_then(|inbox| inbox.asking.get(usize::from(vm)));
        word.map_or(0, |word| word.swap(0, Ordering::Acquire))
    }
}

impl VmMail {
    const fn new() -> Self {
        Self {
            places: [const { AtomicU32::new(NOWHERE) }; VCPUS_PER_VM],
            reach: [const { AtomicU32::new(NOWHERE) }; VCPUS_PER_VM],
            power: [const { AtomicU32::new(OFF) }; VCPUS_PER_VM],
            entry: [const { AtomicU64::new(0) }; VCPUS_PER_VM],
            context: [const { AtomicU64::new(0) }; VCPUS_PER_VM],
            requests: [const {
                Request {
                    ipa: AtomicU64::new(0),
                    value: AtomicU64::new(0),
                    shape: AtomicU32::new(0),
                }
            }; VCPUS_PER_VM],
            groups: AtomicU32::new(0),
            faulted: AtomicU32::new(0),
            resetting: AtomicU32::new(0),
            keys: [const { AtomicU32::new(0) }; KEYS / 4],
            typed: AtomicU32::new(0),
            taken: AtomicU32::new(0),
        }
    }

    /// At boot: vCPU `index` lives in `slot` of `cpu`.
    pub fn settle(&self, index: u8, cpu: u32, slot: usize) {
        if let Some(place) = self.places.get(usize::from(index)) {
            place.store(cpu << 8 | slot as u32 & 0xff, Ordering::Relaxed);
        }
    }

    /// CPU and slot of vCPU `index`.
    #[inline]
    pub fn place(&self, index: usize) -> Option<(u32, usize)> {
        located(self.places.get(index)?)
    }

    /// CPU and slot of vCPU `index`, if it is on. *Hot.*
    #[inline]
    pub fn reach(&self, index: usize) -> Option<(u32, usize)> {
        located(self.reach.get(index)?)
    }

    /// Power state of vCPU `index`.
    pub fn power(&self, index: usize) -> Power {
        match self.power.get(index).map(|p| p.load(Ordering::Acquire)) {
            Some(ON) => Power::On,
            Some(PENDING) => Power::OnPending,
            _ => Power::Off,
        }
    }

    /// The vCPU's own CPU says what it is now.
    pub fn set_power(&self, index: usize, power: Power) {
        let (Some(word), Some(place), Some(reach)) =
            (self.power.get(index), self.places.get(index), self.reach.get(index))
        else {
            return;
        };
        word.store(number(power), Ordering::Release);
        let on = if power == Power::On {
            place.load(Ordering::Relaxed)
        } else {
            NOWHERE
        };
        reach.store(on, Ordering::Release);
    }

    /// Claims an off vCPU for a start; false if somebody else was first.
    pub fn claim(&self, index: usize, entry: u64, context: u64) -> bool {
        let (Some(word), Some(at), Some(x0)) = (self.power.get(index), self.entry.get(index), self.context.get(index))
        else {
            return false;
        };
        if word
            .compare_exchange(OFF, PENDING, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        at.store(entry, Ordering::Relaxed);
        x0.store(context, Ordering::Relaxed);
        true
    }

    /// Where a claimed vCPU starts, and its x0.
    pub fn start(&self, index: usize) -> (u64, u64) {
        let read = |words: &[AtomicU64; VCPUS_PER_VM]| words.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
        (read(&self.entry), read(&self.context))
    }

    /// What vCPU `index` asks for.
    pub fn asked(&self, index: usize) -> Option<Asked> {
        let request = self.requests.get(index)?;
        let shape = request.shape.load(Ordering::Relaxed);
        Some(Asked {
            ipa: request.ipa.load(Ordering::Relaxed),
            size: shape as u8,
            write: (shape & WRITE != 0).then(|| request.value.load(Ordering::Relaxed)),
        })
    }

    /// Answers vCPU `index` with what was read; [`Mail::send_order`] follows.
    pub fn answer(&self, index: usize, value: u64) {
        if let Some(request) = self.requests.get(index) {
            request.value.store(value, Ordering::Relaxed);
        }
    }

    /// The answer to vCPU `index`.
    pub fn answered(&self, index: usize) -> u64 {
        self.requests
            .get(index)
            .map_or(0, |request| request.value.load(Ordering::Relaxed))
    }

    /// The distributor's enables as its CPU last saw them.
    pub fn groups(&self) -> u32 {
        self.groups.load(Ordering::Relaxed)
    }

    /// The distributor's CPU tells its enables.
    pub fn set_groups(&self, groups: u32) {
        self.groups.store(groups, Ordering::Relaxed);
    }

    /// Whether it stopped by a fault.
    pub fn faulted(&self) -> bool {
        self.faulted.load(Ordering::Relaxed) != 0
    }

    /// How it stopped.
    pub fn set_faulted(&self, faulted: bool) {
        self.faulted.store(faulted.into(), Ordering::Relaxed);
    }

    /// Whether its vCPUs stop only to start again.
    pub fn resetting(&self) -> bool {
        self.resetting.load(Ordering::Acquire) != 0
    }

    /// It is to start again, or has.
    pub fn set_resetting(&self, resetting: bool) {
        self.resetting.store(resetting.into(), Ordering::Release);
    }

    /// A byte for its console, from the CPU that has the keyboard. A full ring loses it, as an overrun would.
    pub fn type_key(&self, byte: u8) {
        let at = self.typed.load(Ordering::Relaxed);
        if at.wrapping_sub(self.taken.load(Ordering::Acquire)) as usize >= KEYS {
            return;
        }
        if let Some(word) = self.keys.get(at as usize / 4 % (KEYS / 4)) {
            let shift = at % 4 * 8;
            let old = word.load(Ordering::Relaxed) & !(0xff << shift);
            word.store(old | u32::from(byte) << shift, Ordering::Relaxed);
        }
        self.typed.store(at.wrapping_add(1), Ordering::Release);
    }

    /// The next byte, for the CPU that has the console.
    pub fn take_key(&self) -> Option<u8> {
        let at = self.taken.load(Ordering::Relaxed);
        if at == self.typed.load(Ordering::Acquire) {
            return None;
        }
        let word = self.keys.get(at as usize / 4 % (KEYS / 4))?.load(Ordering::Relaxed);
        self.taken.store(at.wrapping_add(1), Ordering::Release);
        Some((word >> (at % 4 * 8)) as u8)
    }
}

/// A slot in [`Inbox::slots`].
const fn bit(slot: usize) -> u64 {
    1 << (slot % SLOTS)
}

/// CPU and slot in one of the words that say where a vCPU is.
#[inline]
fn located(word: &AtomicU32) -> Option<(u32, usize)> {
    let place = word.load(Ordering::Relaxed);
    (place != NOWHERE).then_some((place >> 8, place as usize & 0xff))
}

const OFF: u32 = 0;
const PENDING: u32 = 1;
const ON: u32 = 2;

const fn number(power: Power) -> u32 {
    match power {
        Power::Off => OFF,
        Power::OnPending => PENDING,
        Power::On => ON,
    }
}
