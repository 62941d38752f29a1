#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! A noisy neighbour: storms of trapped accesses, SGIs, hypercalls, timer interrupts and memory touches.
//!
//! Boot arguments: `seed=N` (1); `burst=N` actions between pauses (64); `pause_us=N` of WFI between bursts (200; 0: no
//! pause); `count=N` bursts and then stop (0: forever). Everything it does is legal: the point is the load.

use hyp_abi::Call;
use rt::access::{self, Width};
use rt::gic::{self, GICD, GICR, reg};
use rt::platform;
use rt::rng::Rng;
use rt::{console, cpu, hvc, irq, println, psci, timer};

use core::sync::atomic::{AtomicU64, Ordering};

rt::entry!(main);

/// Interrupts handled.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// Distance of the pages that memory touches go to: every touch is another page and another block.
const TOUCH_STRIDE: usize = 4096;

#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Action {
    DistributorRead,
    DistributorWrite,
    RedistributorRead,
    RedistributorWrite,
    UartRead,
    Sgi,
    Hypercall,
    Psci,
    Touch,
    Timer,
}

impl Action {
    const ALL: [Action; 10] = [
        Action::DistributorRead,
        Action::DistributorWrite,
        Action::RedistributorRead,
        Action::RedistributorWrite,
        Action::UartRead,
        Action::Sgi,
        Action::Hypercall,
        Action::Psci,
        Action::Touch,
        Action::Timer,
    ];
}

fn main() {
    let options = platform::get();
    let number = |key, default: u64| options.number(key).unwrap_or(default);
    let (burst, count) = (number("burst", 64), number("count", 0));
    let pause = number("pause_us", 200) * 1000 / timer::tick_ns();
    let mut rng = Rng::new(number("seed", 1));
    gic::init();
    for sgi in 0..16 {
        gic::enable(sgi);
    }
    gic::enable(timer::INTID);
    irq::set_handler(handle);
    cpu::irq_on();
    let mut done = [0_u64; Action::ALL.len()];
    let mut bursts = 0;
    while count == 0 || bursts < count {
        for _ in 0..burst {
            if let Some(action) = rng.pick(&Action::ALL) {
                act(action, &mut rng);
                if let Some(slot) = done.get_mut(action as usize) {
                    *slot += 1;
                }
            }
        }
        bursts += 1;
        if pause > 0 {
            rest(pause);
        }
    }
    let actions: u64 = done.iter().sum();
    println!(
        "@noisy {{\"bursts\":{bursts},\"actions\":{actions},\"interrupts\":{},\"by_kind\":{done:?}}}",
        INTERRUPTS.load(Ordering::Relaxed)
    );
}

fn handle(intid: u32) {
    if intid == timer::INTID {
        timer::disarm();
    }
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

fn act(action: Action, rng: &mut Rng) {
    match action {
        Action::DistributorRead => {
            GICD.read32(reg::ISENABLER + 4 * rng.below(8) as usize);
        }
        // SPIs with nothing wired to them.
        Action::DistributorWrite => gic::set_priority(128 + rng.below(28) as u32, rng.next() as u8),
        Action::RedistributorRead => {
            GICR.read64(reg::GICR_TYPER);
        }
        Action::RedistributorWrite => gic::set_priority(rng.below(16) as u32, gic::PRIORITY),
        Action::UartRead => {
            let _ = console::read_byte();
        }
        Action::Sgi => gic::send_sgi_to_self(rng.below(16) as u32),
        Action::Hypercall => {
            let call = rng
                .pick(&[Call::Version, Call::VmInfo, Call::Yield])
                .unwrap_or(Call::Version);
            hvc::raw([call.fid(), 0, 0, 0, 0, 0, 0, 0]);
        }
        Action::Psci => {
            psci::version();
        }
        Action::Touch => {
            let (start, bytes) = platform::spare_ram();
            let page = rng.below((bytes / TOUCH_STRIDE) as u64) as usize;
            let _ = access::try_write(start + page * TOUCH_STRIDE, Width::Double, rng.next());
        }
        Action::Timer => timer::arm(timer::now() + rng.below(64)),
    }
}

/// Sleeps: interrupts that other actions caused may come in between.
fn rest(ticks: u64) {
    let due = timer::now() + ticks;
    loop {
        let daif = cpu::irq_off();
        let done = timer::now() >= due;
        if !done {
            timer::arm(due);
            cpu::wfi();
        }
        cpu::irq_restore(daif);
        if done {
            return;
        }
    }
}
