//! Hypercall numbers and registers.
//!
//! SMCCC 1.2 fast calls, HVC64, vendor-specific hypervisor service (DEN0028 §6.2: owner 6), by `hvc #0`.
//! Arguments from x1 up, status in x0, results from x1 up; registers that no result is documented for are preserved.
//! IPA arguments name guest memory and must lie wholly inside the VM's RAM.

macro_rules! calls {
    ($($(#[$m:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// A Gnomon hypercall; the discriminant is the low 16 bits of the function identifier.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Call { $($(#[$m])* $name = $n,)* }
        impl Call {
            /// All calls, ascending.
            pub const ALL: &'static [Call] = &[$(Call::$name,)*];
            /// From the low 16 bits of a function identifier.
            pub const fn from_number(n: u16) -> Option<Self> {
                match n { $($n => Some(Call::$name),)* _ => None }
            }
            /// Name as in the documents and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Call::$name => $text,)* }
            }
        }
    };
}

/// Function identifier of call 0: fast (bit 31), 64-bit (bit 30), owner 6.
pub const FID_BASE: u32 = 0xC600_0000;
/// SMCCC "call UID" of the vendor hypervisor range (32-bit form): returns [`UID`].
pub const FID_UID: u32 = 0x8600_FF01;
/// UUID 1d8f0c62-6e6f-4d6f-9e21-676e6f6d6f6e as the four words SMCCC returns in w0–w3.
pub const UID: [u32; 4] = [0x620c_8f1d, 0x6f4d_6f6e, 0x6e67_219e, 0x6e6f_6d6f];

calls! {
    /// → x1 = [`crate::ABI_VERSION`], x2 = features (bit 0: path counters count).
    Version = 0x00, "version";
    /// → x1 = VM id, x2 = [`crate::Rights`], x3 = channel ends, x4 = vCPU index, x5 = physical CPU.
    VmInfo = 0x01, "vm_info";
    /// Gives the rest of the time slice away.
    Yield = 0x02, "yield";
    /// x1 = channel end → x1 = partner's VM id, x2 = own [`crate::rights::ChannelRights`], x3 = partner's rights, x4 = SPI INTID of notifications (0: none).
    ChannelInfo = 0x03, "channel_info";
    /// x1 = exit code: stops this VM; 0 is success, anything else counts as a fault of the guest.
    VmExit = 0x04, "vm_exit";

    /// x1 = channel end, x2–x7 = words; blocks until the reply → x1 = 0, x2–x7 = reply.
    IpcCall = 0x10, "ipc_call";
    /// x1 = flags (bit 0: do not block) → x1 = own channel end of the caller, x2–x7 = words. A notification also ends the wait: x0 = Ok, x1 = channel end | [`RECV_NOTIFIED`], x2 = bits.
    IpcRecv = 0x11, "ipc_recv";
    /// x1 = channel end of the waiting caller, x2–x7 = reply.
    IpcReply = 0x12, "ipc_reply";
    /// x1 = channel end to reply to, x2–x7 = reply; then as IpcRecv (blocking).
    IpcReplyRecv = 0x13, "ipc_reply_recv";
    /// x1 = channel end, x2 = bits, ORed into the partner's pending word.
    Notify = 0x14, "notify";
    /// x1 = channel end, x2 = flags (bit 0: do not block) → x1 = bits, taken and cleared.
    NotifyWait = 0x15, "notify_wait";

    /// x1 = IPA of a program image, x2 = bytes → x1 = program handle. EL2 copies once.
    ProbeStage = 0x20, "probe_stage";
    /// x1 = handle, x2 = units to spend (capped) → x1 = 0 more / 1 verified, x2 = units spent so far, x3 = instruction bound, x4 = time bound.
    ProbeVerify = 0x21, "probe_verify";
    /// x1 = handle, compiles and publishes (repeat while x1 = 0) → x1 = 0 more / 1 published, x2 = code bytes, x3 = time bound.
    ProbeCompile = 0x22, "probe_compile";
    /// x1 = handle, x2 = point id, x3 = filter: VM | (vCPU + 1) << 32, 0 there for all its vCPUs; or [`FILTER_ANY`] → x1 = attachment.
    ProbeAttach = 0x23, "probe_attach";
    /// x1 = attachment.
    ProbeDetach = 0x24, "probe_detach";
    /// x1 = handle.
    ProbeUnload = 0x25, "probe_unload";
    /// x1 = handle, x2 = IPA of a [`crate::record::ProgramInfo`], x3 = bytes.
    ProbeInfo = 0x26, "probe_info";
    /// x1 = attachment to replace, x2 = handle of the new program → x1 = attachment. Admitted as a difference.
    ProbeReplace = 0x27, "probe_replace";

    /// x1 = handle, x2 = map index, x3 = IPA of a [`crate::record::MapInfo`], x4 = bytes.
    MapInfo = 0x30, "map_info";
    /// x1 = handle, x2 = map index | flags ([`MAP_READ_PER_CPU`], [`MAP_READ_CLEAR`]), x3 = cursor (0 first), x4 = IPA, x5 = bytes → x1 = next cursor ([`CURSOR_END`] at the end), x2 = entries written (key then value, each padded to 8).
    MapRead = 0x31, "map_read";
    /// x1 = handle, x2 = map index, x3 = IPA of the key, x4 = IPA for the value, x5 = its bytes.
    MapLookup = 0x32, "map_lookup";
    /// x1 = handle, x2 = map index, x3 = IPA of the key, x4 = IPA of the value, x5 = BPF_ANY 0 / NOEXIST 1 / EXIST 2.
    MapUpdate = 0x33, "map_update";
    /// x1 = handle, x2 = map index, x3 = IPA of the key.
    MapDelete = 0x34, "map_delete";
    /// x1 = handle, x2 = map index, x3 = cursor → x1 = next cursor ([`CURSOR_END`] when clear).
    MapClear = 0x35, "map_clear";
    /// x1 = handle, x2 = map index | CPU << 32, x3 = IPA, x4 = bytes → x1 = bytes written (records: len u32, pad u32, data padded to 8), x2 = records lost since the last read.
    RingRead = 0x36, "ring_read";

    /// x1 = first path | (CPU + 1) << 32, 0 there for all of them together, x2 = IPA, x3 = bytes → x1 = next path, likewise ([`CURSOR_END`]), x2 = [`crate::record::PathRecord`]s written.
    PathRead = 0x40, "path_read";
    /// x1 = IPA, x2 = bytes → x1 = bytes of defmt frames written, x2 = frames lost since the last read.
    LogRead = 0x41, "log_read";
    /// x1 = first pool, x2 = IPA, x3 = bytes → x1 = next, x2 = [`crate::record::PoolRecord`]s written.
    PoolRead = 0x42, "pool_read";
    /// x1 = first VM, x2 = IPA, x3 = bytes → x1 = next, x2 = [`crate::record::VmRecord`]s written.
    VmRead = 0x43, "vm_read";
    /// Clears count, min, max and sum of every path, on every CPU.
    PathReset = 0x44, "path_reset";
    /// x1 = path, x2 = IPA of a [`crate::record::PathPeak`] of the CPU that asks, x3 = bytes.
    PathPeak = 0x45, "path_peak";
}

impl Call {
    /// The function identifier for x0.
    pub const fn fid(self) -> u64 {
        FID_BASE as u64 | self as u64
    }
}

/// VM filter of ProbeAttach that lets events of every VM through.
pub const FILTER_ANY: u64 = u64::MAX;
/// Cursor that says there is no more.
pub const CURSOR_END: u64 = u64::MAX;
/// Bit 63 in x1 of a finished IpcRecv: what came is a notification.
pub const RECV_NOTIFIED: u64 = 1 << 63;
/// Flag of a receive or wait: return WouldBlock rather than block.
pub const NONBLOCKING: u64 = 1;
/// Flag of MapRead: per-CPU slots one after the other instead of folded (summed as u64 lanes).
pub const MAP_READ_PER_CPU: u64 = 1 << 32;
/// Flag of MapRead on array kinds: each value is swapped with zero as it is read.
pub const MAP_READ_CLEAR: u64 = 1 << 33;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_are_in_the_vendor_range() {
        for call in Call::ALL {
            assert_eq!(Call::from_number(*call as u16), Some(*call));
            let fid = call.fid() as u32;
            assert_eq!(fid >> 31, 1, "fast call");
            assert_eq!(fid >> 30 & 1, 1, "64-bit convention");
            assert_eq!(fid >> 24 & 0x3f, 6, "vendor hypervisor owner");
        }
    }
}
