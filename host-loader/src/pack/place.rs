//! Static partitioning: which physical memory each VM has.

use board_support::{Board, Region};

/// Stage 2 maps RAM in blocks of 2 MiB.
const BLOCK: u64 = 2 << 20;

/// A VM's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Guest-physical base.
    pub ipa: u64,
    /// Bytes.
    pub size: u64,
    /// Its physical addresses must be its guest-physical ones: it has a device that does DMA.
    pub identity: bool,
}

/// Why a wish cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no RAM there.
    NoRam,
    /// It overlaps the hypervisor and its boot configuration, which end here.
    Hypervisor { end: u64 },
    /// It overlaps the RAM of another VM, by index.
    Vm(usize),
    /// No gap is large enough; the largest has this many bytes.
    Full { largest: u64 },
}

/// Physical base of each VM's RAM, in order; `reserved_end` is the first address behind the boot configuration.
///
/// # Errors
/// The index of the first VM that finds no place, and why.
pub fn place(board: &Board, reserved_end: u64, wishes: &[Wish]) -> Result<Vec<u64>, (usize, Refusal)> {
    let mut bases = vec![0; wishes.len()];
    let mut taken: Vec<(usize, Region)> = Vec::new();
    for (index, wish) in wishes.iter().enumerate().filter(|(_, wish)| wish.identity) {
        let region = Region {
            base: wish.ipa,
            size: wish.size,
        };
        if !board.ram.contains(region.base, region.size) {
            return Err((index, Refusal::NoRam));
        }
        if region.base < reserved_end {
            return Err((index, Refusal::Hypervisor { end: reserved_end }));
        }
        if let Some((other, _)) = taken.iter().find(|(_, other)| other.overlaps(&region)) {
            return Err((index, Refusal::Vm(*other)));
        }
        bases[index] = region.base;
        taken.push((index, region));
    }
    for (index, wish) in wishes.iter().enumerate().filter(|(_, wish)| !wish.identity) {
        let base =
            first_fit(board, reserved_end, &taken, wish.size).map_err(|largest| (index, Refusal::Full { largest }))?;
        bases[index] = base;
        taken.push((index, Region { base, size: wish.size }));
    }
    Ok(bases)
}

/// The lowest gap of `size` bytes, or the size of the largest gap.
fn first_fit(board: &Board, reserved_end: u64, taken: &[(usize, Region)], size: u64) -> Result<u64, u64> {
    let mut sorted: Vec<Region> = taken.iter().map(|(_, region)| *region).collect();
    sorted.sort_by_key(|region| region.base);
    sorted.push(Region {
        base: board.ram.end(),
        size: 0,
    });
    let mut free = reserved_end.next_multiple_of(BLOCK);
    let mut largest = 0;
    for region in sorted {
        let gap = region.base.saturating_sub(free);
        if gap >= size {
            return Ok(free);
        }
        largest = largest.max(gap);
        free = free.max(region.end());
    }
    Err(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use board_support::QEMU_VIRT;

    const MIB: u64 = 1 << 20;
    const END: u64 = 0x4020_0000 + 3 * MIB;

    fn wish(size: u64) -> Wish {
        Wish {
            ipa: 0x4000_0000,
            size,
            identity: false,
        }
    }

    fn identity(ipa: u64, size: u64) -> Wish {
        Wish {
            ipa,
            size,
            identity: true,
        }
    }

    #[test]
    fn vms_fill_the_gaps_around_those_that_cannot_move() {
        let wishes = [wish(16 * MIB), identity(0x4100_0000, 4 * MIB), wish(4 * MIB)];
        let bases = place(&QEMU_VIRT, END, &wishes).unwrap();
        assert_eq!(bases, [0x4140_0000, 0x4100_0000, 0x4060_0000]);
    }

    #[test]
    fn no_two_overlap_and_all_are_aligned() {
        let wishes: Vec<Wish> = (1..12)
            .map(|n| wish(n * 2 * MIB))
            .chain([identity(0x4800_0000, 8 * MIB)])
            .collect();
        let bases = place(&QEMU_VIRT, END, &wishes).unwrap();
        for (i, a) in bases.iter().enumerate() {
            assert!(a.is_multiple_of(BLOCK) && *a >= END && QEMU_VIRT.ram.contains(*a, wishes[i].size));
            for (j, b) in bases.iter().enumerate().skip(i + 1) {
                let (a, b) = (
                    Region {
                        base: *a,
                        size: wishes[i].size,
                    },
                    Region {
                        base: *b,
                        size: wishes[j].size,
                    },
                );
                assert!(!a.overlaps(&b), "{i} {j}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |wishes: &[Wish], refusal| assert_eq!(place(&QEMU_VIRT, END, wishes), Err(refusal));
        check(&[wish(1024 * MIB)], (0, Refusal::Full { largest: 1018 * MIB }));
        check(&[identity(0x8000_0000, 2 * MIB)], (0, Refusal::NoRam));
        check(&[identity(0x4000_0000, 2 * MIB)], (0, Refusal::Hypervisor { end: END }));
        check(
            &[identity(0x5000_0000, 4 * MIB), identity(0x5020_0000, 4 * MIB)],
            (1, Refusal::Vm(0)),
        );
    }
}
