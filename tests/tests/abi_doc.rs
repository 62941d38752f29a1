//! docs/ABI.md tells the truth: every call, status and path of `hyp-abi` is in its tables with its number.

use gnomon_tests::repo;
use hyp_abi::{Call, PathId, Status};

fn document() -> String {
    let path = repo::root().join("docs/ABI.md");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_call_has_its_row() {
    let text = document();
    for call in Call::ALL {
        let row = format!("| {:#04x} | `{}` |", *call as u16, call.name());
        assert!(text.contains(&row), "docs/ABI.md lacks the row {row}");
    }
}

#[test]
fn every_status_has_its_row() {
    let text = document();
    for status in Status::ALL {
        let row = format!("| {} | `{status:?}` |", *status as i64);
        assert!(text.contains(&row), "docs/ABI.md lacks the row {row}");
    }
}

#[test]
fn every_path_has_its_row() {
    let text = document();
    for path in PathId::ALL {
        let row = format!("| {} | `{}` |", *path as u32, path.name());
        assert!(text.contains(&row), "docs/ABI.md lacks the row {row}");
    }
}
