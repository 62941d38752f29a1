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
    let mut linux = start("", "");
    linux.expect(0, "gnomon-linux: ");
    linux.expect(0, "/root # ");
    linux.say(0, "echo $((6 * 7)) $(uname -m) $(nproc) CPUs");
    linux.expect(0, "42 aarch64 1 CPUs");
    // Longer than a PL011's FIFO, and all of it must arrive.
    let long = "x".repeat(150);
    linux.say(0, &format!("echo {long} | wc -c"));
    linux.expect(0, "\n151");
    linux.say(
        0,
        "grep -c arch_timer /proc/interrupts; dmesg | grep -ciE 'oops|BUG:|Unhandled|undefined instr'",
    );
    linux.expect(0, "\n0\r");
    linux.say(0, "poweroff -f");
    let outcome = linux.finish();
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
}

/// `guests/linux-probes.toml` by itself: the kernel module and the `gnomon` command inside load a probe, and it counts.
#[test]
fn loads_a_probe_from_inside() {
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
    let packed = pack::pack(&system, &vm::dist()).unwrap_or_else(|error| panic!("{error:?}"));
    // Exact time: what a path took is counted in instructions, and admission rests on it.
    let mut linux = Dialog::start(&system, &packed, &Options::default());
    linux.expect(0, "\"attachment\"");
    let counts = linux.expect(0, "probe-demo: ok");
    // The console's path is what "working: 5" goes through, byte by byte.
    let console = format!("group {}", hyp_abi::PathId::MmioUart as u32);
    assert!(counts.contains(&console), "{counts}");
    let outcome = linux.finish();
    assert!(outcome.is_good(), "{}", vm::story(&outcome));
}
