//! Slots and rings under every interleaving of two CPUs, at small size, by loom.

use super::*;
use loom::sync::Arc;
use loom::thread;
use std::vec::Vec;

/// A word of loom's. Loom remembers only the last access of a word when it looks for races, so a thread's own load just
/// before its store hides another thread's load; every access therefore also touches `turn` by a relaxed
/// read-modify-write, which orders nothing but is never hidden.
struct LoomWord {
    value: loom::sync::atomic::AtomicU64,
    turn: loom::sync::atomic::AtomicU64,
}

impl LoomWord {
    fn zero() -> Self {
        Self {
            value: loom::sync::atomic::AtomicU64::new(0),
            turn: loom::sync::atomic::AtomicU64::new(0),
        }
    }

    fn touch(&self) -> &loom::sync::atomic::AtomicU64 {
        self.turn.fetch_add(1, Ordering::Relaxed);
        &self.value
    }
}

impl Word for LoomWord {
    fn load(&self, order: Ordering) -> u64 {
        self.touch().load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.touch().store(value, order);
    }
    fn swap(&self, value: u64) -> u64 {
        self.value.swap(value, Ordering::AcqRel)
    }
    fn take(&self, old: u64, new: u64) -> bool {
        self.value
            .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

struct Memory {
    geo: Geometry,
    words: Vec<LoomWord>,
}

impl Memory {
    fn new(def: MapDef, cpus: u32) -> Arc<Self> {
        let geo = def.geometry(cpus).unwrap();
        let words = (0..geo.bytes / 8).map(|_| LoomWord::zero()).collect();
        Arc::new(Self { geo, words })
    }

    fn map(&self) -> Map<'_, LoomWord> {
        Map::new(&self.geo, &self.words).unwrap()
    }
}

/// Few preemptions find the bugs there are here; all of them would take hours.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        f();
    });
    assert!(runs.load(Ordering::Relaxed) > 4, "loom saw no races: {runs:?}");
}

const TINY_HASH: MapDef = MapDef {
    kind: MapKind::Hash,
    key_bytes: 16,
    value_bytes: 8,
    entries: 1,
    flags: 0,
};

fn wide(a: u64, b: u64) -> Vec<u8> {
    [a, b].iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// While one CPU replaces key (1, 1) by (2, 2) in the same slot, another never finds the mixture (1, 2).
#[test]
fn a_lookup_never_finds_a_mixed_key() {
    model(|| {
        let memory = Memory::new(TINY_HASH, 1);
        memory
            .map()
            .update(0, &wide(1, 1)[..], &[1; 8][..], UpdateFlag::Any)
            .unwrap();
        let writer = {
            let memory = memory.clone();
            thread::spawn(move || {
                let map = memory.map();
                map.delete(&wide(1, 1)[..]).unwrap();
                map.update(0, &wide(2, 2)[..], &[2; 8][..], UpdateFlag::NoExist)
                    .unwrap();
            })
        };
        assert_eq!(memory.map().lookup(0, &wide(1, 2)[..]), None);
        assert_eq!(memory.map().lookup(0, &wide(2, 1)[..]), None);
        writer.join().unwrap();
        assert!(memory.map().lookup(0, &wide(2, 2)[..]).is_some());
    });
}

/// Two CPUs that create the same key make one entry, or one of them is told that the map is busy.
#[test]
fn a_key_is_inserted_once() {
    model(|| {
        let memory = Memory::new(
            MapDef {
                entries: 2,
                ..TINY_HASH
            },
            1,
        );
        let insert = |memory: &Memory| {
            memory
                .map()
                .update(0, &wide(1, 1)[..], &[1; 8][..], UpdateFlag::NoExist)
        };
        let other = {
            let memory = memory.clone();
            thread::spawn(move || insert(&memory))
        };
        let mine = insert(&memory);
        let theirs = other.join().unwrap();
        assert_eq!(
            [mine, theirs].iter().filter(|r| r.is_ok()).count(),
            1,
            "{mine:?} {theirs:?}"
        );
        assert_eq!(memory.map().hash_count(), 1);
    });
}

/// A reader on another CPU takes records whole, in order, and none twice; what it does not get was counted as lost.
#[test]
fn a_ring_is_read_while_it_is_written() {
    model(|| {
        let ring = MapDef {
            kind: MapKind::RingBuf,
            key_bytes: 0,
            value_bytes: 0,
            entries: 256,
            flags: 0,
        };
        let memory = Memory::new(ring, 1);
        let producer = {
            let memory = memory.clone();
            thread::spawn(move || {
                let map = memory.map();
                (1..=2u64)
                    .filter(|n| map.ring_output(0, &[*n as u8; 16][..], 16).is_ok())
                    .count()
            })
        };
        let mut seen = Vec::new();
        let mut lost = 0;
        let mut take = || {
            let mut sink = [0; 48];
            let out = memory.map().ring_read(0, &mut sink[..]).unwrap();
            for record in sink[..out.words as usize].chunks(3) {
                assert_eq!(record[0], 16);
                assert!((1..=2).contains(&(record[1] as u8)), "data not yet written");
                assert!(record[1..].iter().all(|w| *w == record[1]), "a torn record");
                seen.push(record[1] as u8);
            }
            lost += out.lost;
        };
        take();
        let written = producer.join().unwrap();
        take();
        assert_eq!(seen.len(), written);
        assert!(seen.is_sorted());
        assert_eq!(lost as usize, 2 - written);
    });
}

/// A sum that is read and cleared while a CPU adds to it: each addition is in exactly one snapshot.
#[test]
fn a_snapshot_splits_a_count() {
    model(|| {
        let array = MapDef {
            kind: MapKind::Array,
            key_bytes: 4,
            value_bytes: 8,
            entries: 1,
            flags: 0,
        };
        let memory = Memory::new(array, 1);
        let adder = {
            let memory = memory.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    memory.words[memory.geo.values_at as usize / 8]
                        .value
                        .fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let mut sink = [0; 2];
        memory.map().read(0, ReadMode::FoldedClear, &mut sink[..]).unwrap();
        let first = sink[1];
        adder.join().unwrap();
        memory.map().read(0, ReadMode::FoldedClear, &mut sink[..]).unwrap();
        assert_eq!(first + sink[1], 2);
    });
}
