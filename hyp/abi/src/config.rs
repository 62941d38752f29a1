//! The boot configuration: one manifest, validated on the host, laid out for EL2 to read without parsing text.
//!
//! The blob starts at the linker symbol right after the hypervisor's image: a [`Header`], then the tables it names, in its
//! order, then (page-aligned) the bytes of guest images, device trees and initrds that [`Segment`]s point into. EL2
//! trusts none of it: `hyp-core` validates every field and refuses the boot with [`crate::record::StreamKind::BadConfig`].

/// Bytes of a name: UTF-8, padded with NUL.
pub const NAME_LEN: usize = 16;
/// "GNOMONCF", little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"GNOMONCF");
/// Version of this layout.
pub const VERSION: u32 = 1;
/// Most segments: image, device tree and initrd of each VM, and ELF images of several segments.
pub const SEGMENTS_MAX: usize = 96;
/// Most devices of the system.
pub const DEVICES_MAX: usize = 48;
/// Most channels of the system.
pub const CHANNELS_MAX: usize = 64;
/// Most vCPUs of the system.
pub const VCPUS_MAX: usize = 32;

record! {
    /// Head of the blob. Tables follow in the order of the counts.
    pub struct Header {
        /// [`MAGIC`].
        pub magic: u64,
        /// [`VERSION`].
        pub version: u32,
        /// Bytes of header and tables (not of segment data).
        pub tables_len: u32,
        /// Bytes of the whole blob with segment data.
        pub total_len: u64,
        /// Physical CPUs to use.
        pub cpus: u32,
        /// [`Vm`] records.
        pub vms: u32,
        /// [`Vcpu`] records.
        pub vcpus: u32,
        /// [`Segment`] records.
        pub segments: u32,
        /// [`Device`] records.
        pub devices: u32,
        /// [`Channel`] records.
        pub channels: u32,
        /// [`Budget`] records.
        pub budgets: u32,
        /// VM that gets the keyboard first.
        pub focus: u32,
        /// Round-robin slice, ns.
        pub slice_ns: u64,
    }
}

record! {
    /// One VM; its id is its index.
    pub struct Vm {
        /// Name.
        pub name: [u8; NAME_LEN],
        /// Guest-physical base of RAM, 2 MiB aligned.
        pub ipa_base: u64,
        /// Physical base of RAM, 2 MiB aligned.
        pub pa_base: u64,
        /// Bytes of RAM, a multiple of 2 MiB.
        pub mem_size: u64,
        /// IPA where vCPU 0 starts.
        pub entry: u64,
        /// x0 of vCPU 0: IPA of the device tree.
        pub x0: u64,
        /// [`crate::Rights`] bits.
        pub rights: u32,
        /// 1: SYSTEM_RESET restarts the VM from its segments.
        pub restart: u32,
        /// Quota of map memory, bytes.
        pub map_bytes: u64,
        /// Quota of loaded programs.
        pub programs: u32,
        /// 0.
        pub pad: u32,
    }
}

record! {
    /// One vCPU; its place in the VM is its order among the VM's records.
    pub struct Vcpu {
        /// VM id.
        pub vm: u32,
        /// Physical CPU it is pinned to.
        pub cpu: u32,
        /// Fixed priority, 0 (lowest) to 31.
        pub priority: u32,
        /// Most exits per period that the guest's own code causes, besides its release and its wait.
        pub exits: u32,
        /// Period, ns; 0: none declared.
        pub period_ns: u64,
        /// Deadline after release, ns (≤ period).
        pub deadline_ns: u64,
        /// Own execution time per period, in units of the timing model, EL2 not counted.
        pub budget: u64,
    }
}

record! {
    /// Bytes to place in a VM's RAM before it starts (and again when it restarts).
    pub struct Segment {
        /// VM id.
        pub vm: u32,
        /// 0.
        pub pad: u32,
        /// Offset of the bytes in the blob.
        pub offset: u64,
        /// Where they go.
        pub ipa: u64,
        /// Bytes to copy.
        pub file_len: u64,
        /// Bytes in memory; the rest is zero (RAM starts zeroed anyway).
        pub mem_len: u64,
    }
}

/// Kind of a [`Device`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceKind {
    /// Emulated PL011 at `ipa`, interrupt `intid`.
    Pl011 = 0,
    /// Physical device mapped through, interrupt routed.
    Passthrough = 1,
}

record! {
    /// A device of a VM. The emulated GICv3 is always there.
    pub struct Device {
        /// VM id.
        pub vm: u32,
        /// [`DeviceKind`].
        pub kind: u32,
        /// Guest-physical address.
        pub ipa: u64,
        /// Physical address (pass-through), page-aligned with `ipa`.
        pub pa: u64,
        /// Bytes.
        pub size: u64,
        /// INTID seen by the guest and, for pass-through, of the board; 0: none.
        pub intid: u32,
        /// Bit 0: the device does DMA and the manifest says it is trusted; bit 1: edge-triggered.
        pub flags: u32,
    }
}

/// Flag of [`Device`]: trusted with DMA.
pub const DEVICE_DMA_TRUSTED: u32 = 1;
/// Flag of [`Device`]: edge-triggered interrupt.
pub const DEVICE_EDGE: u32 = 2;

record! {
    /// A channel between two VMs. Each VM numbers its ends in the order of these records.
    pub struct Channel {
        /// Name.
        pub name: [u8; NAME_LEN],
        /// VM of end A.
        pub a_vm: u32,
        /// VM of end B.
        pub b_vm: u32,
        /// [`crate::rights::ChannelRights`] of end A.
        pub a_rights: u32,
        /// Rights of end B.
        pub b_rights: u32,
        /// SPI that pends at A when B notifies; 0: none.
        pub a_intid: u32,
        /// SPI that pends at B when A notifies; 0: none.
        pub b_intid: u32,
    }
}

record! {
    /// Budget of a path.
    pub struct Budget {
        /// [`crate::PathId`].
        pub path: u32,
        /// 0.
        pub pad: u32,
        /// Most time of one exit, probes included, in the timing model's unit.
        pub budget: u64,
    }
}
