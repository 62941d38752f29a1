//! Debian's own kernel as a guest.

use gnomon::debian::{self, NotFetched, Source};
use gnomon::run::Options;
use gnomon::{manifest, pack};
use gnomon_tests::dialog::Dialog;
use gnomon_tests::{repo, vm};

const KERNEL: &str = "linux-image-arm64";

/// The manifest of one Linux VM.
fn manifest(more_system: &str, more_vm: &str) -> String {
    format!(
        "[system]\nclock = \"host\"\n{more_system}\n[[vm]]\nname = \"linux\"\nimage = \"debian:{KERNEL}\"\n\
         initramfs = {{ packages = [\"busybox-static\"], init = \"guests/linux/init\" }}\n\
         cmdline = \"console=ttyAMA0 quiet\"\nmemory = \"256M\"\n{more_vm}\n"
    )
}

/// Whether the packages are here or can be had; a machine without a network has no Linux to test.
fn is_there() -> bool {
    let source = Source::parse(KERNEL).expect("a package's name");
    match debian::kernel(&source, &vm::dist().cache()) {
        Ok(_) => true,
        Err(error) if error.downcast_ref::<NotFetched>().is_some() => {
            println!("skipped: Linux as a guest: {error:#}");
            false
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn start(more_system: &str, more_vm: &str) -> Dialog {
    let (system, packed) = vm::packed(&manifest(more_system, more_vm));
    let options = Options {
        no_icount: true,
        ..Options::default()
    };
    Dialog::start(&system, &packed, &options)
}

#[test]
fn boots_to_a_shell_and_powers_off() {
    if !is_there() {
        return;
    }
    let mut linux = start("cpus = 2", "cpus = [0, 1]");
    linux.expect(0, "gnomon-linux: ");
    linux.expect(0, "/root # ");
    linux.say(0, "echo $((6 * 7)) $(uname -m) $(nproc) CPUs");
    linux.expect(0, "42 aarch64 2 CPUs");
    // Longer than a PL011's FIFO, and all of it must arrive.
    let long = "x".repeat(150);
    linux.say(0, &format!("echo {long} | wc -c"));
    linux.expect(0, "\n151");
    // Work that moves between the vCPUs, and each by itself.
    linux.say(
        0,
        "for c in 1 2; do taskset $c sh -c 'seq 1 20000 | sort -n | tail -n 1'; done; echo do''ne",
    );
    linux.expect(0, "20000\r\n20000\r\ndone");
    linux.say(0, "dmesg | grep -ciE 'oops|bug:|call trace|unhandled'");
    linux.expect(0, "\n0\r");
    linux.say(0, "poweroff -f");
    let outcome = linux.finish();
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
}

#[test]
fn starts_again_when_it_reboots() {
    if !is_there() {
        return;
    }
    let mut linux = start("cpus = 2", "cpus = [1, 0]\nrestart = true");
    for _ in 0..2 {
        linux.expect(0, "gnomon-linux: ");
        linux.expect(0, "/root # ");
        linux.say(0, "ls /tmp/left; touch /tmp/left; nproc");
        linux.expect(0, "No such file");
        linux.expect(0, "\n2\r");
        linux.say(0, "reboot -f");
    }
    // The prompt before it goes down is not the one that is meant.
    linux.expect(0, "gnomon-linux: ");
    linux.expect(0, "/root # ");
    linux.say(0, "poweroff -f");
    let outcome = linux.finish();
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
}

/// The kernel module and the `gnomon` command of `guests/linux-probes.toml` load a probe from inside, and it counts; with `cpus`, on several.
fn loads_a_probe(cpus: &[u32]) {
    if !is_there() {
        return;
    }
    let folder = vm::dist().linux();
    if !folder.join("gnomon").is_file() || !folder.join("gnomon.ko").is_file() {
        println!("skipped: probes from Linux: run `cargo xtask linux-agent` first");
        return;
    }
    let file = repo::root().join("guests/linux-probes.toml");
    let mut system = manifest::read(&file).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    system.vms[0].cmdline.push_str(" probe-demo");
    system.cpus = cpus.len() as u32;
    system.vms[0].cpus = cpus.to_vec();
    let packed = pack::pack(&system, &vm::dist()).unwrap_or_else(|error| panic!("{error:?}"));
    // Exact time: what a path took is counted in instructions, and admission rests on it.
    let mut linux = Dialog::start(&system, &packed, &Options::default());
    linux.expect(0, &format!(", {} CPUs", cpus.len()));
    linux.expect(0, "\"attachment\"");
    let counts = linux.expect(0, "probe-demo: ok");
    // The console's path is what "working: 5" goes through, byte by byte.
    assert!(counts.contains("group GNOMON_PATH_MMIO_UART"), "{counts}");
    let outcome = linux.finish();
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
}

#[test]
fn loads_a_probe_from_inside() {
    loads_a_probe(&[0]);
}

#[test]
fn loads_a_probe_from_inside_on_two_cpus() {
    loads_a_probe(&[0, 1]);
}

/// guests/linux/count.c, linked for any arm64 Linux.
fn count_program(folder: &std::path::Path) -> std::path::PathBuf {
    let program = folder.join("count");
    let output = std::process::Command::new("aarch64-linux-gnu-gcc")
        .args(["-O2", "-static", "-o"])
        .arg(&program)
        .arg(repo::root().join("guests/linux/count.c"))
        .output()
        .expect("the cross compiler is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// What `perf stat -e cycles,instructions` counts: a loop of a million rounds of two instructions, on each vCPU.
#[test]
fn counts_its_own_instructions_and_cycles() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[system]\ncpus = 2\n[[vm]]\nname = \"linux\"\nimage = \"debian:{KERNEL}\"\n\
         initramfs = {{ packages = [\"busybox-static\"], init = \"guests/linux/init\", files = {{ \"usr/bin/count\" = \"{}\" }} }}\n\
         cmdline = \"console=ttyAMA0 quiet count=1\"\nmemory = \"256M\"\ncpus = [0, 1]\n",
        count_program(folder.path()).display()
    );
    let outcome = vm::run(&text);
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
    let console = outcome.console(0);
    let lines: Vec<Vec<u64>> = vm::lines(&console, "count: rounds")
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .collect();
    assert_eq!(lines.len(), 2, "{console}");
    for line in lines {
        let [rounds, instructions, cycles] = line.as_slice() else {
            panic!("{console}")
        };
        // The loop, the two system calls around it, and what the kernel's own exceptions make EL0 repeat.
        let most = 2 * rounds + 20_000;
        assert!((2 * rounds..most).contains(instructions), "{console}");
        assert!((2 * rounds..most).contains(cycles), "{console}");
    }
}

/// A disk image with an ext4 file system that holds a file.
fn disk(folder: &std::path::Path) -> std::path::PathBuf {
    let (content, image) = (folder.join("content"), folder.join("disk.img"));
    std::fs::create_dir(&content).expect("a folder");
    std::fs::write(content.join("hello"), "hello from the disk\n").expect("a file");
    let output = std::process::Command::new("mke2fs")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&content)
        .arg(&image)
        .arg("8M")
        .output()
        .expect("mke2fs, which Debian's e2fsprogs has");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image
}

#[test]
fn mounts_a_disk_that_no_other_vm_reaches() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disk = disk(folder.path());
    let linux = format!(
        "[system]\nclock = \"host\"\n[[vm]]\nname = \"linux\"\nimage = \"debian:{KERNEL}\"\n\
         initramfs = {{ packages = [\"busybox-static\"], init = \"guests/linux/init-disk\", \
         modules = [\"virtio_mmio\", \"virtio_blk\", \"ext4\", \"crc32c_generic\"] }}\n\
         cmdline = \"console=ttyAMA0 quiet\"\nmemory = \"256M\"\nipa_base = 0x6000_0000\n\
         devices = [\"uart\", {{ virtio = \"block\", file = \"{}\", dma = \"trusted\" }}]\n",
        disk.display()
    );
    // The transport's registers, and the RAM that its queues are in.
    let intruder = |name: &str, address: &str| {
        let cmdline = format!("test=isolation role=intruder address={address}");
        vm::guest(name, "selftest", &cmdline, "")
    };
    let text = linux + &intruder("registers", "0x0a000000") + &intruder("queues", "0x60000000");
    let (system, packed) = vm::packed(&text);
    let options = Options {
        no_icount: true,
        ..Options::default()
    };
    let mut dialog = Dialog::start(&system, &packed, &options);
    for line in [
        "disk: mounted",
        "disk: says hello from the disk",
        "disk: written",
        "disk: interrupts 1",
    ] {
        dialog.expect(0, line);
    }
    let outcome = dialog.finish();
    for vm in [1, 2] {
        vm::stopped_by(hyp_abi::record::StopCause::MemoryFault, &outcome, vm);
    }
    assert!(outcome.off && outcome.broken.is_none(), "{}", vm::story(&outcome));
    let image = std::fs::read(&disk).expect("the disk");
    assert!(
        image.windows(7).any(|window| window == b"written"),
        "what was written is on the disk"
    );
}
