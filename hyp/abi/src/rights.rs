//! What a VM may do, fixed by the manifest.

bitflags::bitflags! {
    /// Rights of a VM.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Rights: u32 {
        /// Load probes that see this VM's own exits and maps only.
        const PROBE_SELF = 1 << 0;
        /// Load probes that see every VM, read every path, map and log.
        const PROBE_SYSTEM = 1 << 1;
        /// Read the hypervisor's log.
        const LOG = 1 << 2;
        /// Stop the whole system by PSCI SYSTEM_OFF (without it, the call stops the VM alone).
        const SYSTEM_OFF = 1 << 3;
    }
}

impl Rights {
    /// May load probes at all.
    pub const fn may_probe(self) -> bool {
        self.intersects(Rights::PROBE_SELF.union(Rights::PROBE_SYSTEM))
    }
}

bitflags::bitflags! {
    /// What one end of a channel may do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ChannelRights: u32 {
        /// IPC_CALL to the partner.
        const CALL = 1 << 0;
        /// IPC_RECV and IPC_REPLY: serve the partner's calls.
        const SERVE = 1 << 1;
        /// NOTIFY the partner.
        const NOTIFY = 1 << 2;
        /// Be notified by the partner.
        const NOTIFIED = 1 << 3;
    }
}
