//! What is kept of channels and VMs; set-up; what happens when a VM stops.

use hyp_abi::rights::ChannelRights;
use hyp_abi::{CHANNEL_ENDS_MAX, Status, VMS_MAX};

use super::{AddError, ENDS_MAX, Ipc, bit};

/// The call that is under way at a serving end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Idle,
    /// The vCPU waits to be received.
    Queued(u8),
    /// Received; the vCPU waits for the reply.
    Served(u8),
    /// Received; the caller has stopped since.
    Orphan,
}

/// Of a size that makes a place a shift.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub(super) struct End {
    pub vm: u8,
    /// Index in the VM's list.
    pub index: u8,
    /// Place in the order in which the VM takes calls: by falling priority of the partner.
    pub rank: u8,
    /// Priority of the partner VM.
    caller_priority: u8,
    pub rights: ChannelRights,
    /// SPI of notifications for this end; 0: none.
    pub intid: u32,
    /// Call by the partner.
    pub call: Call,
    /// Notified by the partner, not taken yet.
    pub bits: u64,
    /// vCPU that waits for notifications at this end.
    pub waiter: Option<u8>,
}

impl End {
    pub const fn new() -> Self {
        Self {
            vm: 0,
            index: 0,
            rank: 0,
            caller_priority: 0,
            rights: ChannelRights::empty(),
            intid: 0,
            call: Call::Idle,
            bits: 0,
            waiter: None,
        }
    }
}

/// Of a size that makes a place a shift.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Vm {
    pub alive: bool,
    pub may_receive: bool,
    pub count: u8,
    /// Flat ids of the VM's ends, by index.
    pub ends: [u8; CHANNEL_ENDS_MAX],
    /// The same by rank.
    pub by_rank: [u8; CHANNEL_ENDS_MAX],
    /// Ends (by rank) with a waiting call.
    pub queued: u16,
    /// Ends (by index) with untaken notifications.
    pub notified: u16,
    /// vCPUs that wait in a receive.
    pub receivers: u32,
}

impl Vm {
    pub const fn new() -> Self {
        Self {
            alive: true,
            may_receive: false,
            count: 0,
            ends: [0; CHANNEL_ENDS_MAX],
            by_rank: [0; CHANNEL_ENDS_MAX],
            queued: 0,
            notified: 0,
            receivers: 0,
        }
    }

    #[inline]
    pub fn take_receiver(&mut self) -> Option<usize> {
        if self.receivers == 0 {
            return None;
        }
        let vcpu = self.receivers.trailing_zeros() as usize;
        self.receivers &= self.receivers - 1;
        Some(vcpu)
    }
}

/// One end of a channel at set-up.
#[derive(Clone, Copy, Debug)]
pub struct EndSpec {
    /// VM id.
    pub vm: usize,
    /// What it may do.
    pub rights: ChannelRights,
    /// SPI of notifications for it; 0: none.
    pub intid: u32,
    /// Highest priority of its VM's vCPUs.
    pub priority: u8,
}

impl Ipc {
    /// Adds a channel at boot. Each VM numbers its ends in the order of these calls.
    pub fn add(&mut self, a: EndSpec, b: EndSpec) -> Result<(), AddError> {
        let flat = 2 * self.channels;
        if flat + 1 >= ENDS_MAX {
            return Err(AddError::Full);
        }
        if a.vm == b.vm || a.vm >= VMS_MAX || b.vm >= VMS_MAX {
            return Err(AddError::Vm);
        }
        for spec in [a, b] {
            if self.end_count(spec.vm) >= CHANNEL_ENDS_MAX {
                return Err(AddError::Ends);
            }
        }
        for (id, own, partner) in [(flat, a, b), (flat + 1, b, a)] {
            let vm = &mut self.vms[own.vm];
            let index = vm.count;
            vm.ends[usize::from(index)] = id as u8;
            vm.count += 1;
            vm.may_receive |= own
                .rights
                .intersects(ChannelRights::SERVE.union(ChannelRights::NOTIFIED));
            self.ends[id] = End {
                vm: own.vm as u8,
                index,
                caller_priority: partner.priority,
                rights: own.rights,
                intid: own.intid,
                ..End::new()
            };
            self.rank(own.vm);
        }
        self.channels += 1;
        Ok(())
    }

    /// Orders the ends of `vm` by falling priority of the partner, then by index.
    fn rank(&mut self, vm: usize) {
        let count = usize::from(self.vms[vm].count);
        let ends = self.vms[vm].ends;
        for &id in &ends[..count] {
            let me = &self.ends[usize::from(id)];
            let key = (u8::MAX - me.caller_priority, me.index);
            let before = |o: &&u8| {
                let e = &self.ends[usize::from(**o)];
                (u8::MAX - e.caller_priority, e.index) < key
            };
            let rank = ends[..count].iter().filter(before).count();
            self.ends[usize::from(id)].rank = rank as u8;
            self.vms[vm].by_rank[rank] = id;
        }
    }

    /// VM `vm` has stopped: called for each of its ends, by number. `wake` gets every vCPU of another VM that waited there, with the status its
    /// call ends with: at most two.
    pub fn stopped(&mut self, vm: usize, number: usize, mut wake: impl FnMut(usize, Status)) {
        let Some(v) = self.vms.get_mut(vm) else { return };
        v.alive = false;
        v.queued = 0;
        v.notified = 0;
        v.receivers = 0;
        let Some(own) = v.ends.get(number).filter(|_| number < usize::from(v.count)) else {
            return;
        };
        let own = usize::from(*own);
        if let Some(end) = self.ends.get_mut(own) {
            if let Call::Queued(caller) | Call::Served(caller) = end.call {
                wake(usize::from(caller), Status::PartnerGone);
            }
            end.call = Call::Idle;
            end.bits = 0;
            end.waiter = None;
        }
        self.partner_stopped(own ^ 1, &mut wake);
    }

    fn partner_stopped(&mut self, end: usize, wake: &mut impl FnMut(usize, Status)) {
        let Some(end) = self.ends.get_mut(end) else { return };
        if let Some(waiter) = end.waiter.take() {
            wake(usize::from(waiter), Status::PartnerGone);
        }
        match end.call {
            Call::Queued(_) => {
                end.call = Call::Idle;
                if let Some(v) = self.vms.get_mut(usize::from(end.vm)) {
                    v.queued &= !(1 << (end.rank % 16));
                }
            }
            Call::Served(_) => end.call = Call::Orphan,
            Call::Idle | Call::Orphan => {}
        }
    }

    /// VM `vm` starts (again).
    pub fn started(&mut self, vm: usize) {
        if let Some(v) = self.vms.get_mut(vm) {
            v.alive = true;
        }
    }

    /// vCPU `vcpu` of `vm` goes off alone (CPU_OFF): it waits for nothing any more. It cannot be in a call then, so only receives are cleared.
    pub fn vcpu_off(&mut self, vcpu: usize, vm: usize) {
        if let Some(v) = self.vms.get_mut(vm) {
            v.receivers &= !bit(vcpu);
        }
    }
}
