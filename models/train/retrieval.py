"""The blend of the model's estimate with what similar training queries taught, as the Rust core computes it.

A training query n remembers how far its recorded models, taken together, did better or worse than estimated (Δ_n, in
logits) and what is left per model (r_nm). Both are taken against out-of-fold estimates: against fitted ones there
would be nothing left to learn from.
"""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

CLIP = 0.02


@dataclass(frozen=True)
class Retrieval:
    k: int
    temperature: float
    shrink_query: float
    shrink_model: float


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Every setting that is tried.
GRID = [Retrieval(k, t, q, m) for k in (16, 32) for t in (0.1, 0.3) for q in (4.0, 16.0, 48.0) for m in (64.0, 256.0, 1e6)]


def choose(logits: np.ndarray, correct: np.ndarray, pools: np.ndarray, rows: np.ndarray, distances: np.ndarray,
           delta: np.ndarray, residual: np.ndarray) -> Retrieval:
    """The setting with the least cross-entropy on validation, every pool counting alike."""
    def entropy(r: Retrieval) -> float:
        p = blend(logits, rows, distances, delta, residual, r)
        cells = np.where(np.isfinite(correct), -np.log(np.where(correct == 1, p, 1 - p)), np.nan)
        means = np.nanmean(cells, axis=1)
        return float(np.mean([means[pools == pool].mean() for pool in np.unique(pools)]))
    return min(tqdm(GRID, desc="retrieval", leave=False), key=entropy)


def remember(logits: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Δ [queries] and r [queries, models], NaN where not recorded."""
    limit = np.log((1 - CLIP) / CLIP)
    logits = np.clip(logits, -limit, limit)
    known = np.isfinite(correct)
    delta = np.zeros(len(logits))
    for _ in range(30):  # Newton on a concave function: Σ (y − σ(l + Δ)) − Δ = 0
        p = sigmoid(logits + delta[:, None])
        slope = np.where(known, p * (1 - p), 0).sum(1) + 1
        delta += np.clip((np.where(known, correct - p, 0).sum(1) - delta) / slope, -1, 1)
    return delta, np.where(known, correct - sigmoid(logits + delta[:, None]), np.nan)


def neighbours(queries: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosine distances of the k nearest, nearest first."""
    rows, distances = [], []
    for at in range(0, len(queries), 512):
        similarity = queries[at:at + 512] @ index.T
        best = np.argpartition(-similarity, k, axis=1)[:, :k]
        order = np.take_along_axis(similarity, best, 1).argsort(1)[:, ::-1]
        best = np.take_along_axis(best, order, 1)
        rows.append(best)
        distances.append(1 - np.take_along_axis(similarity, best, 1))
    return np.concatenate(rows), np.concatenate(distances)


def blend(logits: np.ndarray, rows: np.ndarray, distances: np.ndarray, delta: np.ndarray, residual: np.ndarray,
          r: Retrieval) -> np.ndarray:
    """Qualities after retrieval. `rows` and `distances` may hold more than r.k neighbours, nearest first.

    A neighbour without outcomes (a chat prompt) teaches nothing: its Δ is 0 and its residuals are unknown.
    """
    rows, distances = rows[:, :r.k], distances[:, :r.k]
    weight = np.exp(-distances / r.temperature)
    shift = (weight * delta[rows]).sum(1) / (weight.sum(1) + r.shrink_query)
    near = residual[rows]
    known = weight[:, :, None] * np.isfinite(near)
    rho = (known * np.nan_to_num(near)).sum(1) / (known.sum(1) + r.shrink_model)
    return np.clip(sigmoid(logits + shift[:, None]) + rho, 0.001, 0.999)
