//! Cholesky factors of small symmetric positive definite matrices, stored by rows.

/// Replaces the lower triangle of a `d × d` matrix by L, where L·Lᵀ is the matrix.
///
/// The matrix is positive definite, since callers add the precision of a prior to a sum of squares; should
/// rounding take a pivot to zero or below, it is put back at the last digit of its entry.
pub(super) fn factor(matrix: &mut [f64], d: usize) {
    for i in 0..d {
        for j in 0..=i {
            let done: f64 = (0..j).map(|k| matrix[i * d + k] * matrix[j * d + k]).sum();
            let rest = matrix[i * d + j] - done;
            matrix[i * d + j] = if i == j {
                rest.max(f64::EPSILON * matrix[i * d + i]).sqrt()
            } else {
                rest / matrix[j * d + j]
            };
        }
    }
}

/// Replaces `b` by the solution of L·Lᵀ·x = b.
pub(super) fn solve(l: &[f64], b: &mut [f64]) {
    let d = b.len();
    for i in 0..d {
        let done: f64 = (0..i).map(|k| l[i * d + k] * b[k]).sum();
        b[i] = (b[i] - done) / l[i * d + i];
    }
    for i in (0..d).rev() {
        let done: f64 = (i + 1..d).map(|k| l[k * d + i] * b[k]).sum();
        b[i] = (b[i] - done) / l[i * d + i];
    }
}

/// The diagonal of (L·Lᵀ)⁻¹.
pub(super) fn inverse_diagonal(l: &[f64], d: usize) -> Vec<f64> {
    let entry = |k: usize| {
        let mut unit = vec![0.0; d];
        unit[k] = 1.0;
        solve(l, &mut unit);
        unit[k]
    };
    (0..d).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_inverts() {
        let matrix = [6.0, 2.0, 1.0, 2.0, 5.0, -1.0, 1.0, -1.0, 4.0];
        let mut l = matrix;
        factor(&mut l, 3);
        let mut x = [1.0, -2.0, 3.0];
        solve(&l, &mut x);
        for (row, b) in matrix.chunks(3).zip([1.0, -2.0, 3.0]) {
            let product: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            assert!((product - b).abs() < 1e-12);
        }
        // By cofactors: det = 89.
        for (found, cofactor) in inverse_diagonal(&l, 3).into_iter().zip([19.0, 23.0, 26.0]) {
            assert!((found - cofactor / 89.0).abs() < 1e-12, "{found} {cofactor}");
        }
    }
}
