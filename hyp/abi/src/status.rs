//! What x0 holds after a hypercall.

macro_rules! statuses {
    ($($(#[$m:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// Status of a hypercall: zero is success, every refusal is negative (SMCCC DEN0028 §5.1: −1 is
        /// NOT_SUPPORTED). Registers that carry details are named beside each code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(i64)]
        pub enum Status { $($(#[$m])* $name = $value,)* }
        impl Status {
            /// All codes, in numeric order from 0 down.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];
            /// The code of a value of x0, if it is one.
            pub const fn from_x0(x0: u64) -> Option<Self> {
                match x0 as i64 { $($value => Some(Status::$name),)* _ => None }
            }
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Status::$name => $text,)* }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0, "ok";
    /// The call does not exist.
    NotSupported = -1, "not supported";
    /// An argument is out of range: x1 = its register number.
    InvalidArg = -2, "invalid argument";
    /// The VM lacks the right: x1 = the missing bits of [`crate::Rights`].
    Denied = -3, "denied by the manifest";
    /// A buffer is not wholly inside the VM's memory: x1 = first bad IPA.
    BadAddress = -4, "buffer outside the VM's memory";
    /// A fixed pool is full: x1 = [`crate::record::Pool`], x2 = its size.
    NoSpace = -5, "no space";
    /// No such handle, key, channel or attachment.
    NotFound = -6, "not found";
    /// The object is in use, e.g. unloading a program that is attached.
    Busy = -7, "busy";
    /// A non-blocking call found nothing.
    WouldBlock = -8, "would block";
    /// The call does not fit the object's state, e.g. attach before compile: x1 = the state.
    BadState = -9, "wrong state";
    /// The verifier refuses the program: x1 = pc, x2 = reason code, x3–x6 = its data.
    Rejected = -10, "rejected by the verifier";
    /// A path's budget does not hold: x1 = [`crate::PathId`], x2 = shortfall, x3 = largest time bound that fits.
    OverBudget = -11, "over the path's budget";
    /// A vCPU would miss its deadline: x1 = VM, x2 = shortfall, x3 = largest time bound that fits.
    OverDeadline = -12, "over a vCPU's deadline";
    /// The IPC partner has stopped.
    PartnerGone = -13, "partner gone";
    /// Larger than the stated limit: x1 = the limit.
    TooBig = -14, "too big";
    /// Not a program image: x1 = byte offset of the fault, x2 = reason code.
    BadImage = -15, "not a program image";
    /// The key is there already (BPF_NOEXIST).
    Exists = -16, "exists";
    /// The image has no table of path bounds, so nothing can be admitted.
    NoTable = -17, "no table of path bounds in this image";
    /// Another CPU is in the way for a moment, and was told: the same call succeeds soon. x1 = those CPUs, as bits; 0: one that serves such a call.
    Again = -18, "another CPU is in the way, ask again";
}

impl Status {
    /// The value for x0.
    pub const fn x0(self) -> u64 {
        self as i64 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_round_trip() {
        for (i, status) in Status::ALL.iter().enumerate() {
            assert_eq!(*status as i64, -(i as i64));
            assert_eq!(Status::from_x0(status.x0()), Some(*status));
        }
        assert_eq!(Status::from_x0(1), None);
    }
}
