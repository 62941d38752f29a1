//! A program of an object as the image that a hypervisor stages.

use std::collections::HashMap;

use probe_vm::image::{self, Counted, EncodeError, ImageError, MapSpec, Name, ProgramSpec, limits::NAME_BYTES};

use super::ClientError;
use crate::env::gnomon;
use crate::obj::{self, Object, Origin, Program};

/// Encoded image, and which of the object's maps it has, by index of the image.
pub struct Encoded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// For each map of the image the index in [`Object::maps`].
    pub maps: Vec<usize>,
}

/// Encodes a program with the maps it refers to. `shared` gives the handles of maps that are there already, by index in
/// [`Object::maps`].
pub fn encode(object: &Object, program: &Program, shared: &HashMap<usize, u32>) -> Result<Encoded, ClientError> {
    let bad = |why: String| ClientError::Image {
        program: program.name.clone(),
        why,
    };
    let (slots, maps) = renumber(program);
    let mut specs = Vec::new();
    for &index in &maps {
        let map = object
            .maps
            .get(index)
            .ok_or_else(|| bad(format!("map {index} is not there")))?;
        let share = shared.get(&index).copied().unwrap_or(0);
        specs.push(spec(map, share).map_err(|why| bad(format!("map `{}`: {why}", map.name)))?);
    }
    let point = gnomon::point(&program.section).ok_or_else(|| bad(format!("`{}` names no point", program.section)))?;
    let mut funcs: Vec<u32> = program.functions.iter().map(|f| f.start as u32).collect();
    funcs.sort_unstable();
    let spec = ProgramSpec {
        name: name(&program.name),
        point: name(point.name()),
        maps: &specs,
        funcs: &funcs,
        insns: &slots,
    };
    let mut bytes = vec![0; spec.image_bytes()];
    let used = image::encode(&spec, &mut bytes).map_err(|e| bad(explain(e)))?;
    bytes.truncate(used);
    Ok(Encoded { bytes, maps })
}

fn explain(e: EncodeError) -> String {
    let EncodeError::Image(ImageError::Count { what, given, max }) = e else {
        return format!("{e:?}");
    };
    let what = match what {
        Counted::Insns => "instructions",
        Counted::Maps => "maps",
        Counted::Funcs => "functions",
        Counted::DataBytes => "bytes of initialised variables",
    };
    format!("it has {given} {what}; a hypervisor takes {max}")
}

/// A name of at most what an image holds.
fn name(text: &str) -> Name {
    let printable: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(NAME_BYTES - 1)
        .collect();
    Name::new(&printable)
        .or_else(|| Name::new("unnamed"))
        .expect("a short printable name is a name")
}

fn spec(map: &obj::MapDef, share: u32) -> Result<MapSpec<'_>, String> {
    let def = gnomon::map_def(map)?;
    let data: &[u8] = match &map.origin {
        Origin::Data(bytes) if bytes.iter().any(|b| *b != 0) && share == 0 => bytes,
        _ => &[],
    };
    Ok(MapSpec {
        def,
        share,
        data,
        name: name(&map.name),
    })
}

/// Only the maps a program refers to go with it: its instructions with the new numbers, and the old number of each.
fn renumber(program: &Program) -> (Vec<[u8; 8]>, Vec<usize>) {
    let mut slots = program.slots.clone();
    let mut maps: Vec<usize> = Vec::new();
    let mut pc = 0;
    while pc < slots.len() {
        let slot = slots[pc];
        if slot[0] != 0x18 {
            pc += 1;
            continue;
        }
        if matches!(slot[1] >> 4, 1 | 2) {
            let old = u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]) as usize;
            let new = maps.iter().position(|m| *m == old).unwrap_or_else(|| {
                maps.push(old);
                maps.len() - 1
            });
            slots[pc][4..].copy_from_slice(&(new as u32).to_le_bytes());
        }
        pc += 2;
    }
    (slots, maps)
}
