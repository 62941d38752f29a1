//! The dispatcher on a machine of plain fields.

mod calls;
mod interrupts;
mod ipc;
mod smp;
mod traps;

use std::boxed::Box;
use std::vec::Vec;

use embassy_time::Instant;
use hyp_abi::record::StreamKind;
use hyp_abi::rights::ChannelRights;
use hyp_abi::{Call, PathId, Rights, Status};

use super::hypercall::{PathBudget, Services};
use super::{Machine, Points, Report};
use crate::cpu::{BOARD_SPIS, Cpu, Deferred, Vm};
use crate::ipc::EndSpec;
use crate::mail::Mail;
use crate::pmu::{Identity, Pmu};
use crate::vcpu::{Frame, Vcpu};
use crate::vgic::{LRS_MAX, Lr, LrFile, Vgic};

const RAM: u64 = 0x4000_0000;
const RAM_BYTES: u64 = 0x80_0000;
const UART: u64 = 0x0900_0000;
const UART_SPI: u32 = 33;
/// Where the exit's instruction is.
const PC: u64 = RAM + 0x1000;

/// Registers and devices of one CPU.
#[derive(Clone, Default)]
struct Board {
    esr: u64,
    far: u64,
    hpfar: u64,
    pc: u64,
    vmcr: u64,
    now: u64,
    alarm: Option<u64>,
    undefined: u32,
    timer_line: bool,
    lrs: [Lr; LRS_MAX],
    dropped: Vec<u32>,
    deactivated: Vec<u32>,
    disabled: Vec<u32>,
    /// Bytes that went to consoles, and those that come.
    printed: Vec<(u8, u8)>,
    typed: Vec<(u8, u8)>,
    full: bool,
    reports: Vec<(StreamKind, Vec<u8>)>,
    sweep: bool,
    written: Vec<(u64, Vec<u8>)>,
    fp: Vec<(u32, u32)>,
    fp_released: u32,
    abandoned: u32,
    log: Vec<u8>,
    exits: Vec<PathId>,
    /// Cycles that a counter finds more each time it is asked, and what was given to count.
    counted: u64,
    given: Vec<u32>,
}

impl LrFile for Board {
    fn usable(&self) -> u32 {
        (1 << LRS_MAX) - 1
    }
    fn empty(&self) -> u32 {
        (0..).zip(&self.lrs).map(|(n, lr)| u32::from(lr.is_empty()) << n).sum()
    }
    fn read(&self, n: usize) -> Lr {
        self.lrs[n]
    }
    fn write(&mut self, n: usize, lr: Lr) {
        self.lrs[n] = lr;
    }
    fn control(&mut self, _: u32) {}
    fn take_eoi(&mut self) -> bool {
        false
    }
    fn forget_eois(&mut self) {}
    fn deactivate(&mut self, pintid: u32) {
        self.deactivated.push(pintid);
    }
}

impl Points for Board {
    fn vm_exit(&mut self, path: PathId) {
        self.exits.push(path);
    }
}

impl Machine for Board {
    fn esr(&self) -> u64 {
        self.esr
    }
    fn far(&self) -> u64 {
        self.far
    }
    fn hpfar(&self) -> u64 {
        self.hpfar
    }
    fn pc(&self) -> u64 {
        self.pc
    }
    fn set_pc(&mut self, pc: u64) {
        self.pc = pc;
    }
    fn spsr(&self) -> u64 {
        0x3c5
    }
    fn sp_el1(&self) -> u64 {
        0
    }
    fn inject_undefined(&mut self) {
        self.undefined += 1;
    }
    fn vmcr(&self) -> u64 {
        self.vmcr
    }
    fn now(&self) -> Instant {
        Instant::from_ticks(self.now)
    }
    fn instant(&self, count: u64) -> Instant {
        Instant::from_ticks(count.saturating_mul(16))
    }
    fn armed_points(&self) -> u32 {
        0b101
    }
    fn set_alarm(&mut self, at: Instant) {
        self.alarm = Some(at.as_ticks());
    }
    fn acknowledge(&mut self) -> u32 {
        1023
    }
    fn drop_priority(&mut self, intid: u32) {
        self.dropped.push(intid);
    }
    fn timer_line(&self, _: u32) -> bool {
        self.timer_line
    }
    fn disable_spis(&mut self, spis: &[u32; BOARD_SPIS / 32]) {
        let is = |i: &u32| spis[*i as usize / 32] >> (i % 32) & 1 != 0;
        self.disabled.extend((0..BOARD_SPIS as u32).filter(is).map(|i| i + 32));
    }
    fn end_spis(&mut self, _: &[u32; BOARD_SPIS / 32]) {}
    fn disable_spi(&mut self, intid: u32) {
        self.disabled.push(intid);
    }
    fn id_register(&self, _: u32) -> u64 {
        u64::MAX
    }
    fn pmu_identity(&self) -> Identity {
        Identity::default()
    }
    fn pmu_take(&self, pmu: &mut Pmu) {
        pmu.cycle += self.counted;
    }
    fn pmu_give(&mut self, pmu: &Pmu) {
        self.given.push(pmu.counting());
    }
    fn console_room(&self) -> bool {
        !self.full
    }
    fn console_put(&mut self, vm: u8, byte: u8) {
        self.printed.push((vm, byte));
    }
    fn console_interrupt(&mut self) -> Option<(u8, u8)> {
        (!self.typed.is_empty()).then(|| self.typed.remove(0))
    }
    fn report(&mut self, report: &Report) {
        let (kind, bytes, len) = report.encode();
        self.reports.push((kind, bytes[..len].to_vec()));
    }
    fn write_guest(&mut self, pa: u64, bytes: &[u8]) {
        self.written.push((pa, bytes.to_vec()));
    }
    fn read_guest(&self, _: u64, bytes: &mut [u8]) {
        bytes.fill(0);
    }
    fn switch_fp(&mut self, _: &mut [Vcpu], from: u32, to: u32) {
        self.fp.push((from, to));
    }
    fn release_fp(&mut self) {
        self.fp_released += 1;
    }
    fn kick(&mut self, _: u32) {}
    fn sweep_soon(&mut self, _: u32) {
        self.sweep = true;
    }
    fn synchronise(&self) {}
    fn abandon(&mut self) {
        self.abandoned += 1;
    }
    fn restore(&mut self, _: u8, at: u64) -> Option<u64> {
        (at < 3).then_some(at + 1)
    }
    fn power_off(&mut self) {}
    fn log_read(&mut self, out: &mut [u8]) -> (usize, u64) {
        let len = out.len().min(self.log.len());
        out[..len].copy_from_slice(&self.log[..len]);
        (len, 7)
    }
}

/// Probe calls answer with what they were asked.
#[derive(Default)]
struct Probes {
    served: Vec<(Call, [u64; 6])>,
}

impl Services<Board> for Probes {
    fn serve(&mut self, _: &mut Cpu, _: &mut Board, call: Call, x: [u64; 6]) -> [u64; 7] {
        self.served.push((call, x));
        [0, 101, 102, 103, 104, 105, 106]
    }
    fn stopped(&mut self, _: &Cpu, _: &mut Board, _: u32) {}
    fn begin_period(&mut self) -> Option<crate::grace::Epoch> {
        Some(crate::grace::Epoch::ZERO)
    }
    fn path_budget(&self, path: PathId) -> Option<PathBudget> {
        Some(PathBudget {
            own: path as u64 + 1,
            proven: true,
            probes: 0,
            probes_most: 0,
            budget: u64::MAX,
        })
    }
    fn forget(&mut self) -> bool {
        true
    }
}

/// Two VMs: 0 calls 1 over a channel, 1 has the higher priority. VM 0 runs, VM 1 is ready.
struct System {
    cpu: Box<Cpu>,
    board: Board,
    probes: Probes,
}

fn vm(id: u8, rights: Rights) -> Vm {
    let mut vm = Vm {
        vttbr: 1,
        vgic: Vgic::new((1 << LRS_MAX) - 1),
        has_uart: true,
        uart_intid: UART_SPI,
        ram: RAM..RAM + RAM_BYTES,
        pa_base: 0x5000_0000 + u64::from(id) * RAM_BYTES,
        entry: RAM,
        rights,
        id,
        ..Vm::new()
    };
    vm.vgic.link_hardware(27);
    vm.vgic.set_edge(40);
    vm
}

impl System {
    fn with_rights(rights: Rights) -> Self {
        let mut cpu = Box::new(Cpu::new());
        cpu.mail = Box::leak(Box::new(Mail::new()));
        let all = ChannelRights::all();
        let end = |vm, priority| EndSpec {
            vm,
            rights: all,
            intid: 40,
            priority,
        };
        cpu.ipc.add(end(0, 10), end(1, 20)).unwrap();
        for (id, priority) in [(0, 10), (1, 20)] {
            let slot = usize::from(id);
            cpu.vms[slot] = vm(id, rights);
            (cpu.vcpus[slot].vm, cpu.vcpus[slot].id) = (id, id);
            assert!(cpu.sched.add(slot, priority));
            cpu.mail.vm(id).unwrap().settle(0, 0, slot);
            cpu.start(slot);
        }
        let _ = cpu.sched.block(1);
        assert_eq!(cpu.sched.next(), Some(0));
        let _ = cpu.sched.wake(1);
        cpu.loaded = 0;
        let board = Board {
            pc: PC,
            ..Board::default()
        };
        Self {
            cpu,
            board,
            probes: Probes::default(),
        }
    }

    fn new() -> Self {
        Self::with_rights(Rights::empty())
    }

    fn frame(&mut self, slot: usize) -> &mut Frame {
        &mut self.cpu.vcpus[slot].frame
    }

    fn x(&self, slot: usize, n: u32) -> u64 {
        self.cpu.vcpus[slot].frame.get(n)
    }

    /// VM `slot` has the CPU.
    fn give_cpu(&mut self, slot: usize) {
        self.cpu.loaded = slot as u32;
        while self.cpu.sched.next() != Some(slot) {
            let other = self.cpu.sched.current().expect("somebody is ready");
            let _ = self.cpu.sched.block(other);
        }
    }

    /// A synchronous exit that the fast part does not serve.
    fn exit(&mut self, esr: u64) -> PathId {
        self.board.esr = esr;
        self.cpu.deferred = Deferred::Sync;
        let path = super::slow::serve(&mut self.cpu, &mut self.board, &mut self.probes);
        self.sweep();
        path
    }

    /// What the exit has asked for is served: nothing else interrupts.
    fn sweep(&mut self) {
        let told = self.board.exits.len();
        while core::mem::take(&mut self.board.sweep) {
            super::irq::serve(&mut self.cpu, &mut self.board, super::irq::SWEEP);
        }
        self.board.exits.truncate(told);
    }

    /// HVC of the running VM with x0 and the arguments from x1 on.
    fn hvc(&mut self, x0: u64, arguments: &[u64]) -> PathId {
        let slot = self.cpu.loaded as usize;
        self.frame(slot).set(0, x0);
        for (n, value) in (1..).zip(arguments) {
            self.frame(slot).set(n, *value);
        }
        self.exit(HVC)
    }

    /// One of our own calls; its status.
    fn call(&mut self, call: Call, arguments: &[u64]) -> Option<Status> {
        let slot = self.cpu.loaded as usize;
        self.hvc(call.fid(), arguments);
        Status::from_x0(self.x(slot, 0))
    }
}

const HVC: u64 = 0x16 << 26 | 1 << 25;
