//! An emulated PL011 UART (Arm DDI 0183, r1p5 programming model; identification as QEMU `virt` shows it).
//!
//! There is no line, hence no line time: a byte written is sent at once, so the transmit FIFO is always empty; the receive
//! timeout of 32 bit times is due at once. Both receive interrupts therefore rise with the first byte, whatever UARTIFLS says.
//! Bytes go out whether or not UARTCR enables the transmitter, because software written for QEMU relies on it.

/// Bytes of the receive FIFO (DDI 0183 §2.2.3: 16 before r1p5's 32; the identification below says 16).
pub const FIFO_BYTES: usize = 16;
/// Bytes that wait on the line behind a full FIFO, as a sender with flow control would hold them: a pasted line of text is not lost while
/// the guest is busy. With the FIFO's own this is a power of two.
pub const LINE_BYTES: usize = 256;
/// Bytes of the register window.
pub const WINDOW_BYTES: u64 = 0x1000;

const DR: u32 = 0x000;
const RSR_ECR: u32 = 0x004;
const FR: u32 = 0x018;
const ILPR: u32 = 0x020;
const IBRD: u32 = 0x024;
const FBRD: u32 = 0x028;
const LCR_H: u32 = 0x02c;
const CR: u32 = 0x030;
const IFLS: u32 = 0x034;
const IMSC: u32 = 0x038;
const RIS: u32 = 0x03c;
const MIS: u32 = 0x040;
const ICR: u32 = 0x044;
const DMACR: u32 = 0x048;
const PERIPH_ID: u32 = 0xfe0;

const FR_RXFE: u32 = 1 << 4;
const FR_RXFF: u32 = 1 << 6;
const FR_TXFE: u32 = 1 << 7;
const LCR_H_FEN: u32 = 1 << 4;
const CR_LBE: u32 = 1 << 7;
const DR_OE: u32 = 1 << 11;
const RSR_OE: u32 = 1 << 3;
const INT_RX: u32 = 1 << 4;
const INT_TX: u32 = 1 << 5;
const INT_RT: u32 = 1 << 6;
const INT_OE: u32 = 1 << 10;
const INT_ALL: u32 = 0x7ff;

const _: () = assert!(LINE_BYTES == 1 << u8::BITS, "`head` wraps where the ring does");

/// UARTPeriphID0–3, UARTPCellID0–3, one byte in each 32-bit register.
const ID: [u8; 8] = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// One UART.
#[derive(Clone, Debug)]
pub struct Pl011 {
    /// FIFO and, behind it, the line.
    fifo: [u8; LINE_BYTES],
    /// Index of the oldest byte.
    head: u8,
    /// Bytes waiting, on the line too.
    count: u16,
    /// A byte was lost; shown with the next byte read and in UARTRSR.
    overrun: bool,
    rsr: u32,
    ilpr: u32,
    ibrd: u32,
    fbrd: u32,
    lcr_h: u32,
    cr: u32,
    ifls: u32,
    imsc: u32,
    ris: u32,
    dmacr: u32,
}

impl Default for Pl011 {
    fn default() -> Self {
        Self::new()
    }
}

impl Pl011 {
    /// As after reset (DDI 0183 table 3-1).
    pub const fn new() -> Self {
        Self {
            fifo: [0; LINE_BYTES],
            head: 0,
            count: 0,
            overrun: false,
            rsr: 0,
            ilpr: 0,
            ibrd: 0,
            fbrd: 0,
            lcr_h: 0,
            cr: 0x300,
            ifls: 0x12,
            imsc: 0,
            ris: 0,
            dmacr: 0,
        }
    }

    /// True while the interrupt output is high.
    #[inline]
    pub const fn irq(&self) -> bool {
        self.ris & self.imsc != 0
    }

    /// Reads the register at `offset`. *Hot.* Unknown ones read as zero. The caller must look at [`Self::irq`] again after a read of UARTDR.
    #[inline]
    pub fn read(&mut self, offset: u32) -> u32 {
        match offset {
            FR => self.flags(),
            DR => self.take(),
            RSR_ECR => self.rsr,
            ILPR => self.ilpr,
            IBRD => self.ibrd,
            FBRD => self.fbrd,
            LCR_H => self.lcr_h,
            CR => self.cr,
            IFLS => self.ifls,
            IMSC => self.imsc,
            RIS => self.ris,
            MIS => self.ris & self.imsc,
            DMACR => self.dmacr,
            PERIPH_ID..=0xfff if offset % 4 == 0 => {
                let i = ((offset - PERIPH_ID) / 4) as usize % ID.len();
                u32::from(ID[i])
            }
            _ => 0,
        }
    }

    /// Writes the register at `offset`; the caller must look at [`Self::irq`] again. *Hot.* Returns the byte to send, if any.
    #[inline]
    pub fn write(&mut self, offset: u32, value: u32) -> Option<u8> {
        match offset {
            DR => return self.send(value as u8),
            RSR_ECR => {
                self.rsr = 0;
                self.overrun = false;
            }
            ILPR => self.ilpr = value & 0xff,
            IBRD => self.ibrd = value & 0xffff,
            FBRD => self.fbrd = value & 0x3f,
            LCR_H => self.set_line_control(value & 0xff),
            CR => self.cr = value & 0xff87,
            IFLS => self.ifls = value & 0x3f,
            IMSC => self.imsc = value & INT_ALL,
            ICR => self.ris &= !value,
            DMACR => self.dmacr = value & 0x7,
            _ => {}
        }
        None
    }

    /// A byte from outside. False if the line was full too and the byte is lost. The caller must look at [`Self::irq`] again.
    pub fn receive(&mut self, byte: u8) -> bool {
        let count = usize::from(self.count);
        if count >= LINE_BYTES {
            self.overrun = true;
            self.rsr |= RSR_OE;
            self.ris |= INT_OE;
            return false;
        }
        self.fifo[(usize::from(self.head) + count) % LINE_BYTES] = byte;
        self.count += 1;
        self.ris |= INT_RX | INT_RT;
        true
    }

    /// Bytes that [`Self::receive`] takes without loss.
    pub fn space(&self) -> usize {
        LINE_BYTES.saturating_sub(usize::from(self.count))
    }

    const fn depth(&self) -> usize {
        if self.lcr_h & LCR_H_FEN != 0 { FIFO_BYTES } else { 1 }
    }

    #[inline]
    const fn flags(&self) -> u32 {
        let mut fr = FR_TXFE;
        if self.count == 0 {
            fr |= FR_RXFE;
        }
        if self.count as usize >= self.depth() {
            fr |= FR_RXFF;
        }
        fr
    }

    fn take(&mut self) -> u32 {
        if self.count == 0 {
            return 0;
        }
        let mut value = u32::from(self.fifo[usize::from(self.head) % LINE_BYTES]);
        self.head = self.head.wrapping_add(1);
        self.count -= 1;
        if self.overrun {
            self.overrun = false;
            value |= DR_OE;
        }
        if self.count == 0 {
            self.ris &= !(INT_RX | INT_RT);
        } else {
            self.ris |= INT_RT;
        }
        value
    }

    #[inline]
    fn send(&mut self, byte: u8) -> Option<u8> {
        self.ris |= INT_TX;
        if self.cr & CR_LBE != 0 {
            self.receive(byte);
            return None;
        }
        Some(byte)
    }

    /// A change of FEN empties the FIFO (DDI 0183 §3.3.7).
    fn set_line_control(&mut self, value: u32) {
        if (self.lcr_h ^ value) & LCR_H_FEN != 0 {
            self.count = 0;
            self.ris &= !(INT_RX | INT_RT);
        }
        self.lcr_h = value;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::testrng::{Rng, steps};

    #[test]
    fn reset_values_and_identification() {
        let mut u = Pl011::new();
        assert_eq!(u.read(FR), 0x90);
        assert_eq!(u.read(CR), 0x300);
        assert_eq!(u.read(IFLS), 0x12);
        let id = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];
        for (i, want) in id.iter().enumerate() {
            assert_eq!(u.read(0xfe0 + 4 * i as u32), *want);
        }
        assert_eq!(u.read(0x04c), 0);
        assert_eq!(u.read(0xffff_ffff), 0);
    }

    #[test]
    fn transmit_sends_and_raises_until_cleared() {
        let mut u = Pl011::new();
        assert_eq!(u.write(DR, 0x141), Some(b'A'));
        assert!(!u.irq());
        u.write(IMSC, INT_TX);
        assert!(u.irq());
        assert_eq!(u.read(MIS), INT_TX);
        u.write(ICR, INT_TX);
        assert!(!u.irq());
    }

    #[test]
    fn receive_without_fifo_shows_full_at_one_byte_and_reports_overrun_when_the_line_is_full() {
        let mut u = Pl011::new();
        u.write(IMSC, INT_RX | INT_OE);
        assert!(u.receive(1));
        assert_eq!(u.read(FR), 0x80 | FR_RXFF);
        for _ in 1..LINE_BYTES {
            assert!(u.receive(1));
        }
        assert_eq!(u.read(RSR_ECR), 0);
        assert!(!u.receive(2));
        assert_eq!(u.read(RSR_ECR), RSR_OE);
        assert_eq!(u.read(DR), 1 | DR_OE);
        for _ in 1..LINE_BYTES {
            assert_eq!(u.read(DR), 1);
        }
        assert_eq!(u.read(MIS), INT_OE);
        u.write(ICR, INT_OE);
        u.write(RSR_ECR, 0);
        assert_eq!(u.read(RSR_ECR), 0);
        assert!(!u.irq());
    }

    #[test]
    fn a_change_of_fen_empties_the_fifo() {
        let mut u = Pl011::new();
        u.write(LCR_H, LCR_H_FEN);
        u.receive(1);
        u.write(LCR_H, LCR_H_FEN | 0x60);
        assert_eq!(u.space(), LINE_BYTES - 1, "other bits leave it alone");
        u.write(LCR_H, 0x60);
        assert_eq!(u.read(FR), 0x90);
    }

    #[test]
    fn loopback_returns_what_is_sent() {
        let mut u = Pl011::new();
        u.write(CR, CR_LBE);
        assert_eq!(u.write(DR, 7), None);
        assert_eq!(u.read(DR), 7);
    }

    #[test]
    fn random_traffic_is_a_queue() {
        let mut rng = Rng::new("pl011", 3);
        let mut u = Pl011::new();
        let mut m: VecDeque<u8> = VecDeque::new();
        let (mut depth, mut lost) = (1, false);
        u.write(IMSC, INT_RX);
        for _ in 0..steps(100_000) {
            match rng.below(100) {
                0 => {
                    let fen = rng.chance(80);
                    let new = if fen { FIFO_BYTES } else { 1 };
                    if new != depth {
                        m.clear();
                    }
                    depth = new;
                    u.write(LCR_H, if fen { LCR_H_FEN } else { 0 });
                }
                1..=50 => {
                    let b = rng.next() as u8;
                    let fits = m.len() < LINE_BYTES;
                    assert_eq!(u.receive(b), fits);
                    if fits { m.push_back(b) } else { lost = true }
                }
                51..=95 => {
                    let want = m
                        .pop_front()
                        .map_or(0, |b| u32::from(b) | if core::mem::take(&mut lost) { DR_OE } else { 0 });
                    assert_eq!(u.read(DR), want);
                }
                _ => {
                    // Wild accesses outside the data path must not disturb it.
                    u.read(rng.below(0x400) as u32 * 4 + 0x18);
                    u.write(
                        rng.pick(&[0x20, 0x24, 0x28, 0x34, 0x48, 0x50, 0xfe0, 0xffc]),
                        rng.next() as u32,
                    );
                }
            }
            assert_eq!(u.read(FR) & FR_RXFE != 0, m.is_empty());
            assert_eq!(u.read(FR) & FR_RXFF != 0, m.len() >= depth);
            assert_eq!(u.irq(), !m.is_empty());
            assert_eq!(u.space(), LINE_BYTES - m.len());
        }
    }
}
