//! Every point fires in the right place with the right data: a recording probe per point, something that makes it fire,
//! and a comparison. Points of IPC need a `pingpong role=server` partner (`chan=N`).

use hyp_abi::{Call, PathId};
use rt::buffer::Shared;
use rt::gic::{self, GICD, reg};
use rt::programs::{self, Attachment, Program};
use rt::{cpu, hvc, platform, println, psci, timer};

use crate::probe::{OUTPUT, word};
use crate::{expect, failed, need};

const SGI: u32 = 6;
const EC_HVC64: u64 = 0x16;
const EC_DATA_ABORT: u64 = 0x24;

/// What a recording kept.
struct Recording<'a> {
    point: usize,
    count: u64,
    bytes: &'a [u8],
}

impl Recording<'_> {
    fn field(&self, name: &str) -> u64 {
        match programs::FIELD_NAMES[self.point].iter().position(|n| *n == name) {
            // Key padded to 8, count, then the fields.
            Some(index) => word(self.bytes, 16 + 8 * index),
            None => failed(format_args!("{} has no {name}", programs::POINT_NAMES[self.point])),
        }
    }

    /// Fields that must hold these values.
    fn holds(&self, expected: &[(&str, u64)]) {
        for (name, value) in expected {
            let got = self.field(name);
            expect!(
                got == *value,
                "{}.{name} = {got:#x}, not {value:#x}",
                programs::POINT_NAMES[self.point]
            );
        }
    }
}

struct Bench {
    vm: u64,
    output: Shared,
}

impl Bench {
    /// Records `point` for this VM while `act` runs.
    fn record<T>(&mut self, name: &str, act: impl FnOnce(Attachment) -> T) -> (Recording<'_>, T) {
        let point = programs::point(name);
        let program = need(name, Program::load(programs::RECORDING[point]));
        let attachment = need(name, program.attach(point, Some(self.vm)));
        let before = timer::now_ns();
        let result = act(attachment);
        need(name, attachment.detach());
        let after = timer::now_ns();
        let (entries, _) = need(name, program.read(0, &mut self.output));
        need(name, program.unload());
        expect!(entries == 1, "{name}: {entries} entries");
        let recording = Recording {
            point,
            count: word(self.output.bytes(), 8),
            bytes: self.output.bytes(),
        };
        expect!(recording.count > 0, "{name} did not fire");
        let time = recording.field("time_ns");
        expect!(
            (before..=after).contains(&time),
            "{name}: time {time} outside {before}..{after}"
        );
        expect!(recording.field("cpu") == 0, "{name}: cpu {}", recording.field("cpu"));
        (recording, result)
    }
}

pub fn run() {
    let vm = need("VmInfo", hvc::call(Call::VmInfo, []))[1];
    gic::init();
    gic::enable(timer::INTID);
    gic::enable(SGI);
    let mut bench = Bench {
        vm,
        output: OUTPUT.take(),
    };
    exits(&mut bench, vm);
    calls(&mut bench, vm);
    devices(&mut bench, vm);
    interrupts(&mut bench, vm);
    blocking(&mut bench, vm);
    if let Some(channel) = platform::get().number("chan") {
        ipc(&mut bench, vm, channel);
    }
}

/// `test=stage2`: another VM (`test=fault address=0x10000000 after_ms=5`) ends by a stage-2 abort while this one looks on.
pub fn stage2() {
    /// Milliseconds to wait for it.
    const PATIENCE: u64 = 100;
    let vm = need("VmInfo", hvc::call(Call::VmInfo, []))[1];
    gic::init();
    gic::enable(timer::INTID);
    let mut output = OUTPUT.take();
    let point = programs::point("stage2_fault");
    let program = need("load", Program::load(programs::RECORDING[point]));
    let attachment = need("attach", program.attach(point, None));
    for _ in 0..PATIENCE {
        timer::sleep_until(timer::now() + timer::frequency() / 1000);
        need("read", program.read(0, &mut output));
        if word(output.bytes(), 8) != 0 {
            break;
        }
    }
    need("detach", attachment.detach());
    let last = Recording {
        point,
        count: word(output.bytes(), 8),
        bytes: output.bytes(),
    };
    expect!(last.count == 1, "stage2_fault fired {} times for one fault", last.count);
    last.holds(&[
        ("ipa", 0x1000_0000),
        ("va", 0x1000_0000),
        ("path", PathId::Stage2Fault as u64),
    ]);
    expect!(last.field("vm") != vm, "the wrong VM: {vm}");
    expect!(last.field("esr") >> 26 == EC_DATA_ABORT, "esr {:#x}", last.field("esr"));
    need("unload", program.unload());
}

/// The last exit while attached is the detach itself; the last entry is the one before it.
fn exits(bench: &mut Bench, vm: u64) {
    let (last, ()) = bench.record("vm_exit", |_| ());
    last.holds(&[("vm", vm), ("vcpu", 0), ("path", PathId::ProbeControl as u64)]);
    expect!(last.field("esr") >> 26 == EC_HVC64, "esr {:#x}", last.field("esr"));
    let image = platform::spare_ram().0 as u64;
    expect!(last.field("pc") < image, "pc {:#x}", last.field("pc"));
    let (last, _) = bench.record("vm_entry", |_| psci::version());
    last.holds(&[("vm", vm), ("path", PathId::Psci as u64)]);
    expect!(
        (1..100_000).contains(&last.field("spent")),
        "spent {}",
        last.field("spent")
    );
}

fn calls(bench: &mut Bench, vm: u64) {
    let (last, attachment) = bench.record("hypercall", |attachment| attachment);
    last.holds(&[("vm", vm), ("func", Call::ProbeDetach.fid()), ("x1", attachment.0)]);
    let (last, _) = bench.record("psci", |_| hvc::smccc(psci::id::AFFINITY_INFO, [0, 0, 0x77]));
    last.holds(&[
        ("func", psci::id::AFFINITY_INFO & 0xffff_ffff),
        ("x1", 0),
        ("x2", 0),
        ("x3", 0x77),
    ]);
    expect!(last.count == 1, "psci fired {} times for one call", last.count);
}

fn devices(bench: &mut Bench, vm: u64) {
    let (last, value) = bench.record("mmio", |_| GICD.read32(reg::TYPER));
    last.holds(&[
        ("vm", vm),
        ("ipa", GICD.address(reg::TYPER) as u64),
        ("value", u64::from(value)),
        ("device", 0),
        ("offset", reg::TYPER as u64),
        ("size", 4),
        ("write", 0),
    ]);
    let (last, ()) = bench.record("mmio", |_| GICD.write32(reg::ISENABLER + 4, 0));
    last.holds(&[("value", 0), ("offset", reg::ISENABLER as u64 + 4), ("write", 1)]);
    expect!(last.count == 1, "mmio fired {} times for one access", last.count);
    let (last, ()) = bench.record("sysreg_trap", |_| gic::send_sgi_raw(u64::from(SGI) << 24 | 1));
    last.holds(&[("write", 1), ("value", u64::from(SGI) << 24 | 1)]);
    settle(SGI);
}

/// Takes an interrupt that is pending.
fn settle(expected: u32) {
    cpu::isb();
    let intid = gic::acknowledge();
    expect!(intid == expected, "interrupt {intid} instead of {expected}");
    if intid == timer::INTID {
        timer::disarm();
    }
    gic::end(intid);
}

fn sleep() {
    timer::arm(timer::now() + 2000);
    cpu::wfi();
    settle(timer::INTID);
}

/// Spins until the timer's interrupt is there.
fn expire() -> u64 {
    let due = timer::now() + 2000;
    timer::arm(due);
    timer::spin(4000);
    settle(timer::INTID);
    due
}

fn interrupts(bench: &mut Bench, vm: u64) {
    let (last, ()) = bench.record("virq_inject", |_| gic::send_sgi_to_self(SGI));
    last.holds(&[("to_vm", vm), ("to_vcpu", 0), ("intid", u64::from(SGI)), ("cause", 2)]);
    settle(SGI);
    let (last, _) = bench.record("irq", |_| expire());
    last.holds(&[("vm", vm), ("intid", u64::from(timer::INTID)), ("owner", vm)]);
    let (last, due) = bench.record("timer", |_| expire());
    last.holds(&[("kind", 0), ("owner", vm), ("due_ns", due * timer::tick_ns())]);
    let (last, _) = bench.record("virq_inject", |_| expire());
    last.holds(&[("to_vm", vm), ("intid", u64::from(timer::INTID)), ("cause", 0)]);
}

fn blocking(bench: &mut Bench, vm: u64) {
    let (last, ()) = bench.record("vcpu_block", |_| sleep());
    last.holds(&[("vm", vm), ("reason", 0), ("channel", u64::from(u32::MAX))]);
    // The exit in which a sleeper wakes and is switched to is not its own: these are seen without a filter.
    for (name, expected) in [
        (
            "vcpu_wake",
            [("to_vm", vm), ("cause", 0), ("detail", u64::from(timer::INTID))],
        ),
        ("sched_switch", [("next_vm", vm), ("next_vcpu", 0), ("next_vcpu", 0)]),
    ] {
        let point = programs::point(name);
        let program = need(name, Program::load(programs::RECORDING[point]));
        let attachment = need(name, program.attach(point, None));
        sleep();
        need(name, attachment.detach());
        need(name, program.read(0, &mut bench.output));
        need(name, program.unload());
        let last = Recording {
            point,
            count: word(bench.output.bytes(), 8),
            bytes: bench.output.bytes(),
        };
        expect!(last.count > 0, "{name} did not fire");
        last.holds(&expected);
    }
}

fn ipc(bench: &mut Bench, vm: u64, channel: u64) {
    let partner = need("ChannelInfo", hvc::channel_info(channel)).partner;
    let call = |word: u64| need("IpcCall", hvc::ipc_call(channel, [word, 0, 0, 0, 0, 0]));
    let (last, _) = bench.record("ipc_call", |_| call(0xabcd));
    last.holds(&[("vm", vm), ("to_vm", partner), ("word0", 0xabcd)]);
    let (last, ()) = bench.record("notify", |_| need("Notify", hvc::notify(channel, 4)));
    last.holds(&[("vm", vm), ("to_vm", partner), ("bits", 4)]);
    let point = programs::point("ipc_reply");
    let program = need("ipc_reply", Program::load(programs::RECORDING[point]));
    let attachment = need("ipc_reply", program.attach(point, Some(partner)));
    call(0xef01);
    need("ipc_reply", attachment.detach());
    need("ipc_reply", program.read(0, &mut bench.output));
    need("ipc_reply", program.unload());
    let last = Recording {
        point,
        count: word(bench.output.bytes(), 8),
        bytes: bench.output.bytes(),
    };
    expect!(last.count == 1, "ipc_reply fired {} times for one call", last.count);
    last.holds(&[("vm", partner), ("to_vm", vm), ("word0", 0xef01)]);
    call(2);
    println!("points: IPC seen");
}
