use super::*;
use std::string::String;
use std::vec;

#[test]
fn every_point_and_field_is_in_header_and_reference() {
    let (mut header, mut text) = (String::new(), String::new());
    c_header(&mut header, &[("hypercall.info", 0)]).unwrap();
    reference(&mut text).unwrap();
    assert!(header.contains("GNOMON_PATH_HYPERCALL_INFO = 0,"));
    for (point, _) in points() {
        assert!(header.contains(&std::format!("struct gnomon_{} {{", point.name)));
        assert!(text.contains(&std::format!("\n## {}\n", point.name)));
        for field in point.fields {
            assert!(header.contains(&std::format!("{} {};", c_type(field), field.name)));
        }
    }
}

#[test]
fn a_short_buffer_is_refused() {
    let mut out = vec![0; 1 << 14];
    let used = btf(&mut out).unwrap();
    assert_eq!(btf(&mut out[..used]), Ok(used));
    assert_eq!(btf(&mut out[..used - 1]), Err(BtfError::Buffer));
}

/// Reads the blob with nothing but the format's rules and finds every struct as the tables have it.
#[test]
fn btf_says_what_the_tables_say() {
    let mut out = vec![0; 1 << 14];
    let used = btf(&mut out).unwrap();
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    assert_eq!(word(0) & 0xffff, 0xeb9f);
    let (types, strings) = (24 + word(8) as usize, 24 + word(16) as usize);
    assert_eq!(strings + word(20) as usize, used);
    let name = |offset: u32| {
        let text = &out[strings + offset as usize..];
        std::str::from_utf8(&text[..text.iter().position(|b| *b == 0).unwrap()]).unwrap()
    };
    let mut at = types;
    let mut structs = vec![];
    while at - types < word(12) as usize {
        let (kind, count) = (word(at + 4) >> 24, word(at + 4) as usize & 0xffff);
        if kind == 4 {
            let members: vec::Vec<_> = (0..count)
                .map(|i| at + 12 + i * 12)
                .map(|m| (name(word(m)), word(m + 8) / 8))
                .collect();
            structs.push((name(word(at)), word(at + 8), members));
        }
        at += 12
            + match kind {
                1 => 4,
                4 => count * 12,
                6 => count * 8,
                other => panic!("kind {other}"),
            };
    }
    assert_eq!(structs.len(), 1 + POINTS.len());
    let fields = |fields: &'static [Field]| fields.iter().map(|f| (f.name, u32::from(f.offset)));
    assert_eq!(structs[0], ("gnomon_header", 24, fields(&HEADER_FIELDS).collect()));
    for ((name, bytes, members), (point, _)) in structs[1..].iter().zip(points()) {
        assert_eq!(*name, std::format!("gnomon_{}", point.name));
        assert_eq!(*bytes, u32::from(point.bytes));
        let want: vec::Vec<_> = core::iter::once(("header", 0)).chain(fields(point.fields)).collect();
        assert_eq!(*members, want);
    }
}
