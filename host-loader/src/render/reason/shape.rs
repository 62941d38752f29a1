//! Programs that are no programs, or too large.

use verifier::insn::DecodeError;
use verifier::reject::Why;

use super::{Reason, Scene};

pub(super) fn shape(scene: &Scene<'_>, why: &Why) -> Option<Reason> {
    let at = |target: u32| format!("instruction {target}");
    Some(match *why {
        Why::Empty => Reason::new("the program has no instructions"),
        Why::TooLong { slots, max } => Reason::new(format!("the program has {slots} instructions; {max} are taken"))
            .help("make several programs of it, or a loop of what is unrolled (`#pragma nounroll`)"),
        Why::Decode(e) => decode(e),
        Why::JumpOutOfRange { target } => Reason::new(format!("jumps to {}, outside of the program", at(target))),
        Why::JumpIntoImm64 { target } => Reason::new(format!(
            "jumps to {}, the second half of a 64-bit immediate",
            at(target)
        ))
        .help("in assembly a 64-bit constant counts as two instructions"),
        Why::LeavesSubprogram { target } => Reason::new(format!(
            "jumps or falls from one function into another, at {}",
            at(target)
        ))
        .help("a function is entered by a call and left by `exit`"),
        Why::FallsOffEnd => Reason::new("runs past the last instruction").help("every path must end with `exit`"),
        Why::Unreachable => Reason::new("no path leads to this instruction"),
        Why::Recursion { entry } => {
            let name = scene.function_name(entry);
            Reason::new(format!("{name} calls itself, directly or through others"))
                .help("a bound on time needs a bound on depth: use a loop")
        }
        Why::TooManyFrames { max } => Reason::new(format!("functions call each other more than {max} deep"))
            .help("let the compiler inline some of them: `static __always_inline`"),
        Why::StackTooDeep { bytes, max } => Reason::new(format!(
            "needs {bytes} bytes of stack; {max} are there, for all nested functions together"
        ))
        .help("keep large data in a map: an array of one entry per CPU serves as scratch memory"),
        Why::LoopsTooDeep { max } => Reason::new(format!("more than {max} loops inside each other in one function"))
            .help("move inner loops into a function of their own: `static __noinline`"),
        Why::UnknownMap { index } => Reason::new(format!("refers to map {index}, which is not there")),
        Why::BadDirectValue { index, offset } => Reason::new(format!(
            "takes the address of byte {offset} in {}, which has no such address",
            scene.map(index as usize)
        ))
        .help("only a global variable has an address without a lookup, and only inside of it"),
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
            "calls or refers to {}: a program without privileges is one function",
            scene.function_name(target)
        ))
        .help("let the compiler inline it (`__always_inline`), or load it with privileges (`--privileged`)"),
        Why::BackEdge { head } => Reason::new(format!("goes back to {}, and so loops", scene.line(head))).help(
            match scene.env.rules.speculation {
                true => "Linux takes loops only with privileges (`--privileged`): unroll it",
                false => "Linux takes a loop only if a jump leads back to its head, not if it runs on into it",
            },
        ),
        Why::DivisionByZero => Reason::new("divides by the constant 0")
            .help("Linux refuses what can only be a mistake; a divisor that is not constant may be 0, and gives 0"),
        _ => return None,
    })
}

fn decode(e: DecodeError) -> Reason {
    let reason = Reason::new(match e {
        DecodeError::UnknownOpcode(op) => format!("opcode 0x{op:02x} is not an eBPF instruction"),
        DecodeError::Reserved(op) => format!("a field that must be zero is not (opcode 0x{op:02x})"),
        DecodeError::BadRegister(r) => format!("there is no register r{r}"),
        DecodeError::CallRegister => "calls through a register (callx): its target cannot be known".into(),
        DecodeError::BadImm64 => "the second half of a 64-bit immediate is missing or not blank".into(),
        DecodeError::BadTarget => "jumps to before the program or past its end".into(),
        DecodeError::BadAtomic(imm) => format!("{imm:#x} is not an atomic operation on 4 or 8 bytes"),
        DecodeError::FramePointerWrite => "writes r10, the read-only frame pointer".into(),
    });
    match e {
        DecodeError::CallRegister => reason
            .help("call the function by its name, or choose between calls with `if`; without -O2 clang may not see it"),
        DecodeError::FramePointerWrite => reason.help("copy it to another register and move that"),
        DecodeError::BadTarget => reason,
        _ => reason.help("instructions are those of RFC 9669, up to clang's -mcpu=v4"),
    }
}
