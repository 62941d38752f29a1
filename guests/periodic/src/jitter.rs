//! Release jitter of one window.

use core::fmt;

use rt::println;

/// Bucket n > 0 holds jitters of 2^(n-1) ns up to, not including, 2^n; bucket 0 holds 0. The last holds the rest.
const BUCKETS: usize = 32;

/// Statistics of one window.
pub struct Window {
    start_ns: u64,
    count: u64,
    missed: u64,
    sum: u64,
    min: u64,
    max: u64,
    buckets: [u64; BUCKETS],
}

impl Window {
    /// An empty window that starts at `start_ns`.
    pub const fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            count: 0,
            missed: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }

    /// Adds one release.
    pub fn add(&mut self, ns: u64, missed: bool) {
        self.count += 1;
        self.missed += u64::from(missed);
        self.sum += ns;
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        let bucket = (u64::BITS - ns.leading_zeros()) as usize;
        if let Some(slot) = self.buckets.get_mut(bucket.min(BUCKETS - 1)) {
            *slot += 1;
        }
    }

    /// Releases so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Prints the line.
    pub fn print(&self, window: u64, end_ns: u64) {
        println!(
            "@jitter {{\"vm\":\"periodic\",\"window\":{window},\"start_ns\":{},\"end_ns\":{end_ns},\"n\":{},\"min\":{},\
             \"mean\":{},\"max\":{},\"missed\":{},\"unit\":\"ns\",\"buckets\":{}}}",
            self.start_ns,
            self.count,
            self.min,
            self.sum / self.count.max(1),
            self.max,
            self.missed,
            Buckets(&self.buckets)
        );
    }
}

struct Buckets<'a>(&'a [u64; BUCKETS]);

impl fmt::Display for Buckets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let mut separator = "";
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let low = if bucket == 0 { 0 } else { 1_u64 << (bucket - 1) };
            write!(f, "{separator}[{low},{count}]")?;
            separator = ",";
        }
        f.write_str("]")
    }
}
