//! The redistributor's registers (IHI 0069H 12.10, 12.11).

use super::dist::{IIDR_VALUE, id_register, word_index};
use super::lr::LrFile;
use super::{REDIST_BYTES, View};

const IIDR: u32 = 0x0004;
const TYPER: u32 = 0x0008;
const TYPER_HIGH: u32 = 0x000c;
const WAKER: u32 = 0x0014;
/// GICR_WAKER: ProcessorSleep and ChildrenAsleep, which follows it at once.
const WAKER_SLEEP: u32 = 1 << 1;
const WAKER_ASLEEP: u32 = 1 << 2;
/// Second 64 KiB of a redistributor: the SGI frame.
const SGI_FRAME: u32 = 0x1_0000;

const ISENABLER: u32 = 0x100;

impl View {
    /// Reads `size` bytes at `offset` in the vCPU's redistributor. Accesses that the architecture does not define read as zero.
    pub fn redist_read<L: LrFile>(&self, offset: u32, size: u8, lrs: &L) -> u64 {
        if u64::from(offset) >= REDIST_BYTES {
            return 0;
        }
        if offset & SGI_FRAME != 0 {
            let offset = offset & 0xffff;
            return if offset < 0x1000 && word_index(offset) == 0 {
                self.array_read(0, offset, size, lrs)
            } else {
                0
            };
        }
        match (offset, size) {
            (TYPER, 8) => self.typer(),
            (TYPER, 4) => self.typer() & 0xffff_ffff,
            (TYPER_HIGH, 4) => self.typer() >> 32,
            (IIDR, 4) => u64::from(IIDR_VALUE),
            (WAKER, 4) if self.asleep => u64::from(WAKER_SLEEP | WAKER_ASLEEP),
            (0xffd0.., 4) => u64::from(id_register(0x93, offset)),
            _ => 0,
        }
    }

    /// A write of GICR_ISENABLER0 by which nothing becomes deliverable. *Hot.* False: something else, nothing done.
    #[inline(always)]
    pub fn redist_poke(&mut self, offset: u32, size: u8, value: u64) -> bool {
        size == 4 && offset == SGI_FRAME + ISENABLER && self.enable_quiet(0, value as u32)
    }

    /// Writes `size` bytes at `offset` in the vCPU's redistributor. Undefined accesses are ignored.
    #[inline(never)]
    pub fn redist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u32, lrs: &mut L) {
        if u64::from(offset) >= REDIST_BYTES {
            return;
        }
        if offset & SGI_FRAME != 0 {
            let offset = offset & 0xffff;
            if offset < 0x1000 && word_index(offset) == 0 {
                self.array_write(0, offset, size, value, lrs);
            }
        } else if (offset, size) == (WAKER, 4) {
            self.asleep = value & WAKER_SLEEP != 0;
        }
    }

    /// Affinity [63:32], Processor_Number [23:8], Last [4].
    fn typer(&self) -> u64 {
        let (cpu, last) = (self.first, u64::from(self.first + 1 == self.total));
        u64::from(cpu) << 32 | u64::from(cpu) << 8 | last << 4
    }
}
