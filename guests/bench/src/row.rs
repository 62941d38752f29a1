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

    /// Prints the line of an exit, with `instructions` that belong to the measuring itself taken off.
    pub fn print(&self, name: &str, suffix: &str, instructions: u64) {
        self.print_as(format_args!("exits.{name}{suffix}"), instructions * 100);
    }

    /// Prints the line of what this row has more than `base` has in the mean.
    pub fn print_above(&self, base: &Row, name: &str) {
        self.print_as(format_args!("{name}"), base.mean());
    }

    /// Mean, hundredths.
    fn mean(&self) -> u64 {
        (self.sum + self.count / 2) / self.count.max(1)
    }

    fn print_as(&self, name: core::fmt::Arguments<'_>, off: u64) {
        println!(
            "@row {{\"name\":\"{name}\",\"value\":{},\"unit\":\"insns\",\"min\":{},\"max\":{}}}",
            Hundredths(self.mean().saturating_sub(off)),
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
