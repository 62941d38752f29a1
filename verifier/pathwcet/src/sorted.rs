//! A small ordered map that is cheap to copy: copies share their entries until one of them changes.

use std::rc::Rc;

/// Entries in ascending order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted<K, V>(Rc<Vec<(K, V)>>);

impl<K: Ord + Copy, V: Copy> Default for Sorted<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Copy, V: Copy> Sorted<K, V> {
    /// No entries.
    pub fn new() -> Self {
        Sorted(Rc::new(Vec::new()))
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The two are one and the same, not just alike.
    pub fn is_shared(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Index of the first entry whose key is not below `key`.
    pub fn at_or_after(&self, key: K) -> usize {
        self.0.partition_point(|(k, _)| *k < key)
    }

    /// Value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0
            .binary_search_by(|(k, _)| k.cmp(key))
            .ok()
            .and_then(|at| self.0.get(at))
            .map(|(_, v)| v)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Sets a key's value.
    pub fn insert(&mut self, key: K, value: V) {
        match self.0.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => {
                if let Some(entry) = Rc::make_mut(&mut self.0).get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => Rc::make_mut(&mut self.0).insert(at, (key, value)),
        }
    }

    /// Keeps the entries that `keep` says yes to. Nothing is copied if that is all of them.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        if let Some(first) = self.0.iter().position(|(k, v)| !keep(k, v)) {
            let mut at = 0;
            Rc::make_mut(&mut self.0).retain(|(k, v)| {
                at += 1;
                // What was asked before is not asked again.
                at - 1 < first || (at - 1 > first && keep(k, v))
            });
        }
    }

    /// Entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// Entries as a slice.
    pub fn entries(&self) -> &[(K, V)] {
        &self.0
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, v)| v)
    }

    /// Values, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        Rc::make_mut(&mut self.0).iter_mut().map(|(_, v)| v)
    }
}

impl<K: Ord + Copy, V: Copy> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut all: Vec<(K, V)> = entries.into_iter().collect();
        if !all.is_sorted_by(|a, b| a.0 < b.0) {
            all.sort_by_key(|(k, _)| *k);
            all.dedup_by_key(|(k, _)| *k);
        }
        Sorted(Rc::new(all))
    }
}
