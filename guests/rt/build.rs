//! Encodes the small probes that guests load themselves (feature `programs`), so that no guest needs a compiler or the
//! host to exercise the probe flow. Real probes are C: this is test material, one instruction at a time.

#[cfg(feature = "programs")]
mod program {
    use std::path::Path;

    use probe_vm::image::{Image, MapSpec, Name, ProgramSpec, encode};
    use probe_vm::maps::{MapDef, MapKind};
    use probe_vm::points::{Field, HEADER_FIELDS, POINTS, Point};

    include!("build_random.rs");
    include!("build_verify.rs");

    type Slot = [u8; 8];

    fn insn(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> Slot {
        let [o0, o1] = off.to_le_bytes();
        let [i0, i1, i2, i3] = imm.to_le_bytes();
        [op, src << 4 | dst, o0, o1, i0, i1, i2, i3]
    }

    // RFC 9669 opcodes.
    const MOV_IMM: u8 = 0xb7;
    const MOV_REG: u8 = 0xbf;
    const ADD_IMM: u8 = 0x07;
    const LDDW: u8 = 0x18;
    const LDXW: u8 = 0x61;
    const LDXDW: u8 = 0x79;
    const STW: u8 = 0x62;
    const STXW: u8 = 0x63;
    const STXDW: u8 = 0x7b;
    const JEQ_IMM: u8 = 0x15;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const SUB_REG: u8 = 0x1f;
    const ADD_REG: u8 = 0x0f;
    const AND_REG: u8 = 0x5f;
    const AND_IMM: u8 = 0x57;
    const LSH_IMM: u8 = 0x67;
    const RSH_IMM: u8 = 0x77;
    const MAP_LOOKUP: i32 = 1;
    const RING_RESERVE: i32 = 131;
    const RING_SUBMIT: i32 = 132;
    /// Bytes of a record of the `ring` program.
    const RECORD_BYTES: i32 = 32;

    /// Offset of `path` in every context's header.
    fn path_offset() -> i16 {
        HEADER_FIELDS
            .iter()
            .find(|f| f.name == "path")
            .expect("the header names its path")
            .offset as i16
    }

    /// r0 = address of the value whose u32 key is on the stack at r10 - 4, or 0.
    fn lookup() -> Vec<Slot> {
        vec![
            insn(LDDW, 1, 1, 0, 0),
            insn(0, 0, 0, 0, 0),
            insn(MOV_REG, 2, 10, 0, 0),
            insn(ADD_IMM, 2, 0, 0, -4),
            insn(CALL, 0, 0, 0, MAP_LOOKUP),
        ]
    }

    /// Adds 1 to the u64 at r0.
    fn increment() -> Vec<Slot> {
        vec![
            insn(LDXDW, 1, 0, 0, 0),
            insn(ADD_IMM, 1, 0, 0, 1),
            insn(STXDW, 0, 1, 0, 0),
        ]
    }

    fn end() -> Vec<Slot> {
        vec![insn(MOV_IMM, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)]
    }

    fn unless_null(body: Vec<Slot>) -> Vec<Slot> {
        let mut slots = vec![insn(JEQ_IMM, 0, 0, body.len() as i16, 0)];
        slots.extend(body);
        slots
    }

    /// Counts firings by path.
    fn counting() -> Vec<Slot> {
        let mut slots = vec![insn(LDXW, 2, 1, path_offset(), 0), insn(STXW, 10, 2, -4, 0)];
        slots.extend(lookup());
        slots.extend(unless_null(increment()));
        slots.extend(end());
        slots
    }

    /// Counts the first field of the point (`vm_entry`: time spent) in a log2 histogram by path, as `gnomon_hist_add` of
    /// gnomon.h does.
    fn histogram() -> Vec<Slot> {
        let mut body = vec![insn(LDXDW, 1, 6, first_field(), 0), insn(MOV_IMM, 2, 0, 0, 0)];
        for shift in [32, 16, 8, 4, 2] {
            body.push(insn(MOV_REG, 3, 1, 0, 0));
            body.push(insn(RSH_IMM, 3, 0, 0, shift));
            body.push(insn(JEQ_IMM, 3, 0, 2, 0));
            body.push(insn(MOV_REG, 1, 3, 0, 0));
            body.push(insn(ADD_IMM, 2, 0, 0, shift));
        }
        // Of the two bits left: as they are, and 3 counts as 2.
        body.push(insn(ADD_REG, 2, 1, 0, 0));
        body.push(insn(MOV_REG, 3, 1, 0, 0));
        body.push(insn(RSH_IMM, 3, 0, 0, 1));
        body.push(insn(AND_REG, 3, 1, 0, 0));
        body.push(insn(SUB_REG, 2, 3, 0, 0));
        body.push(insn(AND_IMM, 2, 0, 0, 63));
        body.push(insn(LSH_IMM, 2, 0, 0, 3));
        body.push(insn(ADD_REG, 0, 2, 0, 0));
        body.extend(increment());
        let mut slots = vec![
            insn(MOV_REG, 6, 1, 0, 0),
            insn(LDXW, 2, 1, path_offset(), 0),
            insn(STXW, 10, 2, -4, 0),
        ];
        slots.extend(lookup());
        slots.extend(unless_null(body));
        slots.extend(end());
        slots
    }

    /// Offset of the first field behind the header.
    fn first_field() -> i16 {
        probe_vm::points::HEADER_BYTES as i16
    }

    /// Puts a record of 32 bytes into a ring: time, path and CPU, VM and vCPU, first field.
    fn ring() -> Vec<Slot> {
        let mut body = Vec::new();
        for (at, from) in [0, 8, 16, first_field()].into_iter().enumerate() {
            let load = if from == 0 || from == first_field() {
                LDXDW
            } else {
                LDXW
            };
            body.push(insn(load, 1, 6, from, 0));
            body.push(insn(STXDW, 0, 1, 8 * at as i16, 0));
        }
        body.push(insn(MOV_REG, 1, 0, 0, 0));
        body.push(insn(MOV_IMM, 2, 0, 0, 0));
        body.push(insn(CALL, 0, 0, 0, RING_SUBMIT));
        let mut slots = vec![
            insn(MOV_REG, 6, 1, 0, 0),
            insn(LDDW, 1, 1, 0, 0),
            insn(0, 0, 0, 0, 0),
            insn(MOV_IMM, 2, 0, 0, RECORD_BYTES),
            insn(MOV_IMM, 3, 0, 0, 0),
            insn(CALL, 0, 0, 0, RING_RESERVE),
        ];
        slots.extend(unless_null(body));
        slots.extend(end());
        slots
    }

    /// The programs of the bench `points`: for `vm_entry`, maps as a probe in C would have them.
    fn write_bench(out: &Path) -> String {
        let per_cpu = |value_bytes| MapDef {
            kind: MapKind::PerCpuArray,
            key_bytes: 4,
            value_bytes,
            entries: 64,
            flags: 0,
        };
        let ring_def = MapDef {
            kind: MapKind::RingBuf,
            key_bytes: 0,
            value_bytes: 0,
            entries: 1 << 19,
            flags: 0,
        };
        let point = POINTS
            .iter()
            .find(|p| p.name == "vm_entry")
            .expect("a point of every exit");
        let programs = [
            (
                "bench_count",
                "Counts by path in a per-CPU array.",
                image("count", point, Some(("counts", per_cpu(8))), &counting()),
            ),
            (
                "bench_hist",
                "Log2 histogram by path in a per-CPU array.",
                image("hist", point, Some(("hist", per_cpu(512))), &histogram()),
            ),
            (
                "bench_ring",
                "A record of 32 bytes into a ring of 512 KiB.",
                image("ring", point, Some(("ring", ring_def)), &ring()),
            ),
        ];
        let mut source = String::new();
        for (name, doc, bytes) in programs {
            let path = out.join(name);
            std::fs::write(&path, bytes).expect("OUT_DIR is writable");
            let (name, path) = (name.to_uppercase(), path.display().to_string());
            source += &format!("/// {doc} For `vm_entry`.\npub static {name}: &[u8] = include_bytes!({path:?});\n");
        }
        source
    }

    /// Counts firings and keeps the last context: value = count, then each field widened to 8 bytes, in order.
    fn recording(point: &Point) -> Vec<Slot> {
        let mut body = increment();
        for (index, field) in fields(point).enumerate() {
            let load = if field.bytes == 8 { LDXDW } else { LDXW };
            body.push(insn(load, 1, 6, field.offset as i16, 0));
            body.push(insn(STXDW, 0, 1, 8 + 8 * index as i16, 0));
        }
        let mut slots = vec![insn(MOV_REG, 6, 1, 0, 0), insn(STW, 10, 0, -4, 0)];
        slots.extend(lookup());
        slots.extend(unless_null(body));
        slots.extend(end());
        slots
    }

    fn fields(point: &Point) -> impl Iterator<Item = &Field> {
        HEADER_FIELDS.iter().chain(point.fields)
    }

    fn image(name: &str, point: &Point, map: Option<(&str, MapDef)>, insns: &[Slot]) -> Vec<u8> {
        let name_of = |text: &str| Name::new(text).expect("a short ASCII name");
        let maps: Vec<MapSpec> = map
            .iter()
            .map(|(name, def)| MapSpec {
                def: *def,
                share: 0,
                data: &[],
                name: name_of(name),
            })
            .collect();
        let spec = ProgramSpec {
            name: name_of(name),
            point: name_of(point.name),
            maps: &maps,
            funcs: &[0],
            insns,
        };
        let mut bytes = vec![0; spec.image_bytes()];
        encode(&spec, &mut bytes).expect("the container's limits are far");
        bytes
    }

    fn array(value_bytes: usize, entries: u32) -> MapDef {
        MapDef {
            kind: MapKind::Array,
            key_bytes: 4,
            value_bytes: value_bytes as u32,
            entries,
            flags: 0,
        }
    }

    /// Writes one image and gives the expression that includes it.
    fn include(out: &Path, file: &str, bytes: &[u8]) -> String {
        let path = out.join(file);
        std::fs::write(&path, bytes).expect("OUT_DIR is writable");
        format!("include_bytes!({:?})", path.display().to_string())
    }

    /// The programs that exist for every point.
    fn write_for_points(out: &Path) -> String {
        let mut source = String::new();
        for (kind, doc) in [
            ("empty", "Returns at once."),
            ("counting", "Counts by path."),
            ("recording", "Keeps the last context."),
        ] {
            source += &format!(
                "/// {doc} By point number.\npub static {}: &[&[u8]] = &[\n",
                kind.to_uppercase()
            );
            for point in &POINTS {
                let bytes = match kind {
                    "empty" => image("empty", point, None, &end()),
                    "counting" => image("counting", point, Some(("by_path", array(8, 64))), &counting()),
                    _ => {
                        let value = 8 + 8 * fields(point).count();
                        image("recording", point, Some(("last", array(value, 1))), &recording(point))
                    }
                };
                let included = include(out, &format!("{kind}-{}", point.name), &bytes);
                source += &format!("    {included},\n");
            }
            source += "];\n";
        }
        source
    }

    /// Names of points and of what a recording keeps.
    fn names() -> String {
        let mut source = String::from("/// Names, by point number.\npub static POINT_NAMES: &[&str] = &[\n");
        for point in &POINTS {
            source += &format!("    {:?},\n", point.name);
        }
        source += "];\n/// Names of the fields a recording keeps, by point number.\npub static FIELD_NAMES: &[&[&str]] = &[\n";
        for point in &POINTS {
            source += &format!("    &{:?},\n", fields(point).map(|f| f.name).collect::<Vec<_>>());
        }
        source + "];\n"
    }

    fn write_random(out: &Path) -> String {
        let mut source =
            String::from("/// Programs, and the value that each stores in entry 0 of its map; for the point `psci`.\n");
        source += "pub static RANDOM: &[(&[u8], u64)] = &[\n";
        let psci = POINTS
            .iter()
            .find(|point| point.name == "psci")
            .expect("there is such a point");
        let mut slots = 0;
        for (number, (bytes, expected)) in random_programs(psci, array(8, 1)).into_iter().enumerate() {
            slots += Image::parse(&bytes).expect("it was just encoded").insns().len();
            let included = include(out, &format!("random-{number}"), &bytes);
            source += &format!("    ({included}, {expected:#x}),\n");
        }
        source + &format!("];\n/// Slots of all of them.\npub static RANDOM_SLOTS: usize = {slots};\n")
    }

    /// Two programs that must be refused.
    fn write_refused(out: &Path) -> String {
        let endless = [
            insn(MOV_IMM, 0, 0, 0, 0),
            insn(0x05, 0, 0, -1, 0),
            insn(EXIT, 0, 0, 0, 0),
        ];
        let wild = [
            insn(MOV_IMM, 1, 0, 0, 64),
            insn(LDXDW, 0, 1, 0, 0),
            insn(EXIT, 0, 0, 0, 0),
        ];
        let mut source = String::new();
        for (name, doc, insns) in [
            ("endless", "Loops for ever: must be refused.", endless),
            ("wild", "Reads address 64: must be refused.", wild),
        ] {
            let included = include(out, name, &image(name, &POINTS[0], None, &insns));
            source += &format!("/// {doc}\npub static {}: &[u8] = {included};\n", name.to_uppercase());
        }
        source
    }

    /// Writes every program, and `programs.rs`, which includes them.
    pub fn write_all(out: &Path) {
        let source = write_for_points(out)
            + &names()
            + &write_random(out)
            + &write_refused(out)
            + &write_bench(out)
            + &write_hard(out);
        std::fs::write(out.join("programs.rs"), source).expect("OUT_DIR is writable");
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build_random.rs");
    println!("cargo:rerun-if-changed=build_verify.rs");
    #[cfg(feature = "programs")]
    program::write_all(std::path::Path::new(
        &std::env::var_os("OUT_DIR").expect("cargo sets it"),
    ));
}
