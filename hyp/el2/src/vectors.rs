//! The vector table and what it calls.

use core::arch::{asm, global_asm};

use hyp_abi::call::FID_BASE;
use hyp_abi::{Call, PathId, VMS_MAX};
use hyp_core::cpu::{Cpu, Deferred, PathStat, VCPU_SLOTS, Vm, rare};
use hyp_core::dispatch::irq::{CROSS_CPU, SWEEP};
use hyp_core::dispatch::{Machine, Next, Services, direct, fast, hypercall, peak, schedule, slow};
use hyp_core::exit::Esr;
use hyp_core::mail::Mail;
use hyp_core::vcpu::Vcpu;

use crate::machine::Board;
use crate::state::State;
use crate::uart::CONSOLE;
use crate::{gic, percpu, pmu, time, world};

global_asm!(
    include_str!("vectors.S"),
    exit_psci = sym exit_psci,
    exit_call = sym exit_call,
    exit_gicd = sym exit_gicd,
    exit_device = sym exit_device,
    GICD_PAGE = const fast::GICD_IPA >> 12 << 4,
    exit_sysreg = sym exit_sysreg,
    exit_other = sym exit_other,
    exit_irq = sym exit_irq,
    exit_serror = sym exit_serror,
    exit_slow = sym exit_slow,
    exit_woken = sym exit_woken,
    epitaph = sym crate::epitaph::exception,
    FID_BASE = const FID_BASE,
);

/// What the vectors do after a light handler, in x0 and x1.
#[repr(C)]
pub struct Resume {
    /// Frame of the vCPU that left.
    frame: *mut Vcpu,
    /// 0: back to it. 1: save the rest and call [`exit_slow`].
    slow: u64,
}

/// The state behind the vectors' pointer.
#[inline(always)]
fn state<'a>(state: *mut State) -> &'a mut State {
    // SAFETY: 1. The vectors pass TPIDR_EL2, which boot set to this CPU's state. 2. EL2 is entered once at a time
    // (interrupts masked) and each entry makes exactly one reference, which ends with it.
    unsafe { &mut *state }
}

#[inline(always)]
fn frame(cpu: &mut Cpu) -> *mut Vcpu {
    match cpu.vcpus.get_mut(cpu.loaded as usize) {
        Some(vcpu) => vcpu,
        None => core::ptr::null_mut(),
    }
}

/// To the guest whose frame is that of `vcpu`.
///
/// `vcpu` is of this CPU's state, its frame complete and its world loaded: only the ends of exits call this.
#[inline(always)]
pub fn enter(vcpu: *mut Vcpu) -> ! {
    // SAFETY: 1. The frame is complete and its vCPU's world is loaded: the exit saved every register, or `resume` chose the
    // vCPU. 2. The stack is given up: every entry starts at its top.
    unsafe { asm!("b enter_frame", in("x2") vcpu, options(noreturn)) }
}

/// What a fast exit works on: parts of the CPU's state that do not overlap, each its own reference.
struct Parts<'a> {
    vcpu: &'a mut Vcpu,
    vms: &'a mut [Vm; VCPU_SLOTS],
    paths: &'a mut [PathStat; PathId::COUNT],
    board: &'a mut Board,
    mail: &'static Mail,
    /// Number of this CPU.
    me: u32,
}

/// The VMs of first vCPUs: what another one asks of a device has no fast way.
#[inline(always)]
fn first(vms: &mut [Vm; VCPU_SLOTS]) -> &mut [Vm; VMS_MAX] {
    vms.first_chunk_mut().unwrap_or_else(|| unreachable!())
}

#[inline(always)]
fn parts<'a>(state: *mut State, vcpu: *mut Vcpu) -> Parts<'a> {
    // SAFETY: 1. The vectors pass TPIDR_EL2, which boot set to this CPU's state; EL2 is entered once at a time and no other
    // reference into it is alive. 2. The place is not inside the ones below.
    let vms = unsafe { &mut (*state).cpu.vms };
    // SAFETY: 1. and 2. As above.
    let paths = unsafe { &mut (*state).cpu.paths };
    // SAFETY: 1. and 2. As above.
    let board = unsafe { &mut (*state).board };
    // SAFETY: 1. As above; both are copied.
    let (mail, me) = unsafe { ((*state).cpu.mail, (*state).cpu.id) };
    // SAFETY: 1. SP_EL2 at the exit was the frame that `exit_slow` or boot entered the guest with: the first field of the
    // loaded vCPU in `cpu.vcpus`, which none of the places above contains.
    let vcpu = unsafe { &mut *vcpu };
    Parts {
        vcpu,
        vms,
        paths,
        board,
        mail,
        me,
    }
}

/// Not for the fast part: everything is as it was at the exit.
#[inline(always)]
fn defer(this: *mut State, entry: u64, deferred: Deferred) {
    let state = state(this);
    state.cpu.entry = entry as u32;
    state.cpu.deferred = deferred;
}

/// [`defer`] of a light exit.
#[cold]
#[inline(never)]
extern "C" fn defer_light(this: *mut State, entry: u64, vcpu: *mut Vcpu, deferred: u64) -> Resume {
    let deferred = match deferred {
        DEFER_SYNC => Deferred::Sync,
        intid => Deferred::Irq(intid as u32),
    };
    parts(this, vcpu).vcpu.exits += 1;
    defer(this, entry, deferred);
    Resume { frame: vcpu, slow: 1 }
}

/// Not an interrupt: INTIDs have 24 bits.
const DEFER_SYNC: u64 = u64::MAX;

/// [`defer`] of a full exit.
#[cold]
#[inline(never)]
extern "C" fn defer_full(this: *mut State, entry: u64, vcpu: *mut Vcpu, _: u64) -> ! {
    parts(this, vcpu).vcpu.exits += 1;
    defer(this, entry, Deferred::Sync);
    exit_slow(this)
}

/// The end of a fast exit: point, count. `Some`: it was the longest or shortest of its path so far.
#[inline(always)]
fn count(parts: Parts<'_>, entry: u64, path: PathId) -> Option<u32> {
    parts.board.fire_vm_entry(path, entry as u32);
    parts.vcpu.exits += 1;
    let stat = &mut parts.paths[path as usize];
    let spent = pmu::read().wrapping_sub(entry as u32);
    stat.add(spent).then_some(spent)
}

/// The longest or shortest exit of its path, of the loaded vCPU; no reference into the state is alive any more.
fn extreme(path: PathId, spent: u32) {
    let State { cpu, board, .. } = state(percpu::state());
    let left = cpu.loaded;
    peak::extreme(cpu, board, path, spent, left);
}

#[cold]
#[inline(never)]
extern "C" fn extreme_light(path: PathId, spent: u32, vcpu: *mut Vcpu) -> Resume {
    extreme(path, spent);
    Resume { frame: vcpu, slow: 0 }
}

#[cold]
#[inline(never)]
extern "C" fn extreme_full(path: PathId, spent: u32, vcpu: *mut Vcpu) -> ! {
    extreme(path, spent);
    enter(vcpu)
}

/// Back to the same vCPU, of which only the light registers were saved.
#[inline(always)]
fn finish_light(parts: Parts<'_>, entry: u64, path: PathId) -> Resume {
    let vcpu: *mut Vcpu = parts.vcpu;
    match count(parts, entry, path) {
        Some(spent) => extreme_light(path, spent, vcpu),
        None => Resume { frame: vcpu, slow: 0 },
    }
}

/// Back to the same vCPU, all of whose registers come from its frame.
#[inline(always)]
fn finish(parts: Parts<'_>, entry: u64, path: PathId) -> ! {
    let vcpu: *mut Vcpu = parts.vcpu;
    match count(parts, entry, path) {
        Some(spent) => extreme_full(path, spent, vcpu),
        None => enter(vcpu),
    }
}

/// Counts the stay that ends here, of the vCPU in slot `left`.
#[inline(always)]
fn note(cpu: &mut Cpu, board: &Board, path: PathId, entry: u32, left: u32) {
    let spent = pmu::read().wrapping_sub(entry);
    if cpu.note(path, spent) {
        peak::extreme(cpu, board, path, spent, left);
    }
}

/// Goes on in another full handler with the same arguments. A branch, not a call: the handler that jumps needs no stack then,
/// and what it has there is given up.
macro_rules! jump {
    ($to:ident, $this:expr, $entry:expr, $vcpu:expr, $esr:expr) => {
        // SAFETY: 1. `$to` is a function of these four arguments in these registers that does not return. 2. No reference of the
        // function that jumps is used afterwards.
        unsafe {
            asm!("b {to}", to = sym $to, in("x0") $this, in("x1") $entry, in("x2") $vcpu, in("x3") $esr, options(noreturn))
        }
    };
}

/// One entry for each exit class that has a fast part: a function of its own, so that none pays for what another saves.
macro_rules! entries {
    ($($(#[$m:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block)*) => { $(
        $(#[$m])*
        #[inline(never)]
        #[unsafe(link_section = ".text.hot")]
        extern "C" fn $name($($arg: $type),*) -> $out $body
    )* };
}

entries! {
    /// HVC that is not one of our own calls. Light.
    fn exit_psci(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
        let parts = parts(this, vcpu);
        if fast::psci_version(parts.vcpu, parts.board) {
            return finish_light(parts, entry, PathId::Psci);
        }
        psci_call(this, entry, vcpu)
    }

    fn psci_call(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
        let parts = parts(this, vcpu);
        if let Some(vm) = first(parts.vms).get(usize::from(parts.vcpu.vm))
            && fast::psci_call(parts.vcpu, vm, parts.board)
        {
            return finish_light(parts, entry, PathId::Psci);
        }
        defer_light(this, entry, vcpu, DEFER_SYNC)
    }

    /// Physical interrupt while a guest ran. Light.
    fn exit_irq(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
        let parts = parts(this, vcpu);
        let intid = crate::gic::acknowledge();
        if fast::is_timer(intid)
            && let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
        {
            fast::timer(parts.vcpu, vm, parts.board, intid);
            return finish_light(parts, entry, PathId::IrqVtimer);
        }
        if intid == CROSS_CPU {
            return irq_cross_cpu(this, entry, vcpu);
        }
        defer_light(this, entry, vcpu, intid.into())
    }

    fn irq_cross_cpu(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
        let parts = parts(this, vcpu);
        if let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
            && fast::cross_cpu(parts.vcpu, vm, parts.mail, parts.me, parts.board)
        {
            return finish_light(parts, entry, PathId::IrqOther);
        }
        defer_light(this, entry, vcpu, CROSS_CPU.into())
    }

    /// Data abort in the page of the distributor's first registers. Full.
    fn exit_gicd(this: *mut State, entry: u64, vcpu: *mut Vcpu, esr: u64) -> ! {
        let parts = parts(this, vcpu);
        if let Some(at) = fast::device_access(parts.board, Esr(esr))
            && fast::gicd_common(parts.vcpu, first(parts.vms), parts.board, &at)
        {
            finish(parts, entry, PathId::MmioGicd)
        }
        jump!(exit_device, this, entry, vcpu, esr)
    }

    /// Any other data abort. Full.
    fn exit_device(this: *mut State, entry: u64, vcpu: *mut Vcpu, esr: u64) -> ! {
        let parts = parts(this, vcpu);
        if let Some(at) = fast::device_access(parts.board, Esr(esr))
            && let Some(vm) = first(parts.vms).get_mut(usize::from(parts.vcpu.vm))
        {
            match fast::device_of(at.ipa, vm.has_uart) {
                Some(PathId::MmioGicd) => {
                    fast::gic(parts.vcpu, vm, parts.board, &at, false);
                    finish(parts, entry, PathId::MmioGicd)
                }
                Some(PathId::MmioGicr) => {
                    fast::gic(parts.vcpu, vm, parts.board, &at, true);
                    finish(parts, entry, PathId::MmioGicr)
                }
                Some(_) => {
                    fast::uart(parts.vcpu, vm, parts.board, &at);
                    finish(parts, entry, PathId::MmioUart)
                }
                None => {}
            }
        }
        jump!(defer_full, this, entry, vcpu, esr)
    }

    /// Trapped system register. Full.
    fn exit_sysreg(this: *mut State, entry: u64, vcpu: *mut Vcpu, esr: u64) -> ! {
        let parts = parts(this, vcpu);
        if let Some(vm) = first(parts.vms).get_mut(usize::from(parts.vcpu.vm))
            && fast::sgi(parts.vcpu, vm, parts.board, Esr(esr))
        {
            finish(parts, entry, PathId::SysregSgi)
        }
        if fast::sgi_elsewhere(parts.vcpu, parts.mail, parts.me, parts.board, Esr(esr)) {
            finish(parts, entry, PathId::SysregSgi)
        }
        jump!(defer_full, this, entry, vcpu, esr)
    }

    /// Any other synchronous exit. Full.
    fn exit_other(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> ! {
        parts(this, vcpu).vcpu.exits += 1;
        defer(this, entry, Deferred::Sync);
        exit_slow(this)
    }

    /// SError while a guest ran. Full.
    fn exit_serror(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> ! {
        parts(this, vcpu).vcpu.exits += 1;
        defer(this, entry, Deferred::SError);
        exit_slow(this)
    }

    /// One of our own calls. Full.
    fn exit_call(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> ! {
        let parts = parts(this, vcpu);
        parts.vcpu.exits += 1;
        // The vectors have seen that the identifier is of our range.
        match parts.vcpu.frame.x::<0>() as u8 {
            IPC_CALL => jump!(ipc_call, this, entry, vcpu, 0_u64),
            IPC_REPLY_RECV => jump!(ipc_reply_receive, this, entry, vcpu, 0_u64),
            NOTIFY => jump!(ipc_notify, this, entry, vcpu, 0_u64),
            _ => jump!(other_call, this, entry, vcpu, 0_u64),
        }
    }

    fn ipc_call(this: *mut State, entry: u64, vcpu: *mut Vcpu, _esr: u64) -> ! {
        let State { cpu, board, .. } = state(this);
        if let Some(to) = direct::call(cpu, board) {
            handed_over(cpu, board, entry, PathId::IpcCall, to)
        }
        jump!(other_call, this, entry, vcpu, 0_u64)
    }

    fn ipc_reply_receive(this: *mut State, entry: u64, vcpu: *mut Vcpu, _esr: u64) -> ! {
        let State { cpu, board, .. } = state(this);
        if let Some(to) = direct::reply_receive(cpu, board) {
            handed_over(cpu, board, entry, PathId::IpcReplyRecv, to)
        }
        jump!(other_call, this, entry, vcpu, 0_u64)
    }

    fn ipc_notify(this: *mut State, entry: u64, _vcpu: *mut Vcpu, _esr: u64) -> ! {
        let state = state(this);
        state.cpu.entry = entry as u32;
        hypercall::notify(&mut state.cpu, &mut state.board);
        resume(state, PathId::Notify)
    }

    fn other_call(this: *mut State, entry: u64, _vcpu: *mut Vcpu, _esr: u64) -> ! {
        defer(this, entry, Deferred::Sync);
        exit_slow(this)
    }
}

/// To the vCPU that the running one has handed the CPU to.
#[inline(always)]
fn handed_over(cpu: &mut Cpu, board: &mut Board, entry: u64, path: PathId, to: usize) -> ! {
    let left = cpu.loaded;
    world::switch(cpu, board, to);
    slow::handed_over(cpu, board);
    board.fire_vm_entry(path, entry as u32);
    note(cpu, board, path, entry as u32, left);
    enter(frame(cpu))
}

const IPC_CALL: u8 = Call::IpcCall as u8;
const IPC_REPLY_RECV: u8 = Call::IpcReplyRecv as u8;
const NOTIFY: u8 = Call::Notify as u8;

extern "C" fn exit_slow(this: *mut State) -> ! {
    let state = state(this);
    let sweeps = state.cpu.deferred == Deferred::Irq(SWEEP) && state.cpu.ending == 0;
    let path = slow::serve(&mut state.cpu, &mut state.board, &mut state.services);
    if state.cpu.hazard != 0 {
        hazard(state, sweeps);
    }
    resume(state, path)
}

/// What stopped VMs leave behind goes in a stay of its own, which is asked for here: no other is the longer for it.
#[cold]
fn hazard(state: &mut State, sweeps: bool) {
    let State { cpu, board, services } = state;
    if sweeps {
        let stopped = core::mem::take(&mut cpu.hazard);
        services.stopped(cpu, board, stopped);
    } else {
        board.sweep_soon(cpu.id);
    }
}

/// Finds who goes on, and goes there: to a guest, to sleep, or nowhere.
#[inline(always)]
pub fn resume(state: &mut State, path: PathId) -> ! {
    let State { cpu, board, .. } = state;
    let left = cpu.loaded;
    match schedule(cpu, board, path) {
        Next::Same => {}
        Next::Switch(to) => {
            world::switch(cpu, board, to);
            slow::switched(cpu, board, left, to);
        }
        Next::Off => {
            // The last stay counts, too; nobody is left to ask for its extremes.
            let _ = cpu.note(path, pmu::read().wrapping_sub(cpu.entry));
            system_end()
        }
        Next::Idle => {
            cpu.account(time::now());
            note(cpu, board, path, cpu.entry, left);
            if cpu.rare & rare::SHIELD != 0 {
                gic::shield(false);
            }
            // SAFETY: 1. The stack is given up: waking up starts at its top, like every entry.
            unsafe { asm!("b idle", options(noreturn)) }
        }
    }
    let entry = cpu.entry;
    board.fire_vm_entry(path, entry);
    note(cpu, board, path, entry, left);
    enter(frame(cpu))
}

/// An interrupt woke the idle CPU: sleeping ended one stay at EL2, here begins another.
extern "C" fn exit_woken(this: *mut State, entry: u64) -> ! {
    let state = state(this);
    state.cpu.entry = entry as u32;
    state.cpu.since = time::now();
    let intid = gic::acknowledge();
    if state.cpu.rare & rare::SHIELD != 0
        && let Some((vcpu, _)) = state.cpu.running()
    {
        gic::shield(vcpu.shielded);
    }
    state.cpu.deferred = Deferred::Irq(intid);
    let sweeps = intid == SWEEP && state.cpu.ending == 0;
    let path = hyp_core::dispatch::irq::serve(&mut state.cpu, &mut state.board, intid);
    if state.cpu.hazard != 0 {
        hazard(state, sweeps);
    }
    resume(state, path)
}

/// No VM is left: says so and turns the machine off. The path analyser stops here: it is no stay at EL2 any more.
#[cold]
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn system_end() -> ! {
    CONSOLE.with(|uart| {
        uart.record(hyp_abi::record::StreamKind::SystemOff, &[]);
        uart.flush();
    });
    crate::power::off()
}
