//! From text to executed words by way of a proof, as the hypervisor goes.

use probe_vm::conformance::emu::{self, Cpu};
use probe_vm::interp::{Helpers, Space};
use probe_vm::jit::a64::flow::Sys;
use probe_vm::jit::*;
use verifier::cost::CoreModel;
use verifier::env::{ArgKind, Env, HelperProto, Limits, MapDesc, Ret, Rules};
use verifier::{Program, Rejected, Step, Verifier, heap_memory};

pub const NIL: ArgKind = ArgKind::None;
pub const MAPS: ArgKind = ArgKind::ConstMap(u64::MAX);
pub const PROTOS: [HelperProto; 7] = [
    HelperProto::new(
        1,
        "map_lookup_elem",
        [MAPS, ArgKind::MapKey, NIL, NIL, NIL],
        Ret::Lookup,
    ),
    HelperProto::new(5, "ktime_get_ns", [NIL; 5], Ret::Scalar),
    HelperProto::new(8, "get_smp_processor_id", [NIL; 5], Ret::Scalar),
    // Not one the compiler knows, so it is called.
    HelperProto::new(77, "first_argument", [ArgKind::Any, NIL, NIL, NIL, NIL], Ret::Scalar),
    HelperProto::new(
        131,
        "ringbuf_reserve",
        [MAPS, ArgKind::ConstAlloc(4096), ArgKind::Any, NIL, NIL],
        Ret::RecordOrNull,
    ),
    HelperProto::new(
        132,
        "ringbuf_submit",
        [ArgKind::Record, ArgKind::Any, NIL, NIL, NIL],
        Ret::Void,
    ),
    HelperProto::new(
        133,
        "ringbuf_discard",
        [ArgKind::Record, ArgKind::Any, NIL, NIL, NIL],
        Ret::Void,
    ),
];
pub const TIMES: [HelperTime; 3] = [
    HelperTime {
        id: 1,
        map_kind: 0,
        base: 50,
        key_word: 1,
        value_word: 0,
        entry: 0,
    },
    HelperTime {
        id: 77,
        map_kind: 0,
        base: 0,
        key_word: 0,
        value_word: 0,
        entry: 0,
    },
    HelperTime {
        id: 131,
        map_kind: 0,
        base: 0,
        key_word: 0,
        value_word: 0,
        entry: 0,
    },
];
pub const fn link(id: u32) -> HelperLink {
    HelperLink {
        id,
        address: emu::helper_address(id),
    }
}
pub const HELPERS: [HelperLink; 3] = [link(1), link(77), link(131)];
pub const BASE: u64 = 0x40_0000;
pub const STACK: usize = 16 << 10;

pub fn env(memory: usize) -> Env<'static> {
    let rules = Rules {
        memory_arg_bytes: memory as u32,
        no_unreachable: false,
        hide_pointers: false,
        ..Rules::GNOMON
    };
    Env {
        helpers: &PROTOS,
        objects: &[],
        rules,
        limits: Limits::GNOMON,
    }
}

/// One run: words executed, the bound, r0.
pub struct Ran {
    pub executed: u64,
    pub bound: u64,
    pub r0: u64,
}

/// Where a run takes place.
pub struct Place<'a> {
    pub links: Links<'a>,
    pub maps: &'a [MapDesc],
    pub tpidr: u64,
    pub ticks: u64,
    pub sp: u64,
    pub args: [u64; 2],
}

/// Verifies `text`, compiles it by its proof, and runs the words.
pub fn verified<H: Helpers<Space<'static>>>(
    text: &[u64],
    place: &Place<'_>,
    memory: usize,
    space: &mut Space<'static>,
    helpers: &mut H,
) -> Result<Ran, Box<Rejected>> {
    let mut work = vec![0u8; text.len()];
    let plan = Plan::new(text, place.maps, &mut work, &place.links).unwrap();
    let cost = JitCost::new(&plan, &place.links, &CoreModel::INSNS);
    heap_memory!(let arena = text.len());
    let mut verifier = Verifier::start(arena, &Program { text, maps: place.maps }, env(memory), cost);
    let proof = loop {
        match verifier.step(1000) {
            Step::More => {}
            Step::Rejected(why) => return Err(Box::new(why)),
            Step::Done(proof) => break proof,
        }
    };
    let mut offsets = vec![0; text.len() + 1];
    let mut code = vec![0; text.len() * SLOT_WORDS_MAX as usize + 64];
    let mut compiler = Compiler::start(&proof, &plan, &place.links, &mut offsets, BASE).unwrap();
    // In small steps, as the hypervisor does.
    let compiled = loop {
        if let Some(compiled) = compiler.step(&mut code, 3).unwrap() {
            break compiled;
        }
    };
    code.truncate(compiled.words as usize);
    let mut cpu = Cpu {
        sp: place.sp,
        tpidr: place.tpidr,
        counter: place.ticks,
        ..Cpu::default()
    };
    cpu.x[0] = place.args[0];
    cpu.x[1] = place.args[1];
    let ran = emu::run(&code, BASE, &mut cpu, space, helpers, 1 << 24).unwrap_or_else(|e| panic!("{e:x?}"));
    Ok(Ran {
        executed: ran.executed,
        bound: proof.time_bound(),
        r0: ran.x0,
    })
}

pub fn links<'a>(maps: &'a [MapLink], cpu: CpuLink, scale: Scale) -> Links<'a> {
    let window = (BASE, BASE + (1 << 20));
    let time = TimeLink {
        counter: Sys::CntpctEl0,
        scale,
        ordered: true,
    };
    Links {
        maps,
        helpers: &HELPERS,
        helper_times: &TIMES,
        window,
        cpu,
        time,
        lse: true,
        entry: Entry::Function,
        dispatch: 0,
    }
}

pub fn leak(bytes: usize) -> &'static mut [u8] {
    vec![0; bytes].leak()
}
