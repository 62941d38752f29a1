//! Programs for Linux: real ones are accepted, those with a mistake refused for it, and damaged objects in words.
mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Random, compile};
use gnomon::cmd::check::check;
use gnomon::env::linux::Loader;
use gnomon::env::{self, System};
use gnomon::obj::Object;
use gnomon::verify::{Arena, reason_name, with_stack};

/// Names of an object's programs with the reason each is refused for.
fn answers(name: &str, loader: Loader) -> Option<Vec<(String, Option<String>)>> {
    let bytes = std::fs::read(compile(name)?).expect("clang wrote it");
    let object = Object::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let answers = with_stack(|| {
        let mut arena = Arena::default();
        let all = object.programs.iter().map(|program| {
            let env = env::of_section(System::Linux, &program.section, None, loader).expect("a known section");
            let checked = check(&mut arena, &object, program, env);
            let why = checked.answer.verdict.as_ref().err().map(|r| reason_name(&r.why));
            (program.name.clone(), why)
        });
        all.collect()
    });
    Some(answers)
}

#[test]
fn real_programs_are_accepted() {
    let Some(all) = answers("linux", Loader::Privileged) else {
        return;
    };
    assert!(all.len() >= 18, "{}", all.len());
    let refused: Vec<_> = all.iter().filter(|a| a.1.is_some()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn mistakes_are_found() {
    let Some(all) = answers("linux_bad", Loader::Privileged) else {
        return;
    };
    for (name, why) in all {
        let (_, expected) = name.split_once("__").expect("the reason is in the name");
        assert_eq!(why.as_deref(), Some(expected), "{name}");
    }
}

/// Without privileges what is loaded by anyone keeps within Linux's stricter rules; loops and calls do not.
#[test]
fn without_privileges() {
    let Some(all) = answers("linux", Loader::Unprivileged) else {
        return;
    };
    let why = |name: &str| all.iter().find(|a| a.0 == name).expect("it is there").1.clone();
    assert_eq!(why("socket_protocols"), None);
    assert_eq!(why("cgroup_egress"), None);
    assert_eq!(why("sum_all").as_deref(), Some("local_call"));
    assert_eq!(why("xdp_checksum").as_deref(), Some("back_edge"));
}

fn gnomon_check(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    let args = ["check", "--env", "linux"];
    command.args(args).arg(file).output().expect("the command runs")
}

/// Damaged objects: status 0, 1 or 2, and with 2 a message; never a panic.
#[test]
fn damaged_objects_are_refused_in_words() {
    let Some(file) = compile("linux") else { return };
    let good = std::fs::read(&file).expect("clang wrote it");
    let bad = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("damaged.{}.o", std::process::id()));
    let mut random = Random(7);
    let mut seen = [0; 3];
    for n in 0..60 {
        let mut bytes = good.clone();
        match n % 3 {
            0 => bytes.truncate(random.next() as usize % good.len()),
            1 => (0..8).for_each(|_| bytes[random.next() as usize % good.len()] = random.next() as u8),
            _ => (0..4).for_each(|_| bytes[random.next() as usize % 64] ^= 1 << (random.next() % 8)),
        }
        std::fs::write(&bad, &bytes).expect("writable");
        let run = gnomon_check(&bad);
        let said = String::from_utf8_lossy(&run.stderr);
        let status = run.status.code().unwrap_or(101);
        assert!(status < 3 && !said.contains("panicked"), "{n}: {status} {said}");
        assert!(status != 2 || !said.trim().is_empty(), "{n}: nothing said");
        seen[status as usize] += 1;
    }
    let _ = std::fs::remove_file(&bad);
    assert!(seen[2] > 10, "{seen:?}");
}
