//! The life of a probe: staged, verified, compiled, attached, fired, read, detached, unloaded; and what is refused.

use hyp_abi::call::CURSOR_END;
use hyp_abi::record::{MapInfo, PathRecord, PoolRecord, ProgramInfo, VmRecord};
use hyp_abi::{Call, PathId, Status};
use rt::buffer::{Buffer, Shared};
use rt::programs::{self, Program};
use rt::{hvc, psci};

use crate::{expect, failed, need};

/// For what hypercalls write.
pub static OUTPUT: Buffer<8192> = Buffer::new();
/// For keys and values.
static KEYS: Buffer<4096> = Buffer::new();

/// Hypercalls made while the counting probe is attached.
const ROUNDS: u64 = 50;

pub fn run() {
    let mut output = OUTPUT.take();
    let mut keys = KEYS.take();
    life(&mut output, &mut keys);
    refused(&mut output);
    statistics(&output);
}

/// The u64 at `offset` of the buffer.
pub fn word(bytes: &[u8], offset: usize) -> u64 {
    match bytes.get(offset..offset + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        Some(word) => u64::from_le_bytes(word),
        None => failed(format_args!("no word at {offset}")),
    }
}

fn refusal<T: core::fmt::Debug>(what: &str, outcome: Result<T, hvc::Refused>, status: Status) {
    match outcome {
        Err(refused) if refused.status == status => {}
        other => failed(format_args!("{what}: {other:x?} instead of {status:?}")),
    }
}

fn life(output: &mut Shared, keys: &mut Shared) {
    let point = programs::point("vm_exit");
    let program = need("load", Program::load(programs::COUNTING[point]));
    expect!(
        program.insn_bound > 0 && program.time_bound >= program.insn_bound,
        "bounds of {program:?}"
    );
    info(&program, output);
    let attachment = need("attach", program.attach(point, None));
    refusal("unload while attached", program.unload(), Status::Busy);
    for _ in 0..ROUNDS {
        psci::version();
    }
    // No attachment: the counts stand still while they are read.
    need("detach", attachment.detach());
    refusal("detach twice", attachment.detach(), Status::NotFound);
    psci::version();
    let (entries, _) = need("read", program.read(0, output));
    expect!(entries > PathId::Psci as u64, "{entries} entries");
    let count = |path: PathId| {
        let entry = path as usize * 16;
        expect!(
            word(output.bytes(), entry) as u32 == path as u32,
            "key of {}",
            path.name()
        );
        word(output.bytes(), entry + 8)
    };
    expect!(
        count(PathId::Psci) == ROUNDS,
        "{} PSCI calls counted, {ROUNDS} made",
        count(PathId::Psci)
    );
    expect!(
        count(PathId::ProbeControl) == 2,
        "{} control calls",
        count(PathId::ProbeControl)
    );
    map_access(&program, output, keys);
    need("unload", program.unload());
    refusal("unload twice", program.unload(), Status::NotFound);
    refusal("attach after unload", program.attach(point, None), Status::NotFound);
}

fn info(program: &Program, output: &mut Shared) {
    need(
        "ProbeInfo",
        hvc::call(
            Call::ProbeInfo,
            [program.handle, output.ipa(), ProgramInfo::SIZE as u64],
        ),
    );
    let info = ProgramInfo::read(output.bytes()).unwrap_or_default();
    expect!(info.maps == 1 && info.name.starts_with(b"counting\0"), "{info:?}");
    expect!(info.time_bound == program.time_bound && info.code_bytes > 0, "{info:?}");
    need(
        "MapInfo",
        hvc::call(Call::MapInfo, [program.handle, 0, output.ipa(), MapInfo::SIZE as u64]),
    );
    let map = MapInfo::read(output.bytes()).unwrap_or_default();
    expect!(
        map.key_size == 4 && map.value_size == 8 && map.max_entries == 64,
        "{map:?}"
    );
    refusal(
        "MapInfo 1",
        hvc::call(Call::MapInfo, [program.handle, 1, output.ipa(), MapInfo::SIZE as u64]),
        Status::InvalidArg,
    );
}

/// Lookup, update, clear of the array through hypercalls.
fn map_access(program: &Program, output: &Shared, keys: &mut Shared) {
    let (key, value) = (keys.ipa(), keys.ipa() + 8);
    let mut set = |key: u32, value: u64| {
        keys.bytes_mut()[..4].copy_from_slice(&key.to_le_bytes());
        keys.bytes_mut()[8..16].copy_from_slice(&value.to_le_bytes());
    };
    let handle = program.handle;
    let lookup = || hvc::call(Call::MapLookup, [handle, 0, key, output.ipa(), 8]);
    set(PathId::Psci as u32, 77);
    need("MapLookup", lookup());
    expect!(
        word(output.bytes(), 0) == ROUNDS,
        "lookup gives {}",
        word(output.bytes(), 0)
    );
    need("MapUpdate", hvc::call(Call::MapUpdate, [handle, 0, key, value, 0]));
    need("MapLookup", lookup());
    expect!(
        word(output.bytes(), 0) == 77,
        "lookup after update gives {}",
        word(output.bytes(), 0)
    );
    refusal(
        "NOEXIST on an array",
        hvc::call(Call::MapUpdate, [handle, 0, key, value, 1]),
        Status::Exists,
    );
    set(64, 1);
    refusal("lookup beyond the array", lookup(), Status::NotFound);
    let mut cursor = 0;
    for _ in 0..64 {
        cursor = need("MapClear", hvc::call(Call::MapClear, [handle, 0, cursor]))[1];
        if cursor == CURSOR_END {
            break;
        }
    }
    expect!(cursor == CURSOR_END, "MapClear does not end");
    set(PathId::Psci as u32, 0);
    need("MapLookup", lookup());
    expect!(
        word(output.bytes(), 0) == 0,
        "lookup after clear gives {}",
        word(output.bytes(), 0)
    );
}

fn refused(output: &mut Shared) {
    refusal("an endless loop", Program::load(programs::ENDLESS), Status::Rejected);
    refusal("a wild read", Program::load(programs::WILD), Status::Rejected);
    let image = programs::COUNTING[0];
    for cut in (1..image.len()).step_by(7) {
        refusal("a cut image", Program::load(&image[..cut]), Status::BadImage);
    }
    refusal(
        "no memory there",
        hvc::call(Call::ProbeStage, [0x1000, 128]),
        Status::BadAddress,
    );
    let empty = need("load", Program::load(programs::EMPTY[0]));
    let wrong = programs::point("timer");
    let outcome = empty.attach(wrong, None);
    expect!(
        outcome.is_err(),
        "a program for {} sits on timer",
        programs::POINT_NAMES[0]
    );
    expect!(
        empty.attach(programs::POINT_NAMES.len(), None).is_err(),
        "attached to no point"
    );
    refusal("read of no map", empty.read(0, output), Status::InvalidArg);
    need("unload", empty.unload());
}

/// The records about the system itself.
fn statistics(output: &Shared) {
    let len = output.len() as u64;
    let paths = need("PathRead", hvc::call(Call::PathRead, [0, output.ipa(), len]));
    expect!(
        paths[2] as usize == PathId::COUNT && paths[1] == CURSOR_END,
        "PathRead {paths:x?}"
    );
    let record = |index: usize| {
        output
            .bytes()
            .get(index * PathRecord::SIZE..)
            .and_then(PathRecord::read)
    };
    let psci = record(PathId::Psci as usize).unwrap_or_default();
    expect!(
        psci.count >= ROUNDS && psci.min <= psci.max && psci.sum >= psci.count * psci.min,
        "{psci:?}"
    );
    let pools = need("PoolRead", hvc::call(Call::PoolRead, [0, output.ipa(), len]));
    let pool = PoolRecord::read(output.bytes()).unwrap_or_default();
    expect!(
        pools[2] > 0 && pool.used <= pool.peak && pool.peak <= pool.size,
        "{pool:?}"
    );
    let vms = need("VmRead", hvc::call(Call::VmRead, [0, output.ipa(), len]));
    let vm = VmRecord::read(output.bytes()).unwrap_or_default();
    expect!(vms[2] > 0 && vm.name[0] != 0, "{vm:?}");
    need("LogRead", hvc::call(Call::LogRead, [output.ipa(), len]));
}

/// A VM without rights gets none of it.
pub fn denied() {
    let output = OUTPUT.take();
    let ipa = output.ipa();
    let image = programs::EMPTY[0];
    refusal(
        "ProbeStage",
        hvc::call(Call::ProbeStage, [image.as_ptr() as u64, image.len() as u64]),
        Status::Denied,
    );
    for call in [Call::PathRead, Call::PoolRead, Call::VmRead] {
        refusal(call.name(), hvc::call(call, [0, ipa, 4096]), Status::Denied);
    }
    refusal("LogRead", hvc::call(Call::LogRead, [ipa, 4096]), Status::Denied);
    refusal("PathReset", hvc::call(Call::PathReset, []), Status::Denied);
    for handle in 0..8 {
        for call in [
            Call::ProbeVerify,
            Call::ProbeCompile,
            Call::ProbeUnload,
            Call::ProbeDetach,
        ] {
            let outcome = hvc::call(call, [handle, 1]);
            expect!(outcome.is_err(), "{} of handle {handle}", call.name());
        }
        let outcome = hvc::call(Call::MapRead, [handle, 0, 0, ipa, 4096]);
        expect!(outcome.is_err(), "MapRead of handle {handle}");
    }
}
