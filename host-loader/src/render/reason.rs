//! Why a program is refused, in words: what happened, what is needed, a hint.

use verifier::env::ArgKind;
use verifier::insn::DecodeError;
use verifier::reject::{Access, Progress, Rejected, Why};
use verifier::value::Region;

use super::{Scene, value};

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What the instruction would do.
    pub message: String,
    /// What would make it acceptable.
    pub help: Option<String>,
    /// The register it is about.
    pub register: Option<u8>,
}

impl Reason {
    fn new(message: impl Into<String>) -> Reason {
        Reason {
            message: message.into(),
            help: None,
            register: None,
        }
    }

    fn of(mut self, register: u8) -> Reason {
        self.register = Some(register);
        self
    }

    fn help(mut self, text: impl Into<String>) -> Reason {
        self.help = Some(text.into());
        self
    }
}

/// Puts a refusal in words.
pub fn reason(scene: &Scene<'_>, r: &Rejected) -> Reason {
    let mut reason = of_why(scene, r);
    if r.speculative {
        reason.message.push_str(", where only a mispredicting CPU comes");
    }
    reason
}

fn of_why(scene: &Scene<'_>, r: &Rejected) -> Reason {
    shape(scene, &r.why)
        .or_else(|| memory(scene, &r.why))
        .or_else(|| pointers(scene, &r.why))
        .or_else(|| calls(scene, r))
        .unwrap_or_else(|| limits(scene, &r.why))
}

fn shape(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let at = |target: u32| format!("instruction {target}");
    Some(match *why {
        Why::Empty => Reason::new("the program has no instructions"),
        Why::TooLong { slots, max } => Reason::new(format!("the program has {slots} instructions; {max} are taken")),
        Why::Decode(e) => decode(e),
        Why::JumpOutOfRange { target } => Reason::new(format!("jumps to {}, outside of the program", at(target))),
        Why::JumpIntoImm64 { target } => Reason::new(format!(
            "jumps to {}, the second half of a 64-bit immediate",
            at(target)
        )),
        Why::LeavesSubprogram { target } => Reason::new(format!(
            "jumps or falls from one function into another, at {}",
            at(target)
        )),
        Why::FallsOffEnd => Reason::new("runs past the last instruction").help("every path must end with `exit`"),
        Why::Unreachable => Reason::new("no path leads to this instruction"),
        Why::Recursion { entry } => {
            let name = scene
                .function(entry as usize)
                .map_or_else(|| at(entry), |n| format!("`{n}`"));
            Reason::new(format!("{name} calls itself, directly or through others"))
                .help("a bound on time needs a bound on depth: use a loop")
        }
        Why::TooManyFrames { max } => Reason::new(format!("calls nest deeper than {max} frames")),
        Why::StackTooDeep { bytes, max } => Reason::new(format!(
            "needs {bytes} bytes of stack; {max} are there, for all nested functions together"
        ))
        .help("keep large data in a map: an array of one entry per CPU serves as scratch memory"),
        Why::LoopsTooDeep { max } => Reason::new(format!("loops nest deeper than {max}")),
        Why::UnknownMap { index } => Reason::new(format!("refers to map {index}, which is not there")),
        Why::BadDirectValue { index, offset } => Reason::new(format!(
            "takes the address of byte {offset} in {}, which has no such address",
            scene.map(index as usize)
        )),
        Why::UnknownHelper { id } => Reason::new(format!(
            "calls {}, which is not there for {}",
            scene.helper(id),
            scene.env.name
        ))
        .help(match crate::env::linux::helper_name(id) {
            Some(_) => "Linux has this function, but not for programs of this kind",
            None => "the number is not that of a known function",
        }),
        Why::BadCallback { target } => Reason::new(format!(
            "the callback at {} is not a function of the program",
            at(target)
        )),
        Why::LocalCall { target } => Reason::new(format!(
            "calls or refers to the function at {}: a program without privileges is one function",
            at(target)
        ))
        .help("let the compiler inline it (`__always_inline`), or load it with privileges (`--privileged`)"),
        Why::BackEdge { head } => {
            Reason::new(format!("goes back to {}, and so loops", at(head))).help(match scene.env.rules.speculation {
                true => "Linux takes loops only with privileges (`--privileged`): unroll it",
                false => "Linux takes a loop only if a jump leads back to its head, not if it runs on into it",
            })
        }
        Why::DivisionByZero => Reason::new("divides by the constant 0"),
        Why::BadShift { bits } => Reason::new(format!("shifts by {bits}, as many bits as there are or more")),
        _ => return None,
    })
}

fn decode(e: DecodeError) -> Reason {
    let message = match e {
        DecodeError::UnknownOpcode(op) => format!("opcode 0x{op:02x} is not an eBPF instruction"),
        DecodeError::Reserved(op) => format!("a field that must be zero is not (opcode 0x{op:02x})"),
        DecodeError::BadRegister(r) => format!("there is no register r{r}"),
        DecodeError::CallRegister => "calls through a register (callx): its target cannot be known".into(),
        DecodeError::BadImm64 => "the second half of a 64-bit immediate is missing or not blank".into(),
        DecodeError::BadTarget => "jumps to before the program or past its end".into(),
        DecodeError::BadAtomic(imm) => format!("{imm:#x} is not an atomic operation on 4 or 8 bytes"),
        DecodeError::FramePointerWrite => "writes r10, the read-only frame pointer".into(),
    };
    Reason::new(message)
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reads",
        Access::Write => "writes",
        Access::Atomic => "changes",
        Access::Helper(_) | Access::HelperRead(_) => "lets a helper access",
    }
}

fn memory(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::UninitRegister { reg } => Reason::new(format!("r{reg} is used before it is written"))
            .of(reg)
            .help("a variable is used that some path leaves unset, or a register that a call destroyed"),
        Why::UninitStack { reg, offset } => Reason::new(format!(
            "reads stack bytes that were never written, from offset {offset} below r10"
        ))
        .of(reg)
        .help("initialise the whole variable, padding included: `struct key k = {}` or memset"),
        Why::NotAPointer { reg, access } => Reason::new(format!(
            "{} memory through r{reg}, which is not a pointer to memory",
            verb(access)
        ))
        .of(reg),
        Why::MaybeNull { reg, region } => Reason::new(format!(
            "r{reg} may be null: {} was not found on some path",
            name(region)
        ))
        .of(reg)
        .help("test the pointer before use: `if (!p) return 0;`"),
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
        .of(reg),
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
            .help("a frame's stack is the 512 bytes below r10: offsets -512 to -1"),
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

fn pointers(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let name = |r: Region| value::region(scene, r, 0);
    Some(match *why {
        Why::ReadOnly { reg, region } => {
            Reason::new(format!("writes {}, which a program may only read", name(region))).of(reg)
        }
        Why::WriteOnly { reg, region } => {
            Reason::new(format!("reads {}, which a program may only write", name(region))).of(reg)
        }
        Why::MixedAccess { reg } => {
            Reason::new(format!("r{reg} points to different kinds of memory on different paths")).of(reg)
        }
        Why::VariableStack { reg } => Reason::new(format!(
            "r{reg} points into the stack at an offset that is not constant"
        ))
        .of(reg),
        Why::PartialPointer { reg, offset, size } => Reason::new(format!(
            "accesses {size} bytes at stack offset {offset}, part of a pointer that is kept there"
        ))
        .of(reg),
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
        Why::PointerLeak { reg } => Reason::new(format!(
            "the address in r{reg} would become visible to the program's loader"
        ))
        .of(reg)
        .help("addresses may not be stored in maps, returned, or turned into numbers"),
        Why::PointerCompare { reg } => {
            Reason::new(format!("compares the pointer in r{reg} with something other than null")).of(reg)
        }
        Why::DeadFrame { reg } => {
            Reason::new(format!("r{reg} points into the frame of a function that has returned")).of(reg)
        }
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

fn wanted(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::None => "nothing",
        ArgKind::Any => "a number",
        ArgKind::Ctx => "the context, as it came in r1",
        ArgKind::Object(_) | ArgKind::ObjectMask(_) => "a kernel object that is not null",
        ArgKind::ObjectOrNull(_) => "a kernel object",
        ArgKind::ConstMap(_) => "a map",
        ArgKind::MapKey | ArgKind::MapKeyOrNull => "a pointer to a key of the map, all of it written",
        ArgKind::MapValue => "a pointer to a value for the map, all of it written",
        ArgKind::MapValueOut => "a pointer to room for a value of the map",
        ArgKind::MemRead | ArgKind::MemReadOrNull => "a pointer to written memory",
        ArgKind::MemOut | ArgKind::MemOutOrNull | ArgKind::MemReadWrite => "a pointer to memory that may be written",
        ArgKind::FixedOut(_) => "a pointer to a number to be written",
        ArgKind::FixedRead(_) => "a pointer to a header to be read",
        ArgKind::Size(_) | ArgKind::SizeOrZero(_) => "the size of the memory before it",
        ArgKind::ConstAlloc(_) => "a constant size",
        ArgKind::Record => "a reserved ring buffer record",
        ArgKind::ReleaseObject(_) => "an object that was acquired",
        ArgKind::Callback => "a function of the program",
        ArgKind::StackOrNull => "a pointer to the stack, or null",
        ArgKind::AnyMapValue => "a pointer to the start of a map's value",
        ArgKind::ConstString => "a constant string in read-only data",
        ArgKind::Zero => "0",
        _ => "something that cannot be had here",
    }
}

fn calls(scene: &Scene<'_>, r: &Rejected) -> Option<Reason> {
    Some(match r.why {
        Why::BadArgument { helper, arg, want } => Reason::new(format!(
            "argument {arg} of {} must be {}",
            scene.helper(helper),
            wanted(want)
        ))
        .of(arg),
        Why::WrongMap { helper, arg, map } => Reason::new(format!(
            "{} does not take {}: not of its kind",
            scene.helper(helper),
            scene.map(map.into())
        ))
        .of(arg),
        Why::BadSize {
            helper,
            arg,
            min,
            max,
            limit,
        } => Reason::new(format!(
            "argument {arg} of {}, a size, may be {min} to {max}",
            scene.helper(helper)
        ))
        .of(arg)
        .help(format!("it must be proven to lie in 0 to {limit}")),
        Why::Unreleased { acquired } => {
            let line = scene.program.and_then(|p| p.line_at(acquired as usize));
            let place = line.map_or_else(|| format!("instruction {acquired}"), |l| format!("line {}", l.line));
            Reason::new(format!("what {place} acquired is not released on this path"))
                .help("a ring buffer record must be submitted or discarded, a socket released, on every path")
        }
        Why::TooManyReferences { max } => Reason::new(format!("holds more than {max} references at once")),
        Why::ReturnValue {
            min,
            max,
            want_min,
            want_max,
        } => Reason::new(format!("returns {min} to {max}; {want_min} to {want_max} are allowed")).of(0),
        Why::PacketLoad => Reason::new("a packet load is not allowed here, or r6 does not hold the context"),
        Why::CallNotAllowed { helper } => Reason::new(format!("{} may not be called here", scene.helper(helper)))
            .help("not inside a callback, or not while a reference is held"),
        _ => return None,
    })
}

fn limits(scene: &Scene<'_>, why: &Why) -> Reason {
    match *why {
        Why::NoLoopBound { head, progress } => no_loop_bound(scene, head, progress),
        Why::BoundTooLarge { bound, max } => {
            Reason::new(format!("may run {bound} instructions; {max} are allowed")).help("shorten the loops")
        }
        Why::TooMuchEffort { visits, max } => Reason::new(format!(
            "the proof was given up after {visits} steps; {max} are allowed"
        ))
        .help("fewer branches inside loops make it shorter"),
        Why::NoSpace { pool, size } => Reason::new(format!(
            "the verifier has no space for more {}: {size} is all",
            format!("{pool:?}").to_lowercase()
        )),
        Why::Internal { line } => Reason::new(format!("the verifier contradicts itself (at its line {line})"))
            .help("this is a defect of Gnomon, not of the program: please report it with the object file"),
        ref other => Reason::new(format!("{other:?}")),
    }
}

fn no_loop_bound(scene: &Scene<'_>, head: u32, progress: Progress) -> Reason {
    let place = scene.program.and_then(|p| p.line_at(head as usize));
    let place = place.map_or_else(|| format!("at instruction {head}"), |l| format!("at line {}", l.line));
    let hint = "give it a bound: `for (i = 0; i < N && …; i++)` with a constant N, or bpf_loop";
    match progress {
        Progress::NoChange => Reason::new(format!(
            "the loop {place} may never end: an iteration can leave everything as it was"
        ))
        .help(hint),
        Progress::Unbounded {
            followed,
            counter,
            value: v,
            step,
        } => {
            let counter_text = match (counter, step) {
                (Some(r), Some(step)) => {
                    format!(
                        "r{r} changes by {step} an iteration, and has come to {}",
                        value::value(scene, &v)
                    )
                }
                (Some(r), None) => format!("r{r} decides, and is {} at its head", value::value(scene, &v)),
                (None, _) => "no counter is known".into(),
            };
            let reason = Reason::new(format!(
                "the loop {place} has no bound that can be proven ({followed} iterations followed): {counter_text}"
            ));
            match counter {
                Some(r) => reason.of(r).help(hint),
                None => reason.help(hint),
            }
        }
    }
}
