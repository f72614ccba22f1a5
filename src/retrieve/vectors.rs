//! Vectors of components from −1 to 1 in one byte each.
//!
//! A component is stored as `round(127 · x)`, at the end of the range if it lies beyond. Distances are
//! Euclidean, taken of the quantized vectors by an exact integer product and the two squared lengths,
//! so every host computes the same distance to the last bit for the same embedding.

use super::dot::{LANES, dot};
use crate::error::{Error, Result};

/// The most dimensions a vector can have; keeps every squared distance within an `i32`.
const MAX_DIMENSIONS: usize = 1 << 15;

/// Steps from 0 to 1.
const STEPS: f32 = 127.0;

/// Quantized vectors, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dimensions: usize,
    stride: usize,
    /// Row n is `components[n · stride..][..stride]`, zero past its dimensions.
    components: Vec<i8>,
    /// `‖row‖²`.
    squares: Vec<i32>,
}

/// One quantized vector, padded like a row of [`Vectors`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row<'a> {
    pub components: &'a [i8],
    pub square: i32,
}

impl Vectors {
    /// An empty table for vectors of `dimensions` components.
    pub fn new(dimensions: usize) -> Result<Self> {
        check_dimensions(dimensions)?;
        let stride = dimensions.next_multiple_of(LANES);
        Ok(Vectors { dimensions, stride, components: Vec::new(), squares: Vec::new() })
    }

    /// Reads `n` rows as [`to_bytes`](Vectors::to_bytes) writes them.
    pub(super) fn from_bytes(dimensions: usize, n: usize, bytes: &[u8]) -> Result<Self> {
        check_size(dimensions, n, bytes)?;
        let mut vectors = Vectors::new(dimensions)?;
        vectors.components.reserve_exact(n * vectors.stride);
        vectors.squares.reserve_exact(n);
        bytes.chunks_exact(dimensions).for_each(|row| vectors.push_quantized(row.iter().map(|&b| b as i8)));
        Ok(vectors)
    }

    /// The rows without their padding, one byte per component.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        (0..self.len()).flat_map(|n| &self.row(n).components[..self.dimensions]).map(|&c| c as u8).collect()
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.squares.is_empty()
    }

    /// Components per vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Vector `n`; panics if there are not so many.
    pub fn get(&self, n: usize) -> Vec<f32> {
        self.row(n).components[..self.dimensions].iter().map(|&c| f32::from(c) / STEPS).collect()
    }

    /// Appends a vector.
    pub fn push(&mut self, vector: &[f32]) -> Result<()> {
        check(vector, self.dimensions)?;
        self.push_quantized(quantize(vector));
        Ok(())
    }

    pub(super) fn push_quantized(&mut self, row: impl Iterator<Item = i8>) {
        let start = self.components.len();
        self.components.extend(row.take(self.dimensions));
        self.components.resize(start + self.stride, 0);
        let row = &self.components[start..];
        self.squares.push(dot(row, row));
    }

    pub(super) fn row(&self, n: usize) -> Row<'_> {
        Row { components: &self.components[n * self.stride..][..self.stride], square: self.squares[n] }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let components = self.components.chunks_exact(self.stride);
        components.zip(&self.squares).map(|(components, &square)| Row { components, square })
    }
}

fn check_dimensions(dimensions: usize) -> Result<()> {
    if (1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Ok(());
    }
    Err(Error::index(format!("{dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")))
}

/// Refuses bytes that are not `n` rows.
pub(super) fn check_size(dimensions: usize, n: usize, bytes: &[u8]) -> Result<()> {
    check_dimensions(dimensions)?;
    if n.checked_mul(dimensions) == Some(bytes.len()) {
        return Ok(());
    }
    Err(Error::index(format!("{} bytes of vectors for {n} records of {dimensions} dimensions", bytes.len())))
}

/// Refuses a vector of other dimensions or with a component that is not finite.
pub(super) fn check(vector: &[f32], dimensions: usize) -> Result<()> {
    if vector.len() != dimensions {
        let what = format!("an embedding of {} dimensions in an index of {dimensions}", vector.len());
        return Err(Error::index(what));
    }
    match vector.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Number {
            place: format!("embedding[{i}]"),
            value: vector[i].to_string(),
            expected: "a finite number",
        }),
        None => Ok(()),
    }
}

impl Row<'_> {
    /// Euclidean distance.
    pub(super) fn distance(self, other: Row) -> f32 {
        let square = self.square + other.square - 2 * dot(self.components, other.components);
        (square as f32).sqrt() / STEPS
    }
}

/// A row of its own, such as a query.
pub(super) struct Quantized {
    components: Vec<i8>,
    square: i32,
}

impl Quantized {
    pub(super) fn new(vector: &[f32]) -> Self {
        Quantized::from_components(quantize(vector))
    }

    pub(super) fn from_components(components: impl Iterator<Item = i8>) -> Self {
        let mut components: Vec<i8> = components.collect();
        components.resize(components.len().next_multiple_of(LANES), 0);
        let square = dot(&components, &components);
        Quantized { components, square }
    }

    pub(super) fn row(&self) -> Row<'_> {
        Row { components: &self.components, square: self.square }
    }
}

fn quantize(vector: &[f32]) -> impl Iterator<Item = i8> {
    vector.iter().map(|x| (x.clamp(-1.0, 1.0) * STEPS).round_ties_even() as i8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        Quantized::new(a).row().distance(Quantized::new(b).row())
    }

    #[test]
    fn known_distances() {
        assert_eq!(distance(&[1.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(distance(&[1.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(distance(&[1.0, 0.0], &[-1.0, 0.0]), 2.0);
        assert!((distance(&[1.0, 0.0], &[0.0, 1.0]) - 2f32.sqrt()).abs() < 1e-6);
        assert_eq!(distance(&[7.0, -9.0], &[1.0, -1.0]), 0.0, "beyond the range");
        assert_eq!(distance(&[1e-44, 0.0], &[0.0, 0.0]), 0.0, "subnormal");
        let (low, high) = (vec![-1.0; MAX_DIMENSIONS], vec![1.0; MAX_DIMENSIONS]);
        assert!((distance(&low, &high) - 2.0 * (MAX_DIMENSIONS as f32).sqrt()).abs() < 1e-3, "the longest");
    }

    #[test]
    fn what_is_not_a_vector_is_refused() {
        let mut vectors = Vectors::new(2).unwrap();
        assert_eq!(vectors.push(&[1.0]).unwrap_err().code(), "bad_index");
        assert_eq!(vectors.push(&[1.0, f32::NAN]).unwrap_err().code(), "bad_number");
        assert_eq!(vectors.push(&[1.0, f32::INFINITY]).unwrap_err().code(), "bad_number");
        assert!(vectors.is_empty());
        assert!(Vectors::new(MAX_DIMENSIONS + 1).is_err());
        assert!(Vectors::from_bytes(2, 2, &[0; 3]).is_err());
        assert!(Vectors::from_bytes(usize::MAX, 2, &[0; 3]).is_err());
        assert!(Vectors::from_bytes(0, 1 << 60, &[]).is_err());
        assert!(Vectors::new(0).is_err());
    }

    proptest! {
        #[test]
        fn the_distance_survives_quantization(
            (a, b) in (1usize..100).prop_flat_map(|d| {
                let vector = || proptest::collection::vec(-1.0f32..1.0, d);
                (vector(), vector())
            })
        ) {
            let square: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x - y).powi(2)).sum();
            // Both ends are off by up to half a step in every component.
            let off = (a.len() as f64).sqrt() / f64::from(STEPS);
            prop_assert!((f64::from(distance(&a, &b)) - square.sqrt()).abs() <= off + 1e-6);
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &a), 0.0);
        }

        #[test]
        fn the_bytes_are_the_vectors(rows in proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, 7), 0..9)) {
            let mut vectors = Vectors::new(7).unwrap();
            for row in &rows {
                vectors.push(row).unwrap();
            }
            let back = Vectors::from_bytes(7, rows.len(), &vectors.to_bytes()).unwrap();
            prop_assert_eq!(back, vectors);
        }
    }
}
