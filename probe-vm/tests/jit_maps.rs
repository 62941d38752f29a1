//! Lookups in arrays, time and CPU number, emitted in place, against an independent computation.
mod support;

use probe_vm::interp::{self, Backing, Code, Helpers, Insn as Decoded, MAP_HANDLE, Memory, Size, Space, Start};
use probe_vm::jit::a64::flow::Sys;
use probe_vm::jit::*;
use support::proof::{Place, STACK, leak, links, verified};
use support::random::slot;
use verifier::env::{Lookup, MapDesc, MapKind};

/// The array lookup of Linux, computed apart from the compiler.
struct ArrayHelpers<'a> {
    maps: &'a [(MapDesc, MapLink)],
    cpu: u64,
    time: u64,
}

impl<M: Memory> Helpers<M> for ArrayHelpers<'_> {
    fn call(&mut self, id: u32, args: [u64; 5], mem: &mut M) -> Option<u64> {
        match id {
            1 => {
                let (desc, link) = self.maps.get(args[0].checked_sub(MAP_HANDLE)? as usize)?;
                let key = mem.load(args[1], Size::W)?;
                let element = link.values + self.cpu * link.cpu_stride as u64 + key * link.stride as u64;
                Some(if key < desc.entries as u64 { element } else { 0 })
            }
            5 => Some(self.time),
            8 => Some(self.cpu),
            _ => None,
        }
    }
    fn map_value(&self, map: u32, offset: u64) -> Option<u64> {
        Some(self.maps.get(map as usize)?.1.values + offset)
    }
}

fn array(kind: MapKind, value: u32, entries: u32) -> MapDesc {
    let direct_value = kind == MapKind::ARRAY;
    let (readable, writable) = (true, true);
    MapDesc {
        kind,
        key_bytes: 4,
        value_bytes: value,
        entries,
        readable,
        writable,
        direct_value,
        lookup: Lookup::Value,
    }
}

/// How the key gets to the call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Stored from r1, which the map's `lddw` then overwrites.
    Plain,
    /// The map reaches the call through another register: no inlining.
    Hoisted,
    /// A constant.
    Constant(i32),
    /// The low half of a register with more in the upper half.
    Wide,
    /// In r0.
    R0,
    /// r1 is the map twice, and read between: the first is emitted, over the key.
    Twice,
    /// Stored again, by another pointer, after the key's store.
    Overwritten,
    /// The register changes after the store.
    Changed,
}

/// Makes r2 the key's address and r1 the map.
const ADDRESS: [u64; 4] = [
    slot(0xbf, 2, 10, 0, 0),
    slot(0x07, 2, 0, 0, -4),
    slot(0x18, 1, 1, 0, 0),
    0,
];

/// Counts in map 0 at key `*(u32 *)r1` and mixes time and CPU number in.
fn counting(shape: Shape) -> Vec<u64> {
    let store = |reg: u8| slot(0x63, 10, reg, -4, 0);
    let load = slot(0x61, 1, 1, 0, 0);
    let mut p = match shape {
        Shape::Plain => vec![load, store(1)],
        Shape::Hoisted => {
            let mut p = vec![load, store(1), ADDRESS[0], ADDRESS[1]];
            p.extend([slot(0x18, 6, 1, 0, 0), 0, slot(0xbf, 1, 6, 0, 0)]);
            p
        }
        Shape::Constant(key) => vec![slot(0x62, 10, 0, -4, key)],
        Shape::Wide => vec![
            slot(0x61, 7, 1, 0, 0),
            slot(0x18, 8, 0, 0, 0),
            slot(0, 0, 0, 0, 0x1234_5678),
            slot(0x4f, 7, 8, 0, 0),
            store(7),
        ],
        Shape::R0 => vec![
            slot(0x61, 0, 1, 0, 0),
            slot(0x18, 8, 0, 0, 0),
            slot(0, 0, 0, 0, 0x1234_5678),
            slot(0x4f, 0, 8, 0, 0),
            store(0),
        ],
        Shape::Twice => vec![load, store(1), ADDRESS[2], 0, slot(0xbf, 3, 1, 0, 0)],
        Shape::Overwritten => {
            vec![
                load,
                slot(0xb7, 4, 0, 0, 1),
                store(4),
                slot(0xbf, 3, 10, 0, 0),
                slot(0x63, 3, 1, -4, 0),
            ]
        }
        Shape::Changed => vec![slot(0x61, 7, 1, 0, 0), store(7), slot(0x07, 7, 0, 0, 1)],
    };
    if shape != Shape::Hoisted {
        p.extend(ADDRESS);
    }
    p.extend([
        slot(0x85, 0, 0, 0, 1),
        slot(0x55, 0, 0, 2, 0),
        slot(0xb7, 0, 0, 0, 1),
        slot(0x95, 0, 0, 0, 0),
        slot(0xb7, 1, 0, 0, 5),
        slot(0xdb, 0, 1, 0, 0),
        slot(0x79, 7, 0, 0, 0),
        slot(0x85, 0, 0, 0, 8),
        slot(0x67, 0, 0, 0, 8),
        slot(0x0f, 7, 0, 0, 0),
        slot(0x85, 0, 0, 0, 5),
        slot(0x0f, 0, 7, 0, 0),
        slot(0x95, 0, 0, 0, 0),
    ]);
    p
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    kind: MapKind,
    value: u32,
    entries: u32,
    key: u32,
    cpu: u32,
    scale: Scale,
    shape: Shape,
}

fn check_counting(s: Setting) -> u64 {
    let percpu = s.kind == MapKind::PERCPU_ARRAY;
    let stride = s.value.next_multiple_of(8);
    let cpu_stride = if percpu {
        (stride * s.entries).next_multiple_of(64)
    } else {
        0
    };
    let desc = array(s.kind, s.value, s.entries);
    let (ticks, ns) = match s.scale {
        Scale::Shift(n) => (1000u64, 1000 << n),
        Scale::MulShift { mult, shift } => (1 << 60, ((1u128 << 60) * mult as u128 >> shift) as u64),
    };
    let text = counting(s.shape);
    let mut results = Vec::new();
    let mut ran_words = 0;
    for compiled in [false, true] {
        let mut space: Space<'static> = Space::new();
        let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
        let r1 = space.add(Backing::Bytes(s.key.to_le_bytes().to_vec().leak())).unwrap();
        let bytes = (stride * s.entries + 3 * cpu_stride) as usize;
        let values = space.add(Backing::Bytes(leak(bytes))).unwrap();
        let block = space.add(Backing::Bytes(leak(64))).unwrap();
        space.store(block + 8, Size::W, s.cpu as u64).unwrap();
        let link = MapLink {
            handle: MAP_HANDLE,
            values,
            stride,
            cpu_stride,
        };
        let (descs, map_links) = ([desc], [link]);
        let pairs = [(desc, link)];
        let mut helpers = ArrayHelpers {
            maps: &pairs,
            cpu: s.cpu as u64,
            time: ns,
        };
        let r0 = if compiled {
            let cpu = CpuLink::PerCpu {
                base: Sys::TpidrEl2,
                id_offset: 8,
            };
            let links = links(&map_links, cpu, s.scale);
            let place = Place {
                links,
                maps: &descs,
                tpidr: block,
                ticks,
                sp,
                args: [r1, 4],
            };
            let ran = verified(&text, &place, 4, &mut space, &mut helpers).expect("accepted");
            assert!(ran.executed <= ran.bound);
            ran_words = ran.executed;
            ran.r0
        } else {
            let mut buffer = vec![Decoded::EMPTY; text.len()];
            let code = Code::new(&text, &mut buffer).unwrap();
            let start = Start {
                args: [r1, 4],
                stack_top: sp,
                fuel: 1000,
            };
            interp::run(code, start, &mut space, &mut helpers, &mut ()).unwrap().r0
        };
        let contents: Vec<u64> = (0..bytes as u64 / 8)
            .map(|i| space.load(values + 8 * i, Size::X).unwrap())
            .collect();
        results.push((r0, contents));
    }
    assert_eq!(
        results[0], results[1],
        "key {} cpu {} {:?} of {desc:?}",
        s.key, s.cpu, s.shape
    );
    let key = if let Shape::Constant(key) = s.shape {
        key as u32
    } else {
        s.key
    };
    let counted = results[1].1.iter().sum::<u64>();
    assert_eq!(counted, if key < s.entries { 5 } else { 0 });
    ran_words
}

const SHAPES: [Shape; 8] = [
    Shape::Plain,
    Shape::Hoisted,
    Shape::Constant(0),
    Shape::Wide,
    Shape::R0,
    Shape::Twice,
    Shape::Overwritten,
    Shape::Changed,
];

#[test]
fn lookups_in_place_equal_linux() {
    for kind in [MapKind::ARRAY, MapKind::PERCPU_ARRAY] {
        for (value, entries) in [(8, 5), (20, 3), (64, 256), (8, 5000), (16, 4)] {
            for key in [0, entries - 1, entries, u32::MAX] {
                for cpu in [0, 3] {
                    for shape in SHAPES {
                        let shape = if shape == Shape::Constant(0) {
                            Shape::Constant(key as i32)
                        } else {
                            shape
                        };
                        let scale = if cpu == 0 {
                            Scale::Shift(4)
                        } else {
                            Scale::MulShift {
                                mult: 0xd5_5555,
                                shift: 19,
                            }
                        };
                        check_counting(Setting {
                            kind,
                            value,
                            entries,
                            key,
                            cpu,
                            scale,
                            shape,
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn lookups_in_place_are_short() {
    let setting = Setting {
        kind: MapKind::ARRAY,
        value: 8,
        entries: 16,
        key: 3,
        cpu: 0,
        scale: Scale::Shift(4),
        shape: Shape::Plain,
    };
    // Load, store; lookup 4, test, count 2, load; CPU 2, shift, add; time 3 with ISB, add; leave 1, frame 2.
    let words = check_counting(setting);
    assert!(words <= 21, "{words} words");
    let constant = check_counting(Setting {
        shape: Shape::Constant(3),
        ..setting
    });
    assert!(constant <= 19, "{constant} words");
}
