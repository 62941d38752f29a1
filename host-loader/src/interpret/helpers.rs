//! The helpers of EL2, for the interpreter.

use std::cell::Cell;

use probe_vm::env::{FORMAT_BYTES_MAX, helper};
use probe_vm::interp::{self, MAP_HANDLE, Memory, Size, Space};
use probe_vm::maps::{Map, MapError, RingQuery, Source, UpdateFlag, record};

use super::{Layout, Maps};

/// The CPU that programs run on.
const CPU: u32 = 0;

/// What helpers answer, and what they logged.
pub(super) struct Answers<'a> {
    maps: &'a Maps,
    layout: &'a Layout,
    clock: &'a Cell<u64>,
    log: Vec<String>,
}

/// Bytes of the program's memory that a helper reads.
struct Passed<'a, 'm>(&'a Space<'m>, u64);

impl Source for Passed<'_, '_> {
    fn word(&self, at: u32, bytes: u32) -> u64 {
        let byte = |i: u32| {
            let addr = self.1.wrapping_add((at + i).into());
            self.0.load(addr, Size::B).unwrap_or(0) << (8 * i)
        };
        (0..bytes.min(8)).map(byte).sum()
    }
}

fn status(result: Result<(), MapError>) -> u64 {
    result.map_or_else(|e| e.errno() as u64, |()| 0)
}

impl<'a> Answers<'a> {
    pub(super) fn new(maps: &'a Maps, layout: &'a Layout, clock: &'a Cell<u64>) -> Answers<'a> {
        Answers {
            maps,
            layout,
            clock,
            log: Vec::new(),
        }
    }

    pub(super) fn into_log(self) -> Vec<String> {
        self.log
    }

    /// The map of a handle, and its address.
    fn map(&self, handle: u64) -> Option<(Map<'a>, u64)> {
        let index = (handle ^ MAP_HANDLE) as usize;
        Some((self.maps.map(index)?, (*self.layout.maps.get(index)?)?))
    }

    /// Clears [`record::BUSY`] of the record whose data is at `data`, and sets `bits`.
    fn finish(data: u64, bits: u64, mem: &mut Space<'_>) -> Option<u64> {
        let at = data.wrapping_sub(record::HEADER_BYTES.into());
        let header = mem.load(at, Size::X)?;
        mem.store(at, Size::X, header & !record::BUSY | bits)?;
        Some(0)
    }

    fn print(&mut self, format: u64, bytes: u64, args: [u64; 3], mem: &Space<'_>) -> u64 {
        let bytes = bytes.min(FORMAT_BYTES_MAX.into()) as u32;
        let all = (0..bytes).map(|i| Passed(mem, format).word(i, 1) as u8);
        let text: Vec<u8> = all.take_while(|b| *b != 0).collect();
        self.log.push(formatted(&String::from_utf8_lossy(&text), args));
        bytes.into()
    }
}

impl<'m> interp::Helpers<Space<'m>> for Answers<'_> {
    fn call(&mut self, id: u32, args: [u64; 5], mem: &mut Space<'m>) -> Option<u64> {
        let [a, b, c, d, e] = args;
        let at = |found: Option<u32>, base: u64| found.map_or(0, |offset| base + u64::from(offset));
        Some(match id {
            helper::MAP_LOOKUP => {
                let (map, base) = self.map(a)?;
                at(map.lookup(CPU, &Passed(mem, b)), base)
            }
            helper::MAP_UPDATE => match UpdateFlag::from_number(d) {
                Some(flag) => status(self.map(a)?.0.update(CPU, &Passed(mem, b), &Passed(mem, c), flag)),
                None => status(Err(MapError::Invalid)),
            },
            helper::MAP_DELETE => status(self.map(a)?.0.delete(&Passed(mem, b))),
            helper::KTIME_GET_NS => self.clock.get(),
            helper::TRACE_PRINTK => self.print(a, b, [c, d, e], mem),
            helper::CPU_ID => CPU.into(),
            helper::RING_OUTPUT => status(self.map(a)?.0.ring_output(CPU, &Passed(mem, b), c as u32)),
            helper::RING_RESERVE => {
                let (map, base) = self.map(a)?;
                at(map.ring_reserve(CPU, b as u32), base)
            }
            helper::RING_SUBMIT => Self::finish(a, 0, mem)?,
            helper::RING_DISCARD => Self::finish(a, record::DISCARDED, mem)?,
            helper::RING_QUERY => {
                let map = self.map(a)?.0;
                RingQuery::from_number(b).map_or(0, |query| map.ring_query(CPU, query))
            }
            _ => return None,
        })
    }

    fn map_value(&self, map: u32, offset: u64) -> Option<u64> {
        let index = map as usize;
        let value = self.maps.map(index)?.geometry().value_at(CPU, 0)?;
        Some((*self.layout.maps.get(index)?)? + u64::from(value) + offset)
    }
}

/// A `bpf_trace_printk` format with its arguments. Of C's conversions those of numbers; lengths say nothing here, as
/// every argument has 64 bits.
fn formatted(format: &str, args: [u64; 3]) -> String {
    let mut args = args.into_iter();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut wide = 0;
        let conversion = chars.by_ref().find(|c| {
            wide += u32::from(*c == 'l');
            !matches!(c, 'l' | 'h' | '0'..='9' | '-' | '#' | '.')
        });
        let narrow = |x: u64| if wide == 0 { x as u32 as u64 } else { x };
        let mut next = || args.next().unwrap_or(0);
        out += &match conversion {
            Some('%') => "%".into(),
            Some('d' | 'i') if wide == 0 => (next() as i32).to_string(),
            Some('d' | 'i') => (next() as i64).to_string(),
            Some('u') => narrow(next()).to_string(),
            Some('x') => format!("{:x}", narrow(next())),
            Some('X') => format!("{:X}", narrow(next())),
            Some('c') => char::from(next() as u8).to_string(),
            Some('p' | 's') => format!("{:#x}", next()),
            Some(other) => format!("%{other}"),
            None => "%".into(),
        };
    }
    out.trim_end_matches('\n').into()
}

#[cfg(test)]
mod tests {
    use super::formatted;

    #[test]
    fn formats() {
        assert_eq!(formatted("a %d of %u\n", [u64::MAX, 7, 0]), "a -1 of 7");
        assert_eq!(formatted("%lld %llx %%", [u64::MAX, 255, 0]), "-1 ff %");
        assert_eq!(formatted("%u %c %s %", [1 << 32, 65, 16]), "0 A 0x10 %");
    }
}
