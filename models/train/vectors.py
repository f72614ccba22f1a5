"""A static vector per token: each token alone through all-MiniLM-L6-v2, then the principal directions of those vectors."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from weights import HEADS, WHEEL_SHA256, tensors, vocabulary


def token_vectors(cache: Path, batch: int = 1024) -> np.ndarray:
    """One vector of 384 numbers per token of the vocabulary: the mean of MiniLM's outputs over [CLS] token [SEP]."""
    path = cache / f"token_vectors.{WHEEL_SHA256[:16]}.npy"
    if path.exists():
        return np.load(path)
    weights, layers = tensors(cache)
    weights = {name: jnp.asarray(value) for name, value in weights.items()}
    tokens = vocabulary(cache)
    cls, sep = tokens.index("[CLS]"), tokens.index("[SEP]")

    forward = jax.jit(lambda ids: bert(weights, layers, ids).mean(axis=1))
    ids = np.array([[cls, i, sep] for i in range(len(tokens))])
    ids = np.concatenate([ids, ids[: -len(ids) % batch]])  # whole batches, so that one shape is compiled
    vectors = [forward(ids[i:i + batch]) for i in tqdm(range(0, len(ids), batch), desc="tokens through MiniLM")]
    result = np.concatenate(vectors)[: len(tokens)]
    np.save(path, result)
    return result


def bert(weights: dict[str, jax.Array], layers: int, ids: jax.Array) -> jax.Array:
    """Hidden states of the last layer. No mask: every row is full."""

    def linear(name: str, x: jax.Array) -> jax.Array:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(name: str, x: jax.Array) -> jax.Array:
        x = x - x.mean(-1, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * weights[name + ".weight"] + weights[name + ".bias"]

    rows, length = ids.shape
    x = (weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:length]
         + weights["embeddings.token_type_embeddings.weight"][0])
    x = norm("embeddings.LayerNorm", x)
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(f"{at}attention.self.{part}", x).reshape(rows, length, HEADS, -1) for part in ("query", "key", "value"))
        attention = jax.nn.softmax(jnp.einsum("blhd,bmhd->bhlm", q, k) / jnp.sqrt(q.shape[-1]))
        context = jnp.einsum("bhlm,bmhd->blhd", attention, v).reshape(x.shape)
        x = norm(at + "attention.output.LayerNorm", x + linear(at + "attention.output.dense", context))
        inner = jax.nn.gelu(linear(at + "intermediate.dense", x), approximate=False)
        x = norm(at + "output.LayerNorm", x + linear(at + "output.dense", inner))
    return x


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The vectors on their first principal directions (centred)."""
    return (vectors - vectors.mean(0)) @ directions(vectors, dimensions).T


def directions(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The first principal directions [dimensions, size of a vector]; signs fixed so that the result is reproducible."""
    _, _, found = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    found = found[:dimensions]
    return found * np.sign(found[np.arange(len(found)), np.abs(found).argmax(1)])[:, None]


def quantize(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An int8 table and one scale per dimension. Seven of the eight bits: the mean over a query's tokens does not tell the
    difference, and the compressed table is a seventh smaller."""
    scale = np.maximum(np.abs(table).max(0), 1e-12) / 63
    return np.round(table / scale).astype(np.int8), scale.astype(np.float32)
