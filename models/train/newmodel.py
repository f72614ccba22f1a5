"""A check of `pennyroute fit`: how well are recorded core models known from n of their training outcomes?

    python models/train/newmodel.py --data ../shared/data --pennyroute target/debug/pennyroute

Every core model is entered into a catalog under a name of its own, without an ability or with the one that its published
scores suggest to a map fitted without it, and fitted from n outcomes sampled from the training split; then the validation
split is asked about. AUC is the mean over models, ECE pools them (15 bins), in points; so is the mean error of a model's
mean accuracy. The shipped artifacts have seen the models' outcomes: this says what n outcomes are
worth once skills and difficulty are known, not what leaving a model out of training would.
"""

import argparse
import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import catalog
from metrics import auc

SIZES = (0, 10, 50, 200, 1000, None)   # None: every training outcome
SEEDS = 3
SEED = 20261120
MODELS = Path(__file__).resolve().parents[1]


def ece(correct: np.ndarray, quality: np.ndarray) -> float:
    bins = np.clip((quality * 15).astype(int), 0, 14)
    return 100 * sum(abs((quality - correct)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))


def figures(truth: pd.DataFrame, estimates: Path) -> tuple[float, float, float]:
    """AUC (mean over models), ECE of all cells, and the mean error of a model's mean accuracy, in points."""
    both = truth.merge(pd.read_parquet(estimates, columns=["query_id", "model", "quality"]), on=["query_id", "model"])
    assert len(both) == len(truth)
    models = both.groupby("model")
    per_model = [auc(rows.correct.to_numpy(float), rows.quality.to_numpy()) for _, rows in models]
    means = models[["correct", "quality"]].mean()
    return float(np.mean(per_model)), ece(both.correct.to_numpy(float), both.quality.to_numpy()), \
        100 * float((means.quality - means.correct).abs().mean())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder of the recorded outcomes")
    arguments.add_argument("--pennyroute", type=Path, required=True, help="the Rust command")
    arguments.add_argument("--artifacts", type=Path, default=MODELS)
    given = arguments.parse_args()
    random = np.random.default_rng(SEED)
    queries = given.data / "queries_core.jsonl.gz"
    outcomes = pd.read_parquet(given.data / "outcomes_core.parquet")
    outcomes["model"] = "new/" + outcomes.model
    train, truth = outcomes[outcomes.split == "train"], outcomes[outcomes.split == "validation"]
    names = sorted(outcomes.model.unique())
    recorded = json.loads((given.artifacts / "parameters.json").read_text())["abilities"]
    columns = ["query_id", "model", "correct", "output_tokens", "split"]

    def enter(path: Path, abilities: dict) -> None:
        entries = [{"id": name, "provider": "new", "base": name, "cost": {"input": 1, "output": 1}, "ability": abilities.get(name)}
                   for name in names]
        path.write_text(json.dumps({"format": 1, "version": "check", "models": entries}))

    with tempfile.TemporaryDirectory() as folder:
        blank, fitted, sample, asked, estimates = (
            Path(folder) / name for name in ("blank.json", "fitted.json", "sample.parquet", "asked.jsonl", "estimates.parquet"))
        pd.read_json(queries, lines=True).query("split == 'validation'").to_json(asked, orient="records", lines=True)

        def run(*command: str | Path) -> None:
            subprocess.run([given.pennyroute, "--artifacts", given.artifacts, *command], check=True, stdout=subprocess.DEVNULL)

        def judge(path: Path, estimator: str) -> tuple[float, float, float]:
            run("predict", "--queries", asked, "--catalog", path, "--estimator", estimator, "--out", estimates)
            return figures(truth, estimates)

        def show(label: str, runs: list[tuple[float, ...]]) -> None:
            a, e, m, ab, eb, mb = np.mean(runs, 0)
            print(f"{label:14}  {a:.4f}  {e:5.2f}  {m:5.2f}               {ab:.4f}  {eb:5.2f}  {mb:5.2f}", flush=True)

        with contextlib.redirect_stdout(None):
            left_out = catalog.build(given.data)[1]["left_out"]
        scored = {f"new/{name}": {"mean": mean.tolist(), "sd": sd.tolist(), "source": "published"} for name, (mean, sd) in left_out.items()}
        for prior, abilities in (("over all models", {}), ("by published scores", scored)):
            print(f"prior {prior:19} trained predictor alone          with neighbors")
            print("outcomes          AUC     ECE   mean off by          AUC     ECE   mean off by")
            enter(blank, abilities)
            for n in SIZES:
                runs = []
                for _ in range(1 if n in (0, None) else SEEDS):
                    drawn = train if n is None else train.groupby("model").sample(max(n, 1), random_state=int(random.integers(2**31)))
                    # n = 0 still needs a file with a row; of a named model without outcomes nothing is learnt.
                    drawn = drawn.assign(model="nobody").drop_duplicates("query_id") if n == 0 else drawn
                    drawn[columns].to_parquet(sample)
                    run("fit", "--queries", queries, "--outcomes", sample, "--catalog", blank, "--out", fitted, "--models", ",".join(names))
                    runs.append(judge(fitted, "trained") + judge(fitted, "blend"))
                show("all" if n is None else str(n), runs)
        enter(blank, {name: recorded[name.removeprefix("new/")]["ability"] for name in names})
        show("as shipped", [judge(blank, "trained") + judge(blank, "blend")])


if __name__ == "__main__":
    main()
