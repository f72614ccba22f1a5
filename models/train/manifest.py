"""models/manifest.json: which files make up the model, by hash, and where they come from.

    python models/train/manifest.py

Run it again after the index or the catalog has been rebuilt: it lists whatever is there. What only the training
knows (data, seeds, figures) is kept from the manifest that the training wrote.
"""

import argparse
import hashlib
import json
from pathlib import Path

VERSION = "2026.11.20"
FILES = {"predictor": "predictor.onnx", "vocab": "vocab.txt", "parameters": "parameters.json",
         "reference": "reference.json", "index": "index.bin", "catalog": "catalog.json"}
LICENCES = {
    "queries_core.jsonl.gz": "GSM8K, CRUXEval and MATH: MIT; MMLU-Redux 2.0 (Edinburgh): CC-BY-4.0, MMLU: MIT",
    "queries_mmlu_pro.jsonl.gz": "MMLU-Pro: MIT",
    "outcomes_core.parquet": "WildEval/ZeroEval: Apache-2.0",
    "outcomes_wide.parquet": "WildEval/ZeroEval: Apache-2.0",
    "outcomes_mmlu_pro.parquet": "TIGER-AI-Lab/MMLU-Pro: Apache-2.0",
}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def training(data: Path, command: str, seed: int) -> dict:
    listed = [{"file": name, "sha256": digest(data / name), "licence": licence} for name, licence in LICENCES.items()]
    return {"command": command, "seeds": [seed, seed + 1, seed + 2], "data": listed}


def write(models: Path, training: dict | None = None, figures: dict | None = None, version: str = VERSION) -> None:
    path = models / "manifest.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    present = {key: models / name for key, name in FILES.items() if (models / name).exists()}
    path.write_text(json.dumps({
        "format": 1, "version": version,
        "files": {key: {"path": file.name, "sha256": digest(file), "bytes": file.stat().st_size} for key, file in present.items()},
        "training": training or before.get("training", {}),
        "retrieval": before.get("retrieval", {"backend": "exact"}),
        "figures": figures or before.get("figures", {}),
    }, indent=1) + "\n")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--models", type=Path, default=Path(__file__).resolve().parents[1])
    write(arguments.parse_args().models)
