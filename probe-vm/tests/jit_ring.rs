//! Ring records reserved and ended in place, against the map's own algorithm, word for word.
mod support;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use probe_vm::interp::{Backing, Helpers, MAP_HANDLE, Memory, Size, Space};
use probe_vm::jit::*;
use probe_vm::maps::{Map, MapDef, MapKind as Kind};
use support::proof::{Place, STACK, leak, links, verified};
use support::random::{Rng, slot};
use verifier::env::{Lookup, MapDesc, MapKind};

/// Reservations that are called, not in place: counted, and refused.
#[derive(Default)]
struct Called(u32);

impl<M: Memory> Helpers<M> for Called {
    fn call(&mut self, id: u32, _: [u64; 5], _: &mut M) -> Option<u64> {
        self.0 += 1;
        (id == 131).then_some(0)
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

/// Reserves `len` bytes, stores 7 into the first word, submits (132) or discards (133); r0 is whether there was room.
fn program(len: i32, end: i32) -> Vec<u64> {
    vec![
        slot(0x18, 1, 1, 0, 0),
        0,
        slot(0xb7, 2, 0, 0, len),
        slot(0xb7, 3, 0, 0, 0),
        slot(0x85, 0, 0, 0, 131),
        slot(0x15, 0, 0, 6, 0),
        slot(0x7a, 0, 0, 0, 7),
        slot(0xbf, 1, 0, 0, 0),
        slot(0xb7, 2, 0, 0, 0),
        slot(0x85, 0, 0, 0, end),
        slot(0xb7, 0, 0, 0, 1),
        slot(0x95, 0, 0, 0, 0),
        slot(0xb7, 0, 0, 0, 0),
        slot(0x95, 0, 0, 0, 0),
    ]
}

const RING: MapDesc = MapDesc {
    kind: MapKind::RINGBUF,
    key_bytes: 0,
    value_bytes: 0,
    entries: 4096,
    readable: false,
    writable: false,
    direct_value: false,
    lookup: Lookup::Refused,
};

#[test]
fn records_are_those_of_the_map() {
    let def = MapDef {
        kind: Kind::RingBuf,
        key_bytes: 0,
        value_bytes: 0,
        entries: RING.entries,
        flags: 0,
    };
    const CPUS: u32 = 2;
    let geometry = def.geometry(CPUS).expect("a ring");
    let words: Vec<AtomicU64> = (0..geometry.bytes / 8).map(|_| AtomicU64::new(0)).collect();
    let model = Map::new(&geometry, &words).expect("room");
    let mut space: Space<'static> = Space::new();
    let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
    let ring = space.add(Backing::Bytes(leak(geometry.bytes as usize))).unwrap();
    // This CPU's block: its number is at byte 8.
    let block = space.add(Backing::Bytes(leak(16))).unwrap();
    let map_links = [MapLink {
        handle: MAP_HANDLE,
        values: ring,
        stride: 0,
        cpu_stride: geometry.cpu_stride,
    }];
    let mut called = Called::default();
    let mut rng = Rng(0x6e6f_6d6f_6e00_0007);
    let (mut full, mut wrapped, mut longest) = (0, 0, 0);
    for _ in 0..2000 {
        let cpu = rng.below(u64::from(CPUS)) as u32;
        space.store(block + 8, Size::W, cpu.into()).unwrap();
        let link = CpuLink::PerCpu {
            base: probe_vm::jit::a64::flow::Sys::TpidrEl2,
            id_offset: 8,
        };
        let len = 8 + rng.below(700) as u32;
        let discard = rng.below(4) == 0;
        let place = Place {
            links: links(&map_links, link, Scale::Shift(0)),
            maps: &[RING],
            tpidr: block,
            ticks: 0,
            sp,
            args: [0; 2],
        };
        let text = program(len as i32, 132 + i32::from(discard));
        let ran = verified(&text, &place, 4, &mut space, &mut called).expect("accepted");
        assert_eq!(called.0, 0, "in place");
        let before = model.ring_query(cpu, probe_vm::maps::RingQuery::Produced);
        let data = model.ring_reserve(cpu, len);
        if let Some(at) = data {
            words[at as usize / 8].store(7, Relaxed);
            if discard {
                model.ring_discard(at);
            } else {
                model.ring_submit(at);
            }
            let taken = model.ring_query(cpu, probe_vm::maps::RingQuery::Produced) - before;
            wrapped += u32::from(taken > u64::from(len) + 15);
        }
        full += u32::from(data.is_none());
        assert_eq!(ran.r0, u64::from(data.is_some()));
        assert!(ran.executed <= ran.bound, "{} > {}", ran.executed, ran.bound);
        longest = longest.max(ran.executed);
        for (i, word) in words.iter().enumerate() {
            let mine = space.load(ring + 8 * i as u64, Size::X).unwrap();
            assert_eq!(mine, word.load(Relaxed), "word {i}");
        }
        if rng.below(8) == 0 {
            let mut sink = [0u64; 4096];
            model.ring_read(cpu, &mut sink[..]).expect("room");
            for (i, word) in words.iter().enumerate() {
                space.store(ring + 8 * i as u64, Size::X, word.load(Relaxed)).unwrap();
            }
        }
    }
    assert!(full > 100 && wrapped > 50, "{full} full, {wrapped} wrapped");
    println!("at most {longest} words, {full} times full, {wrapped} times round");
}

/// A record larger than half the ring is the helper's to count.
#[test]
fn records_that_never_fit_are_called() {
    for len in [2041, 4088] {
        let mut space: Space<'static> = Space::new();
        let sp = space.add(Backing::Bytes(leak(STACK))).unwrap() + STACK as u64;
        let map_links = [MapLink {
            handle: MAP_HANDLE,
            values: 0x1000,
            stride: 0,
            cpu_stride: 0,
        }];
        let place = Place {
            links: links(&map_links, CpuLink::Single, Scale::Shift(0)),
            maps: &[RING],
            tpidr: 0,
            ticks: 0,
            sp,
            args: [0; 2],
        };
        let mut called = Called::default();
        let ran = verified(&program(len, 132), &place, 4, &mut space, &mut called).expect("accepted");
        assert_eq!((ran.r0, called.0), (0, 1), "{len}");
    }
}
