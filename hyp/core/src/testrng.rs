//! Seeded random numbers for tests: SplitMix64, so that a failing seed replays on any machine.

pub struct Rng(u64);

impl Rng {
    /// Seed from `GNOMON_SEED`, else `default`. Printed, so that a failure names it.
    pub fn new(name: &str, default: u64) -> Self {
        let seed = std::env::var("GNOMON_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(default);
        std::println!("{name}: seed {seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..n
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Steps of a random test: `ci` in normal runs, `GNOMON_STEPS` if set (the full million of the bench runs).
pub fn steps(ci: u64) -> u64 {
    std::env::var("GNOMON_STEPS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(ci)
}
