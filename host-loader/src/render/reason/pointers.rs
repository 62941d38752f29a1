//! What is done with pointers themselves.

use verifier::reject::Why;
use verifier::value::Region;

use super::{Reason, Scene, value};

pub(super) fn pointers(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::ReadOnly { reg, region } => Reason::new(format!("writes {}, which a program may only read", name(region)))
            .of(reg)
            .help("`const` variables, and maps made with BPF_F_RDONLY_PROG, cannot be written"),
        Why::WriteOnly { reg, region } => {
            Reason::new(format!("reads {}, which a program may only write", name(region)))
                .of(reg)
                .help("the map is made with BPF_F_WRONLY_PROG: its values are for user space")
        }
        Why::MixedAccess { reg } => {
            Reason::new(format!("r{reg} points to different kinds of memory on different paths"))
                .of(reg)
                .help("the context is not accessed as other memory is: access each in a place of its own")
        }
        Why::VariableStack { reg } => Reason::new(format!(
            "r{reg} points into the stack at an offset that is not constant"
        ))
        .of(reg)
        .help("without privileges arrays on the stack are indexed by constants: unroll the loop, or use a map"),
        Why::PartialPointer { reg, offset, size } => Reason::new(format!(
            "accesses {size} bytes at stack offset {offset}, part of a pointer that is kept there"
        ))
        .of(reg)
        .help("a pointer is read back whole, in 8 bytes, or all of it is overwritten"),
        Why::PointerLeak { reg } => Reason::new(format!(
            "the address in r{reg} would become visible to the program's loader"
        ))
        .of(reg)
        .help("addresses may not be stored in maps, returned, or turned into numbers"),
        Why::PointerCompare { reg } => {
            Reason::new(format!("compares the pointer in r{reg} with something other than null"))
                .of(reg)
                .help("an address would show in the outcome: compare indices, or with null")
        }
        Why::DeadFrame { reg } => Reason::new(format!("r{reg} points into the stack of a function that returns"))
            .of(reg)
            .help("let the caller pass the address of a variable of its own"),
        _ => return arithmetic(scene, why),
    })
}

fn arithmetic(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::PointerArithmetic { reg, op, region } => Reason::new(format!(
            "`{}` on r{reg}, a pointer to {}, leaves no pointer",
            format!("{op:?}").to_lowercase(),
            name(region)
        ))
        .of(reg)
        .help("to a pointer only a number can be added, or subtracted"),
        Why::PointerOffset { reg, region } => Reason::new(format!(
            "moves r{reg} too far from {} to know where it points",
            name(region)
        ))
        .of(reg)
        .help("bound the number before it is added to a pointer"),
        Why::ArithmeticRange {
            reg,
            region,
            min,
            max,
            limit,
        } => arithmetic_range(scene, reg, region, (min, max), limit),
        Why::ArithmeticUncontained { reg, region } => Reason::new(format!(
            "adds to r{reg}, a pointer to {}, a number that no mask can keep inside it",
            name(region)
        ))
        .of(reg)
        .help(
            "without privileges the number must be proven to have one sign, and the pointer be of the stack or a map",
        ),
        Why::ArithmeticMixed { reg } => Reason::new(format!(
            "what is added to r{reg} differs between paths in kind, sign or room, so no one mask fits it"
        ))
        .of(reg)
        .help("without privileges one instruction adds one kind of thing: write the paths out, or use `--privileged`"),
        _ => return None,
    })
}

fn arithmetic_range(scene: &Scene<'_>, reg: u8, region: Region, (min, max): (i64, i64), limit: u32) -> Reason {
    let offset = if min == max {
        format!("{min}")
    } else {
        format!("{min} to {max}")
    };
    let (place, inside) = match region {
        Region::Stack(_) => (value::region(scene, region, 0), "-512 to -1".to_string()),
        _ => (
            value::region(scene, region, limit),
            format!("0 to {}", i64::from(limit) - 1),
        ),
    };
    Reason::new(format!("moves r{reg} to offset {offset} of {place}, outside of it"))
        .of(reg)
        .help(format!(
            "without privileges a pointer may not even be computed out of bounds: {inside} are inside"
        ))
}
