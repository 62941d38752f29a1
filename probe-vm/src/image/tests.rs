use super::limits::*;
use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn counter_map() -> MapDef {
    MapDef {
        kind: MapKind::PerCpuArray,
        key_bytes: 4,
        value_bytes: 8,
        entries: 33,
        flags: 0,
    }
}

fn rodata(bytes: u32) -> MapDef {
    MapDef {
        kind: MapKind::Array,
        key_bytes: 4,
        value_bytes: bytes,
        entries: 1,
        flags: crate::maps::F_RDONLY_PROG,
    }
}

fn sample(insns: &[[u8; 8]]) -> Vec<u8> {
    let name = |s| Name::new(s).unwrap();
    let maps = [
        MapSpec {
            def: counter_map(),
            share: 7,
            data: &[],
            name: name("counts"),
        },
        MapSpec {
            def: rodata(11),
            share: 0,
            data: b"hello world",
            name: name(".rodata"),
        },
    ];
    let spec = ProgramSpec {
        name: name("exits"),
        point: name("vm_entry"),
        maps: &maps,
        funcs: &[0, 1],
        insns,
    };
    let mut out = vec![0xaa; IMAGE_BYTES_MAX];
    let used = encode(&spec, &mut out).unwrap();
    assert_eq!(used, spec.image_bytes());
    out.truncate(used);
    out
}

#[test]
fn what_is_encoded_is_parsed() {
    let bytes = sample(&[EXIT, EXIT]);
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.name().as_str(), "exits");
    assert_eq!(image.point().as_str(), "vm_entry");
    assert_eq!(image.insns(), [EXIT, EXIT]);
    assert_eq!(image.funcs().collect::<Vec<_>>(), [0, 1]);
    let maps: Vec<_> = image.maps().collect();
    assert_eq!(maps.len(), 2);
    assert_eq!((maps[0].def, maps[0].share, maps[0].data), (counter_map(), 7, &[][..]));
    assert_eq!((maps[1].def, maps[1].data), (rodata(11), &b"hello world"[..]));
    assert_eq!(maps[1].name.as_str(), ".rodata");
    assert_eq!(image.map(2), None);
}

#[test]
fn each_fault_is_named() {
    let good = sample(&[EXIT, EXIT]);
    let funcs_at = HEADER_BYTES + 2 * MAP_BYTES;
    let check = |at: usize, bytes: &[u8], want: ImageError| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(Image::parse(&bad).unwrap_err(), want, "bytes at {at}");
    };
    check(0, b"ELF!", ImageError::Magic(u32::from_le_bytes(*b"ELF!")));
    check(at::VERSION, &[9], ImageError::Version(9));
    check(at::RESERVED, &[1], ImageError::Reserved(1));
    let count = |what, given, max: usize| ImageError::Count {
        what,
        given,
        max: max as u32,
    };
    check(at::INSNS, &[0; 4], count(Counted::Insns, 0, INSNS_MAX));
    check(at::INSNS, &[0xff; 4], count(Counted::Insns, u32::MAX, INSNS_MAX));
    check(at::MAPS, &[17], count(Counted::Maps, 17, MAPS_MAX));
    check(at::FUNCS, &[0], count(Counted::Funcs, 0, FUNCS_MAX));
    check(
        at::DATA_BYTES,
        &[0xff; 2],
        count(Counted::DataBytes, 0xffff, DATA_BYTES_MAX),
    );
    check(
        at::INSNS,
        &[3],
        ImageError::Truncated {
            needed: good.len() + 8,
            given: good.len(),
        },
    );
    check(
        at::INSNS,
        &[1],
        ImageError::TrailingBytes {
            claimed: good.len() - 8,
            given: good.len(),
        },
    );
    check(at::NAME, &[0], ImageError::Name(Named::Program));
    check(at::POINT + 8, b"x\x01", ImageError::Name(Named::Point));
    check(HEADER_BYTES + map_at::NAME, &[0x80], ImageError::Name(Named::Map(0)));
    check(funcs_at, &[1], ImageError::Func { index: 0, pc: 1 });
    check(funcs_at + 4, &[0], ImageError::Func { index: 1, pc: 0 });
    check(funcs_at + 4, &[2], ImageError::Func { index: 1, pc: 2 });
    check(
        HEADER_BYTES,
        &[99],
        ImageError::Map {
            index: 0,
            why: DefError::Kind(99),
        },
    );
    check(
        HEADER_BYTES + map_at::KEY_BYTES,
        &[8],
        ImageError::Map {
            index: 0,
            why: DefError::KeyBytes(8),
        },
    );
    let second = HEADER_BYTES + MAP_BYTES;
    check(second + map_at::DATA_AT, &[0xff; 4], ImageError::MapData { index: 1 });
    check(second + map_at::DATA_BYTES, &[12], ImageError::MapData { index: 1 });
    let first_data = HEADER_BYTES + map_at::DATA_BYTES;
    check(first_data, &[4], ImageError::MapData { index: 0 });
}

#[test]
fn every_prefix_is_refused() {
    let good = sample(&[EXIT, EXIT]);
    for len in 0..good.len() {
        assert!(Image::parse(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn names() {
    assert_eq!(Name::new("x".repeat(31).as_str()).unwrap().as_str(), "x".repeat(31));
    for bad in ["", "a b", "ä", "x".repeat(32).as_str(), "a\0b"] {
        assert_eq!(Name::new(bad), None, "{bad:?}");
    }
}

#[test]
fn encoder_refuses_what_el2_would() {
    let name = Name::new("p").unwrap();
    let mut out = vec![0; IMAGE_BYTES_MAX];
    let spec = ProgramSpec {
        name,
        point: name,
        maps: &[],
        funcs: &[0],
        insns: &[],
    };
    assert!(matches!(
        encode(&spec, &mut out),
        Err(EncodeError::Image(ImageError::Count { .. }))
    ));
    let insns = vec![EXIT; INSNS_MAX + 1];
    assert!(matches!(
        encode(&ProgramSpec { insns: &insns, ..spec }, &mut out),
        Err(EncodeError::Image(ImageError::Count {
            what: Counted::Insns,
            ..
        }))
    ));
    let spec = ProgramSpec { insns: &[EXIT], ..spec };
    assert_eq!(
        encode(&spec, &mut [0; 8]),
        Err(EncodeError::Buffer {
            needed: spec.image_bytes()
        })
    );
}

proptest! {
    #[test]
    fn parse_is_total(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Image::parse(&bytes);
    }

    /// Damaged images reach deeper than random bytes do.
    #[test]
    fn parse_survives_damage(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = sample(&[EXIT, EXIT]);
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(image) = Image::parse(&bytes) {
            prop_assert_eq!(image.maps().count(), image.map_count());
            prop_assert!(image.funcs().all(|pc| (pc as usize) < image.insns().len()));
        }
    }
}
