"""Vectors of texts by the encoder that `encoder.py` wrote. Each is computed once and kept beside the other intermediate files."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
from tqdm import tqdm

import encoder

BATCH = 256  # texts that are computed before they are kept


def manifest(folder: Path) -> dict:
    path = folder / "manifest.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run models/train/encoder.py first")
    return json.loads(path.read_text())


def embed(texts: list[str], folder: Path, cache: Path) -> np.ndarray:
    """[texts, dimensions] float32 of unit length, by the encoder in `folder`."""
    described = manifest(folder)
    path = cache / f"embeddings.{described['files']['onnx']['sha256'][:16]}.bin"
    record = np.dtype([("key", "V32"), ("vector", "<f4", described["encoder"]["dimensions"])])
    kept = np.fromfile(path, record) if path.exists() else np.empty(0, record)
    if len(kept) * record.itemsize < (path.stat().st_size if path.exists() else 0):
        os.truncate(path, len(kept) * record.itemsize)  # a run that was ended while it wrote
    known = {key.tobytes(): row for row, key in enumerate(kept["key"])}
    keys = [hashlib.sha256(text.encode()).digest() for text in texts]
    missing = list({key: text for key, text in zip(keys, texts) if key not in known}.items())
    if missing:
        session = encoder.Session(onnx.load(folder / described["files"]["onnx"]["path"]))
        for at in tqdm(range(0, len(missing), BATCH), desc="texts through the encoder", leave=False):
            part = missing[at:at + BATCH]
            made = np.empty(len(part), record)
            made["key"] = [np.void(key) for key, _ in part]
            made["vector"] = session.embed(encoder.tokenize(encoder.CACHE, [text for _, text in part]))
            with path.open("ab") as file:
                file.write(made.tobytes())
        kept = np.fromfile(path, record)
        known = {key.tobytes(): row for row, key in enumerate(kept["key"])}
    return kept["vector"][[known[key] for key in keys]]


def listed(vector: np.ndarray) -> list[float]:
    """A vector as it goes into the field `embedding` of a file of queries."""
    return [round(float(value), 6) for value in vector]
