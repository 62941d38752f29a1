//! Maps are checked against a page dictionary and against a walker written from the Arm ARM's pseudocode, bits by hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::vec::Vec;

use super::*;
use crate::testrng::{Rng, steps};

const GIB: u64 = 1 << 30;
const MIB2: u64 = 2 << 20;

/// Table memory that checks break-before-make and use after free.
struct Mem {
    tables: HashMap<u64, [u64; ENTRIES]>,
    next: u64,
    limit: usize,
    /// Entries made invalid whose invalidation has not been asked for yet.
    stale: BTreeSet<(u64, usize)>,
    invalidations: Vec<(Ipa, u32)>,
}

impl Mem {
    fn new(limit: usize) -> Self {
        Self {
            tables: HashMap::new(),
            next: 0x8000_0000,
            limit,
            stale: BTreeSet::new(),
            invalidations: Vec::new(),
        }
    }
}

impl TableMem for Mem {
    fn alloc(&mut self) -> Option<Pa> {
        if self.tables.len() >= self.limit {
            return None;
        }
        let pa = self.next;
        self.next += 4096;
        self.tables.insert(pa, [0; ENTRIES]);
        Some(Pa(pa))
    }

    fn free(&mut self, table: Pa) {
        let t = self.tables.remove(&table.0).expect("free of a table that is not there");
        assert!(t.iter().all(|d| *d == 0), "a freed table still maps");
    }

    fn read(&self, table: Pa, index: usize) -> u64 {
        self.tables[&table.0][index]
    }

    fn write(&mut self, table: Pa, index: usize, desc: u64) {
        let cell = &mut self
            .tables
            .get_mut(&table.0)
            .expect("write to a table that is not there")[index];
        if *cell & 1 == 1 {
            assert_eq!(desc & 1, 0, "valid to valid: break-before-make is violated");
            self.stale.insert((table.0, index));
        } else if desc & 1 == 1 {
            assert!(
                !self.stale.contains(&(table.0, index)),
                "made valid again before invalidation"
            );
        }
        *cell = desc;
    }

    fn invalidate(&mut self, ipa: Ipa, level: u32) {
        self.stale.clear();
        self.invalidations.push((ipa, level));
    }
}

/// AArch64.S2Walk of the Arm ARM for 4 KiB granule, 39 bits, start level 1: (PA, S2AP, XN, MemAttr, bytes of the entry).
fn reference_walk(mem: &Mem, root: u64, ipa: u64) -> Option<(u64, u64, u64, u64, u64)> {
    if ipa >> 39 != 0 {
        return None;
    }
    let l1 = mem.tables[&root][(ipa >> 30) as usize & 511];
    let (desc, low_bits) = match l1 & 3 {
        1 => (l1, 30),
        3 => {
            let l2 = mem.tables[&(l1 & 0xffff_ffff_f000)][(ipa >> 21) as usize & 511];
            match l2 & 3 {
                1 => (l2, 21),
                3 => {
                    let l3 = mem.tables[&(l2 & 0xffff_ffff_f000)][(ipa >> 12) as usize & 511];
                    if l3 & 3 != 3 {
                        return None;
                    }
                    (l3, 12)
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    assert_eq!(desc >> 10 & 1, 1, "access flag");
    let mask = (1u64 << low_bits) - 1;
    let out = desc & 0xffff_ffff_f000;
    assert_eq!(out & mask, 0, "bits below the block size must be RES0");
    Some((
        out | (ipa & mask),
        desc >> 6 & 3,
        desc >> 53 & 3,
        desc >> 2 & 15,
        mask + 1,
    ))
}

fn expect_bits(prot: Prot) -> (u64, u64, u64) {
    let ap = u64::from(prot.read) | u64::from(prot.write) << 1;
    (
        ap,
        if prot.exec { 0 } else { 2 },
        if prot.mem == MemType::Normal { 15 } else { 1 },
    )
}

#[track_caller]
fn agree(mem: &Mem, s2: &Stage2, model: &BTreeMap<u64, (u64, Prot)>, ipa: u64) {
    let got = s2.walk(mem, Ipa(ipa));
    let bits = reference_walk(mem, s2.root().0, ipa);
    match model.get(&(ipa & !4095)) {
        None => {
            assert_eq!(got, None, "{ipa:#x}");
            assert_eq!(bits, None, "{ipa:#x}");
        }
        Some((pa, prot)) => {
            let pa = pa + (ipa & 4095);
            let m = got.expect("mapped");
            assert_eq!((m.pa, m.prot), (Pa(pa), *prot), "{ipa:#x}");
            let (ap, xn, attr) = expect_bits(*prot);
            assert_eq!(bits, Some((pa, ap, xn, attr, level_bytes(m.level))), "{ipa:#x}");
        }
    }
}

#[test]
fn largest_entries_are_used() {
    let mut mem = Mem::new(16);
    let mut s2 = Stage2::new(&mut mem).unwrap();
    // 4 KiB before a 2 MiB boundary, up to 4 KiB after a 1 GiB one: pages, blocks, a 1 GiB block, a page.
    let start = GIB - MIB2 - 4096;
    let len = 4096 + MIB2 + GIB + 4096;
    s2.map(&mut mem, Ipa(start), Pa(start + 4 * GIB), len, Prot::RAM)
        .unwrap();
    let level = |ipa| s2.walk(&mem, Ipa(ipa)).unwrap().level;
    assert_eq!(level(start), 3);
    assert_eq!(level(GIB - MIB2), 2);
    assert_eq!(level(GIB), 1);
    assert_eq!(level(2 * GIB), 3);
    // PA not congruent with IPA modulo 1 GiB: the block must shrink.
    s2.map(&mut mem, Ipa(8 * GIB), Pa(8 * GIB + MIB2), GIB, Prot::RAM)
        .unwrap();
    assert_eq!(s2.walk(&mem, Ipa(8 * GIB)).unwrap().level, 2);
}

#[test]
fn refusals_leave_no_trace() {
    let mut mem = Mem::new(3);
    let mut s2 = Stage2::new(&mut mem).unwrap();
    let check = |s2: &mut Stage2, mem: &mut Mem, ipa, pa, len, want| {
        let before = mem.tables.clone();
        assert_eq!(s2.map(mem, Ipa(ipa), Pa(pa), len, Prot::RAM), Err(want));
        assert_eq!(mem.tables, before);
    };
    check(&mut s2, &mut mem, 1, 0, 4096, MapError::Misaligned);
    check(&mut s2, &mut mem, 0, 1, 4096, MapError::Misaligned);
    check(&mut s2, &mut mem, 0, 0, 0, MapError::Misaligned);
    check(&mut s2, &mut mem, 0, 0, 4095, MapError::Misaligned);
    check(&mut s2, &mut mem, IPA_END - 4096, 0, 8192, MapError::OutOfRange);
    check(&mut s2, &mut mem, 4096, 0, u64::MAX - 4095, MapError::OutOfRange);
    check(&mut s2, &mut mem, 0, (1 << 48) - 4096, 8192, MapError::OutOfRange);
    // Two tables are enough for one region, not for a range that needs a third and a fourth.
    check(&mut s2, &mut mem, GIB - 4096, 0, 8192, MapError::NoTables);
    s2.map(&mut mem, Ipa(0x2000), Pa(0x9000), 4096, Prot::ROM).unwrap();
    check(&mut s2, &mut mem, 0x1000, 0, 0x3000, MapError::Overlap(Ipa(0x2000)));
    check(&mut s2, &mut mem, 0, 0, MIB2, MapError::Overlap(Ipa(0)));
    assert_eq!(
        s2.unmap(&mut mem, Ipa(0x1000), 8192),
        Err(MapError::NotMapped(Ipa(0x1000)))
    );
    s2.unmap(&mut mem, Ipa(0x2000), 4096).unwrap();
    assert_eq!(mem.tables.len(), 1, "only the root is left");
}

#[test]
fn random_maps_agree_with_an_independent_walk() {
    let mut rng = Rng::new("stage2", 1);
    let prots = [
        Prot::RAM,
        Prot::ROM,
        Prot::DEVICE,
        Prot {
            read: true,
            write: false,
            exec: true,
            mem: MemType::Normal,
        },
    ];
    for _ in 0..steps(60) {
        let mut mem = Mem::new(2 + rng.below(12) as usize);
        let mut s2 = Stage2::new(&mut mem).unwrap();
        let mut model = BTreeMap::new();
        for _ in 0..60 {
            // Around a 1 GiB boundary, in pages; sometimes block-aligned.
            let unit = rng.pick(&[4096, 4096, MIB2]);
            let ipa = GIB - 2 * MIB2 + rng.below(4 * MIB2 / unit) * unit;
            let len = rng.below(if unit == MIB2 { 3 } else { 700 }) * unit;
            if rng.chance(60) {
                let pa = if rng.chance(70) {
                    ipa + GIB
                } else {
                    rng.below(1 << 20) * 4096
                };
                let prot = rng.pick(&prots);
                let free = (ipa..ipa + len).step_by(4096).all(|p| !model.contains_key(&p));
                match s2.map(&mut mem, Ipa(ipa), Pa(pa), len, prot) {
                    Ok(()) => {
                        assert!(free && len > 0);
                        model.extend((0..len).step_by(4096).map(|o| (ipa + o, (pa + o, prot))));
                    }
                    Err(MapError::Overlap(at)) => assert!(!free && at.0 < ipa + len),
                    Err(MapError::NoTables) => assert!(mem.tables.len() + 2 >= mem.limit),
                    Err(e) => assert!(len == 0 && e == MapError::Misaligned),
                }
            } else {
                let whole = (ipa..ipa + len).step_by(4096).all(|p| model.contains_key(&p));
                match s2.unmap(&mut mem, Ipa(ipa), len) {
                    Ok(()) => {
                        assert!(whole && len > 0);
                        model.retain(|p, _| *p < ipa || *p >= ipa + len);
                    }
                    Err(MapError::NotMapped(_)) => assert!(!whole),
                    Err(MapError::NoTables) => assert!(whole && mem.tables.len() == mem.limit),
                    Err(e) => assert!(len == 0 && e == MapError::Misaligned),
                }
            }
            for _ in 0..40 {
                let page = GIB - 3 * MIB2 + rng.below(6 * MIB2);
                agree(&mem, &s2, &model, page);
            }
        }
        for page in (GIB - 3 * MIB2..GIB + 4 * MIB2).step_by(4096) {
            agree(&mem, &s2, &model, page);
        }
        let pages: Vec<u64> = model.keys().copied().collect();
        mem.limit += 8;
        for page in pages {
            s2.unmap(&mut mem, Ipa(page), 4096).unwrap();
        }
        assert_eq!(mem.tables.len(), 1, "every table but the root is given back");
    }
}

#[test]
fn pool_hands_out_each_page_once() {
    static PAGES: PoolPages<5> = PoolPages::new();
    let mut flushed = 0;
    let mut pool = TablePool::new(&PAGES.0, Pa(0x4000_0000), |_, _| flushed += 1);
    let got: BTreeSet<_> = (0..5).map(|_| pool.alloc().unwrap()).collect();
    assert_eq!(got.len(), 5);
    assert_eq!(pool.alloc(), None);
    pool.write(Pa(0x4000_3000), 511, 7);
    assert_eq!(pool.read(Pa(0x4000_3000), 511), 7);
    assert_eq!(pool.read(Pa(0x4000_5000), 0), 0, "outside the pool");
    assert_eq!(pool.read(Pa(0x3fff_f000), 0), 0, "outside the pool");
    pool.free(Pa(0x4000_3000));
    assert_eq!(pool.alloc(), Some(Pa(0x4000_3000)));
    assert_eq!(pool.read(Pa(0x4000_3000), 511), 0, "zeroed again");
    assert_eq!(pool.used(), 5);
    pool.invalidate(Ipa(0), 3);
    drop(pool);
    assert_eq!(flushed, 1);
}

#[test]
fn vtcr_matches_the_manual() {
    // T0SZ = 25, SL0 = 1, IRGN0 = ORGN0 = 1, SH0 = 3, TG0 = 0, PS, bit 31 RES1.
    assert_eq!(vtcr(2), 0x8002_3559);
    assert_eq!(vtcr(6), 0x8005_3559);
}
