//! Where in a fixed memory which piece is taken. First fit over few pieces; no piece moves.

/// Pieces of one memory.
#[derive(Clone, Debug)]
pub(super) struct Ranges<const N: usize> {
    size: u32,
    /// Taken pieces (start, length) by rising start; the first `count` are meaningful.
    taken: [(u32, u32); N],
    count: usize,
    peak: u32,
}

impl<const N: usize> Ranges<N> {
    pub const fn new(size: u32) -> Self {
        Self {
            size,
            taken: [(0, 0); N],
            count: 0,
            peak: 0,
        }
    }

    pub const fn size(&self) -> u32 {
        self.size
    }

    pub fn used(&self) -> u32 {
        let pieces = self.taken.iter().enumerate();
        pieces.take_while(|(i, _)| *i < self.count).map(|(_, t)| t.1).sum()
    }

    pub const fn peak(&self) -> u32 {
        self.peak
    }

    /// The gap before each taken piece, and the one after the last: (index to insert at, start, length).
    fn gap(&self, i: usize) -> (u32, u32) {
        let start = match i.checked_sub(1).and_then(|p| self.taken.get(p)) {
            Some((s, l)) => s + l,
            None => 0,
        };
        let end = if i < self.count {
            self.taken.get(i).map_or(self.size, |t| t.0)
        } else {
            self.size
        };
        (start, end.saturating_sub(start))
    }

    /// Where a piece may begin, before each that is taken and behind the last. `N` is said, so that the turns are bounded.
    fn places(&self) -> impl Iterator<Item = usize> + use<N> {
        let count = self.count;
        (0..N + 1).take_while(move |i| *i <= count)
    }

    /// Takes the first gap of at least `len`. `None`: there is none, or `N` pieces are taken.
    pub fn take(&mut self, len: u32) -> Option<u32> {
        let i = self.places().find(|i| self.gap(*i).1 >= len)?;
        self.insert(i, self.gap(i).0, len)
    }

    /// Takes all of the largest gap.
    pub fn take_largest(&mut self) -> Option<(u32, u32)> {
        let i = self.places().max_by_key(|i| self.gap(*i).1)?;
        let (start, len) = self.gap(i);
        if len == 0 {
            return None;
        }
        self.insert(i, start, len)?;
        Some((start, len))
    }

    fn insert(&mut self, i: usize, start: u32, len: u32) -> Option<u32> {
        if self.count >= N {
            return None;
        }
        // The pieces from `i` on move up by one: the new one pushes each along.
        let mut moved = (start, len);
        for (k, piece) in self.taken.iter_mut().enumerate() {
            if (i..=self.count).contains(&k) {
                core::mem::swap(piece, &mut moved);
            }
        }
        self.count += 1;
        self.peak = self.peak.max(self.used());
        Some(start)
    }

    /// Shortens the piece at `start` to `len` (0 gives it back).
    pub fn shrink(&mut self, start: u32, len: u32) {
        let Some(i) = self
            .places()
            .find(|i| *i < self.count && self.taken.get(*i).is_some_and(|t| t.0 == start))
        else {
            return;
        };
        if len == 0 {
            // The pieces behind `i` move down by one.
            let mut moved = (0, 0);
            for (k, piece) in self.taken.iter_mut().enumerate().rev() {
                if (i..self.count).contains(&k) {
                    core::mem::swap(piece, &mut moved);
                }
            }
            self.count -= 1;
        } else if let Some(t) = self.taken.get_mut(i) {
            t.1 = t.1.min(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::testrng::{Rng, steps};

    #[test]
    fn pieces_never_overlap_and_space_comes_back() {
        let mut rng = Rng::new("ranges", 20);
        let mut r = Ranges::<8>::new(1000);
        let mut model: Vec<(u32, u32)> = Vec::new();
        for _ in 0..steps(20_000) {
            match rng.below(4) {
                0 | 1 => {
                    let len = 1 + rng.below(400) as u32;
                    match r.take(len) {
                        Some(start) => {
                            assert!(start + len <= 1000);
                            assert!(model.iter().all(|(s, l)| start + len <= *s || s + l <= start));
                            model.push((start, len));
                        }
                        None => {
                            model.sort();
                            let mut at = 0;
                            let mut largest = 0;
                            for (s, l) in &model {
                                largest = largest.max(s - at);
                                at = s + l;
                            }
                            assert!(model.len() == 8 || largest.max(1000 - at) < len);
                        }
                    }
                }
                2 if !model.is_empty() => {
                    let (s, _) = model.swap_remove(rng.below(model.len() as u64) as usize);
                    r.shrink(s, 0);
                }
                _ => {
                    if let Some((s, l)) = r.take_largest() {
                        let keep = rng.below(u64::from(l) + 1) as u32;
                        r.shrink(s, keep);
                        if keep > 0 {
                            model.push((s, keep));
                        }
                    }
                }
            }
            assert_eq!(r.used(), model.iter().map(|m| m.1).sum());
        }
    }
}
