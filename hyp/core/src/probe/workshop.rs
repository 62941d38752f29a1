//! The memory of one job.

use probe_vm::image::limits;
use probe_vm::jit::{JitCost, Links, MapLink, Plan};
use verifier::env::{Lookup, MapKind};
use verifier::{MapDesc, Memory, ObjectLayout, Verified, Verifier};

/// Memory of one job.
#[derive(Debug)]
pub struct Workshop<'w> {
    /// [`limits::IMAGE_BYTES_MAX`] bytes.
    pub image: &'w mut [u8],
    /// [`limits::INSNS_MAX`] slots.
    pub text: &'w mut [u64],
    /// The rest.
    pub desk: Desk<'w>,
}

/// What planning, verifying and compiling use.
#[derive(Debug)]
pub struct Desk<'w> {
    /// One more than the slots, from [`probe_vm::jit::Work`].
    pub flags: &'w mut [u8],
    /// Likewise.
    pub offsets: &'w mut [u32],
    /// From [`verifier::Pool`].
    pub memory: Memory<'w>,
    /// Where intermediate results are put.
    pub shelf: &'w mut Shelf<'w>,
}

/// Places for intermediate results that later ones borrow from.
#[derive(Debug)]
pub struct Shelf<'w> {
    pub(super) maps: [MapDesc; limits::MAPS_MAX],
    pub(super) map_links: [MapLink; limits::MAPS_MAX],
    pub(super) layout: Option<[ObjectLayout<'static>; 1]>,
    pub(super) links: Option<Links<'w>>,
    pub(super) plan: Option<Plan<'w>>,
    pub(super) verifier: Option<Verifier<'w, 'w, JitCost<'w>>>,
    pub(super) verified: Option<Verified<'w>>,
}

impl Shelf<'_> {
    /// Empty.
    pub const fn new() -> Self {
        const DESC: MapDesc = MapDesc {
            kind: MapKind(0),
            key_bytes: 0,
            value_bytes: 0,
            entries: 0,
            readable: false,
            writable: false,
            direct_value: false,
            lookup: Lookup::Refused,
        };
        const LINK: MapLink = MapLink {
            handle: 0,
            values: 0,
            stride: 0,
            cpu_stride: 0,
        };
        Self {
            maps: [DESC; limits::MAPS_MAX],
            map_links: [LINK; limits::MAPS_MAX],
            layout: None,
            links: None,
            plan: None,
            verifier: None,
            verified: None,
        }
    }
}

impl Default for Shelf<'_> {
    fn default() -> Self {
        Self::new()
    }
}
