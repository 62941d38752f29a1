//! One block of memory for each CPU: guard page, EL2 stack, and the CPU's state at the stack's top.
//!
//! TPIDR_EL2 holds the address of the state for as long as the CPU runs. Only its own CPU ever makes a reference from it,
//! at the vector entry, with interrupts masked, so there is one `&mut` at a time (docs/SAFETY.md, argument 2).

use core::cell::UnsafeCell;

use hyp_core::cpu::Cpu;

use crate::points::Context;
use crate::reg::sysreg;
use crate::state::State;

sysreg! {
    TPIDR_EL2 = "tpidr_el2", r;
}

/// CPUs this image can run.
pub const CPUS: usize = hyp_abi::CPUS_MAX;
/// Bytes of an EL2 stack: the verifier's step is the deepest user.
pub const STACK_BYTES: usize = 128 * 1024;
const GUARD_BYTES: usize = 4096;

/// Block of one CPU; the linker script gives it whole pages of its own.
#[repr(C, align(4096))]
pub struct PerCpu {
    guard: [u8; GUARD_BYTES],
    stack: UnsafeCell<[u8; STACK_BYTES]>,
    state: UnsafeCell<State>,
    /// What a firing probe reads. Beside the state, not in it: sites need nothing at hand to fire.
    context: UnsafeCell<Context>,
}

// SAFETY: 1. Stack and state of a block are used by the CPU of that index alone (see the module's head).
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// Where TPIDR_EL2 and the empty stack point, from the block's start.
    pub const STATE_OFFSET: usize = core::mem::offset_of!(PerCpu, state);
    /// The context, from the state's address on: whole pages, so that one instruction adds it.
    pub const CONTEXT_FROM_STATE: usize = core::mem::offset_of!(PerCpu, context) - Self::STATE_OFFSET;

    /// The number of the CPU, from the state's address on: compiled probes load it with a scaled offset.
    pub const NUMBER_FROM_STATE: usize = core::mem::offset_of!(State, cpu) + core::mem::offset_of!(Cpu, id);
}
const _: () = assert!(PerCpu::NUMBER_FROM_STATE % 4 == 0 && PerCpu::NUMBER_FROM_STATE < 4096 * 4);
const _: () = assert!(PerCpu::CONTEXT_FROM_STATE % 4096 == 0 && PerCpu::CONTEXT_FROM_STATE < 1 << 24);

/// The blocks; the first instructions of boot find theirs here.
#[unsafe(link_section = ".percpu")]
pub static BLOCKS: [PerCpu; CPUS] = [const {
    PerCpu {
        guard: [0; GUARD_BYTES],
        stack: UnsafeCell::new([0; STACK_BYTES]),
        state: UnsafeCell::new(State::new()),
        context: UnsafeCell::new(Context::new()),
    }
}; CPUS];

/// This CPU's state, as the vectors pass it on.
#[inline(always)]
pub fn state() -> *mut State {
    TPIDR_EL2::read() as *mut State
}

/// This CPU's context of firings. It is asked for where a probe fires, and at a change of vCPU, neither inside the other.
#[inline(always)]
pub fn context<'a>() -> &'a mut Context {
    let at = (TPIDR_EL2::read() as usize + PerCpu::CONTEXT_FROM_STATE) as *mut Context;
    // SAFETY: 1. TPIDR_EL2 is the address of this CPU's state from boot on, and the context of the same block is that far behind
    // it. 2. No other reference to it is alive: see above.
    unsafe { &mut *at }
}

/// The states of all CPUs, before any guest runs and any other CPU starts.
pub struct Blocks(());

impl Blocks {
    /// The boot CPU asks once, and gives them up before it goes on.
    pub const fn at_boot() -> Self {
        Self(())
    }

    /// State of CPU `index`.
    pub fn of(&mut self, index: usize) -> Option<&mut State> {
        // SAFETY: 1. Only the boot CPU runs, and it has made no other reference into the blocks yet. 2. `&mut self` keeps
        // two of these from being alive at once.
        state_of(index).map(|state| unsafe { &mut *state })
    }
}

/// Where the state of CPU `index` is. The boot CPU fills it before that CPU starts; from then on it is that CPU's alone.
pub fn state_of(index: usize) -> Option<*mut State> {
    BLOCKS.get(index).map(|block| block.state.get())
}

/// True for an address in a guard page.
pub fn is_guard(pa: u64) -> bool {
    let base = core::ptr::from_ref(&BLOCKS).addr() as u64;
    let Some(offset) = pa.checked_sub(base) else {
        return false;
    };
    let block = size_of::<PerCpu>() as u64;
    offset / block < CPUS as u64 && offset % block < GUARD_BYTES as u64
}
