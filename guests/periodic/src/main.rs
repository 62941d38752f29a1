#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! A periodic control loop that records its own release jitter: the time from when it should have been released to when
//! its task runs.
//!
//! Boot arguments: `period_us=N` (1000), `window=N` releases per report (250), `windows=N` reports and then stop
//! (0: forever), `phase_us=N` (0) by which releases come after whole periods, `deadline_us=N` (the period): a loop that is not done by then counts as a miss.
//! Every window ends with one line `@jitter {"vm","window","start_ns","end_ns","n","min","mean","max","missed","unit",
//! "buckets"}`; `buckets` holds pairs of a bucket's low end and its count, with bounds at powers of two.

mod control;
mod jitter;

use embassy_executor::Spawner;
use embassy_time::{Duration, Instant, Timer};
use rt::platform::{self, Platform};
use rt::println;

rt::entry!(main);

fn main() {
    rt::embassy::run(|spawner: Spawner| match control_task(Options::read(platform::get())) {
        Ok(token) => spawner.spawn(token),
        Err(error) => panic!("{error:?}"),
    })
}

/// Periods after which the controlled mass must be at its target.
const SETTLED_AFTER: u64 = 250;

#[derive(Debug, Clone, Copy)]
struct Options {
    period: Duration,
    phase: Duration,
    deadline: Duration,
    window: u64,
    windows: u64,
}

impl Options {
    fn read(platform: &Platform) -> Self {
        let number = |key, default: u64| platform.number(key).unwrap_or(default);
        let period_us = number("period_us", 1000).max(10);
        Self {
            period: Duration::from_micros(period_us),
            phase: Duration::from_micros(number("phase_us", 0) % period_us),
            deadline: Duration::from_micros(number("deadline_us", period_us)),
            window: number("window", 250).max(1),
            windows: number("windows", 0),
        }
    }
}

#[embassy_executor::task]
async fn control_task(options: Options) {
    let mut plant = control::Plant::new();
    let mut controller = control::Controller::new();
    let mut window = 0;
    let mut jitter = jitter::Window::new(Instant::now().as_nanos());
    let whole = Instant::now().as_ticks().next_multiple_of(options.period.as_ticks());
    let mut release = Instant::from_ticks(whole) + options.phase;
    loop {
        Timer::at(release).await;
        let started = Instant::now();
        let force = controller.step(plant.position());
        plant.step(force);
        let missed = Instant::now() > release + options.deadline;
        jitter.add(started.as_nanos().saturating_sub(release.as_nanos()), missed);
        if jitter.count() == options.window {
            jitter.print(window, Instant::now().as_nanos());
            window += 1;
            if window == options.windows {
                println!(
                    "@control {{\"position\":{},\"settled\":{}}}",
                    plant.position(),
                    plant.is_settled()
                );
                if window * options.window >= SETTLED_AFTER && !plant.is_settled() {
                    rt::exit::fail(
                        "periodic",
                        format_args!("the loop did not settle: {}", plant.position()),
                    );
                }
                rt::exit::pass("periodic");
            }
            jitter = jitter::Window::new(Instant::now().as_nanos());
        }
        release += options.period;
        // A release that is already past (a stop of the VM, a report longer than a period) is not jitter: skip it.
        while release <= Instant::now() {
            release += options.period;
        }
    }
}
