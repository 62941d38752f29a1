//! What a guest finds at entry: exception level, memory, PSCI, discovery.

use hyp_abi::Call;
use rt::access::{self, Width};
use rt::{hvc, platform, psci, sysreg_read, timer};

use crate::{expect, need};

/// Distance of the words that are written and read back.
const STRIDE: usize = 1 << 20;

pub fn run() {
    let level = sysreg_read!(currentel) >> 2;
    expect!(level == 1, "at EL{level}");
    expect!(sysreg_read!(spsel) == 1, "not on SP_EL1");
    expect!(timer::frequency() > 0, "CNTFRQ is 0");
    memory();
    power();
    if hvc::present() {
        discovery();
    }
}

/// All of the RAM that the device tree promises is there, and no word of it is another one.
fn memory() {
    let (_, size) = platform::get().ram;
    expect!(size >= 2 << 20, "{size} bytes of RAM");
    let (start, bytes) = platform::spare_ram();
    let words = || (start..start + bytes).step_by(STRIDE).chain([start + bytes - 8]);
    for address in words() {
        need(
            "write",
            access::try_write(address, Width::Double, address as u64 ^ 0x5555),
        );
    }
    for address in words() {
        let got = need("read", access::try_read(address, Width::Double));
        expect!(got == address as u64 ^ 0x5555, "{address:#x} holds {got:#x}");
    }
}

fn power() {
    let version = psci::version();
    expect!(version >> 16 == 1 || version == 2, "PSCI version {version:#x}");
    let features = |function| psci_features(function);
    expect!(features(psci::id::SYSTEM_OFF) == 0, "SYSTEM_OFF is not a feature");
    expect!(
        features(0x8400_00ff) == psci::NOT_SUPPORTED,
        "an unknown function is a feature"
    );
    let mpidr = sysreg_read!(mpidr_el1) & 0xff_00ff_ffff;
    let affinity = hvc::smccc(psci::id::AFFINITY_INFO, [mpidr, 0, 0]);
    expect!(affinity == 0, "AFFINITY_INFO of this CPU: {affinity:#x}");
    let again = hvc::smccc(psci::id::CPU_ON, [mpidr, 0x4020_0000, 0]) as i64;
    expect!(again == psci::ALREADY_ON, "CPU_ON of this CPU: {again}");
    let nobody = hvc::smccc(psci::id::CPU_ON, [0xff, 0x4020_0000, 0]) as i64;
    expect!(nobody == psci::INVALID_PARAMETERS, "CPU_ON of no CPU: {nobody}");
}

fn psci_features(function: u64) -> i64 {
    // PSCI returns 32-bit values; QEMU sign-extends, others may not.
    i64::from(hvc::smccc(psci::id::PSCI_FEATURES, [function, 0, 0]) as i32)
}

fn discovery() {
    let smccc = hvc::smccc(psci::id::SMCCC_VERSION, [0; 3]);
    expect!(smccc >= 0x1_0001, "SMCCC version {smccc:#x}");
    let by_smc = hvc::raw_smc([psci::id::PSCI_VERSION, 0, 0, 0, 0, 0, 0, 0])[0];
    expect!(by_smc == psci::version(), "PSCI by SMC: {by_smc:#x}");
    let version = need("Version", hvc::call(Call::Version, []));
    expect!(
        version[1] as u32 >> 16 == hyp_abi::ABI_VERSION >> 16,
        "ABI {:#x}",
        version[1]
    );
    let info = need("VmInfo", hvc::call(Call::VmInfo, []));
    expect!(info[1] < hyp_abi::VMS_MAX as u64 && info[4] == 0, "VmInfo {info:x?}");
    preserved();
}

/// SMCCC 1.1: a call that returns one value keeps x4 and up.
fn preserved() {
    let x = hvc::raw([psci::id::PSCI_VERSION, 11, 12, 13, 14, 15, 16, 17]);
    expect!(x[4..] == [14, 15, 16, 17], "x4-x7 after PSCI_VERSION: {:x?}", &x[4..]);
    let x = hvc::raw([0xc600_ffff, 11, 12, 13, 14, 15, 16, 17]);
    expect!(x[0] as i64 == -1 && x[4..] == [14, 15, 16, 17], "unknown call: {x:x?}");
}
