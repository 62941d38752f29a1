//! Publishing: from the writable alias to the executable one. Mints [`Published`].

use hyp_abi::record::Pool;

use super::compile::Compiled;
use super::{MapSlot, Probes, Refused};

/// Code that can be run. el2's implementation has a private constructor, so that only [`CodeMemory::publish`] makes one.
pub trait ProbeCode: Copy {}

/// Code memory, written through one alias and executed through another.
pub trait CodeMemory {
    /// Reference to published code.
    type Code: ProbeCode;
    /// The writable alias of `words` words from word `at`; `None` if they are not all there.
    fn writable(&mut self, at: u32, words: u32) -> Option<&mut [u32]>;
    /// Code may name `map` by `handle` from now on. No published code does yet.
    fn name_map(&mut self, handle: u64, map: &MapSlot);
    /// Makes `words` words from `at` visible to instruction fetch (cache maintenance, barriers); the entry is word `at`.
    fn publish(&mut self, at: u32, words: u32) -> Option<Self::Code>;
}

/// Published code with what is proven of it. Made by [`Probes::compile`] alone.
#[derive(Clone, Debug)]
pub struct Published<C> {
    code: C,
    at: u32,
    words: u32,
    time_bound: u64,
}

impl<C: ProbeCode> Published<C> {
    /// Words of code.
    pub const fn words(&self) -> u32 {
        self.words
    }

    /// Proven bound of one run, in units of the timing model.
    pub const fn time_bound(&self) -> u64 {
        self.time_bound
    }

    pub(super) const fn code(&self) -> C {
        self.code
    }

    pub(super) const fn at(&self) -> u32 {
        self.at
    }
}

impl<C: ProbeCode> Probes<'_, C> {
    /// Keeps of the code memory what the code needs.
    pub(super) fn publish(
        &mut self,
        compiled: Compiled,
        memory: &mut impl CodeMemory<Code = C>,
    ) -> Result<Published<C>, Refused> {
        let (at, words) = (compiled.at(), compiled.words());
        let size = u64::from(self.platform.code_words) * 4;
        let code = memory.publish(at, words).ok_or(Refused::no_space(Pool::Code, size))?;
        self.code.shrink(at, words);
        Ok(Published {
            code,
            at,
            words,
            time_bound: compiled.time_bound(),
        })
    }
}
