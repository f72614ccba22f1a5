//! The exact nearest records: every one is looked at.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::vectors::{Quantized, Row, Vectors};
use super::{Neighbor, Retriever};

/// A scan over all vectors, O(nD + n log k).
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    vectors: Vectors,
}

impl Exact {
    /// A scan over `vectors`; record n is row n.
    pub fn new(vectors: Vectors) -> Self {
        Exact { vectors }
    }

    /// The vectors it scans.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }
}

impl Retriever for Exact {
    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn nearest(&self, embedding: &[f32], k: usize) -> Vec<Neighbor> {
        let query = Quantized::new(embedding);
        scan(query.row(), (0..).zip(self.vectors.rows()), k)
    }
}

/// The `k` of `rows` nearest to `query`, nearest first.
pub(super) fn scan<'a>(query: Row, rows: impl Iterator<Item = (u32, Row<'a>)>, k: usize) -> Vec<Neighbor> {
    // The best k so far, the worst of them on top. Nearly every row is beaten by that one, which a
    // comparison with its distance tells without a look at the heap.
    let mut heap = BinaryHeap::new();
    let mut worst = f32::INFINITY;
    for (record, row) in rows {
        let distance = query.distance(row);
        if distance > worst {
            continue;
        }
        heap.push(ByOrder(Neighbor { record, distance }));
        if heap.len() > k {
            heap.pop();
        }
        if heap.len() == k {
            worst = heap.peek().map_or(f32::NEG_INFINITY, |top| top.0.distance);
        }
    }
    heap.into_sorted_vec().into_iter().map(|by_order| by_order.0).collect()
}

/// A neighbor compared by distance, then record.
struct ByOrder(Neighbor);

impl Ord for ByOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(other.0)
    }
}

impl PartialOrd for ByOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByOrder {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(dimensions: usize, rows: &[Vec<f32>]) -> Exact {
        let mut vectors = Vectors::new(dimensions).unwrap();
        for row in rows {
            vectors.push(row).unwrap();
        }
        Exact::new(vectors)
    }

    #[test]
    fn ties_go_to_the_lower_record() {
        let scan = exact(2, &vec![vec![1.0, 0.0]; 9]);
        let records: Vec<u32> = scan.nearest(&[1.0, 0.0], 4).iter().map(|n| n.record).collect();
        assert_eq!(records, [0, 1, 2, 3]);
    }

    #[test]
    fn more_asked_for_than_there_are() {
        let scan = exact(2, &[vec![0.0, 1.0], vec![1.0, 0.0]]);
        let records: Vec<u32> = scan.nearest(&[1.0, 0.1], 16).iter().map(|n| n.record).collect();
        assert_eq!(records, [1, 0]);
        assert!(scan.nearest(&[1.0, 0.1], 0).is_empty());
        assert!(exact(2, &[]).nearest(&[1.0, 0.1], 16).is_empty());
    }

    proptest! {
        #[test]
        fn the_same_as_sorting_all(
            rows in proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, 5), 0..60),
            query in proptest::collection::vec(-1.0f32..1.0, 5),
            k in 0usize..70,
        ) {
            let scan = exact(5, &rows);
            let query_row = Quantized::new(&query);
            let mut all: Vec<Neighbor> = (0..).zip(scan.vectors.rows())
                .map(|(record, row)| Neighbor { record, distance: query_row.row().distance(row) })
                .collect();
            all.sort_by(|a, b| a.order(*b));
            all.truncate(k);
            prop_assert_eq!(scan.nearest(&query, k), all);
        }
    }
}
