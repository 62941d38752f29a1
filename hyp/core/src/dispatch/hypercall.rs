//! Gnomon's hypercalls.

use hyp_abi::call::CURSOR_END;
use hyp_abi::record::{PathPeak, PathRecord, StopCause};
use hyp_abi::{ABI_VERSION, Call, PathId, Rights, Status};

use super::gather::{counted, gather};
use super::{Machine, ipc, power, smp};
use crate::cpu::{Cpu, PathStat};
use crate::grace::Epoch;
use crate::psci;
use crate::report::Question;

/// Calls that need memory or devices of `hyp-el2`: probes and maps.
pub trait Services<M> {
    /// Serves `call` with arguments x1–x5; returns x0–x6.
    fn serve(&mut self, cpu: &mut Cpu, m: &mut M, call: Call, x: [u64; 6]) -> [u64; 7];
    /// These VMs, as bits, have stopped: their probes and maps go, now or when no CPU is in the way any more.
    fn stopped(&mut self, cpu: &Cpu, m: &mut M, vms: u32);
    /// Begins a grace period; `None` while another CPU may.
    fn begin_period(&mut self) -> Option<Epoch>;
    /// What admission knows of a path; `None` while another CPU changes it.
    fn path_budget(&self, path: PathId) -> Option<PathBudget>;
    /// Observation begins anew: what was attached before is forgotten. False while another CPU changes it.
    fn forget(&mut self) -> bool;
}

/// What admission knows of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathBudget {
    /// The path's own time, no probe attached: proven, or the most observed while none was; 0: not known.
    pub own: u64,
    /// `own` is a proven bound.
    pub proven: bool,
    /// Σ n·(F + W) of the attached probes.
    pub probes: u64,
    /// The largest that was since boot or [`Services::forget`].
    pub probes_most: u64,
    /// From the manifest; `u64::MAX`: none.
    pub budget: u64,
}

/// Bytes of the log that one LogRead copies at most: bounds the exit.
const LOG_CHUNK: usize = 256;

/// The call that x0 names, if it is one of ours. The function identifier is 32 bits, whatever the upper half holds (Arm DEN0028 2.5).
fn decode(function: u64) -> Option<Call> {
    let number = (function as u32).wrapping_sub(hyp_abi::call::FID_BASE);
    u16::try_from(number).ok().and_then(Call::from_number)
}

/// Notify, before anything else is looked at: its time is a latency.
#[inline(always)]
pub fn notify<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let slot = cpu.loaded as usize;
    let Some(vcpu) = cpu.vcpus.get(slot) else { return };
    let (end, bits) = (vcpu.frame.x::<1>(), vcpu.frame.x::<2>());
    m.hypercall(PathId::Notify, &vcpu.frame);
    let _ = ipc::notify(cpu, m, slot, end, bits);
}

/// HVC.
pub fn call<M: Machine, S: Services<M>>(cpu: &mut Cpu, m: &mut M, services: &mut S) -> PathId {
    let slot = cpu.loaded as usize;
    let Some((vcpu, _)) = cpu.running() else {
        return PathId::HypercallInfo;
    };
    let frame = &vcpu.frame;
    let function = frame.get(0);
    let x = [1, 2, 3, 4, 5, 6].map(|n| frame.get(n));
    if psci::is_ours(function as u32) {
        return smc(cpu, m);
    }
    // Channels belong to the first vCPU.
    let call = decode(function).filter(|call| slot < hyp_abi::VMS_MAX || !is_ipc(*call));
    let Some(call) = call else {
        m.vm_exit(PathId::HypercallInfo);
        m.hypercall(PathId::HypercallInfo, &vcpu.frame);
        vcpu.frame.set(0, Status::NotSupported.x0());
        return PathId::HypercallInfo;
    };
    m.hypercall(path_of(call), &vcpu.frame);
    match call {
        Call::IpcCall => ipc::call(cpu, m, slot, x[0], x[1]),
        Call::IpcRecv => {
            m.vm_exit(PathId::IpcRecv);
            ipc::receive(cpu, m, slot, x[0], PathId::IpcRecv)
        }
        Call::IpcReply => {
            m.vm_exit(PathId::IpcReply);
            ipc::reply(cpu, m, PathId::IpcReply, slot, x[0], x[1]);
            PathId::IpcReply
        }
        Call::IpcReplyRecv => ipc::reply_receive(cpu, m, slot, x[0], x[1]),
        Call::Notify => ipc::notify(cpu, m, slot, x[0], x[1]),
        Call::NotifyWait => ipc::wait(cpu, m, slot, x[0], x[1]),
        Call::Yield => {
            m.vm_exit(PathId::HypercallYield);
            vcpu.frame.set(0, 0);
            let _ = cpu.sched.rotate();
            PathId::HypercallYield
        }
        Call::VmExit => {
            m.vm_exit(PathId::PsciPower);
            power::stop(cpu, m, StopCause::Exit, x[0] as u32);
            PathId::PsciPower
        }
        Call::Version | Call::VmInfo | Call::ChannelInfo => {
            m.vm_exit(PathId::HypercallInfo);
            info(cpu, slot, call, x[0]);
            PathId::HypercallInfo
        }
        Call::PathRead | Call::PathPeak | Call::PathReset | Call::LogRead | Call::VmRead => {
            m.vm_exit(PathId::StatsRead);
            let out = stats(cpu, m, services, slot, call, x);
            put(cpu, slot, out);
            PathId::StatsRead
        }
        _ => {
            let path = path_of(call);
            m.vm_exit(path);
            let out = services.serve(cpu, m, call, x);
            if let Some(vcpu) = cpu.vcpus.get_mut(slot) {
                for (n, value) in (0..).zip(out) {
                    vcpu.frame.set(n, value);
                }
            }
            path
        }
    }
}

/// Calls on channels.
const fn is_ipc(call: Call) -> bool {
    matches!(
        call,
        Call::IpcCall
            | Call::IpcRecv
            | Call::IpcReply
            | Call::IpcReplyRecv
            | Call::Notify
            | Call::NotifyWait
            | Call::ChannelInfo
    )
}

/// SMC: PSCI and SMCCC only.
pub fn smc<M: Machine>(cpu: &mut Cpu, m: &mut M) -> PathId {
    let powers = smp::powers(cpu);
    let Some((vcpu, vm)) = cpu.running() else {
        return PathId::Psci;
    };
    let x = [1, 2, 3].map(|n| vcpu.frame.get(n));
    let action = psci::call(vcpu.frame.get(0) as u32, x, powers, &vm.ram);
    let path = if matches!(action, psci::Action::Return(_) | psci::Action::ReturnUid(_)) {
        PathId::Psci
    } else {
        PathId::PsciPower
    };
    m.vm_exit(path);
    m.psci(path, &vcpu.frame);
    power::carry_out(cpu, m, action)
}

/// Path of a call.
pub const fn path_of(call: Call) -> PathId {
    match call {
        Call::Version | Call::VmInfo | Call::ChannelInfo => PathId::HypercallInfo,
        Call::Yield => PathId::HypercallYield,
        Call::VmExit => PathId::PsciPower,
        Call::IpcCall => PathId::IpcCall,
        Call::IpcRecv => PathId::IpcRecv,
        Call::IpcReply => PathId::IpcReply,
        Call::IpcReplyRecv => PathId::IpcReplyRecv,
        Call::Notify => PathId::Notify,
        Call::NotifyWait => PathId::NotifyWait,
        Call::ProbeStage => PathId::ProbeStage,
        Call::ProbeVerify => PathId::ProbeVerify,
        Call::ProbeCompile => PathId::ProbeCompile,
        Call::ProbeAttach | Call::ProbeReplace => PathId::ProbeAttach,
        Call::ProbeDetach | Call::ProbeUnload | Call::ProbeInfo => PathId::ProbeControl,
        Call::MapRead | Call::MapClear | Call::RingRead => PathId::MapRead,
        Call::MapInfo | Call::MapLookup | Call::MapUpdate | Call::MapDelete => PathId::MapAccess,
        Call::PathRead | Call::PathPeak | Call::LogRead | Call::PoolRead | Call::VmRead | Call::PathReset => {
            PathId::StatsRead
        }
    }
}

fn put(cpu: &mut Cpu, slot: usize, out: [u64; 3]) {
    if let Some(vcpu) = cpu.vcpus.get_mut(slot) {
        for (n, value) in (0..).zip(out) {
            vcpu.frame.set(n, value);
        }
    }
}

fn info(cpu: &mut Cpu, slot: usize, call: Call, x1: u64) {
    let ends = cpu.ipc.end_count(slot) as u64;
    let channel = cpu.ipc.info(slot, x1);
    let me = cpu.id;
    let Some((vcpu, vm)) = cpu.running() else { return };
    let out: &[u64] = match call {
        Call::Version => &[0, ABI_VERSION.into(), 1],
        Call::VmInfo => &[
            0,
            vcpu.id.into(),
            vm.rights.bits().into(),
            ends,
            vcpu.index.into(),
            me.into(),
        ],
        _ => match channel {
            Some(i) => &[
                0,
                i.partner as u64,
                i.rights.bits().into(),
                i.partner_rights.bits().into(),
                i.intid.into(),
            ],
            None => &[Status::NotFound.x0()],
        },
    };
    for (n, value) in (0..).zip(out) {
        vcpu.frame.set(n, *value);
    }
}

const fn refuse(status: Status, detail: u64) -> [u64; 3] {
    [status.x0(), detail, 0]
}

fn stats<M: Machine, S: Services<M>>(
    cpu: &mut Cpu,
    m: &mut M,
    services: &mut S,
    slot: usize,
    call: Call,
    x: [u64; 6],
) -> [u64; 3] {
    let Some(vm) = cpu.vms.get(slot) else {
        return refuse(Status::NotFound, 0);
    };
    let needed = if call == Call::LogRead {
        Rights::LOG
    } else {
        Rights::PROBE_SYSTEM
    };
    if !vm.rights.contains(needed) {
        return refuse(Status::Denied, needed.bits().into());
    }
    let vm_id = vm.id;
    match call {
        Call::PathReset => {
            if let Err(inside) = gather(cpu, m, vm_id, Question::Reset, || services.begin_period()) {
                return refuse(Status::Again, inside);
            }
            if !services.forget() {
                return refuse(Status::Again, 0);
            }
            cpu.clear_paths();
            [0, x[0], x[1]]
        }
        Call::LogRead => {
            let mut bytes = [0; LOG_CHUNK];
            let want = (x[1] as usize).min(LOG_CHUNK);
            let pa = match vm.buffer(x[0], want as u64) {
                Ok(pa) => pa,
                Err(bad) => return refuse(Status::BadAddress, bad),
            };
            let (len, lost) = m.log_read(bytes.get_mut(..want).unwrap_or(&mut []));
            m.write_guest(pa, bytes.get(..len).unwrap_or(&[]));
            [0, len as u64, lost]
        }
        Call::VmRead => {
            cpu.account(m.now());
            vms(cpu, m, slot, x)
        }
        Call::PathPeak => peak(cpu, m, slot, x),
        _ => {
            // The first of a read: all CPUs say what they have counted.
            if x[0] as u32 == 0
                && let Err(inside) = gather(cpu, m, vm_id, Question::Read, || services.begin_period())
            {
                return refuse(Status::Again, inside);
            }
            paths(cpu, m, services, slot, x)
        }
    }
}

fn peak<M: Machine>(cpu: &Cpu, m: &mut M, slot: usize, x: [u64; 6]) -> [u64; 3] {
    let (Some(vm), Some(peak)) = (
        cpu.vms.get(slot),
        cpu.peaks.get(x[0].min(PathId::COUNT as u64) as usize),
    ) else {
        return refuse(Status::NotFound, 0);
    };
    if x[2] < PathPeak::SIZE as u64 {
        return refuse(Status::TooBig, PathPeak::SIZE as u64);
    }
    let mut bytes = [0; PathPeak::SIZE];
    match vm.buffer(x[1], PathPeak::SIZE as u64) {
        Ok(pa) if peak.write(&mut bytes).is_some() => m.write_guest(pa, &bytes),
        Ok(_) => {}
        Err(bad) => return refuse(Status::BadAddress, bad),
    }
    [0, x[0], x[1]]
}

fn vms<M: Machine>(cpu: &Cpu, m: &mut M, slot: usize, x: [u64; 6]) -> [u64; 3] {
    let Some(own) = cpu.vms.get(slot) else {
        return refuse(Status::NotFound, 0);
    };
    let mut written = 0;
    let mut next = CURSOR_END;
    let records = cpu
        .vms
        .iter()
        .zip(&cpu.vcpus)
        .take(hyp_abi::VMS_MAX)
        .enumerate()
        .skip(x[0].min(hyp_abi::VMS_MAX as u64) as usize);
    for (id, (vm, vcpu)) in records.filter(|(_, (vm, _))| vm.vttbr != 0) {
        let size = hyp_abi::record::VmRecord::SIZE as u64;
        if (written + 1) * size > x[2] {
            next = id as u64;
            break;
        }
        let pa = match own.buffer(x[1].wrapping_add(written * size), size) {
            Ok(pa) => pa,
            Err(bad) => return refuse(Status::BadAddress, bad),
        };
        use crate::vcpu::Run;
        let state = match vcpu.run {
            Run::Ready => 0,
            Run::Wfi | Run::Waiting => 1,
            Run::Off => 2,
            Run::Stopped => 2 + u32::from(vm.faulted),
        };
        let record = hyp_abi::record::VmRecord {
            vm: id as u32,
            state,
            exits: vcpu.exits,
            run_ns: vcpu.run_ns,
            name: vm.name,
        };
        let mut bytes = [0; hyp_abi::record::VmRecord::SIZE];
        if record.write(&mut bytes).is_some() {
            m.write_guest(pa, &bytes);
        }
        written += 1;
    }
    [0, next, written]
}

fn paths<M: Machine, S: Services<M>>(cpu: &Cpu, m: &mut M, services: &S, slot: usize, x: [u64; 6]) -> [u64; 3] {
    let Some(vm) = cpu.vms.get(slot) else {
        return refuse(Status::NotFound, 0);
    };
    let size = PathRecord::SIZE as u64;
    let room = (x[2] / size).min(PathId::COUNT as u64);
    let mut written = 0;
    // The upper half: one more than the CPU, or 0 for all of them.
    let (mut next, of) = (x[0] & 0xffff_ffff, x[0] >> 32);
    for _ in 0..room {
        let Some(path) = u32::try_from(next).ok().and_then(PathId::from_number) else {
            break;
        };
        let stat = &counted(cpu, path, of);
        let pa = match vm.buffer(x[1].wrapping_add(written * size), size) {
            Ok(pa) => pa,
            Err(bad) => return refuse(Status::BadAddress, bad),
        };
        let mut bytes = [0; PathRecord::SIZE];
        let Some(known) = services.path_budget(path) else {
            return refuse(Status::Again, 0);
        };
        let record = record(path, stat, known);
        if record.write(&mut bytes).is_some() {
            m.write_guest(pa, &bytes);
        }
        written += 1;
        next += 1;
    }
    let next = if next >= PathId::COUNT as u64 {
        CURSOR_END
    } else {
        of << 32 | next
    };
    [0, next, written]
}

fn record(path: PathId, stat: &PathStat, known: PathBudget) -> PathRecord {
    let max = u64::from(stat.max());
    let own = match known {
        PathBudget { proven: true, own, .. } => own,
        // A path first taken with probes on it has no time of its own yet: what was observed holds both.
        PathBudget { own: 0, .. } => max,
        PathBudget { own, probes_most, .. } => own.max(max.saturating_sub(probes_most)),
    };
    PathRecord {
        path: path as u32,
        basis: u32::from(known.proven),
        count: stat.count,
        sum: stat.sum,
        min: if stat.count == 0 { u64::MAX } else { stat.min.into() },
        max,
        own,
        probes: known.probes,
        probes_most: known.probes_most,
        budget: known.budget,
    }
}
