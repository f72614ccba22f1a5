"""parameters.json and reference.json: everything that turns the graph's outputs into estimates with their uncertainty."""

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from data import Data
from fold import Folded
from retrieval import sigmoid
from text import COUNTS, token_counts

# The estimate of input tokens in tokens of o200k, and what other tokenizers make of one of these by a part of a model's id
# (the longest that fits), both as tokens.py measured them on 2026-11-20. Llama, DeepSeek and cl100k are within 2 % of o200k.
INPUT_TOKENS = {"word": 0.63, "letter": 0.094, "digit": 0.93, "mark": 1.02, "newline": 0.07, "cjk": 0.77, "other": 0.36}
# Claude's tokenizers since Claude 3 are not public and not measured: for the earlier one stands the mean of what the press
# reported in May 2025 of Claude 3.5 Sonnet against GPT-4o (English 1.16, mathematics 1.21, Python 1.30), for that of
# Opus 4.7, Sonnet 5, Haiku 5.5 and later 30 % more, as Anthropic's documentation of token counting says.
CLAUDE_3 = 1.22
CLAUDE_5 = round(1.3 * CLAUDE_3, 2)
TOKEN_FACTORS = {
    "claude": CLAUDE_5,
    **dict.fromkeys(("claude-3", "claude-4", "claude-haiku-4", "claude-sonnet-4", "claude-opus-4"), CLAUDE_3),
    **dict.fromkeys(("claude-opus-4-7", "claude-opus-4.7", "claude-opus-4-8", "claude-opus-4.8"), CLAUDE_5),
    **dict.fromkeys(("claude-2", "claude-v", "claude-instant"), 1.05),
    "gemini": 1.08, "gemma": 1.08, "command": 1.08, "mistral": 1.06, "qwen": 1.04,
}
REFERENCES = 512
Z90 = 1.645         # central 90 % of a normal distribution
WIDEST = 3.0        # no calibration is off by more, in logits
BIN = 40            # outcomes of a model that an observed rate is taken over
ENOUGH_COUNTS = 50  # raw token counts below which a model's lengths are as good as unrecorded


def entropy(logits: np.ndarray, correct: np.ndarray) -> float:
    """Mean cross-entropy over recorded cells, every query counting once."""
    known = np.isfinite(correct)
    cells = np.where(known, np.logaddexp(0, logits) - np.nan_to_num(correct) * logits, 0)
    return float((cells.sum(1) / known.sum(1)).mean())


def temperature(logits: np.ndarray, correct: np.ndarray) -> float:
    """The number to divide logits by so that they are calibrated."""
    return float(minimize_scalar(lambda t: entropy(logits / t, correct), bounds=(0.5, 2.0), method="bounded").x)


def calibrate(folded: Folded, t: float) -> None:
    """Fold a temperature into the abilities and the difficulty."""
    folded.abilities = folded.abilities / t
    folded.difficulty = folded.difficulty / t


def query_sd(logits: np.ndarray, correct: np.ndarray) -> float:
    """The standard deviation, in logits, of a query's own level around its estimate, by marginal likelihood.

    logit = a·(estimate + u), u ~ N(0, sd²), integrated by Gauss-Hermite; a > 1 undoes the flattening that a marginal
    estimate has over one that knows u.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()
    known, filled = np.isfinite(correct), np.nan_to_num(correct)

    def likelihood(sd: float) -> float:
        stretch = np.sqrt(1 + 0.346 * sd * sd)
        total = np.stack([np.where(known, filled * z - np.logaddexp(0, z), 0).sum(1)
                          for z in (stretch * logits + sd * u for u in nodes)])
        top = total.max(0)
        return -float((top + np.log((weights[:, None] * np.exp(total - top)).sum(0))).mean())

    return float(minimize_scalar(likelihood, bounds=(0.05, 6.0), method="bounded").x)


def calibration_sd(logits: np.ndarray, ability_sd: np.ndarray, correct: np.ndarray) -> float:
    """What is uncertain, in logits, about the rate of success among queries with like estimates, beside the abilities.

    Each model's outcomes are cut by their estimate into bins of BIN. Of the rates observed, nine tenths shall lie in the
    central 90 % of what is expected, binomial noise included; below that no sd is needed.
    """
    observed, expected, slope, own = [], [], [], []
    for m, y in enumerate(correct.T):
        known = np.flatnonzero(np.isfinite(y))
        order = known[logits[known, m].argsort(kind="stable")]
        for rows in np.split(order, np.arange(BIN, len(order) - BIN + 1, BIN)):
            if len(rows) >= BIN:
                p = sigmoid(logits[rows, m])
                observed.append(y[rows].mean()), expected.append(p.mean()), own.append((ability_sd[rows, m]).mean())
                slope.append([(p * (1 - p)).mean(), np.sqrt((p * (1 - p)).sum()) / len(rows)])
    miss, own, (steep, noise) = np.abs(np.subtract(observed, expected)), np.array(own), np.array(slope).T

    def inside(sd: float) -> float:
        return float(np.mean(miss <= Z90 * np.hypot(steep * np.hypot(sd, own), noise)))

    if inside(0) >= 0.9:
        return 0.0
    return float(brentq(lambda sd: inside(sd) - 0.9, 0, WIDEST)) if inside(WIDEST) > 0.9 else WIDEST


def ability_sd(folded: Folded, skills: np.ndarray, logits: np.ndarray, correct: np.ndarray,
               seed_logits: np.ndarray) -> np.ndarray:
    """[models, 1 + K]: from how much was recorded of a model (diagonal of the Laplace posterior's inverse) and from how
    much seeds disagree about it."""
    z = np.hstack([np.ones((len(skills), 1)), skills])
    prior = folded.abilities.var(0) + 1e-3
    known = np.isfinite(correct)
    p = sigmoid(logits)
    variance = np.empty_like(folded.abilities)
    for m in range(len(variance)):
        information = np.where(known[:, m], p[:, m] * (1 - p[:, m]), 0)
        variance[m] = np.diag(np.linalg.inv((z * information[:, None]).T @ z + np.diag(1 / prior)))
    projected = np.stack([np.linalg.lstsq(z, l - l.mean(1, keepdims=True), rcond=None)[0].T for l in seed_logits])
    return np.sqrt(variance + projected.var(0) / len(seed_logits))


def rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) + 0.0 for v in values]  # no negative zeros


def prior(values: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation over the recorded models."""
    return {"mean": rounded(values.mean(0)), "sd": rounded(values.std(0))}


def abilities(data: Data, folded: Folded, sd: np.ndarray, residual_sd: np.ndarray, train: np.ndarray) -> dict:
    """One entry per recorded model."""
    entries = {}
    for m, name in enumerate(data.models):
        counted = int(np.isfinite(data.tokens[train, m]).sum())
        entries[name] = {
            "ability": {"mean": rounded(folded.abilities[m]), "sd": rounded(sd[m]), "source": "recorded",
                        "outcomes": int(np.isfinite(data.correct[train, m]).sum())},
            "length": {"mean": rounded(folded.length_abilities[m]), "residual_sd": round(float(residual_sd[m]), 4),
                       "source": "recorded" if counted >= ENOUGH_COUNTS else "prior"},
        }
    return entries


def references(data: Data, rows: np.ndarray, chat: np.ndarray, skills: np.ndarray, difficulty: np.ndarray, lengths: np.ndarray,
               token_weights: dict[str, float]) -> dict:
    """A sample that stands for traffic: half training queries, every source in proportion, half chat prompts, because people
    ask for more than exam answers; each group spread evenly over its difficulty."""

    def spread(group: np.ndarray, count: int) -> list[int]:
        order = group[difficulty[group].argsort(kind="stable")]
        return order[np.linspace(0, len(order) - 1, count).round().astype(int)].tolist()

    chosen = spread(chat, REFERENCES // 2)
    for _, group in data.queries.iloc[rows].groupby("source", sort=True):
        chosen += spread(rows[np.isin(rows, group.index)], max(1, round(REFERENCES / 2 * len(group) / len(rows))))
    weights = np.array([token_weights[name] for name in COUNTS])
    return {"format": 1, "queries": [
        {"skills": rounded(skills[i]), "difficulty": round(float(difficulty[i]), 4), "length": rounded(lengths[i]),
         "input_tokens": max(1, round(float(token_counts(data.queries.text[i]) @ weights)))} for i in chosen]}
