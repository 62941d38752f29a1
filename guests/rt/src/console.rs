//! The PL011 console and the formatting macros.

use core::fmt::{self, Write};

use crate::access::Device;

const UART: Device = Device::new(0x0900_0000);

// PL011 TRM, register summary.
const DR: usize = 0x00;
const FR: usize = 0x18;
const LCR_H: usize = 0x2c;
const CR: usize = 0x30;
const IMSC: usize = 0x38;
const ICR: usize = 0x44;

const FR_RXFE: u32 = 1 << 4;
const FR_TXFE: u32 = 1 << 7;
const LCR_H_8N1_FIFO: u32 = 3 << 5 | 1 << 4;
const CR_ON: u32 = 1 << 9 | 1 << 8 | 1; // RXE, TXE, UARTEN
const INT_TX: u32 = 1 << 5;
const INT_RX: u32 = 1 << 4 | 1 << 6; // receive, receive timeout

/// Bytes that fit when the transmit FIFO is empty: 16 in the PL011 before r1p5, 32 after.
const FIFO: usize = 16;

/// SPI of the console on the `virt` machine.
pub const INTID: u32 = 33;

/// Turns the UART on, without interrupts. Done at boot; again where something may have turned it off.
pub fn init() {
    UART.write32(CR, 0);
    UART.write32(IMSC, 0);
    UART.write32(LCR_H, LCR_H_8N1_FIFO);
    UART.write32(CR, CR_ON);
}

/// Writes bytes as they are; waits while the transmit FIFO is not empty.
pub fn write_bytes(bytes: &[u8]) {
    for burst in bytes.chunks(FIFO) {
        while UART.read32(FR) & FR_TXFE == 0 {
            core::hint::spin_loop();
        }
        for byte in burst {
            UART.write32(DR, u32::from(*byte));
        }
    }
}

/// The next received byte, if there is one.
pub fn read_byte() -> Option<u8> {
    (UART.read32(FR) & FR_RXFE == 0).then(|| UART.read32(DR) as u8)
}

/// Unmasks or masks the receive interrupt at the UART.
pub fn receive_interrupt(on: bool) {
    UART.write32(IMSC, if on { INT_RX } else { 0 });
}

/// Unmasks or masks the transmit interrupt at the UART.
pub fn transmit_interrupt(on: bool) {
    UART.write32(IMSC, if on { INT_TX } else { 0 });
}

/// Clears the receive and transmit interrupts.
pub fn acknowledge() {
    UART.write32(ICR, INT_RX | INT_TX);
}

/// One line at most is assembled before it goes out, so that a line costs few accesses and is not torn.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Line {
    fn flush(&mut self) {
        write_bytes(self.bytes.get(..self.used).unwrap_or(&[]));
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            if let Some(slot) = self.bytes.get_mut(self.used) {
                *slot = byte;
                self.used += 1;
            }
        }
        Ok(())
    }
}

#[doc(hidden)]
pub fn print(arguments: fmt::Arguments, newline: bool) {
    let mut line = Line {
        bytes: [0; 256],
        used: 0,
    };
    // Line::write_str never fails; an error of a Display implementation only cuts the text.
    let _ = line.write_fmt(arguments);
    if newline {
        let _ = line.write_char('\n');
    }
    line.flush();
}

/// Formats to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*), false) };
}

/// Formats to the console, with a newline.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!(""), true) };
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*), true) };
}
