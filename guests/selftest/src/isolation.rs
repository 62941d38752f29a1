//! Two VMs with the same guest-physical addresses. `role=victim` fills its RAM with a secret and checks it for as long as the
//! intruder lives; `role=intruder` looks for the secret in all that it can read, then reaches beyond its RAM,
//! which must stop it (the run expects its VM to end by a memory fault), never show it anything.

use rt::access::{self, Width};
use rt::{gic, platform, println, timer};

use crate::{expect, failed, need};

const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;
const MARK: u64 = 0x1d7d_e21d_7de2_1d7d;
/// Distance of the words that are filled and searched: every page.
const PAGE: usize = 4096;

pub fn run() {
    gic::init();
    gic::enable(timer::INTID);
    match platform::get().option("role") {
        Some("victim") => victim(),
        Some("intruder") => intruder(),
        other => failed(format_args!("role={other:?}: victim or intruder")),
    }
}

fn pages() -> impl Iterator<Item = usize> {
    let (start, bytes) = platform::spare_ram();
    (start..start + bytes).step_by(PAGE)
}

fn pause(ticks: u64) {
    timer::sleep_until(timer::now() + ticks);
}

fn victim() {
    for address in pages() {
        need("write", access::try_write(address, Width::Double, SECRET));
    }
    println!("isolation: secret in place");
    for _ in 0..20 {
        pause(timer::frequency() / 1000);
        for address in pages() {
            let got = need("read", access::try_read(address, Width::Double));
            expect!(got == SECRET, "{address:#x} holds {got:#x}");
        }
    }
}

fn intruder() {
    pause(timer::frequency() / 500);
    for address in pages() {
        let got = need("read", access::try_read(address, Width::Double));
        expect!(got != SECRET, "the secret at {address:#x}");
    }
    for address in pages() {
        need("write", access::try_write(address, Width::Double, MARK));
    }
    pause(timer::frequency() / 500);
    for address in pages() {
        let got = need("read", access::try_read(address, Width::Double));
        expect!(got == MARK, "{address:#x} holds {got:#x} instead of the own mark");
    }
    let (ram, size) = platform::get().ram;
    let beyond = platform::get().number("address").unwrap_or((ram + size) as u64) as usize;
    println!("isolation: reading {beyond:#x}, beyond the own RAM");
    match access::try_read(beyond, Width::Double) {
        Ok(value) => failed(format_args!("read {value:#x} at {beyond:#x}")),
        Err(fault) => failed(format_args!("{fault:?} at {beyond:#x} instead of the VM's end")),
    }
}
