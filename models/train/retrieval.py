"""The blend of the model's estimate with what similar training queries taught, as the Rust core computes it.

A training query n remembers how far its recorded models, taken together, did better or worse than estimated (Δ_n, in
logits) and what is left per model (r_nm). Both are taken against out-of-fold estimates: against fitted ones there
would be nothing left to learn from.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from tqdm import tqdm

CLIP = 0.02
STEPS = 127


@dataclass(frozen=True)
class Retrieval:
    k: int
    temperature: float
    shrink_query: float
    shrink_model: float


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Every setting that is tried.
GRID = [Retrieval(16, t, q, m) for t in (0.1, 0.3, 1.0) for q in (4.0, 16.0, 64.0, 256.0) for m in (64.0, 256.0, 1e6)]


def choose(logits: np.ndarray, correct: np.ndarray, pools: np.ndarray, rows: np.ndarray, distances: np.ndarray,
           delta: np.ndarray, residual: np.ndarray) -> Retrieval:
    """The setting with the least cross-entropy on these queries, every pool counting alike."""
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
    """Rows and Euclidean distances of the k nearest, nearest first, of vectors rounded as the index stores them."""
    queries, index = (np.round(np.clip(v, -1, 1) * STEPS).astype(np.float32) / STEPS for v in (queries, index))
    square = (index ** 2).sum(1)
    rows, distances = [], []
    for at in range(0, len(queries), 512):
        part = queries[at:at + 512]
        squares = np.maximum((part ** 2).sum(1)[:, None] + square - 2 * part @ index.T, 0)
        best = np.argpartition(squares, k, axis=1)[:, :k]
        order = np.take_along_axis(squares, best, 1).argsort(1)
        best = np.take_along_axis(best, order, 1)
        rows.append(best)
        distances.append(np.sqrt(np.take_along_axis(squares, best, 1)))
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


def limit(distances: np.ndarray, near: np.ndarray, plain: np.ndarray, plain_indexed: np.ndarray, validation: np.ndarray,
          k: int, reach: float, flagged: float) -> float:
    """How far its neighbours may be on average before a query counts as unlike anything known: `flagged` of the validation
    queries are.

    `plain` are the queries without outcomes, in the order in which they are in the index. They lie as far apart as they happen
    to, so that each has a limit of its own: `reach` times the mean distance of its neighbours.
    """
    own = np.zeros(len(plain_indexed))
    own[plain_indexed] = reach * distances[plain, 1:k + 1].mean(1)

    def share(far: float) -> float:
        limits = np.where(plain_indexed[near[validation, :k]], own[near[validation, :k]], far).mean(1)
        return float((distances[validation, :k].mean(1) > limits).mean()) - flagged

    return float(brentq(share, 1e-3, 10))
