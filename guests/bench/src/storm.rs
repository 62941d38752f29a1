//! Drives the interrupt controller towards the longest exits of its paths: everything pending at once, in every word, with all list registers
//! full, and then each register written. The guest masks interrupts meanwhile and takes none.

use rt::cpu;
use rt::gic::{self, GICD, reg};
use rt::hvc;
use rt::timer;

/// Words of shared interrupts.
const WORDS: usize = 8;
/// SGIs that fill the list registers.
const FILLERS: core::ops::Range<u32> = 8..12;

/// One round; leaves every interrupt as it was: disabled, not pending, none active.
pub fn round() {
    let daif = cpu::irq_off();
    quiet();
    for w in 1..=WORDS {
        GICD.write32(reg::IGROUPR + 4 * w, u32::MAX);
        for i in 0..8 {
            GICD.write32(reg::IPRIORITYR + 32 * w + 4 * i, 0x4050_6070 + (w as u32) * 0x0808_0808);
        }
    }
    for intid in FILLERS {
        gic::enable(intid);
    }
    // Every word has something that waits.
    for w in 1..=WORDS {
        GICD.write32(reg::ISENABLER + 4 * w, u32::MAX);
        fill();
        GICD.write32(reg::ISPENDR + 4 * w, u32::MAX);
    }
    for w in 1..=WORDS {
        for register in [reg::IGROUPR, reg::ISENABLER, reg::ISPENDR, reg::ISACTIVER] {
            fill();
            GICD.write32(register + 4 * w, u32::MAX);
            let _ = GICD.read32(register + 4 * w);
        }
        fill();
        GICD.write32(reg::IPRIORITYR + 32 * w, 0x1020_3040);
        fill();
        GICD.write32(reg::ICFGR + 8 * w, 0xaaaa_aaaa);
        fill();
        GICD.write64(reg::IROUTER + 8 * 32 * w, 1);
        GICD.write64(reg::IROUTER + 8 * 32 * w, 0);
        for register in [reg::ICENABLER, reg::ICACTIVER, reg::ICPENDR] {
            fill();
            GICD.write32(register + 4 * w, u32::MAX);
            GICD.write32(reg::ISENABLER + 4 * w, u32::MAX);
            GICD.write32(reg::ISPENDR + 4 * w, u32::MAX);
        }
    }
    // With list registers full: a wait that does not wait, a yield, a timer that fires and is disarmed untaken.
    fill();
    timer::arm(timer::now());
    timer::spin(64);
    timer::disarm();
    // An interrupt that is pending already is no reason to trap the wait: taken back, it is looked for there.
    gic::set_bit(reg::ICPENDR, timer::INTID);
    cpu::wfi();
    let _ = hvc::call(hyp_abi::Call::Yield, []);
    quiet();
    cpu::irq_restore(daif);
}

/// Four pending SGIs: they take the list registers, or make what is in them give way.
fn fill() {
    for intid in FILLERS {
        gic::send_sgi_to_self(intid);
    }
}

fn quiet() {
    for w in 1..=WORDS {
        for register in [reg::ICENABLER, reg::ICPENDR, reg::ICACTIVER] {
            GICD.write32(register + 4 * w, u32::MAX);
        }
        GICD.write32(reg::ICFGR + 8 * w, 0);
        GICD.write32(reg::ICFGR + 8 * w + 4, 0);
    }
    for intid in FILLERS {
        gic::disable(intid);
        gic::set_bit(reg::ICPENDR, intid);
    }
}
