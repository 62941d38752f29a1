//! Probe points in the built hypervisor: what they cost while no probe is attached, and what firing them is charged.

use gnomon_tests::vm;
use goblin::elf::Elf;
use hyp_core::admit::declared;
use probe_vm::points::{POINT_COUNT, PointId};

const NOP: u32 = 0xd503_201f;
const RET: u32 = 0xd65f_03c0;
/// Bytes of a record of `.probe_sites`: address of the `nop`, of the block that fires, number of the point.
const RECORD: usize = 24;
/// Reach of `B` (Arm ARM C6.2.25).
const REACH: u64 = 128 << 20;

struct Image(Vec<u8>);

impl Image {
    fn read() -> Self {
        let file = vm::dist().hypervisor();
        Self(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
    }

    fn symbol(&self, name: &str) -> u64 {
        let elf = Elf::parse(&self.0).expect("an ELF file");
        let found = elf.syms.iter().find(|s| elf.strtab.get_at(s.st_name) == Some(name));
        found.unwrap_or_else(|| panic!("no symbol {name}")).st_value
    }

    /// `N` bytes at a link address, and whether they are executable.
    fn at<const N: usize>(&self, address: u64) -> ([u8; N], bool) {
        let elf = Elf::parse(&self.0).expect("an ELF file");
        let segment = elf
            .program_headers
            .iter()
            .find(|p| p.p_type == 1 && (p.p_vaddr..p.p_vaddr + p.p_filesz).contains(&address));
        let segment = segment.unwrap_or_else(|| panic!("{address:#x} is not in the file"));
        let offset = (address - segment.p_vaddr + segment.p_offset) as usize;
        (
            self.0[offset..offset + N].try_into().expect("N bytes"),
            segment.is_executable(),
        )
    }

    fn word(&self, address: u64) -> u32 {
        let (bytes, executable) = self.at(address);
        assert!(executable, "{address:#x} is no code");
        u32::from_le_bytes(bytes)
    }

    fn number(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.at(address).0)
    }
}

#[test]
fn a_disabled_point_is_one_nop_at_every_site() {
    let image = Image::read();
    let (start, end) = (image.symbol("__probe_sites_start"), image.symbol("__probe_sites_end"));
    let mut sites = [0; POINT_COUNT];
    let mut places = Vec::new();
    for record in (start..end).step_by(RECORD) {
        let [at, block, point] = [0, 8, 16].map(|offset| image.number(record + offset));
        assert_eq!(image.word(at), NOP, "site {at:#x} of point {point}");
        // What the nop becomes reaches the block, which is code out of line, not what follows the site.
        assert!(at.abs_diff(block) < REACH && block != at + 4, "{at:#x} to {block:#x}");
        image.word(block);
        sites[point as usize] += 1;
        places.push(at);
    }
    places.sort_unstable();
    assert!(places.windows(2).all(|p| p[0] != p[1]), "a nop with two points");
    for (point, sites) in PointId::ALL.iter().zip(sites) {
        assert!(sites > 0, "{point:?} is nowhere");
    }
    println!("{} sites, {sites:?}", places.len());
    let stubs = image.symbol("fire_stubs");
    for point in 0..POINT_COUNT as u64 {
        assert_eq!(
            [image.word(stubs + 8 * point), image.word(stubs + 8 * point + 4)],
            [NOP, RET]
        );
    }
}

/// Every point's cost of firing is derived, and the one that would be charged without is above them all.
#[test]
fn the_stated_cost_of_firing_is_above_the_derived_ones() {
    let image = Image::read();
    let bounds = gnomon::paths::table::read(&image.0)
        .expect("a hypervisor")
        .expect("a table of bounds");
    for (point, (fire, stated)) in PointId::ALL.iter().zip(bounds.fire.iter().zip(declared::FIRE)) {
        println!("{point:?}: {fire}, stated {stated}");
        assert!(
            *fire > 0 && *fire < stated,
            "{point:?}: {fire} derived, {stated} stated"
        );
    }
}
