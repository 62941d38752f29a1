//! Frames between `gnomon` on the host and the monitor guest, over virtio-console.
//!
//! A frame is a [`Header`] and `len` bytes of body. The host asks, the monitor answers each request once, in order, with
//! the same `seq`. The monitor adds nothing of its own: what a request may do is what the hypervisor grants its VM.

/// First four bytes of every frame: resynchronises after a reset of either side.
pub const MAGIC: u32 = 0x4b4c_4e47;
/// Largest body, bytes: a program image of the largest size, or a map page.
pub const BODY_MAX: usize = 256 * 1024;

record! {
    /// Head of a frame.
    pub struct Header {
        /// [`MAGIC`].
        pub magic: u32,
        /// Bytes of body.
        pub len: u32,
        /// [`Verb`]; bit 15 set in answers.
        pub verb: u16,
        /// Chosen by the host, repeated in the answer.
        pub seq: u16,
        /// 0 in requests; in answers a [`LinkError`].
        pub error: u32,
    }
}

/// What a frame asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Verb {
    /// Empty body → [`HelloReply`].
    Hello = 1,
    /// [`HvcRequest`] and its input bytes → [`HvcReply`] and output bytes.
    Hvc = 2,
    /// Program image: stage, verify by steps, compile → [`LoadReply`].
    Load = 3,
    /// The monitor stops its VM after answering.
    Quit = 4,
}

/// Values of [`Header::error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LinkError {
    /// Understood.
    None = 0,
    /// No such verb.
    UnknownVerb = 1,
    /// The body is not what the verb takes.
    MalformedBody = 2,
    /// The body, or the answer it asks for, is larger than [`BODY_MAX`].
    TooBig = 3,
}

impl LinkError {
    /// From the number in a header.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::None,
            1 => Self::UnknownVerb,
            2 => Self::MalformedBody,
            3 => Self::TooBig,
            _ => return None,
        })
    }
}

/// Bit of `verb` that marks an answer.
pub const ANSWER: u16 = 1 << 15;

impl Verb {
    /// From the number without [`ANSWER`].
    pub const fn from_number(n: u16) -> Option<Self> {
        Some(match n {
            1 => Self::Hello,
            2 => Self::Hvc,
            3 => Self::Load,
            4 => Self::Quit,
            _ => return None,
        })
    }
}

record! {
    /// Who answers.
    pub struct HelloReply {
        /// ABI version of the hypervisor.
        pub abi: u32,
        /// VM id of the monitor.
        pub vm: u32,
        /// [`crate::Rights`] bits of the monitor.
        pub rights: u32,
        /// 0.
        pub pad: u32,
    }
}

/// Argument index that stands for "no buffer".
pub const NO_BUFFER: u8 = 0xff;

record! {
    /// One hypercall to make. The monitor puts the IPA of its input (output) buffer into the register named, if any.
    pub struct HvcRequest {
        /// Low 16 bits of the function identifier ([`crate::Call`]).
        pub call: u16,
        /// Register 1..=7 that gets the IPA of the input bytes, or [`NO_BUFFER`].
        pub in_reg: u8,
        /// Register 1..=7 that gets the IPA of the output buffer, or [`NO_BUFFER`].
        pub out_reg: u8,
        /// Second input for calls with key and value: register that gets input + `in2_offset`, or [`NO_BUFFER`].
        pub in2_reg: u8,
        /// 0.
        pub pad: [u8; 3],
        /// Offset of the second input in the input bytes.
        pub in2_offset: u32,
        /// Bytes of output buffer wanted, at most [`BODY_MAX`] − [`HvcReply::SIZE`].
        pub out_len: u32,
        /// x1–x7 before substitution.
        pub x: [u64; 7],
    }
}

record! {
    /// Registers after the call; the output buffer follows whole.
    pub struct HvcReply {
        /// x0–x7.
        pub x: [u64; 8],
    }
}

record! {
    /// Outcome of Load.
    pub struct LoadReply {
        /// Which step ended it: [`crate::Call::ProbeStage`], `ProbeVerify` or `ProbeCompile`.
        pub call: u32,
        /// Verify-step hypercalls made.
        pub steps: u32,
        /// Program handle if all went well, or if staged (a refused program stays unloaded: the monitor unloads it).
        pub handle: u64,
        /// x0–x7 of the last call.
        pub x: [u64; 8],
        /// Instruction bound, from verify.
        pub insn_bound: u64,
        /// Time bound, from compile.
        pub time_bound: u64,
        /// Bytes of A64 code.
        pub code_bytes: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_short_input_is_none() {
        let req = HvcRequest {
            call: 0x31,
            in_reg: NO_BUFFER,
            out_reg: 4,
            x: [1, 2, 3, 4, 5, 6, 7],
            ..Default::default()
        };
        let mut bytes = [0; HvcRequest::SIZE];
        req.write(&mut bytes).unwrap();
        assert_eq!(HvcRequest::read(&bytes), Some(req));
        for n in 0..HvcRequest::SIZE {
            assert_eq!(HvcRequest::read(&bytes[..n]), None);
            assert_eq!(req.write(&mut bytes[..n]), None);
        }
    }
}
