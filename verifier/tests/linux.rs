//! The Linux 6.1 verifier self-tests against the verdict for unprivileged loaders.

mod common;
use common::{linux_env, linux_program, rows, verify};

#[test]
fn agrees_with_linux() {
    let mut n = 0;
    for file in ["linux61_verifier_pure.jsonl", "linux61_verifier_map.jsonl"] {
        for row in rows(file) {
            let (text, maps) = linux_program(&row);
            let start = std::time::Instant::now();
            let got = verify(&text, &maps, linux_env(&row));
            let us = start.elapsed().as_micros();
            let accept = got.is_ok();
            if us > 20000 {
                println!("SLOW {us} us {} {}", row.group, row.descr);
            }
            if accept != (row.verdict_unpriv == "ACCEPT") {
                let why = got.as_ref().err().map(|r| format!("{} {:?}", r.pc, r.why));
                println!(
                    "{} | {} | linux {} {} | {} | {}",
                    row.group,
                    row.descr,
                    row.verdict,
                    row.verdict_unpriv,
                    row.errstr,
                    why.unwrap_or(String::from("accepted"))
                );
                n += 1;
            }
        }
    }
    println!("{n} disagreements");
}
