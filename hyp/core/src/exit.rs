//! Syndrome decode: what ESR_EL2 says an exit is (Arm ARM D17.2.37).

/// Exception classes that EL2 has a meaning for.
pub mod class {
    /// WFI or WFE.
    pub const WFX: u32 = 0x01;
    /// FP/SIMD access trapped by CPTR_EL2.
    pub const FP: u32 = 0x07;
    /// HVC from AArch64.
    pub const HVC: u32 = 0x16;
    /// SMC from AArch64.
    pub const SMC: u32 = 0x17;
    /// MSR, MRS or system instruction.
    pub const SYSREG: u32 = 0x18;
    /// Instruction abort from a lower EL.
    pub const INSTRUCTION_ABORT: u32 = 0x20;
    /// Data abort from a lower EL.
    pub const DATA_ABORT: u32 = 0x24;
}

/// ESR_EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Esr(pub u64);

impl Esr {
    /// Exception class.
    #[inline(always)]
    pub const fn class(self) -> u32 {
        (self.0 >> 26) as u32 & 0x3f
    }

    /// Bytes of the instruction that trapped.
    #[inline(always)]
    pub const fn instruction_bytes(self) -> u64 {
        2 + ((self.0 >> 25) & 1) * 2
    }

    /// Data abort: decoded access, or `None` where the syndrome does not tell it (ISV = 0: pairs, write-back, atomics).
    #[inline(always)]
    pub const fn access(self) -> Option<Access> {
        if self.0 >> 24 & 1 == 0 {
            return None;
        }
        Some(Access {
            register: (self.0 >> 16) as u32 & 0x1f,
            size: 1 << (self.0 >> 22 & 3),
            write: self.0 >> 6 & 1 != 0,
            sign_extend: self.0 >> 21 & 1 != 0,
            wide: self.0 >> 15 & 1 != 0,
        })
    }

    /// Abort: a translation fault, the only one that means "nothing mapped here" (DFSC 0b0001xx).
    #[inline(always)]
    pub const fn is_translation(self) -> bool {
        self.0 & 0x3c == 0x04
    }

    /// Abort: the fault came in a stage-1 walk; FAR and HPFAR are of the walk.
    #[inline(always)]
    pub const fn in_walk(self) -> bool {
        self.0 >> 7 & 1 != 0
    }

    /// System register trap.
    #[inline(always)]
    pub const fn sysreg(self) -> SysregAccess {
        SysregAccess {
            key: self.0 as u32 & SYSREG_KEY,
            register: (self.0 >> 5) as u32 & 0x1f,
            write: self.0 & 1 == 0,
        }
    }

    /// WFx trap: true for WFE.
    #[inline(always)]
    pub const fn is_wfe(self) -> bool {
        self.0 & 1 != 0
    }
}

/// A load or store to be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Register number; 31 is the zero register.
    pub register: u32,
    /// 1, 2, 4 or 8 bytes.
    pub size: u8,
    /// Store.
    pub write: bool,
    /// Load: the value is sign-extended,
    pub sign_extend: bool,
    /// to 64 bits, not 32.
    pub wide: bool,
}

impl Access {
    /// What the store's register puts on the bus.
    #[inline(always)]
    pub const fn stored(self, register: u64) -> u64 {
        register & mask(self.size)
    }

    /// What the load's register gets from `value` on the bus.
    #[inline(always)]
    pub const fn loaded(self, value: u64) -> u64 {
        let value = value & mask(self.size);
        if !self.sign_extend {
            return value;
        }
        let shift = 64 - 8 * self.size as u32;
        let extended = ((value << shift) as i64 >> shift) as u64;
        if self.wide { extended } else { extended & 0xffff_ffff }
    }
}

const fn mask(size: u8) -> u64 {
    if size >= 8 {
        u64::MAX
    } else {
        (1 << (8 * size as u32)) - 1
    }
}

/// Op0, Op2, Op1, CRn, CRm where the syndrome has them.
const SYSREG_KEY: u32 = 0x3f_fc1e;

/// A trapped MSR or MRS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysregAccess {
    /// As [`sysreg_key`] makes it.
    pub key: u32,
    /// Register number.
    pub register: u32,
    /// MSR.
    pub write: bool,
}

/// The key of a system register's encoding.
pub const fn sysreg_key(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1
}

/// Keys of the registers EL2 knows.
pub mod sysreg {
    use super::sysreg_key;
    /// ICC_SGI1R_EL1.
    pub const SGI1R: u32 = sysreg_key(3, 0, 12, 11, 5);
    /// ICC_ASGI1R_EL1.
    pub const ASGI1R: u32 = sysreg_key(3, 0, 12, 11, 6);
    /// ICC_SGI0R_EL1.
    pub const SGI0R: u32 = sysreg_key(3, 0, 12, 11, 7);
    /// ICC_DIR_EL1.
    pub const DIR: u32 = sysreg_key(3, 0, 12, 11, 1);
    /// Bits of a key that tell the identification space Op0 = 3, Op1 = 0, CRn = 0 (trapped by HCR_EL2.TID3).
    pub const ID_MASK: u32 = sysreg_key(3, 7, 15, 0, 0);
    /// Value of those bits.
    pub const ID_SPACE: u32 = sysreg_key(3, 0, 0, 0, 0);
    /// CRm and Op2 of an identification register as CRm × 8 + Op2.
    pub const fn id_index(key: u32) -> u32 {
        (key >> 1 & 0xf) * 8 + (key >> 17 & 7)
    }
}

/// HPFAR_EL2 and FAR_EL2 as the faulting IPA.
#[inline(always)]
pub const fn fault_ipa(hpfar: u64, far: u64) -> u64 {
    (hpfar & 0xfff_ffff_fff0) << 8 | far & 0xfff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_abort_of_a_byte_load() {
        // ldrsb w3, [x1]: EC 0x24, IL, ISV, SAS 0, SSE, SRT 3, DFSC translation level 3.
        let esr = Esr(0x24 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 3 << 16 | 0b000111);
        assert_eq!(esr.class(), class::DATA_ABORT);
        assert_eq!(esr.instruction_bytes(), 4);
        assert!(esr.is_translation() && !esr.in_walk());
        let access = esr.access().unwrap();
        assert_eq!(
            access,
            Access {
                register: 3,
                size: 1,
                write: false,
                sign_extend: true,
                wide: false
            }
        );
        assert_eq!(access.loaded(0x1_80), 0xffff_ff80);
        assert_eq!(access.loaded(0x7f), 0x7f);
        assert_eq!(Access { wide: true, ..access }.loaded(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(access.stored(0x1234), 0x34);
        assert_eq!(Esr(0x24 << 26).access(), None);
    }

    #[test]
    fn sysreg_trap_of_sgi1r() {
        // msr icc_sgi1r_el1, x7: Op0 3, Op2 5, Op1 0, CRn 12, Rt 7, CRm 11, write.
        let iss = 3 << 20 | 5 << 17 | 12 << 10 | 7 << 5 | 11 << 1;
        let access = Esr(0x18 << 26 | 1 << 25 | iss).sysreg();
        assert_eq!(
            access,
            SysregAccess {
                key: sysreg::SGI1R,
                register: 7,
                write: true
            }
        );
        let pfr0 = sysreg_key(3, 0, 0, 4, 0);
        assert_eq!(pfr0 & sysreg::ID_MASK, sysreg::ID_SPACE);
        assert_eq!(sysreg::id_index(pfr0), 32);
        assert_ne!(sysreg::SGI1R & sysreg::ID_MASK, sysreg::ID_SPACE);
    }

    #[test]
    fn ipa_from_both_fault_registers() {
        assert_eq!(fault_ipa(0x0800_0000 >> 8, 0xffff_0000_0000_0104), 0x0800_0104);
    }
}
