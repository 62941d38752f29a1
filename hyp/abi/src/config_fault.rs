//! Why EL2 refuses a boot configuration.

macro_rules! faults {
    ($($(#[$m:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// What is wrong with a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum ConfigFault { $($(#[$m])* $name = $n,)* }
        impl ConfigFault {
            /// From its number.
            pub const fn from_number(n: u32) -> Option<Self> {
                match n { $($n => Some(Self::$name),)* _ => None }
            }
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// Not a configuration.
    Magic = 0, "no configuration at the end of the image";
    /// Another layout version.
    Version = 1, "configuration of another version";
    /// A length does not fit the blob or the counts.
    Length = 2, "a length does not fit";
    /// More records than the limit.
    TooMany = 3, "more records than the hypervisor has room for";
    /// A VM id that does not exist.
    NoSuchVm = 4, "names a VM that does not exist";
    /// An address or size is not aligned.
    Alignment = 5, "an address or size is not aligned";
    /// Outside the machine's RAM or the IPA space.
    OutOfRange = 6, "outside the machine's memory or the guest's address space";
    /// Overlaps another range.
    Overlap = 7, "overlaps another range";
    /// Outside the VM's RAM.
    OutsideVm = 8, "outside the VM's memory";
    /// Unknown rights, kinds or flags.
    UnknownBits = 9, "an unknown kind, flag or right";
    /// A VM without vCPU.
    NoVcpu = 10, "a VM without vCPU";
    /// A physical CPU that does not exist.
    NoSuchCpu = 11, "pinned to a CPU that does not exist";
    /// A priority above 31.
    Priority = 12, "a priority above 31";
    /// Deadline beyond the period, or one without a period.
    Deadline = 13, "a deadline that does not fit its period";
    /// An INTID that is no SPI, or used twice.
    Interrupt = 14, "an interrupt that is no SPI or is used twice";
    /// Both ends of a channel are the same VM.
    SelfChannel = 15, "a channel from a VM to itself";
    /// Call without serve, notify without notified.
    ChannelRights = 16, "rights of a channel whose other end does not match";
    /// A path that does not exist, or given twice.
    Path = 17, "a budget for an unknown path, or a second one";
}

/// Which kind of record is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordKind {
    /// The header.
    Header = 0,
    /// A VM.
    Vm = 1,
    /// A vCPU.
    Vcpu = 2,
    /// A segment.
    Segment = 3,
    /// A device.
    Device = 4,
    /// A channel.
    Channel = 5,
    /// A budget.
    Budget = 6,
}

impl RecordKind {
    /// From its number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::Header,
            1 => Self::Vm,
            2 => Self::Vcpu,
            3 => Self::Segment,
            4 => Self::Device,
            5 => Self::Channel,
            6 => Self::Budget,
            _ => return None,
        })
    }

    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Vm => "VM",
            Self::Vcpu => "vCPU",
            Self::Segment => "segment",
            Self::Device => "device",
            Self::Channel => "channel",
            Self::Budget => "budget",
        }
    }
}
