//! Emulated devices: any register, any width, any value, aligned or not; and the console's framing bytes.

use rt::access::{self, Width};
use rt::rng::Rng;
use rt::{console, gic};

use crate::tally::Tally;

/// Distributor, redistributor of one CPU, console: start and bytes.
const WINDOWS: [(usize, usize); 3] = [(0x0800_0000, 0x1_0000), (0x080a_0000, 0x2_0000), (0x0900_0000, 0x1000)];
/// The console's data register: random text would only be a mess to read.
const UART_DATA: usize = 0x0900_0000;

/// One random access.
pub fn random(rng: &mut Rng, tally: &mut Tally) {
    tally.accesses += 1;
    match rng.below(16) {
        0 => gic::send_sgi_raw(rng.next()),
        1 => gic::deactivate(rng.next() as u32),
        2 => drain(),
        _ => device(rng, tally),
    }
}

fn device(rng: &mut Rng, tally: &mut Tally) {
    let Some((base, bytes)) = rng.pick(&WINDOWS) else {
        return;
    };
    let width = rng.pick(&Width::ALL).unwrap_or(Width::Word);
    // Mostly where registers are, and mostly aligned.
    let span = if rng.below(2) == 0 { 0x1000 } else { bytes };
    let mut offset = rng.below(span.min(bytes) as u64) as usize;
    if rng.below(8) != 0 {
        offset &= !(width.bytes() - 1);
    }
    let address = base + offset.min(bytes - width.bytes());
    let outcome = if rng.below(2) == 0 && address & !7 != UART_DATA {
        access::try_write(address, width, rng.next())
    } else {
        access::try_read(address, width).map(|_| ())
    };
    tally.faults += u64::from(outcome.is_err());
}

/// Takes whatever is pending, so that the next storm begins with free list registers as often as with full ones.
fn drain() {
    for _ in 0..64 {
        let intid = gic::acknowledge();
        if intid >= gic::SPECIAL {
            return;
        }
        gic::end(intid);
        gic::deactivate(intid);
    }
}

/// What the hypervisor's console multiplexer uses itself, sent as a guest's text: a VM must not be able to speak as another one.
pub fn forge_console(tally: &mut Tally) {
    for second in [0x00, 0x01, 0x0f, 0x1e, 0xef, 0xf0, 0xfd, 0xfe, 0xff] {
        console::write_bytes(&[0x1e, second, b'f', b'o', b'r', b'g', b'e', b'd', b'\n']);
        tally.accesses += 9;
    }
    // A whole record of the hypervisor: "system off".
    console::write_bytes(&[0x1e, 0xfd, 3, 0, 0, 0x1e, 0xfe, b'\n']);
    tally.accesses += 8;
}
