//! Frames in and out of the virtio console.

use hyp_abi::link::{BODY_MAX, Header, MAGIC};
use rt::buffer::Shared;
use rt::virtio::Console;
use rt::{cpu, gic, println};

/// The device's ports to the host.
pub struct Link {
    console: Console,
    intid: u32,
    lost: u64,
}

/// A request whose body is in the input buffer.
pub struct Request {
    /// Its header.
    pub header: Header,
    /// Bytes of body in the buffer; less than the header says only if that was too big.
    pub len: usize,
}

impl Link {
    /// A link over `console`, whose interrupt `intid` is enabled.
    pub fn new(console: Console, intid: u32) -> Self {
        Self {
            console,
            intid,
            lost: 0,
        }
    }

    /// The next byte. Waits in WFI with IRQs masked: the pending interrupt ends it, and is taken here by hand.
    fn byte(&mut self) -> u8 {
        loop {
            match self.console.recv(true) {
                Ok(Some(byte)) => return byte,
                Ok(None) => {}
                Err(error) => println!("monitor: receive: {error}"),
            }
            cpu::wfi();
            let intid = gic::acknowledge();
            if intid == self.intid
                && let Err(error) = self.console.ack_interrupt()
            {
                println!("monitor: interrupt: {error}");
            }
            if intid < gic::SPECIAL {
                gic::end(intid);
            }
        }
    }

    /// The next frame. Bytes before a frame's magic are skipped, so that either side may be restarted.
    pub fn receive(&mut self, body: &mut Shared) -> Request {
        let mut head = [0; Header::SIZE];
        let magic = MAGIC.to_le_bytes();
        for slot in head.iter_mut().take(magic.len()) {
            *slot = self.byte();
        }
        while head.get(..magic.len()) != Some(&magic) {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                println!("monitor: {} bytes skipped", self.lost);
            }
            head.copy_within(1..magic.len(), 0);
            head[magic.len() - 1] = self.byte();
        }
        for slot in head.iter_mut().skip(magic.len()) {
            *slot = self.byte();
        }
        let header = Header::read(&head).unwrap_or_default();
        let len = (header.len as usize).min(BODY_MAX);
        for at in 0..header.len as usize {
            let byte = self.byte();
            if let Some(slot) = body.bytes_mut().get_mut(at) {
                *slot = byte;
            }
        }
        Request { header, len }
    }

    /// Sends a frame.
    pub fn send(&mut self, header: &Header, body: &[u8]) {
        let mut head = [0; Header::SIZE];
        // The array is exactly as long as a header.
        let _ = header.write(&mut head);
        for part in [&head[..], body] {
            if !part.is_empty()
                && let Err(error) = self.console.send_bytes(part)
            {
                println!("monitor: send: {error}");
            }
        }
    }
}
