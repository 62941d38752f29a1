//! The probes of the system and the memory they work in.
//!
//! The [`Store`] belongs to the CPU that has the [`Turn`]: nobody waits for it, who comes meanwhile asks again. What fires on other CPUs
//! at that time reads none of it: its code has addresses of map memory, which is atomic words, and names maps to helpers by numbers that
//! [`named`] resolves (docs/SAFETY.md, argument 4).

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU64;

use hyp_abi::bounds::{self, Bounds};
use hyp_core::admit::Admission;
use hyp_core::admit::rta::{TASKS_MAX, Task};
use hyp_core::mail::MAIL;
use hyp_core::probe::{Desk, MAPS_MAX, MapSlot, Platform, Probes, Shelf, Workshop};
use hyp_core::probe_vm::image::limits::{IMAGE_BYTES_MAX, INSNS_MAX};
use hyp_core::probe_vm::jit::a64::flow::Sys;
use hyp_core::probe_vm::jit::{ContextLink, CpuLink, HelperLink, Scale, TimeLink, Work};
use hyp_core::verifier::{CoreModel, Pool};

use super::code::{CODE_WORDS, Code};
use super::helpers;
use crate::image;
use crate::percpu::PerCpu;
use crate::time::TICK_SHIFT;
use crate::turn::Turns;

/// Words of map memory of the whole system: 4 MiB.
const MAP_MEMORY_WORDS: usize = 512 * 1024;

/// Map memory.
pub struct Maps([AtomicU64; MAP_MEMORY_WORDS]);

impl Maps {
    /// Its words.
    #[inline]
    pub fn words(&'static self) -> &'static [AtomicU64] {
        &self.0
    }
}

/// Map memory of the system.
pub static MAP_WORDS: Maps = Maps([const { AtomicU64::new(0) }; MAP_MEMORY_WORDS]);

/// Address of map memory.
#[inline]
pub fn map_base() -> u64 {
    core::ptr::from_ref(&MAP_WORDS).addr() as u64
}

/// Path bounds: zero here, patched into the linked image by the path analyser. Read only through [`bounds_table`].
#[unsafe(link_section = ".gnomon.patch")]
#[unsafe(no_mangle)]
#[used]
static GNOMON_PATH_BOUNDS: [u8; bounds::SIZE] = [0; bounds::SIZE];

/// The table of path bounds, if the image has one.
fn bounds_table() -> Option<Bounds> {
    let mut bytes = [0; bounds::SIZE];
    for (to, from) in bytes.iter_mut().zip(&GNOMON_PATH_BOUNDS) {
        // SAFETY: 1. A valid reference. 2. Volatile, because the bytes are changed after linking and must not be taken for
        // the zeros the compiler knows.
        *to = unsafe { core::ptr::from_ref(from).read_volatile() };
    }
    Bounds::read(&bytes)
}

/// Everything about probes.
pub struct Store {
    /// Programs, maps, attachments.
    pub probes: Probes<'static, Code>,
    /// Bounds, budgets, load.
    pub admission: Admission,
    /// vCPUs for response-time analysis.
    pub tasks: [Task; TASKS_MAX],
    /// How many.
    pub task_count: usize,
}

struct Cell<T>(UnsafeCell<MaybeUninit<T>>);
// SAFETY: 1. Written at boot by `set`; then the store is reached by who has the turn alone, and the others are only read.
unsafe impl<T> Sync for Cell<T> {}

impl<T> Cell<T> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    fn set(&self, value: T) -> &'static T
    where
        Self: 'static,
    {
        // SAFETY: 1. Called once, at boot, before any reference to the content exists.
        let slot: &'static mut MaybeUninit<T> = unsafe { &mut *self.0.get() };
        slot.write(value)
    }
}

static STORE: Cell<Store> = Cell::new();
static LINKS: Cell<[HelperLink; helpers::COUNT]> = Cell::new();
static PLATFORM: Cell<Platform<'static>> = Cell::new();

struct Names([UnsafeCell<Option<MapSlot>>; MAPS_MAX]);
// SAFETY: 1. An entry is written by who has the turn, while no published code names it: such code is published after that, and is
// unloaded when no CPU can be inside any more. So it is never read while it is written.
unsafe impl Sync for Names {}
static NAMES: Names = Names([const { UnsafeCell::new(None) }; MAPS_MAX]);

/// The map that code reaches by `handle`. *Hot.*
#[inline(always)]
pub fn named(handle: u64) -> Option<&'static MapSlot> {
    let entry = NAMES.0.get(handle.wrapping_sub(1) as usize)?;
    // SAFETY: 1. A published program names it, and runs: nobody writes the entry, see `Sync` above.
    unsafe { &*entry.get() }.as_ref()
}

/// Code may name `map` by `handle` from now on: said by [`Probes`] alone, of a map that no published code names.
pub(super) fn name(handle: u64, map: &MapSlot) {
    if let Some(entry) = NAMES.0.get(handle.wrapping_sub(1) as usize) {
        // SAFETY: 1. `Probes` is in the store, so this CPU has the turn; no published code names the entry, so nobody reads it.
        unsafe { *entry.get() = Some(*map) };
    }
}

/// Where compiled code finds the context of a firing.
pub const CONTEXT: ContextLink = ContextLink {
    base: Sys::TpidrEl2,
    offset: crate::percpu::PerCpu::CONTEXT_FROM_STATE as u32,
};

/// How code learns its CPU.
const CPU: CpuLink = CpuLink::PerCpu {
    base: Sys::TpidrEl2,
    id_offset: PerCpu::NUMBER_FROM_STATE as u16,
};

/// Sets everything up for so many CPUs; once, at boot, before the first guest runs.
pub fn init(cpus: u32) {
    MAIL.grace.start(cpus);
    let helpers = LINKS.set(helpers::links());
    let platform = PLATFORM.set(Platform {
        helpers,
        helper_times: &hyp_core::probe_vm::env::HELPER_TIMES,
        core: &CoreModel::INSNS,
        cpu: if cpus == 1 { CpuLink::Single } else { CPU },
        context: CONTEXT,
        time: TimeLink {
            counter: Sys::CntpctEl0,
            scale: Scale::Shift(TICK_SHIFT),
            ordered: false,
        },
        lse: crate::machine::has_lse(),
        map_words: MAP_WORDS.words(),
        map_base: map_base(),
        code_words: CODE_WORDS as u32,
        code_base: image::code_start(),
        cpus,
        grace: &MAIL.grace,
    });
    STORE.set(Store {
        probes: Probes::new(platform),
        admission: Admission::new(bounds_table().as_ref()),
        tasks: [Task::NONE; TASKS_MAX],
        task_count: 0,
    });
}

/// Whose turn it is.
static TURNS: Turns = Turns::new();

/// The right to the store, until it is dropped.
pub struct Turn(());

impl Turn {
    /// Takes it, unless another CPU has it.
    pub fn try_take() -> Option<Self> {
        TURNS.try_take().then_some(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.give();
    }
}

impl Deref for Turn {
    type Target = Store;

    fn deref(&self) -> &Store {
        // SAFETY: 1. `init` ran before anybody asks. 2. There is one turn, and this borrows it.
        unsafe { (*STORE.0.get()).assume_init_ref() }
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Store {
        // SAFETY: 1. and 2. As above, and the borrow is exclusive.
        unsafe { (*STORE.0.get()).assume_init_mut() }
    }
}

struct Bench {
    image: [u8; IMAGE_BYTES_MAX],
    text: [u64; INSNS_MAX],
    work: Work<{ INSNS_MAX + 1 }>,
    pool: Pool<INSNS_MAX, 0>,
    shelf: Shelf<'static>,
}

struct BenchCell(UnsafeCell<Bench>);
// SAFETY: 1. Only `workshop` reaches it.
unsafe impl Sync for BenchCell {}
static BENCH: BenchCell = BenchCell(UnsafeCell::new(Bench {
    image: [0; IMAGE_BYTES_MAX],
    text: [0; INSNS_MAX],
    work: Work::new(),
    pool: Pool::new(),
    shelf: Shelf::new(),
}));

/// The memory of one job. `Probes::stage` asks for it only when no job is alive.
pub fn workshop() -> Workshop<'static> {
    // SAFETY: 1. The workshop before this one is gone with its job, so nothing borrows from it.
    let bench: &'static mut Bench = unsafe { &mut *BENCH.0.get() };
    bench.shelf = Shelf::new();
    let (flags, offsets) = bench.work.split();
    let desk = Desk {
        flags,
        offsets,
        memory: bench.pool.memory(),
        shelf: &mut bench.shelf,
    };
    Workshop {
        image: &mut bench.image,
        text: &mut bench.text,
        desk,
    }
}
