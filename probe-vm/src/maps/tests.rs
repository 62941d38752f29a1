use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;

pub(super) struct Memory {
    geo: Geometry,
    words: Vec<AtomicU64>,
}

impl Memory {
    fn new(kind: MapKind, key_bytes: u32, value_bytes: u32, entries: u32, cpus: u32) -> Self {
        let geo = MapDef {
            kind,
            key_bytes,
            value_bytes,
            entries,
            flags: 0,
        }
        .geometry(cpus)
        .unwrap();
        Self {
            geo,
            words: (0..geo.bytes / 8).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn map(&self) -> Map<'_> {
        Map::new(&self.geo, &self.words).unwrap()
    }
}

impl Map<'_> {
    fn value(&self, at: u32) -> Vec<u8> {
        let words: Vec<u8> = (0..self.geo.value_words())
            .flat_map(|i| self.get(at + i * 8, Ordering::Relaxed).to_le_bytes())
            .collect();
        words[..self.geo.def.value_bytes as usize].to_vec()
    }

    /// All entries by cursor: key words, value words.
    fn read_all(&self, mode: ReadMode) -> Vec<(Vec<u64>, Vec<u64>)> {
        let each = self.entry_words(mode) as usize;
        let key_words = if self.geo.def.kind.is_array() {
            1
        } else {
            self.geo.key_words() as usize
        };
        let mut all = vec![];
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let mut sink = vec![0u64; each * 3 + 1];
            let out = self.read(at, mode, &mut sink[..]).unwrap();
            assert_eq!(out.words as usize, out.entries as usize * each);
            for entry in sink[..out.words as usize].chunks(each) {
                all.push((entry[..key_words].to_vec(), entry[key_words..].to_vec()));
            }
            assert!(out.next.is_none_or(|next| next > at), "the cursor goes on");
            cursor = out.next;
        }
        all
    }
}

fn key(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}

#[test]
fn definitions_are_checked() {
    let good = MapDef {
        kind: MapKind::Hash,
        key_bytes: 8,
        value_bytes: 8,
        entries: 10,
        flags: 0,
    };
    let check = |def: MapDef, want| assert_eq!(def.check(), want, "{def:?}");
    check(good, Ok(()));
    check(MapDef { key_bytes: 0, ..good }, Err(DefError::KeyBytes(0)));
    check(MapDef { key_bytes: 65, ..good }, Err(DefError::KeyBytes(65)));
    check(MapDef { value_bytes: 0, ..good }, Err(DefError::ValueBytes(0)));
    check(
        MapDef {
            value_bytes: 1025,
            ..good
        },
        Err(DefError::ValueBytes(1025)),
    );
    check(MapDef { entries: 0, ..good }, Err(DefError::Entries(0)));
    check(MapDef { entries: 65537, ..good }, Err(DefError::Entries(65537)));
    check(MapDef { flags: 2, ..good }, Err(DefError::Flags(2)));
    check(
        MapDef {
            kind: MapKind::Array,
            ..good
        },
        Err(DefError::KeyBytes(8)),
    );
    let section = MapDef {
        kind: MapKind::Array,
        key_bytes: 4,
        value_bytes: 8192,
        entries: 1,
        flags: F_RDONLY_PROG,
    };
    check(section, Ok(()));
    check(MapDef { entries: 2, ..section }, Err(DefError::ValueBytes(8192)));
    let ring = MapDef {
        kind: MapKind::RingBuf,
        key_bytes: 0,
        value_bytes: 0,
        entries: 4096,
        flags: 0,
    };
    check(ring, Ok(()));
    check(MapDef { entries: 5000, ..ring }, Err(DefError::Entries(5000)));
    check(MapDef { key_bytes: 4, ..ring }, Err(DefError::KeyBytes(4)));
    for cpus in [0, 9] {
        assert_eq!(good.geometry(cpus), Err(DefError::Cpus(cpus)));
    }
}

#[test]
fn parts_of_a_map_do_not_overlap() {
    for kind in MapKind::ALL {
        for (key_bytes, value_bytes, entries, cpus) in [(1, 1, 1, 1), (5, 13, 100, 4), (64, 1024, 3, 8)] {
            let (key_bytes, value_bytes, entries) = match kind {
                MapKind::RingBuf => (0, 0, 512),
                _ if kind.is_array() => (4, value_bytes, entries),
                _ => (key_bytes, value_bytes, entries),
            };
            let geo = Memory::new(kind, key_bytes, value_bytes, entries, cpus).geo;
            let mut used = vec![false; geo.bytes as usize];
            let mut claim = |from: u32, bytes: u32| {
                assert_eq!(from % 8, 0);
                for byte in &mut used[from as usize..(from + bytes) as usize] {
                    assert!(!core::mem::replace(byte, true), "{geo:?}: overlap at {from}");
                }
            };
            for cpu in 0..geo.cpus {
                for slot in 0..geo.slots {
                    claim(geo.value_at(cpu, slot).unwrap(), geo.stride);
                }
                assert_eq!(geo.value_at(cpu, geo.slots), None);
            }
            for slot in 0..if kind.is_hash() { geo.slots } else { 0 } {
                claim(geo.slots_at + slot * geo.slot_bytes, geo.slot_bytes);
            }
            assert_eq!(geo.value_at(geo.cpus, 0), None);
        }
    }
}

#[test]
fn array_semantics_are_linux_s() {
    let memory = Memory::new(MapKind::Array, 4, 12, 3, 4);
    let map = memory.map();
    let index = |i: u32| i.to_le_bytes();
    assert_eq!(
        map.update(0, &index(2)[..], &b"hello, world"[..], UpdateFlag::Any),
        Ok(())
    );
    let at = map.lookup(3, &index(2)[..]).unwrap();
    assert_eq!(map.value(at), b"hello, world");
    assert_eq!(map.lookup(0, &index(3)[..]), None);
    assert_eq!(
        map.update(0, &index(3)[..], &[0; 12][..], UpdateFlag::Any),
        Err(MapError::TooBig)
    );
    assert_eq!(
        map.update(0, &index(1)[..], &[0; 12][..], UpdateFlag::NoExist),
        Err(MapError::Exists)
    );
    assert_eq!(map.update(0, &index(1)[..], &[0; 12][..], UpdateFlag::Exist), Ok(()));
    assert_eq!(map.delete(&index(1)[..]), Err(MapError::Invalid));
    let mut sink = [0; 2];
    assert_eq!(
        map.read(0, ReadMode::Folded, &mut sink[..]),
        Err(MapError::NoRoom { words: 3 })
    );
}

#[test]
fn per_cpu_slots_are_apart_and_fold() {
    for kind in [MapKind::PerCpuArray, MapKind::PerCpuHash] {
        let memory = Memory::new(kind, 4, 16, 3, 4);
        let map = memory.map();
        let k = 1u32.to_le_bytes();
        for cpu in 0..4u64 {
            let value: Vec<u8> = [10 + cpu, cpu].iter().flat_map(|w| w.to_le_bytes()).collect();
            map.update(cpu as u32, &k[..], &value[..], UpdateFlag::Any).unwrap();
        }
        let folded = map.read_all(ReadMode::Folded);
        let entry = folded.iter().find(|(k, _)| k[0] == 1).unwrap();
        assert_eq!(entry.1, [46, 6]);
        let each = map.read_all(ReadMode::PerCpu);
        assert_eq!(
            each.iter().find(|(k, _)| k[0] == 1).unwrap().1,
            [10, 0, 11, 1, 12, 2, 13, 3]
        );
        map.update_folded(&k[..], &[5; 16][..], UpdateFlag::Any).unwrap();
        let folded = map.read_all(ReadMode::Folded);
        assert_eq!(
            folded.iter().find(|(k, _)| k[0] == 1).unwrap().1,
            [0x0505_0505_0505_0505; 2]
        );
    }
}

#[test]
fn a_key_new_to_a_per_cpu_hash_is_zero_elsewhere() {
    let memory = Memory::new(MapKind::PerCpuHash, 8, 8, 3, 2);
    let map = memory.map();
    map.update(0, &key(1)[..], &key(7)[..], UpdateFlag::Any).unwrap();
    map.update(1, &key(1)[..], &key(9)[..], UpdateFlag::Any).unwrap();
    map.delete(&key(1)[..]).unwrap();
    map.update(1, &key(2)[..], &key(5)[..], UpdateFlag::Any).unwrap();
    assert_eq!(map.read_all(ReadMode::PerCpu), [(vec![2], vec![0, 5])]);
}

#[test]
fn snapshot_and_clear_takes_everything_once() {
    let memory = Memory::new(MapKind::PerCpuArray, 4, 8, 200, 2);
    let map = memory.map();
    for i in 0..200u32 {
        map.update(i & 1, &i.to_le_bytes()[..], &key(u64::from(i))[..], UpdateFlag::Any)
            .unwrap();
    }
    let sum = |all: &[(Vec<u64>, Vec<u64>)]| all.iter().map(|e| e.1[0]).sum::<u64>();
    assert_eq!(sum(&map.read_all(ReadMode::FoldedClear)), 199 * 200 / 2);
    assert_eq!(sum(&map.read_all(ReadMode::FoldedClear)), 0);
    let hash = Memory::new(MapKind::Hash, 8, 8, 2, 1);
    assert_eq!(
        hash.map().read(0, ReadMode::FoldedClear, &mut [0; 64][..]),
        Err(MapError::Invalid)
    );
}

#[test]
fn clear_is_in_bounded_steps() {
    for kind in [MapKind::PerCpuArray, MapKind::PerCpuHash] {
        let memory = Memory::new(kind, 4, 1024, 300, 8);
        let map = memory.map();
        for i in 0..300u32 {
            map.update(3, &i.to_le_bytes()[..], &[1; 1024][..], UpdateFlag::Any)
                .unwrap();
        }
        let (mut cursor, mut steps) = (Some(0), 0);
        while let Some(at) = cursor {
            cursor = map.clear(at).unwrap();
            steps += 1;
        }
        assert!(steps >= 300 / READ_SLOTS_MAX, "{steps}");
        assert!(
            map.read_all(ReadMode::Folded)
                .iter()
                .all(|(_, v)| v.iter().all(|w| *w == 0))
        );
        assert_eq!(map.hash_count(), 0);
    }
}

/// With two choices and the emptier one taken, maps take all the entries they promise: every size up to 600 and some
/// large ones, keys in sequence, with a stride, and at random.
#[test]
fn hashes_fill_to_their_capacity() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut sizes: Vec<u32> = (1..600).collect();
    sizes.extend([1000, 1024, 4096, 10_000, 65_536]);
    for entries in sizes {
        for pattern in 0..3 {
            let memory = Memory::new(MapKind::Hash, 8, 8, entries, 1);
            let map = memory.map();
            for i in 0..u64::from(entries) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let k = [i, i << 21, seed][pattern];
                let result = map.update(0, &key(k)[..], &key(i)[..], UpdateFlag::NoExist);
                assert_eq!(result, Ok(()), "entry {i} of {entries}, pattern {pattern}");
            }
            let extra = map.update(0, &key(u64::MAX - 1)[..], &key(0)[..], UpdateFlag::Any);
            assert_eq!(extra, Err(MapError::TooBig));
        }
    }
}

#[test]
fn a_busy_hash_says_so() {
    let memory = Memory::new(MapKind::Hash, 8, 8, 4, 1);
    let map = memory.map();
    map.lock().unwrap();
    assert_eq!(
        map.update(0, &key(1)[..], &key(1)[..], UpdateFlag::Any),
        Err(MapError::Busy)
    );
    assert_eq!(map.delete(&key(1)[..]), Err(MapError::Busy));
    assert_eq!(map.clear(0), Err(MapError::Busy));
    map.unlock();
    assert_eq!(map.update(0, &key(1)[..], &key(1)[..], UpdateFlag::Any), Ok(()));
}

#[test]
fn initial_contents() {
    let memory = Memory::new(MapKind::Array, 4, 11, 1, 1);
    memory.map().initialise(b"hello world");
    assert_eq!(memory.map().value(memory.geo.values_at), b"hello world");
}

#[derive(Clone, Debug)]
enum Op {
    Update(u8, u8, u8),
    Delete(u8),
    Lookup(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (any::<u8>(), any::<u8>(), 0..3u8).prop_map(|(k, v, f)| Op::Update(k % 24, v, f)),
        any::<u8>().prop_map(|k| Op::Delete(k % 24)),
        any::<u8>().prop_map(|k| Op::Lookup(k % 24)),
    ];
    prop::collection::vec(op, 1..200)
}

proptest! {
    /// A hash of 16 entries against a `BTreeMap`, results and errors.
    #[test]
    fn hash_is_a_map(ops in ops(), key_bytes in 1..20u32) {
        let memory = Memory::new(MapKind::Hash, key_bytes, 3, 16, 1);
        let map = memory.map();
        let wide = |k: u8| -> Vec<u8> { (0..key_bytes as u8).map(|i| if i == 0 { k } else { k ^ 0x5a }).collect() };
        let mut model = BTreeMap::new();
        for op in ops {
            match op {
                Op::Update(k, v, f) => {
                    let want = match (model.contains_key(&k), f) {
                        (true, 1) => Err(MapError::Exists),
                        (false, 2) => Err(MapError::NoEntry),
                        (false, _) if model.len() == 16 => Err(MapError::TooBig),
                        _ => { model.insert(k, v); Ok(()) }
                    };
                    let flag = UpdateFlag::from_number(f.into()).unwrap();
                    prop_assert_eq!(map.update(0, &wide(k)[..], &[v, v, v][..], flag), want);
                }
                Op::Delete(k) => {
                    let want = model.remove(&k).map(|_| ()).ok_or(MapError::NoEntry);
                    prop_assert_eq!(map.delete(&wide(k)[..]), want);
                }
                Op::Lookup(k) => {
                    let got = map.lookup(0, &wide(k)[..]).map(|at| map.value(at)[1]);
                    prop_assert_eq!(got, model.get(&k).copied());
                }
            }
            prop_assert_eq!(map.hash_count() as usize, model.len());
        }
        let mut all: Vec<(u8, u8)> =
            map.read_all(ReadMode::Folded).iter().map(|(k, v)| (k[0] as u8, v[0] as u8)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }

    /// A ring of 256 bytes against a queue: order, contents, discards, losses.
    #[test]
    fn ring_is_a_queue(steps in prop::collection::vec((0..4u8, 0..140u32), 1..200)) {
        let memory = Memory::new(MapKind::RingBuf, 0, 0, 256, 2);
        let map = memory.map();
        let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut lost, mut reported) = (0u64, 0u64);
        for (n, (what, len)) in steps.into_iter().enumerate() {
            let data: Vec<u8> = (0..len).map(|i| (i as usize ^ n) as u8).collect();
            match what {
                0 => match map.ring_output(1, &data[..], len) {
                    Ok(()) => queue.push_back(data),
                    Err(e) => { prop_assert_eq!(e, MapError::TooBig); lost += 1; }
                },
                1 => match map.ring_reserve(1, len) {
                    Some(at) => map.ring_discard(at),
                    None => lost += 1,
                },
                _ => {
                    let mut sink = [0; 20];
                    match map.ring_read(1, &mut sink[..]) {
                        Ok(out) => {
                            reported += out.lost;
                            let mut at = 0;
                            for _ in 0..out.records {
                                let want = queue.pop_front().unwrap();
                                prop_assert_eq!(sink[at] as usize, want.len());
                                for (i, part) in want.chunks(8).enumerate() {
                                    prop_assert_eq!(sink[at + 1 + i], part.word(0, 8));
                                }
                                at += 1 + want.len().div_ceil(8);
                            }
                            prop_assert_eq!(at, out.words as usize);
                            // Everything that is left did not fit.
                            if let Some(next) = queue.front() {
                                prop_assert!(at + 1 + next.len().div_ceil(8) > sink.len());
                            }
                        }
                        Err(e) => prop_assert_eq!(e, MapError::NoRoom { words: 0 }, "records are at most 120 bytes"),
                    }
                }
            }
            prop_assert!(map.ring_query(1, RingQuery::Available) <= 256);
        }
        let mut sink = [0; 64];
        reported += map.ring_read(1, &mut sink[..]).unwrap().lost;
        prop_assert_eq!(reported, lost);
        prop_assert_eq!(map.ring_query(0, RingQuery::Produced), 0, "the other CPU's ring is untouched");
    }
}

#[test]
fn a_ring_with_room_takes_any_record_up_to_half_of_it() {
    let memory = Memory::new(MapKind::RingBuf, 0, 0, 256, 1);
    let map = memory.map();
    for len in (0..=120).chain((0..=120).rev()) {
        let at = map.ring_reserve(0, len).expect("room");
        map.ring_submit(at);
        let out = map.ring_read(0, &mut [0; 32][..]).unwrap();
        assert_eq!((out.records, out.lost, out.more), (1, 0, false));
    }
    assert_eq!(map.ring_reserve(0, 121), None);
}

#[test]
fn a_reserved_record_holds_the_reader_back() {
    let memory = Memory::new(MapKind::RingBuf, 0, 0, 256, 1);
    let map = memory.map();
    let first = map.ring_reserve(0, 8).unwrap();
    map.ring_output(0, &key(2)[..], 8).unwrap();
    let mut sink = [0; 8];
    let out = map.ring_read(0, &mut sink[..]).unwrap();
    assert_eq!((out.records, out.more), (0, true));
    map.ring_submit(first);
    assert_eq!(map.ring_read(0, &mut sink[..]).unwrap().records, 2);
    assert_eq!(sink[..4], [8, 0, 8, 2]);
}
