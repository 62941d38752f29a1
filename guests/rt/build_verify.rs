// Programs that are hard on the verifier, for the bench of its steps: included into build.rs.

/// Stores an unknown number in all 64 slots of the stack: r6 is the time, the number of slot n is r6 plus n.
fn full_stack() -> Vec<Slot> {
    let mut slots = vec![insn(LDXDW, 6, 1, 0, 0), insn(MOV_REG, 7, 6, 0, 0)];
    for n in 1..=64i16 {
        slots.push(insn(LDXDW, 2, 1, 0, 0));
        slots.push(insn(ADD_IMM, 2, 0, 0, n.into()));
        slots.push(insn(STXDW, 10, 2, -8 * n, 0));
    }
    slots
}

/// 2^24 paths that differ in the stack, all of which is alive: states meet that nothing covers.
fn many_states() -> Vec<Slot> {
    const JSET_IMM: u8 = 0x45;
    let mut slots = full_stack();
    for bit in 0..24i16 {
        slots.push(insn(JSET_IMM, 6, 0, 1, 1 << bit));
        slots.push(insn(STXDW, 10, 7, -8 * (bit + 1), 0));
    }
    slots.extend(end());
    slots
}

/// Loops in loops over a full stack: each pass ties 64 slots and joins what came back.
fn many_loops() -> Vec<Slot> {
    const JLT_IMM: u8 = 0xa5;
    const JNE_IMM: u8 = 0x55;
    let mut slots = full_stack();
    for round in 0..4i16 {
        slots.push(insn(MOV_IMM, 8, 0, 0, 0));
        let outer = slots.len();
        slots.push(insn(MOV_IMM, 9, 0, 0, 0));
        let inner = slots.len();
        slots.push(insn(LDXDW, 2, 10, -8 * (round + 1), 0));
        slots.push(insn(JNE_IMM, 2, 0, 2, 7));
        slots.push(insn(ADD_IMM, 2, 0, 0, 3));
        slots.push(insn(STXDW, 10, 2, -8 * (round + 2), 0));
        slots.push(insn(ADD_IMM, 9, 0, 0, 1));
        let back = inner as i16 - slots.len() as i16 - 1;
        slots.push(insn(JLT_IMM, 9, 0, back, 100));
        slots.push(insn(ADD_IMM, 8, 0, 0, 1));
        let back = outer as i16 - slots.len() as i16 - 1;
        slots.push(insn(JLT_IMM, 8, 0, back, 200));
    }
    slots.extend(end());
    slots
}

/// As long as a program may be: branches, loads, stack accesses and short loops.
fn longest() -> Vec<Slot> {
    const JGT_IMM: u8 = 0x25;
    const JLT_IMM: u8 = 0xa5;
    const SLOTS: usize = 4090;
    let mut slots = vec![
        insn(LDXDW, 6, 1, 0, 0),
        insn(MOV_IMM, 0, 0, 0, 0),
        insn(STXDW, 10, 6, -8, 0),
    ];
    for k in (0..100).cycle() {
        if slots.len() + 12 > SLOTS {
            break;
        }
        match k % 8 {
            0 | 4 => slots.extend([insn(JGT_IMM, 6, 0, 1, k), insn(ADD_IMM, 0, 0, 0, 1)]),
            1 | 5 | 7 => slots.extend([
                insn(LDXDW, 3, 10, -8, 0),
                insn(AND_IMM, 3, 0, 0, 63),
                insn(ADD_REG, 0, 3, 0, 0),
            ]),
            2 => slots.extend([
                insn(MOV_IMM, 2, 0, 0, 0),
                insn(ADD_IMM, 0, 0, 0, 5),
                insn(ADD_IMM, 2, 0, 0, 1),
                insn(JLT_IMM, 2, 0, -3, 10 + k),
            ]),
            _ => slots.extend([insn(STXDW, 10, 0, -16, 0), insn(LDXDW, 5, 10, -16, 0)]),
        }
    }
    slots.extend(end());
    slots
}

/// The hard programs, for the point `vm_entry`.
fn write_hard(out: &Path) -> String {
    let point = POINTS.iter().find(|p| p.name == "vm_entry").expect("a point of every exit");
    let mut source =
        String::from("/// Programs that are hard to verify, with their names and slots.\npub static HARD: &[(&str, &[u8], usize)] = &[\n");
    for (name, slots) in [
        ("states", many_states()),
        ("loops", many_loops()),
        ("longest", longest()),
    ] {
        let included = include(out, &format!("hard-{name}"), &image(name, point, None, &slots));
        source += &format!("    ({name:?}, {included}, {}),\n", slots.len());
    }
    source + "];\n"
}
