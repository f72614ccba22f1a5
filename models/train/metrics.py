"""What estimates are worth on recorded outcomes: AUC, calibration, and the gain over the hull of constant choices."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # USD per 1,000 queries


@dataclass
class Recorded:
    """Outcomes of one split, every cell filled: queries × models."""
    queries: np.ndarray   # query ids
    models: list[str]
    correct: np.ndarray
    cost: np.ndarray      # USD, as recorded
    price_in: np.ndarray  # USD per token
    price_out: np.ndarray


def recorded(folder: Path, pool: str, queries: pd.Series, known: list[str]) -> Recorded:
    """Outcomes of some queries and of the known models; `pool` is core or mmlu_pro."""
    outcomes = pd.read_parquet(folder / f"outcomes_{pool}.parquet")
    outcomes = outcomes[outcomes.query_id.isin(queries) & outcomes.model.isin(known)]
    catalog = json.loads((folder / "models.json").read_text())
    models = [m for m in catalog["core" if pool == "core" else "mmlu_pro_pool"] if m in set(outcomes.model)]
    correct = outcomes.pivot_table(index="query_id", columns="model", values="correct")[models].dropna()
    cost = outcomes.pivot_table(index="query_id", columns="model", values="cost_usd").loc[correct.index, models]
    price = {m["name"]: m for m in catalog["models"]}
    return Recorded(correct.index.to_numpy(), models, correct.to_numpy(float), cost.to_numpy(float),
                    np.array([price[m]["price_in_per_1m"] for m in models]) / 1e6,
                    np.array([price[m]["price_out_per_1m"] for m in models]) / 1e6)


def auc(correct: np.ndarray, estimate: np.ndarray) -> float:
    rank = pd.Series(estimate).rank().to_numpy()
    good, bad = correct.sum(), (1 - correct).sum()
    return np.nan if good == 0 or bad == 0 else (rank[correct == 1].sum() - good * (good + 1) / 2) / (good * bad)


def hull(points: np.ndarray) -> np.ndarray:
    """The upper left hull of (cost, accuracy): what tossing a coin between two constant choices reaches."""
    kept: list[np.ndarray] = []
    for p in points[np.lexsort((points[:, 1], points[:, 0]))]:
        if kept and p[1] <= kept[-1][1]:
            continue
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (p[0] - kept[-2][0]) <= (p[1] - kept[-2][1]) * (kept[-1][0] - kept[-2][0]):
            kept.pop()
        kept.append(p)
    return np.array(kept)


def judge(r: Recorded, quality: np.ndarray, cost: np.ndarray) -> dict[str, float]:
    """AUC, ECE and hull gain in points, as predictor-bench defines them."""
    rows = np.arange(len(quality))
    constant = hull(np.column_stack([r.cost.mean(0) * 1e3, r.correct.mean(0)]))
    best = r.correct.mean(0).argmax()
    ticks = [t for t in TICKS if constant[0, 0] <= t < r.cost[:, best].mean() * 1e3]
    reached = []
    for weight in np.concatenate([[0], np.geomspace(1e-4, 1e7, 300)]):
        choice = (quality - weight * cost).argmax(1)
        reached.append((r.cost[rows, choice].mean() * 1e3, r.correct[rows, choice].mean()))
    reached = np.array(reached)
    gains = [(reached[reached[:, 0] <= t, 1].max(initial=0) - np.interp(t, constant[:, 0], constant[:, 1])) * 100 for t in ticks]
    bins = np.clip((quality * 15).astype(int), 0, 14)
    ece = sum(abs((quality - r.correct)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)) * 100
    entropy = -np.mean(np.log(np.where(r.correct == 1, quality, 1 - quality)))
    return {"auc": float(np.nanmean([auc(c, q) for c, q in zip(r.correct.T, quality.T)])), "ece": float(ece),
            "entropy": float(entropy), "gain": float(np.mean(gains)), "gains": [round(float(g), 2) for g in gains]}
