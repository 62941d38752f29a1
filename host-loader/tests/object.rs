//! Objects: what is read of good ones, and that bad ones are refused in words.
mod common;

use common::{Random, compile};
use gnomon::obj::{FILE_BYTES_MAX, ObjError, Object, Origin};

fn object(name: &str) -> Option<Object> {
    let bytes = std::fs::read(compile(name)?).expect("clang wrote it");
    Some(Object::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn imm(slot: [u8; 8]) -> i32 {
    i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]])
}

#[test]
fn maps_of_both_ages() {
    let Some(object) = object("legacy") else { return };
    let facts = |m: &gnomon::obj::MapDef| (m.name.clone(), m.kind, m.key_size, m.value_size, m.max_entries, m.flags);
    let all: Vec<_> = object.maps.iter().map(facts).collect();
    assert!(all.contains(&("ports".into(), 2, 4, 16, 3, 0)), "{all:?}");
    assert!(all.contains(&("drops".into(), 5, 8, 24, 9, 1)), "{all:?}");
    assert!(all.contains(&("tables".into(), 12, 4, 4, 2, 0)), "{all:?}");
    let tables = object.maps.iter().find(|m| m.name == "tables").unwrap();
    let inner = &object.maps[tables.inner.expect("its values are described")];
    assert_eq!(
        (inner.kind, inner.key_size, inner.value_size, inner.max_entries),
        (1, 4, 4, 5)
    );
}

#[test]
fn globals_are_array_maps() {
    let Some(object) = object("everything") else { return };
    let map = |name: &str| {
        object
            .maps
            .iter()
            .find(|m| m.name == name)
            .unwrap_or_else(|| panic!("no map {name}"))
    };
    assert_eq!(map(".rodata").flags, gnomon::obj::maps::F_RDONLY_PROG);
    assert_eq!(map(".rodata").origin, Origin::Data(vec![5, 0, 0, 0]));
    assert_eq!(map(".data").origin, Origin::Data(vec![7, 0, 0, 0]));
    assert_eq!(map(".bss").origin, Origin::Data(vec![0; 16]));
    assert_eq!(object.license, "Dual MIT/GPL");
}

#[test]
fn called_functions_are_linked_in() {
    let Some(object) = object("everything") else { return };
    let [count, record] = &object.programs[..] else {
        panic!("two programs, not {}", object.programs.len())
    };
    let names: Vec<&str> = count.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names[0], "count");
    for called in ["each", "add_more", "add"] {
        assert!(names.contains(&called), "{names:?}");
    }
    let starts: Vec<i64> = count.functions.iter().map(|f| f.start as i64).collect();
    let mut seen = (0, 0);
    for (pc, slot) in count.slots.iter().enumerate() {
        let goal = pc as i64 + 1 + i64::from(imm(*slot));
        match (slot[0], slot[1] >> 4) {
            (0x85, 1) => seen.0 += 1,
            (0x18, 4) => seen.1 += 1,
            _ => continue,
        }
        assert!(
            starts.contains(&goal),
            "slot {pc} goes to {goal}, where no function starts"
        );
    }
    assert_eq!(seen, (2, 1), "calls and callbacks");
    assert_eq!((record.section.as_str(), record.functions.len()), ("probe/vm_entry", 1));
}

#[test]
fn lines_follow_their_functions() {
    let Some(object) = object("everything") else { return };
    let count = &object.programs[0];
    for f in &count.functions {
        let line = count
            .line_at(f.start)
            .unwrap_or_else(|| panic!("no line for {}", f.name));
        assert!(line.file.ends_with("everything.bpf.c"), "{}", line.file);
    }
    let add = count.functions.iter().find(|f| f.name == "add").unwrap();
    let texts: Vec<&str> = (add.start..add.start + add.len)
        .filter_map(|s| count.line_at(s))
        .map(|l| l.text.trim())
        .collect();
    assert!(texts.contains(&"buckets[x & 3] += 1;"), "{texts:?}");
}

/// Inputs per seed object; parse takes some tens of microseconds.
const MUTANTS: usize = 20_000;
const SEED: u64 = 0x676e_6f6d_6f6e_0003;

/// A damaged object is refused or read, and never more: a panic fails the test.
#[test]
fn damaged_objects_never_panic() {
    let mut random = Random(SEED);
    for name in ["everything", "legacy"] {
        let Some(path) = compile(name) else { return };
        let good = std::fs::read(path).expect("clang wrote it");
        for len in (0..good.len()).step_by(7) {
            // The section table is at the end of the file.
            assert!(
                Object::parse(&good[..len]).is_err(),
                "{name} cut to {len} bytes was taken"
            );
        }
        let mut taken = 0;
        for _ in 0..MUTANTS {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ 1 << random.below(8),
                    _ => random.next() as u8,
                };
            }
            taken += usize::from(Object::parse(&bytes).is_ok());
        }
        println!("{name}: {taken} of {MUTANTS} mutants taken, seed {SEED:#x}");
        assert!(taken > 0 && taken < MUTANTS, "mutations reach both verdicts");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(SEED);
    for len in 0..2000 {
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        assert!(Object::parse(&bytes).is_err());
        // With a good identification, so that more is looked at.
        let ident = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        let known = ident.len().min(len);
        bytes[..known].copy_from_slice(&ident[..known]);
        if len > 20 {
            bytes[16..20].copy_from_slice(&[1, 0, 247, 0]);
        }
        assert!(Object::parse(&bytes).is_err());
    }
}

#[test]
fn what_is_wrong_is_said() {
    let words = |bytes: &[u8]| Object::parse(bytes).unwrap_err().to_string();
    assert!(words(b"").contains("not an ELF object"));
    assert!(
        words(b"int main(void) { return 0; } and so on, long enough to hold a header of ELF......")
            .contains("not an ELF")
    );
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let head = &own[..own.len().min(FILE_BYTES_MAX as usize)];
    assert!(words(head).contains("not an eBPF object"), "{}", words(head));
    let large = vec![0; FILE_BYTES_MAX as usize + 1];
    let limit = ObjError::TooLarge {
        size: FILE_BYTES_MAX + 1,
        max: FILE_BYTES_MAX,
    };
    assert_eq!(Object::parse(&large).unwrap_err(), limit);
}

/// CO-RE relocations are not resolved against anything: offsets and answers are those the compiler wrote, of the object's
/// own types. A view of a context that begins as the context does is right.
#[test]
fn relocations_of_fields_keep_what_the_compiler_wrote() {
    let Some(file) = compile("relocatable") else { return };
    let bytes = std::fs::read(file).expect("clang wrote it");
    let elf = goblin::elf::Elf::parse(&bytes).expect("an ELF file");
    let ext = elf
        .section_headers
        .iter()
        .find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(".BTF.ext"));
    let ext = &bytes[ext.and_then(|s| s.file_range()).expect("debug information")];
    // struct btf_ext_header: magic 2, version, flags, header length 4, then offset and length of functions, lines, relocations.
    let relocations = u32::from_le_bytes(ext[28..32].try_into().expect("four bytes"));
    assert!(relocations > 0, "clang wrote no relocation");

    let object = Object::parse(&bytes).expect("an object");
    let program = &object.programs[0];
    let env = gnomon::env::of_probe(&program.section).expect("a point");
    let context: Vec<u8> = (0..40).collect();
    let maps = gnomon::interpret::Maps::new(&object);
    gnomon::verify::with_stack(|| {
        let checked = gnomon::cmd::check::check(&mut gnomon::verify::Arena::default(), &object, program, env);
        let bound = checked.answer.verdict.expect("accepted").totals.insn_bound;
        gnomon::interpret::run(&maps, program, &context, bound, |_, _, _| {}).expect("it runs");
    });
    // vcpu is at 12.
    assert_eq!(maps.entries(0)[0].value, [12, 13, 14, 15]);
}
