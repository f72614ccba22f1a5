//! Ordering by a number and, among equals, by index: the same on every run and host, and one sort and
//! one selection in the compiled module instead of one per type.

use std::cmp::Ordering;

/// A key and the index it belongs to.
pub(super) type Keyed = (f64, u32);

fn order(a: &Keyed, b: &Keyed) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Sorts by key.
fn sort(keys: &mut [Keyed]) {
    keys.sort_unstable_by(order);
}

/// The key at a rank; the least has rank 0. Panics beyond the end, as indexing does.
pub(super) fn at_rank(keys: &mut [Keyed], rank: usize) -> f64 {
    keys.select_nth_unstable_by(rank, order).1.0
}

/// Keeps the `most` least keys, sorted.
fn keep_least(keys: &mut Vec<Keyed>, most: usize) {
    if keys.len() > most {
        at_rank(keys, most);
        keys.truncate(most);
    }
    sort(keys);
}

/// The indices of the `most` least values, sorted by value.
pub(super) fn least(values: impl Iterator<Item = f64>, most: usize) -> Vec<u32> {
    let mut keys: Vec<Keyed> = values.zip(0..).collect();
    keep_least(&mut keys, most);
    keys.into_iter().map(|(_, index)| index).collect()
}
