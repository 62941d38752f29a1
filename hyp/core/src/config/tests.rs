//! One fault at a time in a good configuration, and random bytes.

use std::vec;
use std::vec::Vec;

use hyp_abi::config::{DEVICE_EDGE, DeviceKind, MAGIC, SEGMENTS_MAX, VERSION};

use super::*;
use crate::testrng::{Rng, steps};

const MIB: u64 = 1 << 20;

#[derive(Clone)]
struct Sys {
    header: Header,
    vms: Vec<Vm>,
    vcpus: Vec<Vcpu>,
    segments: Vec<Segment>,
    devices: Vec<Device>,
    channels: Vec<Channel>,
    budgets: Vec<Budget>,
    data: Vec<u8>,
}

fn good() -> Sys {
    let vm = |i: u64| Vm {
        ipa_base: 0x4000_0000,
        pa_base: 0x6000_0000 + i * 32 * MIB,
        mem_size: 32 * MIB,
        entry: 0x4020_0000,
        x0: 0x4100_0000,
        ..Vm::default()
    };
    let vcpu = |vm| Vcpu {
        vm,
        priority: 5,
        ..Vcpu::default()
    };
    let pl011 = |vm| Device {
        vm,
        kind: 0,
        ipa: 0x900_0000,
        size: 0x1000,
        intid: 33,
        ..Device::default()
    };
    Sys {
        header: Header {
            magic: MAGIC,
            version: VERSION,
            cpus: 1,
            slice_ns: 1_000_000,
            ..Header::default()
        },
        vms: vec![vm(0), vm(1)],
        vcpus: vec![
            vcpu(0),
            Vcpu {
                period_ns: 1_000_000,
                deadline_ns: 900_000,
                budget: 5,
                ..vcpu(1)
            },
        ],
        segments: vec![Segment {
            vm: 1,
            ipa: 0x4020_0000,
            file_len: 64,
            mem_len: 4096,
            ..Segment::default()
        }],
        devices: vec![
            pl011(0),
            pl011(1),
            Device {
                vm: 1,
                kind: 1,
                ipa: 0xa00_0200,
                pa: 0xa00_0200,
                size: 0x200,
                intid: 49,
                flags: DEVICE_EDGE,
            },
        ],
        channels: vec![Channel {
            b_vm: 1,
            a_rights: 0b0101,
            b_rights: 0b1010,
            b_intid: 160,
            ..Channel::default()
        }],
        budgets: vec![Budget {
            path: 2,
            budget: 700,
            ..Budget::default()
        }],
        data: vec![7; 64],
    }
}

/// The blob; offsets of segments are relative to the data until here.
fn pack(s: &Sys) -> Vec<u8> {
    let mut head = s.header;
    (head.vms, head.vcpus, head.segments) = (s.vms.len() as u32, s.vcpus.len() as u32, s.segments.len() as u32);
    (head.devices, head.channels, head.budgets) =
        (s.devices.len() as u32, s.channels.len() as u32, s.budgets.len() as u32);
    let tables = Header::SIZE
        + s.vms.len() * Vm::SIZE
        + s.vcpus.len() * Vcpu::SIZE
        + s.segments.len() * Segment::SIZE
        + s.devices.len() * Device::SIZE
        + s.channels.len() * Channel::SIZE
        + s.budgets.len() * Budget::SIZE;
    head.tables_len = (i64::from(head.tables_len as i32) + tables as i64) as u32;
    head.total_len = head.total_len.wrapping_add((tables + s.data.len()) as u64);
    let mut out = vec![0; tables];
    head.write(&mut out).unwrap();
    let mut at = Header::SIZE;
    macro_rules! put {
        ($list:expr, $t:ident) => {
            for r in $list {
                r.write(&mut out[at..]).unwrap();
                at += $t::SIZE;
            }
        };
    }
    put!(&s.vms, Vm);
    put!(&s.vcpus, Vcpu);
    let moved: Vec<Segment> = s
        .segments
        .iter()
        .map(|x| Segment {
            offset: x.offset.wrapping_add(tables as u64),
            ..*x
        })
        .collect();
    put!(&moved, Segment);
    put!(&s.devices, Device);
    put!(&s.channels, Channel);
    put!(&s.budgets, Budget);
    out.extend(&s.data);
    out
}

fn limits() -> Limits<'static> {
    Limits {
        ram: 0x4000_0000..0x8000_0000,
        hypervisor: 0x4020_0000..0x5000_0000,
        own_devices: &[0x800_0000..0x900_1000],
        gic_windows: &[0x800_0000..0x801_0000, 0x80a_0000..0x80c_0000],
        cpus: 2,
        vcpus_per_vm: 2,
    }
}

#[track_caller]
fn check(edit: impl FnOnce(&mut Sys), want: Result<(), (ConfigFault, RecordKind, u32)>) {
    let mut s = good();
    edit(&mut s);
    let got = Config::validate(&pack(&s), &limits())
        .map(|_| ())
        .map_err(|b| (b.fault, b.kind, b.index));
    assert_eq!(got, want);
}

#[test]
fn a_good_configuration_is_read_back() {
    let s = good();
    let blob = pack(&s);
    let c = Config::validate(&blob, &limits()).unwrap();
    assert!(c.vms().eq(s.vms.iter().copied()));
    assert!(c.vcpus().eq(s.vcpus.iter().copied()));
    assert!(c.devices().eq(s.devices.iter().copied()));
    assert!(c.channels().eq(s.channels.iter().copied()));
    assert!(c.budgets().eq(s.budgets.iter().copied()));
    assert_eq!(c.bytes(&c.segments().next().unwrap()), [7; 64]);
    assert_eq!(Config::ram_pa(&s.vms[1], 0x4000_1000, 4096), Some(0x6200_1000));
    assert_eq!(Config::ram_pa(&s.vms[1], 0x41ff_f000, 4097), None);
    assert_eq!(Config::ram_pa(&s.vms[1], 0x3fff_f000, 8192), None);
    assert_eq!(Config::ram_pa(&s.vms[1], 0x4000_0000, u64::MAX), None);
}

#[test]
fn faults_of_header_and_vms_are_named() {
    use ConfigFault as F;
    use RecordKind::{Header, Vm};
    check(|_| {}, Ok(()));
    check(|s| s.header.magic ^= 1, Err((F::Magic, Header, 0)));
    check(|s| s.header.version += 1, Err((F::Version, Header, 0)));
    check(|s| s.header.tables_len += 8, Err((F::Length, Header, 0)));
    check(|s| s.header.total_len += 8, Err((F::Length, Header, 0)));
    check(|s| s.header.total_len = u64::MAX - 500, Err((F::Length, Header, 0)));
    check(|s| s.header.focus = 2, Err((F::NoSuchVm, Header, 0)));
    check(|s| s.header.cpus = 3, Err((F::NoSuchCpu, Header, 0)));
    check(|s| s.header.cpus = 0, Err((F::NoSuchCpu, Header, 0)));
    check(
        |s| s.segments = vec![s.segments[0]; SEGMENTS_MAX + 1],
        Err((F::TooMany, Header, 0)),
    );
    check(|s| s.vms[1].pa_base += 4096, Err((F::Alignment, Vm, 1)));
    check(|s| s.vms[1].mem_size = 0, Err((F::Alignment, Vm, 1)));
    check(|s| s.vms[1].entry += 2, Err((F::Alignment, Vm, 1)));
    check(|s| s.vms[1].pa_base -= 2 * MIB, Err((F::Overlap, Vm, 1)));
    check(|s| s.vms[0].pa_base = 0x4fe0_0000, Err((F::Overlap, Vm, 0)));
    check(|s| s.vms[0].pa_base = 0x7fe0_0000, Err((F::OutOfRange, Vm, 0)));
    check(
        |s| s.vms[0].pa_base = u64::MAX & !(2 * MIB - 1),
        Err((F::OutOfRange, Vm, 0)),
    );
    check(|s| s.vms[0].ipa_base = 1 << 39, Err((F::OutOfRange, Vm, 0)));
    check(|s| s.vms[0].ipa_base = 0x800_0000, Err((F::Overlap, Vm, 0)));
    check(|s| s.vms[0].entry = 0x3fff_fffc, Err((F::OutsideVm, Vm, 0)));
    check(|s| s.vms[0].rights = 1 << 20, Err((F::UnknownBits, Vm, 0)));
    check(|s| s.vcpus.truncate(1), Err((F::NoVcpu, Vm, 1)));
    check(|s| s.vcpus.extend([s.vcpus[0]; 2]), Err((F::TooMany, Vm, 0)));
}

#[test]
fn faults_of_the_other_records_are_named() {
    use ConfigFault as F;
    use RecordKind as K;
    check(|s| s.vcpus[1].vm = 2, Err((F::NoSuchVm, K::Vcpu, 1)));
    check(|s| s.vcpus[1].cpu = 1, Err((F::NoSuchCpu, K::Vcpu, 1)));
    check(|s| s.vcpus[0].priority = 32, Err((F::Priority, K::Vcpu, 0)));
    check(|s| s.vcpus[1].deadline_ns = 1_000_001, Err((F::Deadline, K::Vcpu, 1)));
    check(|s| s.vcpus[0].deadline_ns = 1, Err((F::Deadline, K::Vcpu, 0)));
    check(|s| s.segments[0].file_len = 65, Err((F::Length, K::Segment, 0)));
    check(|s| s.segments[0].offset = u64::MAX, Err((F::Length, K::Segment, 0)));
    check(|s| s.segments[0].mem_len = 63, Err((F::Length, K::Segment, 0)));
    check(|s| s.segments[0].ipa = 0x41ff_f001, Err((F::OutsideVm, K::Segment, 0)));
    check(|s| s.segments[0].vm = 9, Err((F::NoSuchVm, K::Segment, 0)));
    check(|s| s.devices[0].kind = 2, Err((F::UnknownBits, K::Device, 0)));
    check(|s| s.devices[0].ipa = 0x800_f000, Err((F::Overlap, K::Device, 0)));
    check(|s| s.devices[0].ipa = 0x41ff_f000, Err((F::Overlap, K::Device, 0)));
    check(|s| s.devices[0].ipa = 0x900_0800, Err((F::Alignment, K::Device, 0)));
    check(|s| s.devices[0].size = 0, Err((F::OutOfRange, K::Device, 0)));
    check(|s| s.devices[0].size = u64::MAX, Err((F::OutOfRange, K::Device, 0)));
    check(|s| s.devices[0].intid = 31, Err((F::Interrupt, K::Device, 0)));
    check(|s| s.devices[0].intid = 288, Err((F::Interrupt, K::Device, 0)));
    check(|s| s.devices[2].pa = 0xa00_0400, Err((F::Alignment, K::Device, 2)));
    check(|s| s.devices[2].pa = 0x4000_0200, Err((F::Overlap, K::Device, 2)));
    check(|s| s.devices[2].pa = 0x900_0200, Err((F::Overlap, K::Device, 2)));
    check(|s| s.devices[2].intid = 33, Err((F::Interrupt, K::Device, 2)));
    let twin = |s: &mut Sys, vm, pa, intid| {
        s.devices.push(Device {
            vm,
            pa,
            intid,
            ..s.devices[2]
        })
    };
    check(|s| twin(s, 0, 0xa00_0200, 50), Err((F::Overlap, K::Device, 3)));
    check(|s| twin(s, 0, 0xb00_0200, 49), Err((F::Interrupt, K::Device, 3)));
    check(|s| twin(s, 0, 0xb00_0200, 50), Ok(()));
    check(|s| twin(s, 1, 0xb00_0200, 50), Err((F::Overlap, K::Device, 3)));
    check(|s| s.channels[0].b_vm = 0, Err((F::SelfChannel, K::Channel, 0)));
    check(|s| s.channels[0].b_vm = 2, Err((F::NoSuchVm, K::Channel, 0)));
    check(
        |s| s.channels[0].b_rights = 0b1000,
        Err((F::ChannelRights, K::Channel, 0)),
    );
    check(
        |s| s.channels[0].b_rights = 0b0010,
        Err((F::ChannelRights, K::Channel, 0)),
    );
    check(
        |s| s.channels[0].a_rights = 1 << 9,
        Err((F::UnknownBits, K::Channel, 0)),
    );
    check(|s| s.channels[0].b_intid = 49, Err((F::Interrupt, K::Channel, 0)));
    check(|s| s.channels.push(s.channels[0]), Err((F::Interrupt, K::Channel, 1)));
    check(
        |s| {
            s.channels = vec![
                Channel {
                    b_intid: 0,
                    ..s.channels[0]
                };
                17
            ]
        },
        Err((F::TooMany, K::Channel, 16)),
    );
    check(|s| s.budgets[0].path = 999, Err((F::Path, K::Budget, 0)));
    check(|s| s.budgets.push(s.budgets[0]), Err((F::Path, K::Budget, 1)));
}

#[test]
fn random_bytes_are_refused_or_hold_every_invariant() {
    let mut rng = Rng::new("config", 8);
    let blob = pack(&good());
    let limits = limits();
    for _ in 0..steps(6_000) {
        let mut b = blob.clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(b.len() as u64) as usize;
            b[at] = if rng.chance(50) {
                rng.next() as u8
            } else {
                b[at] ^ 1 << rng.below(8)
            };
        }
        b.truncate(
            b.len()
                - if rng.chance(10) {
                    rng.below(b.len() as u64) as usize
                } else {
                    0
                },
        );
        let Ok(c) = Config::validate(&b, &limits) else { continue };
        for s in c.segments() {
            let vm = c.vms().nth(s.vm as usize).unwrap();
            assert!(Config::ram_pa(&vm, s.ipa, s.mem_len).is_some());
            assert_eq!(c.bytes(&s).len() as u64, s.file_len);
        }
        for d in c.devices() {
            assert!(d.kind == DeviceKind::Pl011 as u32 || !limits.ram.contains(&d.pa));
        }
    }
}
