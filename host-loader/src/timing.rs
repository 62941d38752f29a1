//! Time bounds on the host: of the A64 code that EL2's compiler would emit for the same program.
//!
//! Where code and maps would lie is not known here, and matters little: code is near its helpers, and the address of a map
//! takes as many instructions as another in the same 4 GiB.

use probe_vm::env::{HELPER_TIMES, HELPERS};
use probe_vm::jit::a64::flow::Sys;
use probe_vm::jit::{ContextLink, CpuLink, Entry, HelperLink, JitCost, Links, MapLink, Plan, Scale, TimeLink};
use probe_vm::maps::{MapDef, MapKind};
use verifier::cost::CoreModel;
use verifier::env::MapDesc;

use crate::env::Environment;
use crate::verify::{self, Answer, Arena};

/// Run address of code in EL2's image, and the bytes of code memory behind it.
const CODE_AT: u64 = 0x4030_0000;
const CODE_BYTES: u64 = 1 << 20;
/// Where map memory begins.
const MAPS_AT: u64 = 0x4040_0000;
/// One helper after the other, far enough apart to be different places.
const HELPERS_AT: u64 = 0x4021_0000;
const HELPER_BYTES: u64 = 0x100;
/// Slots planned in one step; the host does all at once.
const PLAN_SLOTS: u32 = 1 << 20;
/// Handles start here.
const HANDLE: u64 = 1;
/// QEMU's counter has a period of 16 ns.
const TICK_SHIFT: u8 = 4;

/// A map as compiled code is tied to it.
fn map_links(maps: &[MapDesc]) -> Vec<MapLink> {
    let mut at = MAPS_AT;
    let mut out = Vec::new();
    for (i, map) in maps.iter().enumerate() {
        let def = MapKind::from_number(map.kind.0.into()).map(|kind| MapDef {
            kind,
            key_bytes: map.key_bytes,
            value_bytes: map.value_bytes,
            entries: map.entries,
            flags: 0,
        });
        let geometry = def.and_then(|d| d.geometry(1).ok());
        out.push(MapLink {
            handle: HANDLE + i as u64,
            values: geometry.map_or(0, |g| match g.def.kind {
                MapKind::RingBuf => at,
                kind if kind.is_array() => at + u64::from(g.values_at),
                _ => 0,
            }),
            stride: geometry.map_or(0, |g| g.stride),
            cpu_stride: geometry.map_or(0, |g| g.cpu_stride),
        });
        at += geometry.map_or(0, |g| u64::from(g.bytes)).next_multiple_of(64);
    }
    out
}

/// As near EL2's link as matters: reached by one addition.
const CONTEXT: ContextLink = ContextLink {
    base: Sys::TpidrEl2,
    offset: 1 << 16,
};

/// Verifies a probe with the time bound of its compiled code, in units of `core`. A program that cannot be planned is
/// verified by counting instructions: the verifier says better what is wrong with it.
pub fn verify(arena: &mut Arena, text: &[u64], maps: &[MapDesc], env: &Environment, core: &CoreModel) -> Answer {
    let map_links = map_links(maps);
    let address = |n: usize| HELPERS_AT + n as u64 * HELPER_BYTES;
    let helpers: Vec<HelperLink> = HELPERS
        .iter()
        .enumerate()
        .map(|(n, h)| HelperLink {
            id: h.id,
            address: address(n),
        })
        .collect();
    let links = Links {
        maps: &map_links,
        helpers: &helpers,
        helper_times: &HELPER_TIMES,
        window: (CODE_AT, CODE_AT + CODE_BYTES),
        cpu: CpuLink::Single,
        time: TimeLink {
            counter: Sys::CntpctEl0,
            scale: Scale::Shift(TICK_SHIFT),
            ordered: false,
        },
        lse: true,
        entry: Entry::Point(CONTEXT),
        dispatch: 0,
    };
    let mut flags = vec![0; text.len() + 1];
    let Some(plan) = plan(text, maps, &mut flags, &links) else {
        return verify::verify(arena, text, maps, env, verifier::UnitCost);
    };
    verify::verify(arena, text, maps, env, JitCost::new(&plan, &links, core))
}

fn plan<'p>(text: &'p [u64], maps: &'p [MapDesc], flags: &'p mut [u8], links: &Links<'_>) -> Option<Plan<'p>> {
    let mut plan = Plan::start(text, maps, flags).ok()?;
    while !plan.step(links, PLAN_SLOTS).ok()? {}
    Some(plan)
}
