//! FP/SIMD state belongs to a VM: run it in two VMs (`seed=1`, `seed=2`) that give the CPU to each other.

use hyp_abi::Call;
use rt::rng::Rng;
use rt::{fp, hvc, platform, timer};

use crate::expect;

/// Long enough for the other VM to get the CPU, by Yield or by its own timer.
const PAUSE: u64 = 2000;

pub fn run() {
    let seed = platform::get().number("seed").unwrap_or(1);
    let rounds = platform::get().number("rounds").unwrap_or(200);
    let mut rng = Rng::new(seed);
    fp::enable();
    rt::gic::init();
    rt::gic::enable(timer::INTID);
    for round in 0..rounds {
        let mut bank = [0; 64];
        bank.fill_with(|| rng.next());
        fp::load(&bank, seed + round);
        hvc::raw([Call::Yield.fid(), 0, 0, 0, 0, 0, 0, 0]);
        if round % 4 == 0 {
            timer::sleep_until(timer::now() + PAUSE);
        }
        let mut now = [0; 64];
        let rounding = fp::store(&mut now);
        expect!(now == bank, "round {round}: registers changed");
        expect!(rounding == (seed + round) & 3, "round {round}: FPCR changed");
    }
}
