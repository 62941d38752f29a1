//! Histograms in powers of two, as bars.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::client::Entry;

/// Width of the longest bar.
const BAR_CELLS: usize = 40;
/// Numbers have at most this many significant bits, so there are that many buckets and one for 0.
const BUCKET_MAX: u64 = 64;
/// A map whose name ends so holds histograms.
const NAME_SUFFIX: &str = "hist";

/// Counts by bucket. Bucket 0 counts zeroes, bucket b the numbers with b significant bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Count of each bucket that has one.
    pub buckets: BTreeMap<u32, u64>,
}

/// Least number of a bucket.
pub fn low(bucket: u32) -> u64 {
    match bucket {
        0 => 0,
        b => 1u64 << (b - 1).min(63),
    }
}

/// A value that is a whole histogram: a count for each bucket but the last.
const WHOLE_BYTES: u32 = 512;

/// Whether a map is read as histograms: by its name, and by what its keys and values can be.
pub fn is_histogram(name: &str, key_bytes: u32, value_bytes: u32) -> bool {
    let counts = value_bytes == 8 && matches!(key_bytes, 4 | 8);
    name.ends_with(NAME_SUFFIX) && (counts || value_bytes == WHOLE_BYTES && key_bytes == 4)
}

/// The histograms of a map by group. A value is a histogram, its key the group; or a value is a count, its key a bucket,
/// or a group and a bucket. Groups without a count are left out.
pub fn from_entries(entries: &[Entry]) -> BTreeMap<Option<u32>, Histogram> {
    let mut out: BTreeMap<Option<u32>, Histogram> = BTreeMap::new();
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let mut add = |group, bucket: u32, count: u64| {
        if count > 0 && u64::from(bucket) <= BUCKET_MAX {
            *out.entry(group).or_default().buckets.entry(bucket).or_default() += count;
        }
    };
    for entry in entries {
        let counts = entry.value.as_chunks::<8>().0.iter().map(|c| u64::from_le_bytes(*c));
        match (entry.key.len(), entry.value.len()) {
            (4, 512) => counts
                .zip(0..)
                .for_each(|(count, bucket)| add(Some(word(&entry.key)), bucket, count)),
            (4, 8) => counts.for_each(|count| add(None, word(&entry.key), count)),
            (8, 8) => counts.for_each(|count| add(Some(word(&entry.key)), word(&entry.key[4..]), count)),
            _ => {}
        }
    }
    out
}

impl Histogram {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Pairs of least number and count, for machines.
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.buckets.iter().map(|(b, n)| (low(*b), *n)).collect()
    }

    /// One line a bucket, from the first with a count to the last.
    pub fn draw(&self, unit: &str) -> String {
        let (Some(first), Some(last)) = (self.buckets.keys().next(), self.buckets.keys().next_back()) else {
            return "  (nothing counted)\n".into();
        };
        let most = self.buckets.values().copied().max().unwrap_or(1).max(1);
        let mut out = String::new();
        let _ = writeln!(out, "  {:>21} {:>10}", unit, "count");
        for bucket in *first..=*last {
            let count = self.buckets.get(&bucket).copied().unwrap_or(0);
            let eighths = (u128::from(count) * (BAR_CELLS * 8) as u128 / u128::from(most)) as usize;
            let _ = writeln!(
                out,
                "  {:>21} {count:>10} |{:<BAR_CELLS$}|",
                range(bucket),
                bar(eighths)
            );
        }
        out
    }
}

fn range(bucket: u32) -> String {
    match bucket {
        0 => "0".into(),
        1 => "1".into(),
        b => format!("[{}, {})", short(low(b)), short_end(b)),
    }
}

/// Powers of two with a suffix, as bpftrace writes them.
fn short(n: u64) -> String {
    let suffixes = ["", "K", "M", "G", "T", "P", "E"];
    let mut n = n;
    let mut at = 0;
    while n >= 1024 && n % 1024 == 0 && at + 1 < suffixes.len() {
        n /= 1024;
        at += 1;
    }
    format!("{n}{}", suffixes[at])
}

fn short_end(bucket: u32) -> String {
    match bucket {
        64.. => "2^64".into(),
        b => short(low(b + 1)),
    }
}

/// A bar in eighths of a cell.
fn bar(eighths: usize) -> String {
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(eighths / 8), parts[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &[u32], count: u64) -> Entry {
        Entry {
            key: key.iter().flat_map(|w| w.to_le_bytes()).collect(),
            value: count.to_le_bytes().to_vec(),
        }
    }

    #[test]
    fn groups_and_buckets() {
        let all = from_entries(&[
            entry(&[3, 5], 2),
            entry(&[3, 7], 8),
            entry(&[4, 0], 1),
            entry(&[4, 9], 0),
        ]);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [Some(3), Some(4)]);
        assert_eq!(all[&Some(3)].pairs(), [(16, 2), (64, 8)]);
        assert_eq!(all[&Some(4)].pairs(), [(0, 1)]);
    }

    #[test]
    fn a_value_can_be_a_whole_histogram() {
        let mut whole = Entry {
            key: 7u32.to_le_bytes().to_vec(),
            value: vec![0; 512],
        };
        whole.value[3 * 8] = 5;
        let empty = Entry {
            key: 8u32.to_le_bytes().to_vec(),
            value: vec![0; 512],
        };
        let all = from_entries(&[whole, empty]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[&Some(7)].pairs(), [(4, 5)]);
        assert!(is_histogram("exit_insns_hist", 4, 512) && !is_histogram("counts", 4, 512));
    }

    #[test]
    fn drawn() {
        let one = &from_entries(&[entry(&[11], 1), entry(&[13], 4)])[&None];
        let text = one.draw("ns");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[1].contains("[1K, 2K)") && lines[1].contains(&"█".repeat(10)),
            "{text}"
        );
        assert!(lines[2].contains("[2K, 4K)") && lines[2].contains(" 0 |"), "{text}");
        assert!(lines[3].contains(&"█".repeat(40)), "{text}");
    }
}
