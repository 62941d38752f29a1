//! Accesses to memory.

use verifier::reject::{Access, Why};
use verifier::value::Region;

use super::{Reason, Scene, value};

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reads",
        Access::Write => "writes",
        Access::Atomic => "changes",
        Access::Helper(_) | Access::HelperRead(_) => "lets a helper access",
    }
}

pub(super) fn memory(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::UninitRegister { reg } => Reason::new(format!("r{reg} is used before it is written"))
            .of(reg)
            .help("a variable is used that some path leaves unset, or a register that a call destroyed"),
        Why::UninitStack { reg, offset } => {
            Reason::new(format!("reads stack bytes that were never written, at offset {offset}"))
                .of(reg)
                .help("initialise the whole variable, padding included: `struct key k = {}` or memset")
        }
        Why::NotAPointer { reg, access } => Reason::new(format!(
            "{} memory through r{reg}, which is not a pointer to memory",
            verb(access)
        ))
        .of(reg)
        .help("memory is reached through the context, the stack, global variables, and what helpers return"),
        Why::MaybeNull { reg, region } => Reason::new(format!(
            "r{reg} may be null: {} was not found on some path",
            name(region)
        ))
        .of(reg)
        .help("test the pointer before use: `if (!p) return 0;`"),
        _ => return offset(scene, why),
    })
}

/// Offsets that are wrong.
fn offset(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::OutOfBounds {
            reg,
            access,
            region,
            min,
            max,
            size,
            limit,
        } => out_of_bounds(
            scene,
            Bounds {
                reg,
                access,
                region,
                min,
                max,
                size,
                limit,
            },
        ),
        Why::UnboundedOffset { reg, access, region } => Reason::new(format!(
            "{} {} at an offset without a bound",
            verb(access),
            name(region)
        ))
        .of(reg)
        .help("bound the index before use: `if (i >= N) return 0;` or `i &= N - 1`"),
        Why::Misaligned {
            reg,
            region,
            offset,
            size,
        } => Reason::new(format!(
            "accesses {size} bytes at offset {offset} of {}, which is not a multiple of {size}",
            name(region)
        ))
        .of(reg)
        .help("lay the structure out so that each member lies at a multiple of its size, or read it byte by byte"),
        Why::NoSuchField {
            reg,
            object,
            offset,
            size,
            access,
        } => field(scene, reg, object, offset, size, access),
        _ => return None,
    })
}

struct Bounds {
    reg: u8,
    access: Access,
    region: Region,
    min: i64,
    max: i64,
    size: u32,
    limit: u32,
}

fn out_of_bounds(scene: &Scene<'_>, b: Bounds) -> Reason {
    let where_ = if b.min == b.max {
        format!("{}", b.min)
    } else {
        format!("{} to {}", b.min, b.max)
    };
    let place = value::region(scene, b.region, b.limit);
    let message = format!("{} {} bytes at offset {where_} of {place}", verb(b.access), b.size);
    match b.region {
        Region::Stack(_) => Reason::new(message)
            .of(b.reg)
            .help("a function's stack is offsets -512 to -1: bound the index, or the size, to what the variable has"),
        Region::Packet | Region::PacketMeta => {
            Reason::new(format!("{message}, of which {} are known to be there", b.limit))
                .of(b.reg)
                .help("compare with data_end first: `if (data + N > data_end) return 0;`")
        }
        _ => {
            let last = i64::from(b.limit) - i64::from(b.size);
            let needed = if last >= 0 {
                format!("the offset must be proven to lie in 0 to {last}")
            } else {
                format!("there are only {} bytes", b.limit)
            };
            Reason::new(format!("{message}, which has {}", b.limit))
                .of(b.reg)
                .help(needed)
        }
    }
}

fn field(scene: &Scene<'_>, reg: u8, object: u16, offset: i64, size: u32, access: Access) -> Reason {
    let layout = scene.env.objects.get(usize::from(object));
    let inside = layout.and_then(|l| {
        l.fields
            .iter()
            .find(|f| (i64::from(f.offset)..i64::from(f.offset) + i64::from(f.bytes)).contains(&offset))
    });
    let name = scene.object(object);
    let message = match (inside, access) {
        (Some(f), Access::Write | Access::Atomic) if f.write == 0 => format!("writes {name}, which is read-only"),
        (Some(_), _) => format!(
            "{} {size} bytes at offset {offset} of {name}: not a width or place of its fields",
            verb(access)
        ),
        (None, _) => format!(
            "{} {size} bytes at offset {offset} of {name}, where no field is",
            verb(access)
        ),
    };
    let bytes = layout.map_or(0, |l| l.bytes);
    Reason::new(message).of(reg).help(format!(
        "{name} has {bytes} bytes; access one field at a time, in its own size"
    ))
}
