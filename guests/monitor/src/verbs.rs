//! What a request asks for.

use hyp_abi::link::{
    ANSWER, BODY_MAX, Header, HelloReply, HvcReply, HvcRequest, LinkError, LoadReply, MAGIC, NO_BUFFER, Verb,
};
use hyp_abi::{Call, call};
use rt::buffer::Shared;
use rt::hvc;

use crate::link::Request;
use crate::load;

/// Memory that requests, answers and hypercalls share.
pub struct Buffers {
    /// Body of the request.
    pub input: Shared,
    /// Body of the answer.
    pub output: Shared,
}

/// What to send back; the body is in the output buffer.
pub struct Answer {
    error: LinkError,
    /// Bytes of body.
    pub len: usize,
    /// Stop after sending.
    pub quit: bool,
}

impl Answer {
    fn error(error: LinkError) -> Self {
        Self {
            error,
            len: 0,
            quit: false,
        }
    }

    fn body(len: usize) -> Self {
        Self {
            error: LinkError::None,
            len,
            quit: false,
        }
    }

    /// The frame's head.
    pub fn header(&self, request: &Request) -> Header {
        Header {
            magic: MAGIC,
            len: self.len as u32,
            verb: request.header.verb | ANSWER,
            seq: request.header.seq,
            error: self.error as u32,
        }
    }
}

/// Carries a request out.
pub fn execute(request: &Request, buffers: &mut Buffers) -> Answer {
    if request.header.len as usize > BODY_MAX {
        return Answer::error(LinkError::TooBig);
    }
    match Verb::from_number(request.header.verb) {
        Some(Verb::Hello) => hello(buffers),
        Some(Verb::Hvc) => hypercall(request.len, buffers),
        Some(Verb::Load) => {
            let reply = load::load(buffers.input.ipa(), request.len as u64);
            match reply.write(buffers.output.bytes_mut()) {
                Some(()) => Answer::body(LoadReply::SIZE),
                None => Answer::error(LinkError::TooBig),
            }
        }
        Some(Verb::Quit) => Answer {
            quit: true,
            ..Answer::body(0)
        },
        None => Answer::error(LinkError::UnknownVerb),
    }
}

fn hello(buffers: &mut Buffers) -> Answer {
    let version = hvc::call(Call::Version, []).map_or(0, |x| x[1] as u32);
    let info = hvc::call(Call::VmInfo, []).unwrap_or_default();
    let reply = HelloReply {
        abi: version,
        vm: info[1] as u32,
        rights: info[2] as u32,
        pad: 0,
    };
    match reply.write(buffers.output.bytes_mut()) {
        Some(()) => Answer::body(HelloReply::SIZE),
        None => Answer::error(LinkError::TooBig),
    }
}

/// Puts an address into register `register` (1 to 7, or none).
fn substitute(x: &mut hvc::Registers, register: u8, ipa: u64) -> Result<(), LinkError> {
    match register {
        NO_BUFFER | 0 => (register == NO_BUFFER).then_some(()).ok_or(LinkError::MalformedBody),
        _ => x
            .get_mut(usize::from(register))
            .map(|slot| *slot = ipa)
            .ok_or(LinkError::MalformedBody),
    }
}

fn registers(request: &HvcRequest, buffers: &Buffers) -> Result<hvc::Registers, LinkError> {
    let mut x = [0; 8];
    x[0] = u64::from(call::FID_BASE) | u64::from(request.call);
    for (slot, value) in x.iter_mut().skip(1).zip(request.x) {
        *slot = value;
    }
    let input = buffers.input.ipa() + HvcRequest::SIZE as u64;
    substitute(&mut x, request.in_reg, input)?;
    substitute(&mut x, request.in2_reg, input + u64::from(request.in2_offset))?;
    substitute(&mut x, request.out_reg, buffers.output.ipa() + HvcReply::SIZE as u64)?;
    Ok(x)
}

/// Makes one hypercall. The output buffer is zeroed first: what comes back is only what the hypervisor wrote.
fn hypercall(len: usize, buffers: &mut Buffers) -> Answer {
    let Some(request) = buffers.input.bytes().get(..len).and_then(HvcRequest::read) else {
        return Answer::error(LinkError::MalformedBody);
    };
    let end = HvcReply::SIZE.saturating_add(request.out_len as usize);
    let x = match registers(&request, buffers) {
        Ok(x) => x,
        Err(error) => return Answer::error(error),
    };
    match buffers.output.bytes_mut().get_mut(..end) {
        Some(bytes) => bytes.fill(0),
        None => return Answer::error(LinkError::TooBig),
    }
    // The monitor would leave (VmExit) or block for good in these: the host has other means for both.
    let refused = matches!(
        Call::from_number(request.call),
        Some(Call::VmExit | Call::IpcRecv | Call::IpcReplyRecv | Call::IpcCall | Call::NotifyWait)
    );
    if refused {
        return Answer::error(LinkError::MalformedBody);
    }
    let reply = HvcReply { x: hvc::raw(x) };
    match reply.write(buffers.output.bytes_mut()) {
        Some(()) => Answer::body(end),
        None => Answer::error(LinkError::TooBig),
    }
}
