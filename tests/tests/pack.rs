//! What `gnomon pack` writes is what EL2 accepts: the packer's configuration through the hypervisor's own validation.

use std::ops::Range;
use std::path::Path;

use board_support::QEMU_VIRT;
use gnomon::dist::Dist;
use gnomon::manifest::{self, ImageSource, RamDisk, System, Text};
use gnomon::pack::{self, Configuration};
use gnomon_tests::repo;
use hyp_abi::config::DeviceKind;
use hyp_abi::{PathId, Rights};
use hyp_core::config::{BadConfig, Config, Limits};
use hyp_core::mail::VCPUS_PER_VM;
use tempfile::TempDir;

/// Where the configuration lies behind a hypervisor of 3 MiB.
const AT: u64 = QEMU_VIRT.load + (3 << 20);

/// A dist folder whose built-in guests are a few bytes each.
fn dist() -> (TempDir, Dist) {
    let folder = tempfile::tempdir().expect("a folder");
    for guest in [
        "monitor", "periodic", "pingpong", "noisy", "bench", "hostile", "selftest",
    ] {
        std::fs::write(folder.path().join(format!("guest-{guest}")), [0x5a; 100]).expect("a file");
    }
    let dist = Dist::at(folder.path());
    (folder, dist)
}

fn system(text: String) -> System {
    let text = Text::new(Path::new("test.toml"), text);
    manifest::parse(text, Path::new("/")).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)))
}

fn configuration(system: &System) -> Configuration {
    let (_folder, dist) = dist();
    pack::configuration(system, &dist, AT).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What a VM is made of is not looked at here: nothing is fetched.
fn without_debian(vm: &mut manifest::Vm) {
    if matches!(vm.image, ImageSource::Debian(_)) {
        vm.image = ImageSource::BuiltIn("noisy".into());
    }
    vm.initrd.take_if(|(disk, _)| matches!(disk, RamDisk::Made(_)));
}

/// As EL2 calls it: the hypervisor has the memory up to the end of the configuration.
fn validate<'a>(system: &System, bytes: &'a [u8]) -> Result<Config<'a>, BadConfig> {
    let range = |region: &board_support::Region| region.base..region.end();
    let gic = [range(&QEMU_VIRT.gic.distributor), range(&QEMU_VIRT.gic.redistributors)];
    let uart = range(&QEMU_VIRT.uart.registers);
    let own: Vec<Range<u64>> = gic.iter().cloned().chain([uart]).collect();
    let limits = Limits {
        ram: range(&QEMU_VIRT.ram),
        hypervisor: QEMU_VIRT.load..AT + bytes.len() as u64,
        own_devices: &own,
        gic_windows: &gic,
        cpus: system.cpus,
        vcpus_per_vm: VCPUS_PER_VM,
    };
    Config::validate(bytes, &limits)
}

#[test]
fn every_system_of_the_repository_is_accepted() {
    let manifests = repo::files_with(&["toml"])
        .into_iter()
        .filter(|file| file.starts_with("systems"));
    let mut seen = 0;
    for file in manifests {
        let mut system = system(repo::text(&file));
        system.vms.iter_mut().for_each(without_debian);
        let packed = configuration(&system);
        let config = validate(&system, &packed.bytes).unwrap_or_else(|bad| panic!("{}: {bad:?}", file.display()));
        assert_eq!(config.vms().count(), system.vms.len());
        assert_eq!(config.channels().count(), system.channels.len());
        seen += 1;
    }
    assert!(seen >= 4, "{seen} systems");
}

#[test]
fn everything_that_can_be_said_reaches_the_hypervisor() {
    let text = r#"
        [[vm]]
        name = "a"
        image = "guest:monitor"
        memory = "16M"
        ipa_base = 0x7000_0000
        priority = 3
        restart = true
        devices = [{ virtio = "console", dma = "trusted" }]
        rights = ["probe:system"]
        probes = { map_memory = "1M", programs = 4 }
        [[vm]]
        name = "b"
        image = "guest:periodic"
        cmdline = "x=1"
        memory = "4M"
        timing = { period = "1ms", deadline = "500us", budget = 40_000 }
        [[channel]]
        name = "c"
        client = "a"
        server = "b"
        notify = "to-server"
        server_spi = 9
        [budget]
        "psci" = 800
    "#;
    let system = system(text.to_string());
    let packed = configuration(&system);
    let config = validate(&system, &packed.bytes).expect("a good configuration");
    let vms: Vec<_> = config.vms().collect();
    assert_eq!(
        (vms[0].ipa_base, vms[0].pa_base, vms[0].mem_size),
        (0x7000_0000, 0x7000_0000, 16 << 20),
        "identity"
    );
    assert_eq!((vms[0].restart, vms[0].map_bytes, vms[0].programs), (1, 1 << 20, 4));
    assert_eq!(vms[0].rights, (Rights::PROBE_SYSTEM | Rights::PROBE_SELF).bits());
    assert_eq!(
        (&vms[1].name[..2], vms[1].ipa_base, vms[1].entry),
        (&b"b\0"[..], 0x4000_0000, 0x4008_0000)
    );
    assert_eq!(
        (vms[1].pa_base, packed.placed[1].pa_base),
        (0x4060_0000, 0x4060_0000),
        "the first free block"
    );
    let vcpus: Vec<_> = config.vcpus().collect();
    assert_eq!(
        (vcpus[1].period_ns, vcpus[1].deadline_ns, vcpus[1].budget),
        (1_000_000, 500_000, 40_000)
    );
    let device = config
        .devices()
        .find(|device| device.kind == DeviceKind::Passthrough as u32)
        .expect("the console");
    assert_eq!(
        (device.vm, device.ipa, device.pa, device.size, device.intid),
        (0, 0xa00_0000, 0xa00_0000, 4096, 48)
    );
    let channel = config.channels().next().expect("the channel");
    assert_eq!(
        (channel.a_vm, channel.b_vm, channel.a_intid, channel.b_intid),
        (0, 1, 0, 41)
    );
    assert_eq!(
        config.budgets().map(|b| (b.path, b.budget)).collect::<Vec<_>>(),
        [(PathId::Psci as u32, 800)]
    );
    let image = config.segments().find(|segment| segment.vm == 1).expect("an image");
    assert_eq!((image.ipa, config.bytes(&image)), (0x4008_0000, &[0x5a; 100][..]));
    let tree = config
        .segments()
        .find(|segment| segment.vm == 1 && segment.ipa == vms[1].x0)
        .expect("a tree");
    let bytes = config.bytes(&tree);
    assert_eq!(&bytes[..4], [0xd0, 0x0d, 0xfe, 0xed], "a flattened device tree");
    assert!(bytes.windows(4).any(|four| four == b"x=1\0"), "with the command line");
}

#[test]
fn a_guest_without_room_is_refused_with_the_line() {
    let (folder, dist) = dist();
    let refused = |memory: &str, bytes: usize, message: &str| {
        std::fs::write(folder.path().join("guest-big"), vec![1; bytes]).expect("a file");
        let text = format!("[[vm]]\nname = \"a\"\nimage = \"guest:big\"\nmemory = \"{memory}\"\n");
        let error = pack::configuration(&system(text), &dist, AT).expect_err(message);
        let said = format!("{error:?}");
        assert!(said.contains(message) && said.contains("test.toml"), "{said}");
    };
    refused("4M", 5 << 20, "cannot run this image");
    refused("2M", 100, "no room for its device tree");
    refused("1022M", 100, "no physical memory");
    refused("4M", 0, "the image is empty");
}

#[test]
fn a_missing_guest_names_those_there_are() {
    let (_folder, dist) = dist();
    let text = "[[vm]]\nname = \"a\"\nimage = \"guest:nobody\"\nmemory = \"4M\"\n";
    let error = pack::configuration(&system(text.to_string()), &dist, AT).expect_err("no such guest");
    assert!(format!("{error:?}").contains("hostile, monitor"), "{error:?}");
}
