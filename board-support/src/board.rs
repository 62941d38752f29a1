//! What one has to know of a board.

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

impl Region {
    /// First address behind.
    pub const fn end(&self) -> u64 {
        self.base + self.size
    }

    /// Whether all of `size` bytes from `base` on are inside.
    pub const fn contains(&self, base: u64, size: u64) -> bool {
        base >= self.base && size <= self.size && base - self.base <= self.size - size
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(&self, other: &Region) -> bool {
        self.size > 0 && other.size > 0 && self.base < other.end() && other.base < self.end()
    }
}

/// A GICv3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gic {
    /// Distributor.
    pub distributor: Region,
    /// Redistributors of all CPUs, one after the other.
    pub redistributors: Region,
    /// Bytes from one CPU's redistributor to the next: RD_base and SGI_base frames, 64 KiB each.
    pub redistributor_stride: u64,
}

/// A PL011 UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uart {
    /// Registers.
    pub registers: Region,
    /// INTID.
    pub intid: u32,
    /// Input clock, Hz.
    pub clock_hz: u32,
}

/// A row of virtio-mmio transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// Registers of transport 0.
    pub base: u64,
    /// Bytes from one transport to the next.
    pub stride: u64,
    /// How many there are.
    pub count: u32,
    /// INTID of transport 0; the others follow. Edge-triggered.
    pub first_intid: u32,
    /// Transports in one 4 KiB page. A page belongs to one VM, so only every so-many-eth transport can be given away.
    pub per_page: u32,
}

impl Transports {
    /// Devices that can be given to VMs without two sharing a page.
    pub const fn assignable(&self) -> u32 {
        self.count / self.per_page
    }
}

/// A board, and the guest platform where it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name in manifests.
    pub name: &'static str,
    /// RAM.
    pub ram: Region,
    /// Where the hypervisor is linked and loaded. RAM below is left to firmware.
    pub load: u64,
    /// Physical CPUs there can be.
    pub cpus_max: u32,
    /// Interrupt controller.
    pub gic: Gic,
    /// Console.
    pub uart: Uart,
    /// virtio-mmio transports.
    pub transports: Transports,
    /// PPIs (INTIDs) of the generic timer: secure, non-secure, virtual, hypervisor.
    pub timer_intids: [u32; 4],
    /// PPI (INTID) of the performance monitors.
    pub pmu_intid: u32,
    /// Frequency of the system counter, Hz.
    pub counter_hz: u64,
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn regions_know_their_ends() {
        let region = Region {
            base: 0x1000,
            size: 0x1000,
        };
        assert!(region.contains(0x1000, 0x1000) && region.contains(0x1fff, 1) && region.contains(0x2000, 0));
        assert!(!region.contains(0xfff, 1) && !region.contains(0x1fff, 2) && !region.contains(0x1800, u64::MAX));
        assert!(region.overlaps(&Region { base: 0x1fff, size: 1 }));
        assert!(
            !region.overlaps(&Region { base: 0x2000, size: 1 }) && !region.overlaps(&Region { base: 0x1800, size: 0 })
        );
    }
}
