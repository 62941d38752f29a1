use super::*;

#[test]
fn numbers_names_and_fields_agree() {
    for (i, point) in POINTS.iter().enumerate() {
        assert_eq!(point.id as usize, i);
        assert_eq!(PointId::ALL[i], point.id);
        assert_eq!(PointId::from_name(point.name), Some(point.id));
        assert_eq!(PointId::from_number(i as u32), Some(point.id));
        assert_eq!(POINT_DOCS[i].fields.len(), point.fields.len());
        assert!(!POINT_DOCS[i].doc.is_empty(), "{}: undocumented", point.name);
        let mut at = HEADER_BYTES as u16;
        for (f, doc) in point.fields.iter().zip(POINT_DOCS[i].fields) {
            assert_eq!(f.offset, at, "{}.{}: a gap", point.name, f.name);
            assert!(!doc.is_empty(), "{}.{}: undocumented", point.name, f.name);
            at += u16::from(f.bytes);
        }
        assert_eq!(at, point.bytes);
    }
    assert_eq!(PointId::from_number(POINT_COUNT as u32), None);
    assert_eq!(PointId::from_name("vm_exits"), None);
}

#[test]
fn header_table_is_the_header() {
    use core::mem::offset_of;
    let offsets = [
        offset_of!(Header, time_ns),
        offset_of!(Header, vm),
        offset_of!(Header, vcpu),
        offset_of!(Header, cpu),
        offset_of!(Header, path),
    ];
    let mut at = 0;
    for (field, offset) in HEADER_FIELDS.iter().zip(offsets) {
        assert_eq!(usize::from(field.offset), offset);
        assert_eq!(offset, at);
        at += usize::from(field.bytes);
    }
    assert_eq!(at, HEADER_BYTES);
}

#[test]
fn codes_are_dense_and_documented() {
    for table in CODES {
        for (i, (name, n, doc)) in table.codes.iter().enumerate() {
            assert_eq!(*n as usize, i, "{name}");
            assert!(!doc.is_empty(), "{name}");
        }
    }
}
