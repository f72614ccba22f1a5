"""The item-response model over a static embedding of the query.

    x          = squashed, standardised [mean of token vectors, surface features, lexical scores]
    h          = relu(x·W + c)
    logit(q,m) = b_m + Σ_k w_mk·skills_k(q) − difficulty(q)
    log tokens = c_m + Σ_l v_ml·length_l(q)

skills, difficulty and length are linear in h. Everything is trained at once, on every recorded cell of the outcome
matrix and on nothing else (plus the weak labels of chat prompts), by AdamW. Several seeds are trained side
by side and averaged in logits, which is again a model of this form with all their hidden units side by side.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

SQUASH = 3.0  # inputs beyond three standard deviations saturate, so that odd texts cannot throw the estimate far off


@dataclass(frozen=True)
class Settings:
    hidden: int = 128
    skills: int = 4
    lengths: int = 3
    input_dropout: float = 0.1
    dropout: float = 0.4
    epochs: int = 30
    batch: int = 256
    rate: float = 2e-3
    decay: float = 1e-2
    length_weight: float = 0.3
    estimated_weight: float = 0.05  # of a token count that is itself only an estimate
    weak_weight: float = 0.5        # of a weakly labelled chat prompt's level
    weak_length_weight: float = 0.6
    consistency: float = 0.3        # of a noisy copy's logits being others than the original's


@dataclass
class Targets:
    """What to fit, one row per query; NaN where nothing is known."""
    correct: np.ndarray    # [n, models]
    tokens: np.ndarray     # [n, models] log tokens
    estimated: np.ndarray  # [n, models] log tokens, of estimated counts
    weight: np.ndarray     # [n]
    level: np.ndarray      # [n] weak label: accuracy expected of a middling model, or NaN
    amount: np.ndarray     # [n] weak label: log tokens expected of a middling model, or NaN


def squash(x: jax.Array) -> jax.Array:
    return SQUASH * jnp.tanh(x / SQUASH)


def start(key: jax.Array, inputs: int, models: int, settings: Settings, base: np.ndarray, length: np.ndarray) -> dict:
    a, b, c, d, e = jax.random.split(key, 5)
    hidden, k, l = settings.hidden, settings.skills, settings.lengths
    normal = jax.random.normal
    return {
        "W": normal(a, (inputs, hidden)) * (2 / inputs) ** 0.5, "c": jnp.zeros(hidden),
        "skills": normal(b, (hidden, k)) * hidden ** -0.5,
        "difficulty": jnp.zeros(hidden),
        "lengths": normal(c, (hidden, l)) * hidden ** -0.5,
        "b": jnp.asarray(base), "w": normal(d, (models, k)) * 0.3,
        "lc": jnp.asarray(length), "lv": normal(e, (models, l)) * 0.3 + 0.5,
    }


def apply(p: dict, x: jax.Array, settings: Settings, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Logits of success and log tokens, [rows, models] each; with dropout when a key is given."""
    x = squash(x)
    if key is not None:
        one, two = jax.random.split(key)
        x = x * jax.random.bernoulli(one, 1 - settings.input_dropout, x.shape) / (1 - settings.input_dropout)
    h = jax.nn.relu(x @ p["W"] + p["c"])
    if key is not None:
        h = h * jax.random.bernoulli(two, 1 - settings.dropout, h.shape) / (1 - settings.dropout)
    logit = p["b"] + h @ p["skills"] @ p["w"].T - (h @ p["difficulty"])[:, None]
    return logit, p["lc"] + h @ p["lengths"] @ p["lv"].T


def masked(values: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(target), 0.0, values)


def loss(p: dict, x: jax.Array, paired: jax.Array, t: tuple, settings: Settings, key: jax.Array) -> jax.Array:
    correct, tokens, estimated, weight, level, amount = t
    logit, length = apply(p, x, settings, key)
    cells = 20.0  # a usual row of the outcome matrix has about 20 recorded cells

    def entropy(target: jax.Array, logit: jax.Array) -> jax.Array:
        return masked(optax.sigmoid_binary_cross_entropy(logit, jnp.nan_to_num(target)), target)

    def square(target: jax.Array, value: jax.Array) -> jax.Array:
        return masked(optax.huber_loss(value, jnp.nan_to_num(target)), target)

    rows = entropy(correct, logit).sum(1) / cells
    rows += settings.length_weight * (square(tokens, length) + settings.estimated_weight * square(estimated, length)).sum(1) / cells
    middling = logit - p["b"] + p["b"].mean()
    # In logits: cross-entropy hardly tells 0.95 from 0.98, but what a better model is worth differs by half.
    wanted = jnp.log(level / (1 - level))
    rows += settings.weak_weight * square(wanted[:, None], middling).mean(1)
    rows += settings.weak_length_weight * square(amount[:, None], length).mean(1)
    # The same units are dropped for both, so that what differs is the noise.
    other = apply(p, paired, settings, key)[0]
    rows += settings.consistency * jnp.square(logit - other).mean(1)
    return (rows * weight).mean()


@partial(jax.jit, static_argnums=(4, 5))
def epoch(state: tuple, x: jax.Array, pairs: jax.Array, t: tuple, settings: Settings, optimizer: optax.GradientTransformation,
          rows: jax.Array, key: jax.Array) -> tuple:
    """One pass over the rows [seeds, n] of each seed."""

    def one(state: tuple, rows: jax.Array, key: jax.Array) -> tuple:
        shuffle, key = jax.random.split(key)
        steps = len(rows) // settings.batch
        order = jax.random.permutation(shuffle, rows)[: steps * settings.batch].reshape(steps, settings.batch)

        def step(state: tuple, at: tuple) -> tuple:
            p, inner = state
            batch, key = at
            gradient = jax.grad(loss)(p, x[batch], x[pairs[batch]], tuple(v[batch] for v in t), settings, key)
            change, inner = optimizer.update(gradient, inner, p)
            return (optax.apply_updates(p, change), inner), None

        return jax.lax.scan(step, state, (order, jax.random.split(key, steps)))[0]

    return jax.vmap(one)(state, rows, jax.random.split(key, len(rows)))


def fit(x: np.ndarray, pairs: np.ndarray, targets: Targets, rows: list[np.ndarray], settings: Settings, seed: int,
        label: str) -> dict:
    """Train one model per entry of `rows` (the rows it may see); `pairs` is the row of each row's noisy copy, or of its original,
    or its own.
    Returns their parameters, stacked."""
    shortest = min(map(len, rows))
    chosen = jnp.asarray(np.stack([np.random.default_rng(seed).permutation(r)[:shortest] for r in rows]))
    seen = np.unique(np.concatenate(rows))
    counted = np.isfinite(targets.correct[seen]).sum(0)
    mean = (np.nansum(targets.correct[seen], 0) + 1) / (counted + 2)
    length = np.nanmean(np.where(np.isnan(targets.tokens[seen]), targets.estimated[seen], targets.tokens[seen]), 0)
    key = jax.random.key(seed)
    params = jax.vmap(lambda k: start(k, x.shape[1], len(mean), settings, np.log(mean / (1 - mean)), length))(
        jax.random.split(key, len(rows)))
    steps = settings.epochs * (shortest // settings.batch)
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.rate, steps // 10, steps)
    optimizer = optax.adamw(schedule, weight_decay=settings.decay,
                            mask={name: name not in ("b", "lc", "c") for name in params})
    state = (params, jax.vmap(optimizer.init)(params))
    data = tuple(jnp.asarray(v, jnp.float32) for v in
                 (targets.correct, targets.tokens, targets.estimated, targets.weight, targets.level, targets.amount))
    inputs = jnp.asarray(x, jnp.float32)
    for i in tqdm(range(settings.epochs), desc=label, leave=False):
        state = epoch(state, inputs, jnp.asarray(pairs), data, settings, optimizer, chosen, jax.random.fold_in(key, i))
    return jax.tree.map(np.asarray, state[0])


def predict(params: dict, x: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Logits and log tokens of every stacked model: [models trained, rows, columns] each."""
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda p: apply(p, jnp.asarray(x, jnp.float32), settings)))(params))
