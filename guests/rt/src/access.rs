//! Memory accesses to addresses that Rust does not own: devices, and anything else a guest dares to touch.
//!
//! Reads may go anywhere. Writes are refused where Rust objects live. A fault that comes back to
//! EL1 (alignment, translation, external abort) is returned as [`Fault`]; one that the hypervisor takes ends the VM.

use core::arch::global_asm;

use crate::exceptions::Frame;
use crate::platform;

/// A synchronous exception that an access raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// ESR_EL1; never 0, for its exception class is not 0.
    pub esr: u64,
}

/// Access width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Double,
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Width; 4] = [Width::Byte, Width::Half, Width::Word, Width::Double];

    /// Size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Width::Byte => 1,
            Width::Half => 2,
            Width::Word => 4,
            Width::Double => 8,
        }
    }
}

// extern "C" fn rt_try_read(address, log2 bytes) -> (value, esr)
// extern "C" fn rt_try_write(address, log2 bytes, value) -> (_, esr)
// A fault at any instruction between the two labels resumes at the second with x1 = ESR.
global_asm!(
    ".section .text, \"ax\"",
    ".global rt_try_read",
    "rt_try_read:",
    "    mov  x3, x1",
    "    mov  x1, #0",
    "    cbz  x3, 1f",
    "    cmp  x3, #2",
    "    b.lo 2f",
    "    b.eq 3f",
    ".global rt_try_begin",
    "rt_try_begin:",
    "    ldr  x0, [x0]",
    "    ret",
    "1:  ldrb w0, [x0]",
    "    ret",
    "2:  ldrh w0, [x0]",
    "    ret",
    "3:  ldr  w0, [x0]",
    "    ret",
    ".global rt_try_write",
    "rt_try_write:",
    "    mov  x3, x1",
    "    mov  x1, #0",
    "    cbz  x3, 1f",
    "    cmp  x3, #2",
    "    b.lo 2f",
    "    b.eq 3f",
    "    str  x2, [x0]",
    "    ret",
    "1:  strb w2, [x0]",
    "    ret",
    "2:  strh w2, [x0]",
    "    ret",
    "3:  str  w2, [x0]",
    "    ret",
    ".global rt_try_end",
    "rt_try_end:",
    "    ret",
);

#[repr(C)]
struct Outcome {
    value: u64,
    esr: u64,
}

unsafe extern "C" {
    safe fn rt_try_read(address: usize, log2_bytes: u32) -> Outcome;
    fn rt_try_write(address: usize, log2_bytes: u32, value: u64) -> Outcome;
    static rt_try_begin: u8;
    static rt_try_end: u8;
}

/// Resumes a faulted `try_` access at its end; false if the fault came from elsewhere.
pub(crate) fn recover(frame: &mut Frame) -> bool {
    let begin = &raw const rt_try_begin as u64;
    let end = &raw const rt_try_end as u64;
    if !(begin..end).contains(&frame.elr) {
        return false;
    }
    frame.x[1] = frame.esr;
    frame.elr = end;
    true
}

/// Reads `width` at `address`.
///
/// # Errors
/// The fault, if the access raised one at EL1.
pub fn try_read(address: usize, width: Width) -> Result<u64, Fault> {
    let outcome = rt_try_read(address, width.bytes().trailing_zeros());
    if outcome.esr == 0 {
        Ok(outcome.value)
    } else {
        Err(Fault { esr: outcome.esr })
    }
}

/// Writes the low bytes of `value` at `address`.
///
/// # Errors
/// The fault, if the access raised one at EL1.
///
/// # Panics
/// If the bytes lie in the image, the device tree or the initrd ([`platform::spare_ram`] is free to write).
pub fn try_write(address: usize, width: Width, value: u64) -> Result<(), Fault> {
    assert!(
        !platform::is_taken(address, width.bytes()),
        "write into memory that is in use"
    );
    // SAFETY: outside of what `is_taken` knows there are no Rust objects: devices and unused RAM.
    let outcome = unsafe { rt_try_write(address, width.bytes().trailing_zeros(), value) };
    if outcome.esr == 0 {
        Ok(())
    } else {
        Err(Fault { esr: outcome.esr })
    }
}

/// A device's 32- and 64-bit registers, from the first gigabyte of the guest's address space, where no RAM is.
#[derive(Debug, Clone, Copy)]
pub struct Device(usize);

const DEVICE_SPACE: usize = 1 << 30;

impl Device {
    /// The device at `base`.
    ///
    /// # Panics
    /// If `base` is not in the device space (at compile time, for a constant).
    pub const fn new(base: usize) -> Self {
        assert!(base < DEVICE_SPACE - 0x20_0000, "not in the device space");
        Self(base)
    }

    /// Address of the register at `offset`.
    pub const fn address(self, offset: usize) -> usize {
        assert!(offset < 0x20_0000, "no device is that large");
        self.0 + offset
    }

    /// Reads a 32-bit register.
    #[inline]
    pub fn read32(self, offset: usize) -> u32 {
        // SAFETY: `address` keeps the access in the device space.
        unsafe { (self.address(offset) as *const u32).read_volatile() }
    }

    /// Writes a 32-bit register.
    #[inline]
    pub fn write32(self, offset: usize, value: u32) {
        // SAFETY: as in `read32`; no Rust object is there.
        unsafe { (self.address(offset) as *mut u32).write_volatile(value) }
    }

    /// Reads a 64-bit register.
    #[inline]
    pub fn read64(self, offset: usize) -> u64 {
        // SAFETY: as in `read32`.
        unsafe { (self.address(offset) as *const u64).read_volatile() }
    }

    /// Writes a 64-bit register.
    #[inline]
    pub fn write64(self, offset: usize, value: u64) {
        // SAFETY: as in `write32`.
        unsafe { (self.address(offset) as *mut u64).write_volatile(value) }
    }

    /// Writes one byte.
    #[inline]
    pub fn write8(self, offset: usize, value: u8) {
        // SAFETY: as in `write32`.
        unsafe { (self.address(offset) as *mut u8).write_volatile(value) }
    }
}
