//! The hypercalls on probes, maps and pools.

use hyp_abi::call::{CURSOR_END, MAP_READ_CLEAR, MAP_READ_PER_CPU};
use hyp_abi::record::{MapInfo, Pool, PoolRecord, ProgramInfo};
use hyp_abi::{Call, PathId, Status};
use hyp_core::admit::Basis;
use hyp_core::cpu::{Cpu, Vm};
use hyp_core::dispatch::gather::{counted, gather};
use hyp_core::dispatch::{Machine, PathBudget, Services, smp};
use hyp_core::grace::Epoch;
use hyp_core::mail::MAIL;
use hyp_core::probe::{Caller, Probes, Refused};
use hyp_core::probe_vm::maps::{MapError, ReadMode, UpdateFlag};
use hyp_core::probe_vm::points::PointId;
use hyp_core::report::Question;

use super::code::{Code, Pages};
use super::fire;
use super::guest::{GuestBytes, GuestSink};
use super::store::{self, MAP_WORDS, Store, Turn};
use crate::machine::Board;
use crate::percpu::CPUS;
use crate::{memory, sites, time};

/// The hypercalls on probes and maps.
pub struct Probing;

type Answer = Result<[u64; 6], Refused>;

impl Services<Board> for Probing {
    fn serve(&mut self, cpu: &mut Cpu, board: &mut Board, call: Call, x: [u64; 6]) -> [u64; 7] {
        // One CPU at a time; another that comes meanwhile asks again.
        let answer = match Turn::try_take() {
            Some(mut store) => serve(cpu, board, &mut store, call, x),
            None => Err(Refused::with(Status::Again, &[0])),
        };
        // What a VM left that stopped while this CPU had the turn.
        if MAIL.left() != 0 {
            sweep(cpu.id, board);
        }
        let (x0, [a, b, c, d, e, f]) = match answer {
            Ok(out) => (0, out),
            Err(refused) => {
                if refused.status == Status::Again {
                    kick(board, refused.x[0] as u32);
                }
                (refused.status.x0(), refused.x)
            }
        };
        [x0, a, b, c, d, e, f]
    }

    fn begin_period(&mut self) -> Option<Epoch> {
        let _turn = Turn::try_take()?;
        let epoch = MAIL.grace.next();
        MAIL.grace.period();
        Some(epoch)
    }

    fn path_budget(&self, path: PathId) -> Option<PathBudget> {
        let row = Turn::try_take()?.admission.row(path);
        Some(PathBudget {
            own: row.own,
            proven: row.basis == Basis::Proven,
            probes: row.probes,
            probes_most: row.probes_most,
            budget: row.budget,
        })
    }

    fn forget(&mut self) -> bool {
        let turn = Turn::try_take();
        turn.map(|mut store| store.admission.forget()).is_some()
    }

    fn stopped(&mut self, cpu: &Cpu, board: &mut Board, vms: u32) {
        MAIL.leave(vms);
        sweep(cpu.id, board);
    }
}

/// Interrupts these CPUs, so that they pass.
fn kick(board: &mut Board, cpus: u32) {
    for cpu in 0..CPUS as u32 {
        if cpus >> cpu & 1 != 0 {
            board.kick(cpu);
        }
    }
}

/// Clears away what stopped VMs have left, as far as no CPU is in the way. One that has the turn looks when it gives it up; one that
/// may be inside a probe is interrupted, passes, and then does this.
fn sweep(me: u32, board: &mut Board) {
    // A second time for what stops while the first is under way.
    for _ in 0..2 {
        let Some(mut store) = Turn::try_take() else { return };
        let all = MAIL.left();
        for vm in 0..hyp_abi::VMS_MAX as u32 {
            if all >> vm & 1 != 0 && clear(me, &mut store, vm) {
                MAIL.cleared(1 << vm);
            }
        }
        let inside = MAIL.grace.inside(me, MAIL.grace.last());
        drop(store);
        let left = MAIL.left();
        if left & all != 0 {
            return kick(board, inside);
        }
        if left == 0 {
            return;
        }
    }
}

/// Takes the probes and maps of a VM that has stopped away; false while another CPU is in the way.
fn clear(me: u32, store: &mut Store, vm: u32) -> bool {
    // Off their points, then out of memory.
    for _ in 0..2 {
        let lost = store.probes.vm_stopped(me, vm, &mut store.admission);
        for point in PointId::ALL {
            if lost.off >> point as u32 & 1 != 0 {
                sites::switch(point, false);
            }
            if lost.changed >> point as u32 & 1 != 0 {
                rearm(&store.probes, point);
            }
        }
        if lost.done || lost.changed == 0 {
            return lost.done;
        }
        MAIL.grace.period();
    }
    false
}

fn now_ns() -> u64 {
    time::now().as_ticks()
}

fn serve(cpu: &mut Cpu, board: &mut Board, store: &mut Store, call: Call, x: [u64; 6]) -> Answer {
    let slot = cpu.loaded;
    // Here nothing of a probe is under way on this CPU.
    smp::pass(cpu, board);
    observe(cpu, store, u64::from(cpu.id) + 1);
    let vm = cpu.vms.get(slot as usize).ok_or(Refused::new(Status::NotFound))?;
    let caller = Caller {
        vm: vm.id.into(),
        rights: vm.rights,
        cpu: cpu.id,
    };
    if MAIL.left() >> caller.vm & 1 != 0 {
        // Its former life is not cleared away.
        return Err(Refused::with(Status::Again, &[0]));
    }
    if call == Call::ProbeAttach && store.admission.is_unloaded() {
        // What paths take without probes counts from every CPU.
        let period = || {
            let epoch = MAIL.grace.next();
            MAIL.grace.period();
            Some(epoch)
        };
        gather(cpu, board, vm.id, Question::Attach, period)
            .map_err(|inside| Refused::with(Status::Again, &[inside]))?;
        observe(cpu, store, ALL);
    }
    match call {
        Call::ProbeStage | Call::ProbeVerify | Call::ProbeCompile => build(vm, caller, store, call, x),
        Call::ProbeAttach | Call::ProbeReplace | Call::ProbeDetach => attach(caller, store, call, x),
        Call::ProbeUnload => {
            store.probes.unload(caller, x[0])?;
            Ok(kept(x))
        }
        Call::ProbeInfo => {
            let info = store.probes.info(caller, x[0])?;
            let mut bytes = [0; ProgramInfo::SIZE];
            let _ = info.write(&mut bytes);
            put(vm, x[1], x[2], &bytes, x)
        }
        Call::MapInfo => {
            let info = store.probes.map_info(caller, x[0], x[1])?;
            let mut bytes = [0; MapInfo::SIZE];
            let _ = info.write(&mut bytes);
            put(vm, x[2], x[3], &bytes, x)
        }
        Call::MapRead | Call::MapClear | Call::RingRead => read(vm, caller, store, call, x),
        Call::MapLookup | Call::MapUpdate | Call::MapDelete => entry(vm, caller, store, call, x),
        Call::PoolRead => pools(vm, caller, store, x),
        _ => Err(Refused::new(Status::NotSupported)),
    }
}

/// Registers without results keep their values.
const fn kept(x: [u64; 6]) -> [u64; 6] {
    x
}

/// All CPUs.
const ALL: u64 = 0;

/// Admission learns what was counted, by the CPU of number `of` − 1 or by all.
fn observe(cpu: &Cpu, store: &mut Store, of: u64) {
    for path in PathId::ALL {
        store.admission.observe(*path, counted(cpu, *path, of).max().into());
    }
}

fn address(ipa: u64) -> Refused {
    Refused::with(Status::BadAddress, &[ipa])
}

/// Copies a record to the guest, whose buffer must hold all of it.
fn put(vm: &Vm, ipa: u64, room: u64, bytes: &[u8], x: [u64; 6]) -> Answer {
    if room < bytes.len() as u64 {
        return Err(Refused::with(Status::TooBig, &[bytes.len() as u64]));
    }
    let pa = vm.buffer(ipa, bytes.len() as u64).map_err(address)?;
    memory::write_guest(pa, bytes);
    Ok(kept(x))
}

fn build(vm: &Vm, caller: Caller, store: &mut Store, call: Call, x: [u64; 6]) -> Answer {
    let probes = &mut store.probes;
    let mut out = kept(x);
    match call {
        Call::ProbeStage => {
            let copy = |bytes: &mut [u8]| {
                let pa = vm.buffer(x[0], bytes.len() as u64)?;
                memory::read_guest(pa, bytes);
                Ok(())
            };
            out[0] = probes.stage(caller, x[1], now_ns(), store::workshop, copy)?;
        }
        Call::ProbeVerify => {
            let v = probes.verify(caller, x[0], x[1], now_ns())?;
            [out[0], out[1], out[2], out[3]] = [v.done.into(), v.units, v.insn_bound, v.time_bound];
        }
        _ => {
            let c = probes.compile(caller, x[0], now_ns(), &mut Pages)?;
            [out[0], out[1], out[2]] = [c.done.into(), c.code_bytes, c.time_bound];
        }
    }
    Ok(out)
}

fn attach(caller: Caller, store: &mut Store, call: Call, x: [u64; 6]) -> Answer {
    let Store {
        probes,
        admission,
        tasks,
        task_count,
    } = store;
    let tasks = tasks.get(..*task_count).unwrap_or(&[]);
    let mut out = kept(x);
    let on = !matches!(call, Call::ProbeDetach);
    let done = match call {
        Call::ProbeAttach => probes.attach(caller, x[0], x[1], x[2], admission, tasks)?,
        Call::ProbeReplace => probes.replace(caller, x[0], x[1], admission, tasks)?,
        _ => probes.detach(caller, x[0], admission)?,
    };
    // A site leads to its stub only while the stub leads to probes.
    if done.switch && !on {
        sites::switch(done.point, false);
    }
    rearm(probes, done.point);
    if done.switch && on {
        sites::switch(done.point, true);
    }
    MAIL.grace.period();
    if on {
        out[0] = done.id;
    }
    Ok(out)
}

/// Makes the stub of `point` lead to the probes that are on it now.
fn rearm(probes: &Probes<'static, Code>, point: PointId) {
    if let Some(arms) = probes.arms(point) {
        fire::arm(point, arms);
    }
}

fn map_error(error: MapError) -> Refused {
    let status = match error {
        MapError::NoEntry => Status::NotFound,
        MapError::NoRoom { words } => return Refused::with(Status::TooBig, &[u64::from(words) * 8]),
        MapError::Invalid => Status::InvalidArg,
        MapError::Exists => Status::Exists,
        MapError::TooBig => Status::TooBig,
        MapError::Busy => Status::Busy,
    };
    Refused::new(status)
}

fn read(vm: &Vm, caller: Caller, store: &Store, call: Call, x: [u64; 6]) -> Answer {
    let slot = store.probes.map(caller, x[0], x[1] & 0xffff_ffff)?;
    let map = slot.map(MAP_WORDS.words()).ok_or(Refused::new(Status::NotFound))?;
    let mut out = kept(x);
    match call {
        Call::MapClear => {
            out[0] = map.clear(x[2]).map_err(map_error)?.unwrap_or(CURSOR_END);
        }
        Call::RingRead => {
            let mut sink = GuestSink::new(vm, x[2], x[3]).map_err(address)?;
            let done = map.ring_read((x[1] >> 32) as u32, &mut sink).map_err(map_error)?;
            [out[0], out[1]] = [u64::from(done.words) * 8, done.lost];
        }
        _ => {
            let mode = match (x[1] & MAP_READ_PER_CPU != 0, x[1] & MAP_READ_CLEAR != 0) {
                (false, false) => ReadMode::Folded,
                (true, false) => ReadMode::PerCpu,
                (false, true) => ReadMode::FoldedClear,
                (true, true) => ReadMode::PerCpuClear,
            };
            let mut sink = GuestSink::new(vm, x[3], x[4]).map_err(address)?;
            let done = map.read(x[2], mode, &mut sink).map_err(map_error)?;
            [out[0], out[1]] = [done.next.unwrap_or(CURSOR_END), done.entries.into()];
        }
    }
    Ok(out)
}

fn entry(vm: &Vm, caller: Caller, store: &Store, call: Call, x: [u64; 6]) -> Answer {
    let slot = store.probes.map(caller, x[0], x[1])?;
    let map = slot.map(MAP_WORDS.words()).ok_or(Refused::new(Status::NotFound))?;
    let def = slot.geometry.def;
    let key = GuestBytes::new(vm, x[2], def.key_bytes).map_err(address)?;
    match call {
        Call::MapLookup => {
            let at = map.slot_of(&key).map_err(map_error)?;
            let mut sink = GuestSink::new(vm, x[3], x[4]).map_err(address)?;
            map.read_slot(at, ReadMode::PerCpu, &mut sink).map_err(map_error)?;
        }
        Call::MapUpdate => {
            let flag = UpdateFlag::from_number(x[4]).ok_or(Refused::with(Status::InvalidArg, &[5]))?;
            let value = GuestBytes::new(vm, x[3], def.value_bytes).map_err(address)?;
            map.update_folded(&key, &value, flag).map_err(map_error)?;
        }
        _ => map.delete(&key).map_err(map_error)?,
    }
    Ok(kept(x))
}

fn pools(vm: &Vm, caller: Caller, store: &Store, x: [u64; 6]) -> Answer {
    if !caller.rights.may_probe() {
        return Err(Refused::new(Status::Denied));
    }
    let size = PoolRecord::SIZE as u64;
    let mut out = kept(x);
    let (mut next, mut written) = (x[0], 0);
    for pool in Pool::ALL.iter().skip(x[0].min(Pool::ALL.len() as u64) as usize) {
        if (written + 1) * size > x[2] {
            break;
        }
        next += 1;
        let Some((used, peak, total)) = store.probes.pool(*pool) else {
            continue;
        };
        let record = PoolRecord {
            pool: *pool as u32,
            pad: 0,
            used,
            peak,
            size: total,
        };
        let mut bytes = [0; PoolRecord::SIZE];
        let _ = record.write(&mut bytes);
        let pa = vm.buffer(x[1].wrapping_add(written * size), size).map_err(address)?;
        memory::write_guest(pa, &bytes);
        written += 1;
    }
    [out[0], out[1]] = [
        if next >= Pool::ALL.len() as u64 {
            CURSOR_END
        } else {
            next
        },
        written,
    ];
    Ok(out)
}
