//! Calls, checks the echo, and sums the round trips up.

use hyp_abi::Status;
use rt::platform::Platform;
use rt::{exit, hvc, println, timer};

/// Rounds between two notifications.
const NOTIFY_EVERY: u64 = 8;
const STOP: u64 = 2;
/// Rounds between two reports.
const REPORT_EVERY: u64 = 1024;

struct Latency {
    count: u64,
    min: u64,
    max: u64,
    sum: u64,
}

impl Latency {
    const NONE: Self = Self {
        count: 0,
        min: u64::MAX,
        max: 0,
        sum: 0,
    };

    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        self.sum += ns;
    }

    fn print(&self, total: u64) {
        let mean = self.sum / self.count.max(1);
        println!(
            "@ipc {{\"rounds\":{total},\"count\":{},\"min_ns\":{},\"mean_ns\":{mean},\"max_ns\":{}}}",
            self.count,
            if self.count == 0 { 0 } else { self.min },
            self.max
        );
    }
}

/// Runs the rounds that the options ask for.
pub fn run(channel: u64, may_notify: bool, options: &Platform) {
    let count = options.number("count").unwrap_or(0);
    let pause = options.number("pause_us").unwrap_or(0) * 1000 / timer::tick_ns();
    let mut latency = Latency::NONE;
    rt::gic::enable(timer::INTID);
    let mut round = 0;
    while count == 0 || round < count {
        round += 1;
        // Never 0, ARM or STOP: the server answers it by the general way.
        let message = [round + 16, !round, round << 32, 3, 4, 5];
        let start = timer::now();
        match hvc::ipc_call(channel, message) {
            Ok(words) if words == message => latency.add((timer::now() - start) * timer::tick_ns()),
            Ok(words) => exit::fail(
                "pingpong client",
                format_args!("round {round}: {words:x?} for {message:x?}"),
            ),
            Err(refused) if refused.status == Status::PartnerGone => break,
            Err(refused) => exit::fail("pingpong client", format_args!("round {round}: {:?}", refused.status)),
        }
        if may_notify
            && round % NOTIFY_EVERY == 0
            && let Err(refused) = hvc::notify(channel, 1 << (round % 64))
            && refused.status != Status::PartnerGone
        {
            exit::fail("pingpong client", format_args!("notify: {:?}", refused.status));
        }
        if round % REPORT_EVERY == 0 {
            latency.print(round);
            latency = Latency::NONE;
        }
        if pause > 0 {
            timer::sleep_until(timer::now() + pause);
        }
    }
    latency.print(round);
    if options.option("stop").is_some()
        && let Err(refused) = hvc::ipc_call(channel, [STOP, 0, 0, 0, 0, 0])
    {
        exit::fail("pingpong client", format_args!("stop: {:?}", refused.status));
    }
}
