//! Guest buffers as sources and sinks of map operations: copied word by word, never referenced.

use hyp_core::cpu::Vm;
use hyp_core::probe_vm::maps::{Sink, Source};

use crate::memory;

/// Words a guest gets, from a physical address that was checked.
pub struct GuestSink {
    pa: u64,
    words: u32,
}

impl GuestSink {
    /// The `bytes` bytes at `ipa`.
    ///
    /// # Errors
    /// The first IPA that is not RAM of the VM.
    pub fn new(vm: &Vm, ipa: u64, bytes: u64) -> Result<Self, u64> {
        let pa = vm.buffer(ipa, bytes)?;
        Ok(Self {
            pa,
            words: u32::try_from(bytes / 8).unwrap_or(u32::MAX),
        })
    }
}

impl Sink for GuestSink {
    fn room(&self) -> u32 {
        self.words
    }

    fn put(&mut self, index: u32, word: u64) {
        if index < self.words {
            memory::write_guest(self.pa + u64::from(index) * 8, &word.to_le_bytes());
        }
    }
}

/// Largest key or value.
const BYTES_MAX: usize = 1024;

/// A key or value of a guest, copied once.
pub struct GuestBytes([u8; BYTES_MAX]);

impl GuestBytes {
    /// Copies `bytes` bytes from `ipa`.
    ///
    /// # Errors
    /// The first IPA that is not RAM of the VM.
    pub fn new(vm: &Vm, ipa: u64, bytes: u32) -> Result<Self, u64> {
        let pa = vm.buffer(ipa, bytes.into())?;
        let mut copy = [0; BYTES_MAX];
        if let Some(part) = copy.get_mut(..bytes as usize) {
            memory::read_guest(pa, part);
        }
        Ok(Self(copy))
    }
}

impl Source for GuestBytes {
    fn word(&self, at: u32, bytes: u32) -> u64 {
        self.0.as_slice().word(at, bytes)
    }
}
