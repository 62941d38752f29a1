//! Arguments: plausible ones, limits, and nonsense, mixed.
//!
//! What a hypercall may be told to write is only the arena, a piece of RAM that holds nothing: the hypervisor writes
//! where it is told to, and the guest's own memory is no secret to itself.

use rt::platform;
use rt::rng::Rng;

/// Bytes of the arena: more than any call writes at once.
const ARENA: usize = 1 << 20;

/// A source of arguments.
pub struct Values {
    rng: Rng,
    arena: u64,
    ram_end: u64,
    /// A handle that some call gave out, to be used rightly and wrongly.
    pub handle: u64,
}

impl Values {
    /// From a seed.
    ///
    /// # Panics
    /// If the VM has too little RAM for the arena and the canaries.
    pub fn new(seed: u64) -> Self {
        let (start, bytes) = platform::spare_ram();
        assert!(bytes >= 2 * ARENA, "{bytes} bytes of spare RAM");
        let (ram, size) = platform::get().ram;
        Self {
            rng: Rng::new(!seed),
            arena: start as u64,
            ram_end: (ram + size) as u64,
            handle: 0,
        }
    }

    /// Addresses above the arena, one a page.
    pub fn canaries(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.arena as usize + ARENA;
        (0..count).map(move |n| first + n * 4096)
    }

    /// Addresses at which a buffer of 8 bytes or more is never wholly in RAM.
    pub fn bad_addresses(&self) -> [u64; 8] {
        [
            0,
            8,
            0x0800_0000,
            0x0900_0000,
            self.ram_end - 4,
            self.ram_end,
            1 << 47,
            u64::MAX - 7,
        ]
    }

    /// Values at the edges of what an argument could be.
    pub const EDGES: [u64; 12] = [
        0,
        1,
        2,
        7,
        16,
        255,
        0xffff,
        0xffff_ffff,
        1 << 32,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];

    /// Any argument.
    pub fn any(&mut self) -> u64 {
        match self.rng.below(8) {
            0 | 1 => self.rng.below(20),
            2 => self.arena + self.rng.below(ARENA as u64 / 2),
            3 => self.handle,
            4 => self.rng.pick(&self.bad_addresses()).unwrap_or(0),
            5 => self.rng.pick(&Self::EDGES).unwrap_or(0),
            6 => self.rng.below(ARENA as u64 / 2),
            // Not into RAM: see above.
            _ => self.rng.next() | 1 << 50,
        }
    }

    /// The generator.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
}
