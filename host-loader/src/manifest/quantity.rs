//! Sizes and times as people write them: `"16M"`, `"250us"`; a bare number is bytes (addresses, sizes).

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Bytes, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A time, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanoseconds(pub u64);

const BYTE_UNITS: &[(&str, u64)] = &[("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("", 1)];
const TIME_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
];

/// The number before the first unit that the text ends with, times that unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let digits = digits.trim().replace('_', "");
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(*factor)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match BYTE_UNITS
            .iter()
            .rev()
            .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor) && *factor > 1)
        {
            Some((unit, factor)) => write!(f, "{}{unit}", bytes / factor),
            None => write!(f, "{bytes}"),
        }
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes such as 0x4000_0000 or \"16M\" (units K, M, G)")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Bytes, E> {
        u64::try_from(value)
            .map(Bytes)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Bytes, E> {
        Ok(Bytes(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Bytes, E> {
        quantity(value, BYTE_UNITS)
            .map(Bytes)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Nanoseconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit such as \"1ms\" (units ns, us, ms, s)")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Nanoseconds, E> {
        quantity(value, TIME_UNITS)
            .map(Nanoseconds)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Nanoseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTE_UNITS, Bytes, TIME_UNITS, quantity};

    #[test]
    fn units_multiply() {
        for (text, bytes) in [("16M", 16 << 20), ("0x10K", 16 << 10), ("4_096", 4096), ("1G", 1 << 30)] {
            assert_eq!(quantity(text, BYTE_UNITS), Some(bytes), "{text}");
        }
        for (text, ns) in [
            ("1ms", 1_000_000),
            ("250us", 250_000),
            ("3 s", 3_000_000_000),
            ("7ns", 7),
        ] {
            assert_eq!(quantity(text, TIME_UNITS), Some(ns), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "M", "-1M", "1.5G", "16MB", "18446744073709551615K", "0xG"] {
            assert_eq!(quantity(text, BYTE_UNITS), None, "{text}");
        }
        assert_eq!(quantity("5", TIME_UNITS), None, "a time without a unit");
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        for (bytes, text) in [
            (16 << 20, "16M"),
            (1536 << 20, "1536M"),
            (1 << 30, "1G"),
            (4097, "4097"),
            (0, "0"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
