//! Bounds of loops, written beside the loop.
//!
//! `for x in things.at_most::<THINGS_MAX>()` ends after `THINGS_MAX` turns, whatever `things` says. The count is a constant of
//! the machine code, so the path analyser derives the bound and has nothing to believe; where debug assertions are on, as in
//! every test, reaching it with turns left is an assertion that fails. (A record that is only believed would need inline
//! assembly or a linker section, which this crate forbids itself: docs/decisions/0004.)

/// An iterator that has at most `N` items.
#[derive(Debug, Clone)]
pub struct AtMost<I, const N: usize> {
    inner: I,
    left: usize,
}

/// Adds [`Bounded::at_most`] to iterators.
pub trait Bounded: Iterator + Sized {
    /// The same items, of which there are never more than `N`.
    #[inline(always)]
    fn at_most<const N: usize>(self) -> AtMost<Self, N> {
        AtMost { inner: self, left: N }
    }
}

impl<I: Iterator> Bounded for I {}

impl<I: Iterator, const N: usize> Iterator for AtMost<I, N> {
    type Item = I::Item;

    #[inline(always)]
    fn next(&mut self) -> Option<I::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            debug_assert!(self.inner.next().is_none(), "a loop of more turns than its bound");
            return None;
        };
        self.left = left;
        self.inner.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_bound_is_whole() {
        assert!((0..4).at_most::<4>().eq(0..4));
        assert!((0..4).at_most::<9>().eq(0..4));
        assert_eq!((0..0).at_most::<0>().next(), None);
    }

    #[test]
    #[should_panic(expected = "more turns than its bound")]
    fn one_turn_more_is_found_in_tests() {
        let _ = (0..5).at_most::<4>().count();
    }
}
