use std::path::{Path, PathBuf};

use hyp_abi::rights::ChannelRights;
use hyp_abi::{PathId, Rights};
use miette::Diagnostic;

use crate::debian::{Initramfs, Source};

use super::{Clock, ImageSource, RamDisk, System, Text, Timing, VirtioKind, parse};

fn read(text: &str) -> Result<System, super::ManifestError> {
    parse(Text::new(Path::new("t.toml"), text.to_string()), Path::new("/sys"))
}

const ONE: &str = "[[vm]]\nname = \"a\"\nimage = \"guest:a\"\nmemory = \"4M\"\n";
const TWO: &str = "[[vm]]\nname = \"a\"\nimage = \"guest:a\"\nmemory = \"4M\"\n[[vm]]\nname = \"b\"\nimage = \"b.bin\"\nmemory = \"2M\"\n";

/// The text is refused with this message, this help, and a label on this word.
fn refused(text: &str, message: &str, place: &str, help: &str) {
    let error = read(text).expect_err(&format!("accepted, should say `{message}`"));
    let said = error.to_string();
    assert!(said.contains(message), "`{said}` should contain `{message}`");
    let helped = error.help().map(|help| help.to_string()).unwrap_or_default();
    assert!(helped.contains(help), "`{helped}` should contain `{help}`");
    if !place.is_empty() {
        let labels: Vec<String> = error
            .labels()
            .into_iter()
            .flatten()
            .map(|label| text[label.offset()..label.offset() + label.len()].to_string())
            .collect();
        assert!(
            labels.iter().any(|label| label.contains(place)),
            "{labels:?} should point at `{place}`"
        );
    }
}

#[test]
fn a_vm_that_says_little_gets_the_defaults() {
    let system = read(ONE).unwrap();
    let vm = &system.vms[0];
    assert_eq!(
        (vm.ipa_base, vm.memory, vm.priority, vm.cpus.as_slice()),
        (0x4000_0000, 4 << 20, 16, [0].as_slice())
    );
    assert!(vm.uart && vm.virtio.is_empty() && !vm.is_identity_mapped() && vm.rights.is_empty() && !vm.restart);
    assert_eq!(vm.image, ImageSource::BuiltIn("a".into()));
    assert_eq!((system.board.name, system.cpus, system.focus), ("qemu-virt", 1, 0));
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let text = r#"
        [system]
        board = "qemu-virt"
        cpus = 2
        slice = "2ms"
        focus = "b"
        [[vm]]
        name = "m"
        image = "img/m"
        initrd = "rd.cpio"
        cmdline = "console=ttyAMA0"
        memory = "16M"
        ipa_base = 0x7000_0000
        priority = 31
        cpu = 1
        restart = true
        devices = [{ virtio = "console", dma = "trusted" }, { virtio = "block", file = "d.img", dma = "trusted" }]
        rights = ["probe:system", "log"]
        probes = { map_memory = "1M", programs = 4 }
        timing = { period = "1ms", deadline = "500us", budget = 40_000, exits = 12 }
        [[vm]]
        name = "b"
        image = "guest:b"
        memory = "2M"
        cpus = [1, 0]
        [[channel]]
        name = "c"
        client = "b"
        server = "m"
        notify = "both"
        client_spi = 8
        server_spi = 9
        [budget]
        "hypercall.ipc_call" = 900
    "#;
    let system = read(text).unwrap();
    let vm = &system.vms[0];
    assert_eq!((system.cpus, system.slice_ns, system.focus), (2, 2_000_000, 1));
    assert_eq!(
        (vm.ipa_base, vm.priority, vm.home(), vm.restart, vm.uart),
        (0x7000_0000, 31, 1, true, false)
    );
    assert_eq!(vm.image, ImageSource::File(PathBuf::from("/sys/img/m")));
    assert_eq!(
        vm.initrd.as_ref().map(|(disk, _)| disk.clone()),
        Some(RamDisk::File(PathBuf::from("/sys/rd.cpio")))
    );
    let disk = VirtioKind::Block(PathBuf::from("/sys/d.img"));
    let expected = [(VirtioKind::Console, 0), (disk, 8)];
    let virtio: Vec<_> = vm.virtio.iter().map(|v| (v.kind.clone(), v.transport)).collect();
    assert_eq!(virtio, expected, "no two devices share a page");
    assert_eq!(vm.rights, Rights::PROBE_SELF | Rights::PROBE_SYSTEM | Rights::LOG);
    assert_eq!((vm.map_bytes, vm.programs), (1 << 20, 4));
    assert_eq!(
        vm.timing,
        Some(Timing {
            period_ns: 1_000_000,
            deadline_ns: 500_000,
            budget: 40_000,
            exits: 12
        })
    );
    let channel = &system.channels[0];
    assert_eq!(
        (
            channel.client,
            channel.server,
            channel.client_intid,
            channel.server_intid
        ),
        (1, 0, 40, 41)
    );
    let notify = ChannelRights::NOTIFY | ChannelRights::NOTIFIED;
    assert_eq!(channel.client_rights, ChannelRights::CALL | notify);
    assert_eq!(channel.server_rights, ChannelRights::SERVE | notify);
    assert_eq!(system.budgets, [(PathId::IpcCall, 900)]);
}

#[test]
fn guests_of_debian_are_named_by_package() {
    let text = r#"
        [system]
        clock = "host"
        [[vm]]
        name = "l"
        image = "debian:trixie/linux-image-arm64"
        initramfs = { packages = ["busybox-static"], init = "i", files = { "/a/b" = "c" } }
        memory = "256M"
    "#;
    let system = read(text).unwrap();
    let vm = &system.vms[0];
    let source = |name| Source::parse(name).unwrap();
    assert_eq!(vm.image, ImageSource::Debian(source("trixie/linux-image-arm64")));
    let made = Initramfs {
        modules: None,
        packages: vec![source("busybox-static")],
        init: PathBuf::from("/sys/i"),
        files: vec![("a/b".into(), PathBuf::from("/sys/c"))],
    };
    assert_eq!(
        vm.initrd.as_ref().map(|(disk, _)| disk.clone()),
        Some(RamDisk::Made(made))
    );
    assert_eq!(system.clock, Clock::Host);
    refused(
        &text.replace("trixie/", "-o/"),
        "cannot name a package",
        "debian:-o",
        "RELEASE/PACKAGE",
    );
    refused(
        &text.replace("\"host\"", "\"hots\""),
        "cannot follow `hots`",
        "hots",
        "did you mean \"host\"",
    );
    let both = text.replace("memory", "initrd = \"x.cpio\"\n memory");
    refused(&both, "one RAM disk", "x.cpio", "leave one");
}

#[test]
fn vcpus_are_pinned() {
    let cpus = |more: &str| read(&format!("[system]\ncpus = 4\n{ONE}{more}")).map(|s| s.vms[0].cpus.clone());
    assert_eq!(cpus("").unwrap(), [0]);
    assert_eq!(cpus("vcpus = 3\n").unwrap(), [0, 0, 0]);
    assert_eq!(cpus("vcpus = 2\ncpu = 3\n").unwrap(), [3, 3]);
    assert_eq!(cpus("cpus = [2, 0, 2]\n").unwrap(), [2, 0, 2]);
    let refuse = |more: &str, message: &str, place: &str, help: &str| {
        refused(&format!("[system]\ncpus = 4\n{ONE}{more}"), message, place, help);
    };
    refuse("vcpus = 9\n", "1 to 8 vCPUs", "9", "");
    refuse("vcpus = 0\n", "1 to 8 vCPUs", "0", "");
    refuse("cpus = []\n", "1 to 8 vCPUs", "[]", "");
    refuse(
        "vcpus = 3\ncpus = [0, 1]\n",
        "3 vCPUs, but 2",
        "[0, 1]",
        "one physical CPU for each",
    );
    refuse("cpu = 0\ncpus = [0]\n", "either", "[0]", "for all of them");
    refuse(
        "cpus = [0, 4]\n",
        "CPU 4 is not one of the system's 4",
        "[0, 4]",
        "count from 0",
    );
    refuse("cpu = 7\n", "CPU 7 is not one of the system's 4", "4", "count from 0");
}

#[test]
fn a_channel_does_not_leave_its_cpu() {
    let text =
        format!("[system]\ncpus = 2\n{TWO}cpu = 1\n[[channel]]\nname = \"ch\"\nclient = \"a\"\nserver = \"b\"\n");
    refused(
        &text,
        "between CPU 0 and CPU 1",
        "ch",
        "both ends of a channel are on one CPU",
    );
    refused(&text, "between CPU 0 and CPU 1", "1", "put the first vCPUs");
}

#[test]
fn what_is_not_a_manifest_is_refused_with_a_hint() {
    refused(
        &ONE.replace("memory", "memry"),
        "unknown field `memry`",
        "memry",
        "did you mean `memory`?",
    );
    refused(
        "[[vm]]\nname = \"a\"\n",
        "missing field `image`",
        "[[vm]]",
        "add `image",
    );
    refused("[[vm]\n", "", "", "docs/MANIFEST.md");
    refused(&ONE.replace("\"4M\"", "\"4 meg\""), "\"4 meg\"", "4 meg", "");
    refused("vm = []", "1 to 16 VMs", "", "");
}

#[test]
fn vms_that_cannot_be_are_refused() {
    refused(
        &TWO.replace("\"b\"", "\"a\""),
        "two VMs are named `a`",
        "a",
        "another name",
    );
    refused(
        &ONE.replace("\"a\"", "\"a b\""),
        "cannot name a VM",
        "a b",
        "1 to 16 bytes",
    );
    refused(&ONE.replace("4M", "3M"), "not a multiple of 2M", "3M", "say \"4M\"");
    refused(&ONE.replace("4M", "0"), "0 of memory", "0", "say \"2M\"");
    refused(
        &format!("{ONE}ipa_base = 0x900_0000\n"),
        "cannot start",
        "0x900_0000",
        "0x40000000",
    );
    refused(
        &format!("{ONE}ipa_base = 0x7f_ffe0_0000\n"),
        "cannot start",
        "0x7f_ffe0_0000",
        "",
    );
    refused(&format!("{ONE}priority = 32\n"), "above 31", "32", "0 is the lowest");
    refused(
        &format!("{ONE}cpu = 1\n"),
        "not one of the system's 1",
        "1",
        "count from 0",
    );
    refused(
        &format!("{ONE}rights = [\"probe:all\"]\n"),
        "no right is named",
        "probe:all",
        "probe:self",
    );
    refused(
        &format!("{ONE}timing = {{ period = \"1ms\", deadline = \"2ms\", budget = 1 }}\n"),
        "not after the period",
        "2ms",
        "",
    );
    refused(
        &format!("{ONE}[system]\nboard = \"pi\"\n"),
        "no board is named `pi`",
        "pi",
        "qemu-virt",
    );
    refused(
        &format!("{ONE}[system]\nfocus = \"b\"\n"),
        "no VM is named `b`",
        "b",
        "did you mean `a`?",
    );
}

#[test]
fn devices_that_cannot_be_are_refused() {
    refused(
        &format!("{ONE}devices = [\"uart\", \"uart\"]\n"),
        "given twice",
        "uart",
        "",
    );
    refused(
        &format!("{ONE}devices = [\"gpu\"]\n"),
        "no device is named `gpu`",
        "gpu",
        "\"uart\"",
    );
    refused(
        &format!("{ONE}devices = [{{ virtio = \"console\" }}]\n"),
        "does DMA",
        "console",
        "trusted",
    );
    refused(
        &format!("{ONE}devices = [{{ virtio = \"net\", dma = \"trusted\" }}]\n"),
        "no virtio device",
        "net",
        "console",
    );
    refused(
        &format!("{ONE}devices = [{{ virtio = \"block\", dma = \"trusted\" }}]\n"),
        "needs a file",
        "block",
        "file =",
    );
    let one = "{ virtio = \"rng\", dma = \"trusted\" }";
    refused(
        &format!("{ONE}devices = [{}]\n", [one; 5].join(", ")),
        "4 transports to give away",
        "rng",
        "",
    );
}

#[test]
fn channels_that_cannot_be_are_refused() {
    let with = |rest: &str| format!("{TWO}[[channel]]\nname = \"c\"\nclient = \"a\"\nserver = \"b\"\n{rest}");
    refused(
        &with("").replace("server = \"b\"", "server = \"bb\""),
        "no VM is named `bb`",
        "bb",
        "did you mean `b`?",
    );
    refused(
        &with("").replace("server = \"b\"", "server = \"a\""),
        "belong to one VM",
        "a",
        "",
    );
    refused(&with("notify = \"up\"\n"), "not a direction", "up", "to-server");
    refused(&with("calls = false\n"), "nothing can pass", "channel", "notify");
    refused(&with("client_spi = 4\n"), "never notified", "4", "notify");
    refused(
        &with("notify = \"both\"\nclient_spi = 64\n"),
        "SPI 64 does not exist",
        "64",
        "INTID",
    );
    refused(
        &with("notify = \"both\"\nclient_spi = 1\n"),
        "interrupt of the VM's uart",
        "1",
        "SPI 1",
    );
    let device = with("notify = \"both\"\nclient_spi = 16\n").replacen(
        "4M\"\n",
        "4M\"\ndevices = [{ virtio = \"rng\", dma = \"trusted\" }]\n",
        1,
    );
    for label in ["rng", "16"] {
        refused(&device, "interrupt of the VM's virtio device", label, "SPI 16 and up");
    }
    let twice = with("notify = \"to-server\"\nserver_spi = 9\n")
        + "[[channel]]\nname = \"d\"\nclient = \"a\"\nserver = \"b\"\nnotify = \"to-server\"\nserver_spi = 9\n";
    refused(&twice, "SPI 9 is given twice", "9", "of its own");
    refused(
        &(twice.replace("\"d\"", "\"c\"")),
        "two channels are named `c`",
        "c",
        "",
    );
}

#[test]
fn budgets_name_paths() {
    refused(
        &format!("{ONE}[budget]\n\"hypercal.ipc_call\" = 9\n"),
        "no path is named",
        "hypercal",
        "hypercall.ipc_call",
    );
}
