//! One result and its line.

use rt::println;

/// Accumulates readings in hundredths of an instruction.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Row {
    pub const fn new() -> Self {
        Self {
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Adds one reading of `hundredths` of an instruction.
    pub fn add(&mut self, hundredths: u64) {
        self.count += 1;
        self.sum += hundredths;
        self.min = self.min.min(hundredths);
        self.max = self.max.max(hundredths);
    }

    /// Prints the line, with `instructions` that belong to the measuring itself taken off.
    pub fn print(&self, name: &str, suffix: &str, instructions: u64) {
        let off = instructions * 100;
        let mean = (self.sum + self.count / 2) / self.count.max(1);
        println!(
            "@row {{\"name\":\"exits.{name}{suffix}\",\"value\":{},\"unit\":\"insns\",\"min\":{},\"max\":{}}}",
            Hundredths(mean.saturating_sub(off)),
            Hundredths(self.min.saturating_sub(off)),
            Hundredths(self.max.saturating_sub(off)),
        );
    }
}

struct Hundredths(u64);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
