//! Exact measuring, in ticks of the virtual count.
//!
//! Under `-icount shift=0` an instruction takes 1 ns of virtual time, and a tick of QEMU's counter is 16 ns. Loops of
//! many rounds are timed against the same loop without its subject. For one-shot latencies the reading is shifted by 0
//! to 15 `nop`s: the sum over p of floor((d + p) / 16) is d (Hermite's identity), so a full sweep is exact.

use core::arch::{asm, global_asm};

use hyp_abi::Call;

use crate::{cpu, timer};

/// Instructions per tick of the virtual count (in icount mode): also the number of shifts that make a full sweep.
pub const SWEEP: u64 = 16;

macro_rules! timed_loop {
    ($rounds:expr, [$($body:literal),*], $x19:expr, $x20:expr) => {{
        let (start, end): (u64, u64);
        // SAFETY: the body is a hypercall without memory arguments, an access to a device register, or nothing.
        unsafe {
            asm!(
                "isb",
                "mrs {start}, cntvct_el0",
                "2:",
                $($body,)*
                "subs x21, x21, #1",
                "b.ne 2b",
                "isb",
                "mrs {end}, cntvct_el0",
                start = out(reg) start, end = out(reg) end,
                inout("x21") $rounds => _, in("x22") $x19, in("x23") $x20,
                out("x0") _, out("x1") _, out("x2") _, out("x3") _, out("x4") _, out("x5") _, out("x6") _, out("x7") _,
                options(nostack),
            )
        }
        end - start
    }};
}

/// Ticks of `rounds` (not 0) hypercalls with one argument.
pub fn hypercalls(rounds: u64, function: u64, argument: u64) -> u64 {
    timed_loop!(rounds, ["mov x0, x22", "mov x1, x23", "hvc #0"], function, argument)
}

/// Ticks of the loop of [`hypercalls`] without its `hvc`.
pub fn hypercalls_empty(rounds: u64) -> u64 {
    timed_loop!(rounds, ["mov x0, x22", "mov x1, x23"], 0_u64, 0_u64)
}

/// Ticks of `rounds` IPC calls on `channel` with six words, the first of which is 0 ([`serve_ipc`] echoes them).
pub fn ipc_calls(rounds: u64, channel: u64) -> u64 {
    timed_loop!(
        rounds,
        ["mov x0, x22", "mov x1, x23", "mov x2, xzr", "hvc #0"],
        Call::IpcCall.fid(),
        channel
    )
}

/// Ticks of the loop of [`ipc_calls`] without its `hvc`.
pub fn ipc_calls_empty(rounds: u64) -> u64 {
    timed_loop!(rounds, ["mov x0, x22", "mov x1, x23", "mov x2, xzr"], 0_u64, 0_u64)
}

/// Ticks of `rounds` 32-bit reads of a device register.
pub fn reads(rounds: u64, address: usize) -> u64 {
    assert!(address < 1 << 30, "not a device");
    timed_loop!(rounds, ["ldr w0, [x22]"], address, 0_u64)
}

/// Ticks of `rounds` 32-bit writes of `value` to a device register.
pub fn writes(rounds: u64, address: usize, value: u32) -> u64 {
    assert!(address < 1 << 30, "not a device");
    timed_loop!(rounds, ["str w23, [x22]"], address, u64::from(value))
}

/// Ticks of the loop of [`reads`] and [`writes`] without its access.
pub fn accesses_empty(rounds: u64) -> u64 {
    timed_loop!(rounds, [], 0_u64, 0_u64)
}

/// Replies and receives on `channel` in a loop of two moves, the call and two tests, echoing the caller's words, for as long as the first
/// word is 0. The caller's call must have been received already. Returns x0 to x7 of the receive that ended the loop.
pub fn serve_ipc(channel: u64) -> [u64; 8] {
    let mut x = [0_u64; 8];
    // SAFETY: IpcReplyRecv has no memory arguments.
    unsafe {
        asm!(
            "2:  mov x0, x22",
            "    mov x1, x23",
            "    hvc #0",
            "    cbnz x0, 3f",
            "    cbz x2, 2b",
            "3:",
            in("x22") Call::IpcReplyRecv.fid(), in("x23") channel,
            out("x0") x[0], out("x1") x[1], inout("x2") 0_u64 => x[2], inout("x3") 0_u64 => x[3],
            inout("x4") 0_u64 => x[4], inout("x5") 0_u64 => x[5], inout("x6") 0_u64 => x[6], inout("x7") 0_u64 => x[7],
            options(nostack),
        )
    }
    x
}

// The vector table of one-shot measurements. Only the IRQ entry is used; its code belongs to the asm blocks below:
// x24 = where to enter the sled, x25 = count read (out), x26 = INTID (out), x27 = where to resume.
global_asm!(
    ".section .text, \"ax\"",
    ".balign 0x800",
    ".global rt_measure_vectors",
    "rt_measure_vectors:",
    ".skip 0x280",
    "    br   x24",
    ".balign 0x80",
    ".skip 0x500",
    ".global rt_measure_sled",
    "rt_measure_sled:",
    ".rept 15",
    "    nop",
    ".endr",
    "    mrs  x25, cntvct_el0",
    "    mrs  x26, icc_iar1_el1",
    "    msr  cntv_ctl_el0, xzr",
    "    isb",
    "    msr  icc_eoir1_el1, x26",
    "    isb",
    "    msr  elr_el1, x27",
    "    eret",
);

unsafe extern "C" {
    static rt_measure_vectors: u8;
    static rt_measure_sled: u8;
    static rt_vectors: u8;
}

/// What a one-shot measurement saw.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    /// Ticks from the cause to the reading.
    pub ticks: u64,
    /// The interrupt that came.
    pub intid: u32,
}

fn sled(nops: u64) -> u64 {
    &raw const rt_measure_sled as u64 + (SWEEP - 1 - nops % SWEEP) * 4
}

macro_rules! one_shot {
    ($nops:expr, [$($before:literal),*], [$($wait:literal),*], x22 = $x22:expr, x23 = $x23:expr) => {{
        let (start, seen, intid): (u64, u64, u64);
        let daif = cpu::irq_off();
        // SAFETY: the measuring vectors use only the registers that this block declares, take one interrupt at the
        // wait loop and resume behind it with IRQs masked; then the runtime's own vectors are back.
        unsafe {
            asm!(
                "msr vbar_el1, {measure}",
                "isb",
                "adr x27, 4f",
                "msr daifclr, #2",
                $($before,)*
                "3:",
                $($wait,)*
                "b 3b",
                "4:  msr daifset, #2",
                "msr vbar_el1, {own}",
                "isb",
                measure = in(reg) &raw const rt_measure_vectors,
                own = in(reg) &raw const rt_vectors,
                inout("x21") 0_u64 => start, inout("x22") $x22 => _, inout("x23") $x23 => _,
                in("x24") sled($nops), out("x25") seen, out("x26") intid, out("x27") _,
                out("x0") _, out("x1") _, out("x2") _, out("x3") _,
                options(nostack),
            )
        }
        cpu::irq_restore(daif);
        (start, seen, intid as u32)
    }};
}

/// Self-SGI `intid` to the reading, 1 instruction behind the handler's first. The start is `shift` `nop`s later for
/// the caller's random choice: the phase of the count is unknown, so average over many.
pub fn self_sgi(intid: u32, shift: u64) -> Shot {
    let target = 1_u64 << (crate::sysreg_read!(mpidr_el1) & 0xf) | u64::from(intid) << 24;
    let (start, seen, intid) = one_shot!(
        0,
        [
            "2: cbz x23, 5f",
            "sub x23, x23, #1",
            "b 2b",
            "5: mrs x21, cntvct_el0",
            "msr icc_sgi1r_el1, x22"
        ],
        ["nop"],
        x22 = target,
        x23 = shift
    );
    Shot {
        ticks: seen - start,
        intid,
    }
}

/// Virtual timer due to the reading, which is `nops` + 1 instructions behind the handler's first; waiting by spinning.
pub fn timer_spinning(nops: u64) -> Shot {
    let due = timer::now() + LEAD;
    timer::arm(due);
    let (_, seen, intid) = one_shot!(nops, [], ["nop"], x22 = 0_u64, x23 = 0_u64);
    Shot {
        ticks: seen - due,
        intid,
    }
}

/// As [`timer_spinning`], waiting in WFI.
pub fn timer_wfi(nops: u64) -> Shot {
    let due = timer::now() + LEAD;
    timer::arm(due);
    let (_, seen, intid) = one_shot!(nops, [], ["wfi"], x22 = 0_u64, x23 = 0_u64);
    Shot {
        ticks: seen - due,
        intid,
    }
}

/// Waits in WFI for any interrupt; the count at its handler's second instruction, and the INTID.
pub fn wait_stamp() -> (u64, u32) {
    let (_, seen, intid) = one_shot!(0, [], ["wfi"], x22 = 0_u64, x23 = 0_u64);
    (seen, intid)
}

/// The count read in the instruction before a Notify hypercall on `channel`, started `shift` loop rounds later.
pub fn notify_stamp(channel: u64, bits: u64, shift: u64) -> (u64, u64) {
    let (stamp, status): (u64, u64);
    // SAFETY: Notify has no memory arguments.
    unsafe {
        asm!(
            "2:  cbz {shift}, 3f",
            "    sub {shift}, {shift}, #1",
            "    b   2b",
            "3:  mrs {stamp}, cntvct_el0",
            "    hvc #0",
            shift = inout(reg) shift => _, stamp = out(reg) stamp,
            inout("x0") Call::Notify.fid() => status, inout("x1") channel => _, inout("x2") bits => _, out("x3") _,
            options(nostack),
        )
    }
    (stamp, status)
}

/// Ticks before the timer is due: more than arming and entering the wait takes below any hypervisor.
const LEAD: u64 = 4096;
