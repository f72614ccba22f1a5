"""Ridge logistic regression by Newton's method, for the two small fits around the network.

`groups`: units that say which source and subject a query looks like. The network alone learns this badly, because
dropout blurs it, and what models differ in depends on it more than on anything else.
`abilities`: the models' abilities, refitted on out-of-fold skills. Abilities fitted together with the skills take noise
for signal and promise differences between models that are not there; on skills of queries that the network had not
seen, every direction is shrunk to what it is worth.
"""

import numpy as np
from tqdm import tqdm

from data import Data
from retrieval import sigmoid

# MMLU-Redux's subjects in MMLU-Pro's terms, so that one unit serves both.
SUBJECTS = {
    "anatomy": "health", "astronomy": "physics", "business_ethics": "business", "clinical_knowledge": "health",
    "college_chemistry": "chemistry", "college_computer_science": "computer science", "college_mathematics": "math",
    "college_medicine": "health", "college_physics": "physics", "conceptual_physics": "physics", "econometrics": "economics",
    "electrical_engineering": "engineering", "formal_logic": "philosophy", "global_facts": "other",
    "high_school_chemistry": "chemistry", "high_school_geography": "other", "high_school_macroeconomics": "economics",
    "high_school_mathematics": "math", "high_school_physics": "physics", "high_school_statistics": "math",
    "high_school_us_history": "history", "human_aging": "health", "logical_fallacies": "philosophy",
    "machine_learning": "computer science", "miscellaneous": "other", "professional_accounting": "business",
    "professional_law": "law", "public_relations": "other", "virology": "health",
}
STEPS, ROUNDS = 6, 12
GROUP_RIDGE = 2.0


def newton(z: np.ndarray, y: np.ndarray, ridge: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """Weights of y ~ σ(offset + z·w) with the penalty ½ Σ ridge·w²."""
    w = np.zeros(z.shape[1])
    for _ in range(STEPS):
        p = sigmoid(z @ w + offset)
        slope = (z * (p * (1 - p))[:, None]).T @ z + np.diag(ridge)
        w += np.clip(np.linalg.solve(slope, z.T @ (y - p) - ridge * w), -3, 3)
    return w


def labels(data: Data) -> np.ndarray:
    """[queries, groups] 0 or 1: the five sources, then the subjects. A chat prompt belongs to none."""
    source = data.queries.source.to_numpy()
    subject = np.array([SUBJECTS.get(d, d) for d in data.queries.domain])
    names = sorted(set(source) - {"chat"}), sorted(set(subject[source == "mmlu-pro"]))
    return np.stack([source == s for s in names[0]] + [subject == s for s in names[1]], 1).astype(float)


def groups(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[1 + inputs, groups]: the weights of one logistic unit per group, intercepts first."""
    z = np.hstack([np.ones((len(x), 1)), x])
    ridge = np.r_[1e-3, np.full(x.shape[1], GROUP_RIDGE)]
    return np.stack([newton(z, y, ridge) for y in labels.T], 1)


def abilities(z: np.ndarray, level: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """[models, 1 + directions] of logit = b + z·w + level, where `level` is the query's own (minus its difficulty).

    Empirical Bayes: in each direction models differ from their common mean by a normal amount, whose variance is
    estimated from all of them; a direction in which they hardly differ is thus shrunk to what they share.
    """
    z = np.hstack([np.ones((len(z), 1)), z])
    common, spread = np.zeros(z.shape[1]), np.ones(z.shape[1])
    fitted = np.zeros((correct.shape[1], z.shape[1]))
    for _ in tqdm(range(ROUNDS), desc="abilities", leave=False):
        uncertain = np.empty_like(fitted)
        for m, y in enumerate(correct.T):
            known = np.isfinite(y)
            offset = level[known] + z[known] @ common
            w = newton(z[known], y[known], 1 / spread, offset)
            p = sigmoid(z[known] @ w + offset)
            information = (z[known] * (p * (1 - p))[:, None]).T @ z[known]
            uncertain[m] = np.diag(np.linalg.inv(information + np.diag(1 / spread)))
            fitted[m] = common + w
        common = fitted.mean(0)
        spread = np.maximum(((fitted - common) ** 2 + uncertain).mean(0), 1e-4)  # one step of EM
        common[0], spread[0] = 0.0, 10.0  # a model's overall level is left free
    return fitted
