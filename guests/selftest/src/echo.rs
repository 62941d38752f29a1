//! Console input by interrupt: one line comes in and goes out again.

use rt::{console, cpu, gic, print, println};

use crate::expect;

/// Longest line.
const LINE_MAX: usize = 80;

pub fn run() {
    gic::init();
    gic::enable(console::INTID);
    console::receive_interrupt(true);
    println!("echo: ready");
    let mut line = [0_u8; LINE_MAX];
    let mut used = 0;
    'line: loop {
        cpu::wfi();
        let intid = gic::acknowledge();
        if intid >= gic::SPECIAL {
            continue;
        }
        expect!(intid == console::INTID, "interrupt {intid}");
        while let Some(byte) = console::read_byte() {
            if byte == b'\n' || byte == b'\r' {
                gic::end(intid);
                break 'line;
            }
            if let Some(slot) = line.get_mut(used) {
                *slot = byte;
                used += 1;
            }
        }
        console::acknowledge();
        gic::end(intid);
    }
    print!("echo: ");
    console::write_bytes(line.get(..used).unwrap_or(&[]));
    println!();
}
