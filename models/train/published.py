"""What turns published scores and prices into abilities, as the constants in parameters.json that src/learn/scores.rs reads;
the same arithmetic in Python, for the fixture that the Rust code is held against; and how far off it is on recorded models.
"""

import gzip
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import data as recorded

ROUNDS = 30
# Made up, to cover: many scores that agree, one odd one, guessing, the ends of the scale, Elo, one score alone.
SCORES = [
    {"aa_gpqa_diamond": 71.0, "aa_mmlu_pro": 80.5, "aa_index_v4_3": 33.0, "lmarena_text_elo": 1412.0,
     "aa_livecodebench": 60.0},
    {"aa_gpqa_diamond": 70.0, "aa_mmlu_pro": 81.0, "aa_index_v4_3": 2.0},
    {"aa_gpqa_diamond": 12.0, "aa_mmlu_pro": 100.0},
    {"lmarena_text_elo": 1100.0},
    {"aa_index_v4_1": 99.0},
]
PRICES = [(0.05, 0.4, "2025-03-15"), (15.0, 75.0, None)]


def digits(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def posterior(scores: dict[str, list[float]], odds: dict[str, float]) -> tuple[float, float]:
    """g and its sd from the log odds of one model; a score is [guess, at, slope, noise]."""
    _, at, slope, noise = np.array([scores[c] for c in odds]).T
    x, weight = np.array(list(odds.values())), np.ones(len(odds))
    for _ in range(ROUNDS):
        variance = 1 / (1 + (weight * (slope / noise) ** 2).sum())
        g = variance * (weight * slope * (x - at) / noise**2).sum()
        weight = 5 / (4 + ((x - at - slope * g) ** 2 + slope**2 * variance) / noise**2)
    return float(g), float(np.sqrt(variance))


def ability(published: dict, g: float, sd: float) -> tuple[np.ndarray, np.ndarray]:
    center, low, high = published["known"]
    (mean, off), (slope, slope_sd) = ((np.array(published[k]["mean"]), np.array(published[k]["sd"])) for k in ("at", "slope"))
    edge = np.clip(g, low, high)
    steps = np.full(len(slope), edge - center)
    steps[0] += (g - edge) * (published["saturation"] if g > edge else 1.0)
    variance = off**2 + (slope_sd * steps) ** 2 + (slope * sd) ** 2
    variance[0] += (published["extrapolation"] * (g - edge)) ** 2
    return mean + slope * steps, np.sqrt(variance)


def g_by_price(price: list[float], input_usd: float, output_usd: float, released: str | None) -> float:
    at, tenfold, per_year, undated, sd = price
    year = undated if released is None else int(released[:4]) + (int(released[5:7]) - 0.5) / 12
    return at + tenfold * np.log10(0.75 * input_usd + 0.25 * output_usd) + per_year * (year - 2026) - sd


def write_fixture(path: Path, published: dict, log_odds) -> None:
    def case(given: dict, g: float, sd: float) -> dict:
        mean, spread = ability(published, g, sd)
        return given | {"g": g, "sd": sd, "ability": {"mean": mean.tolist(), "sd": spread.tolist()}}

    scored = [case({"scores": s}, *posterior(published["scores"], {c: log_odds(c, v) for c, v in s.items()})) for s in SCORES]
    priced = [case({"input": i, "output": o, "released": r}, g_by_price(published["price"], i, o, r), published["price"][-1])
              for i, o, r in PRICES]
    path.write_text(json.dumps({"published": published, "scored": scored, "priced": priced}, separators=(",", ":")) + "\n")


def report_recorded(data: Path, command: Path, artifacts: Path, left_out: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Mean accuracy that abilities from scores promise on the recorded training queries, against what was recorded.

    `left_out`: name in the outcomes -> ability and its sd by a map that was fitted without the model. The trained
    predictor alone is asked, under a name that nothing was recorded of. (It has seen the model's answers all the same, in the
    skills and difficulty of these queries; of the model itself it is told nothing.)
    """
    length = json.loads((artifacts / "parameters.json").read_text())["length_prior"]
    entries = [{"id": f"new/{name}", "provider": "new", "base": name, "cost": {"input": 1, "output": 1},
                "ability": {"mean": mean.tolist(), "sd": sd.tolist(), "source": "published"},
                "length": {"mean": length["mean"], "residual_sd": length["residual_sd"], "source": "prior"}}
               for name, (mean, sd) in left_out.items()]
    outcomes = pd.concat([pd.read_parquet(data / name) for name in recorded.OUTCOMES], ignore_index=True)
    outcomes = outcomes.drop_duplicates(["query_id", "model"])
    outcomes = outcomes[(outcomes.split == "train") & outcomes.model.isin(left_out.keys())]
    print("mean accuracy promised for models left out of the map, and recorded (training queries):")
    with tempfile.TemporaryDirectory() as folder:
        catalog, queries, estimates = (Path(folder) / name for name in ("catalog.json", "queries.jsonl", "estimates.parquet"))
        catalog.write_text(json.dumps({"format": 1, "version": "left out", "models": entries}))
        for name, pool in zip(recorded.QUERIES, ("core", "MMLU-Pro")):
            with gzip.open(data / name, "rt", encoding="utf-8") as lines:
                queries.write_text("".join(line for line in lines if json.loads(line)["split"] == "train"))
            subprocess.run([command, "--artifacts", artifacts, "predict", "--queries", queries, "--catalog", catalog,
                            "--estimator", "trained", "--out", estimates], check=True, stdout=subprocess.DEVNULL)
            quality = pd.read_parquet(estimates, columns=["query_id", "model", "quality"])
            quality["model"] = quality.model.str.removeprefix("new/")
            both = outcomes.merge(quality, on=["query_id", "model"]).groupby("model")[["quality", "correct"]].mean() * 100
            error = both.quality - both.correct
            print(f"  {pool}: {len(both)} models, off by {error.abs().mean():.1f} points (mean), {error.abs().max():.1f} (most), "
                  f"bias {error.mean():+.1f}")
            for name, row in both.sort_values("correct").iterrows():
                print(f"    {name:30} recorded {row.correct:5.1f}  promised {row.quality:5.1f}  off by {row.quality - row.correct:+5.1f}")
