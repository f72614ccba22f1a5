"""Fold the trained networks and the group units into one small model, in a form with a meaning.

The average of the seeds' logits is again of the item-response form, with the hidden units of all seeds side by side.
What models differ in is spanned by the group units and by the few strongest directions that the networks add to them;
abilities over those are refitted on out-of-fold values (see logistic.py). Then the skills are rotated to the principal
directions of what tells models apart over the training queries: they come in order of importance, uncorrelated, with
mean 0 and variance 1, so that an ability's entries are log-odds per standard deviation and a diagonal prior over
abilities makes sense. What all models share goes into the difficulty.
"""

from dataclasses import dataclass, replace

import numpy as np

import logistic
from model import SQUASH
from text import FEATURES

EXTRA_SKILLS = 4  # directions taken from the networks beside the groups

# What retrieval compares, by Euclidean distance: the first principal directions and all features, at these weights.
# Nothing that was learnt from outcomes is among them, so that a kind of query that was never seen is as far away as it looks.
PRINCIPAL, FEATURE_WEIGHT = 16, 1.5


@dataclass(frozen=True)
class Columns:
    """What the inputs are, in this order: the mean token vector, the features, the lexical scores, the directions of the
    encoder's vector. The first and the last may be absent."""
    pooled: int
    scores: int
    encoded: int

    @property
    def count(self) -> int:
        return self.pooled + len(FEATURES) + self.scores + self.encoded

    @property
    def features(self) -> slice:
        return slice(self.pooled, self.pooled + len(FEATURES))

    @property
    def compared(self) -> slice:
        """The directions by which retrieval compares: the encoder's where there is one."""
        start = self.pooled + len(FEATURES) + self.scores if self.encoded else 0
        return slice(start, start + PRINCIPAL)


@dataclass
class Folded:
    """Everything that predictor.onnx holds except the token table, and the abilities that go with it."""
    mean: np.ndarray              # [inputs], see Columns
    inverse_sd: np.ndarray        # [inputs]
    W: np.ndarray                 # [1 + inputs, hidden] float16, as stored; first row the intercept
    groups: np.ndarray            # [1 + inputs, groups]
    skills: np.ndarray            # [1 + hidden + groups, K]; likewise below
    difficulty: np.ndarray        # [1 + hidden + groups, 1]
    lengths: np.ndarray           # [1 + hidden + groups, L]
    embedding: np.ndarray         # [inputs, D], with results from -1 to 1
    abilities: np.ndarray         # [models, 1 + K]
    length_abilities: np.ndarray  # [models, 1 + L]

    def standard(self, inputs: np.ndarray) -> np.ndarray:
        x = (inputs - self.mean) * self.inverse_sd
        return (SQUASH * np.tanh(x / SQUASH)).astype(np.float32)

    def units(self, inputs: np.ndarray) -> np.ndarray:
        """[queries, 1 + hidden + groups]. A group's unit is tanh(z/2), its probability stretched to −1…1."""
        x = self.standard(inputs)
        W = self.W.astype(np.float32)
        return np.hstack([np.ones((len(x), 1), np.float32), np.maximum(x @ W[1:] + W[0], 0), group_units(x, self.groups)])

    def outputs(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """skills, difficulty, length, embedding of each query, as the ONNX graph computes them."""
        h = self.units(inputs)
        skills = h @ self.skills
        return skills, (h @ self.difficulty)[:, 0], h @ self.lengths, self.standard(inputs) @ self.embedding

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        skills, difficulty, _, _ = self.outputs(inputs)
        return self.abilities[:, 0] + skills @ self.abilities[:, 1:].T - difficulty[:, None]

    def log_tokens(self, inputs: np.ndarray) -> np.ndarray:
        lengths = self.outputs(inputs)[2]
        return self.length_abilities[:, 0] + lengths @ self.length_abilities[:, 1:].T


@dataclass
class HeldOut:
    """What models that had not seen them say of the training queries."""
    logits: np.ndarray  # [queries, models], calibrated
    groups: np.ndarray  # [queries, groups] units


def group_units(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.tanh((x @ weights[1:] + weights[0]) / 2).astype(np.float32)


def embedding_of(columns: Columns) -> np.ndarray:
    """[inputs, D] from the squashed inputs to what retrieval compares."""
    embedding = np.zeros((columns.count, PRINCIPAL + len(FEATURES)))
    embedding[columns.compared, :PRINCIPAL] = np.eye(PRINCIPAL)
    embedding[columns.features, PRINCIPAL:] = FEATURE_WEIGHT * np.eye(len(FEATURES))
    return embedding / (SQUASH * FEATURE_WEIGHT)


def fold(params: dict, groups: np.ndarray, inputs: np.ndarray, columns: Columns, mean: np.ndarray, inverse_sd: np.ndarray,
         held_out: HeldOut, correct: np.ndarray, skills: int, lengths: int) -> tuple[Folded, np.ndarray]:
    """The folded model, and the training queries' out-of-fold logits under its abilities.

    `params` are stacked over seeds; `inputs` and `correct` are those of the training queries.
    """
    seeds, count = len(params["W"]), groups.shape[1]
    W = np.vstack([np.concatenate(params["c"]), np.concatenate(params["W"], axis=1)]).astype(np.float16)
    none = np.zeros((1 + W.shape[1] + count, 1))
    folded = Folded(mean, inverse_sd, W, groups, none, none, none, embedding_of(columns), none, none)
    h = folded.units(inputs)
    hidden, unit = h[:, :-count], h[:, -count:]

    def average(key: str, other: str) -> np.ndarray:
        return np.concatenate([a @ b.T for a, b in zip(params[key], params[other])]) / seeds

    # What every unit adds to each model's logit; the mean over models is the query's level.
    shared = np.concatenate(params["difficulty"])[:, None] / seeds
    own = average("skills", "w")
    to_level = own.mean(1, keepdims=True) - shared
    own = own - own.mean(1, keepdims=True)
    base = params["b"].mean(0)

    # Directions: the groups, and the strongest of what the networks say beyond a linear function of the groups.
    middle = unit.mean(0)
    one = np.ones((len(h), 1))
    explained = np.linalg.lstsq(np.hstack([one, unit]), hidden[:, 1:] @ own, rcond=None)[0]
    rest = np.vstack([-explained[:1], own, -explained[1:]])  # rows: intercept, hidden units, group units
    _, _, right = np.linalg.svd(h @ rest, full_matrices=False)
    loadings = right[:EXTRA_SKILLS].T
    beyond = rest @ loadings / (h @ rest @ loadings).std(0)
    directions = np.hstack([np.vstack([-middle, np.zeros((W.shape[1], count)), np.eye(count)]), beyond])

    # The same directions of held-out queries, and the abilities refitted on them.
    level = held_out.logits.mean(1)
    relative = held_out.logits - level[:, None]
    relative = relative - relative.mean(0)
    outside = (relative - np.hstack([one, held_out.groups]) @ explained) @ loadings / (h @ rest @ loadings).std(0)
    z = np.hstack([held_out.groups - middle, outside - outside.mean(0)])
    fitted = logistic.abilities(z, level, correct)
    refitted = np.hstack([one, z]) @ fitted.T + level[:, None]

    # Into the canonical form.
    common = fitted[:, 1:].mean(0)
    turned, loadings = rotate(h, directions @ (fitted[:, 1:] - common).T, skills)
    to_level = np.vstack([[[base.mean()]], to_level, np.zeros((count, 1))]) + directions @ common[:, None]
    centre = (h @ to_level).mean()
    to_level[0] -= centre
    verbosity = average("lengths", "lv")
    amounts, verbose = rotate(h, np.vstack([-(hidden[:, 1:] @ verbosity).mean(0), verbosity, np.zeros((count, verbosity.shape[1]))]), lengths)
    return replace(
        folded, skills=turned, difficulty=-to_level, lengths=amounts,
        abilities=np.hstack([fitted[:, :1] + centre, loadings]),
        length_abilities=np.hstack([(params["lc"].mean(0) + (hidden[:, 1:] @ verbosity).mean(0))[:, None], verbose])), refitted


def rotate(h: np.ndarray, per_model: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best approximation of h·per_model of that rank: directions whose scores over h have unit variance and mean
    zero, and loadings [models, rank]. Each direction's sign makes its loadings positive on balance."""
    values = h @ per_model
    _, _, right = np.linalg.svd(values - values.mean(0), full_matrices=False)
    loadings = right[:rank].T
    directions = per_model @ loadings
    score = h @ directions
    sd = score.std(0) * np.where(loadings.sum(0) < 0, -1, 1)
    directions[0] -= score.mean(0)
    return directions / sd, loadings * sd
