"""What one split is too small to tell, on artifacts that had not seen what they are judged on.

    python models/train/crossfit.py --data ../shared/data --pennyroute target/debug/pennyroute [--part folds|sources|models]

folds     five trainings, each judged on the fifth of all queries that it was not given; near-duplicates stay together
sources   three trainings without a source each: is it recognised as unfamiliar, and what is made of it, beside the test split
models    four trainings without five models of the core each: what `pennyroute fit` makes of them from n outcomes

Everything goes to models/train/out; the figures are those of `pennyroute eval`.
"""

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import data as recorded
from train import FOLDS, SEED

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
POOLS = ("core", "mmlu_pro")
SOURCES = ("gsm8k", "math-l5", "crux")
OUTCOMES = (10, 50, 200, 1000)


class Tools:
    def __init__(self, folder: Path, pennyroute: Path, test: bool):
        self.folder, self.pennyroute, self.test = folder, pennyroute, test

    def train(self, name: str, *options: str) -> Path:
        """Artifacts of that name, and recorded.json beside them: the recorded models with their abilities."""
        out = OUT / name
        command = [sys.executable, HERE / "train.py", "--data", self.folder, "--out", out, "--pennyroute", self.pennyroute]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        self.recorded(out, out / "recorded.json")
        return out

    def recorded(self, artifacts: Path, catalog: Path) -> None:
        self.run(artifacts, "catalog", "import", "--dataset", self.folder / "models.json", "--out", catalog)

    def run(self, artifacts: Path, *options: str | Path, show: bool = False) -> str:
        done = subprocess.run([self.pennyroute, "--artifacts", artifacts, *options], check=True, text=True,
                              stdout=None if show else subprocess.PIPE)
        return done.stdout or ""

    def files(self, pool: str) -> list[str | Path]:
        return ["--queries", self.folder / f"queries_{pool}.jsonl.gz", "--outcomes", self.folder / f"outcomes_{pool}.parquet"]

    def queries(self, ids: set[str], path: Path, split: str) -> Path:
        """The queries of these ids, in a part of that name."""
        with gzip.open(path, "wt", encoding="utf-8") as written:
            for name in recorded.QUERIES:
                with gzip.open(self.folder / name, "rt", encoding="utf-8") as lines:
                    for query in map(json.loads, lines):
                        if query["query_id"] in ids:
                            written.write(json.dumps({**query, "split": split}) + "\n")
        return path


def folds(tools: Tools, data: recorded.Data) -> None:
    parts = []
    for k in range(FOLDS):
        out = tools.train(f"fold{k}", "--fold", str(k))
        part = data.fold(k, FOLDS, SEED)
        ids = set(part.queries.query_id.iloc[part.where("test")])
        queries = tools.queries(ids, out / "held_out.jsonl.gz", "test")
        tools.run(out, "predict", "--queries", queries, "--catalog", out / "recorded.json", "--out", out / "held_out.csv")
        parts.append(pd.read_csv(out / "held_out.csv"))
    pd.concat(parts).to_csv(OUT / "crossfit.csv", index=False)
    for pool in POOLS:
        tools.run(out, "eval", *tools.files(pool), "--catalog", out / "recorded.json", "--split", "all",
                  "--estimates", f"crossfit={OUT / 'crossfit.csv'}", "--only", "--intervals", show=True)


def sources(tools: Tools, data: recorded.Data) -> None:
    for source in SOURCES:
        out = tools.train(f"without-{source}", "--without-source", source)
        core = data.queries[data.queries.pool == "core"]
        ids = set(core.query_id[(core.source == source) | (core.split == "test")])
        queries = tools.queries(ids, out / "judged.jsonl.gz", "all")
        print(f"\nwithout {source}")
        tools.run(out, "eval", "--queries", queries, "--outcomes", tools.folder / "outcomes_core.parquet",
                  "--catalog", out / "recorded.json", "--split", "all", "--unfamiliar", source, show=True)


def models(tools: Tools, data: recorded.Data) -> None:
    core = json.loads((tools.folder / "models.json").read_text())["core"]
    split = "test" if tools.test else "validation"
    tools.recorded(HERE.parent, OUT / "recorded.json")
    rows, train = [], data.where("train")
    rng = np.random.default_rng(SEED)
    known = [data.models.index(m) for m in core]
    for g in range(4):
        names = core[g::4]
        out = tools.train(f"without-models{g}", "--without-models", ",".join(names))
        for n in OUTCOMES:
            cells = []
            for name in names:
                asked = train[np.isfinite(data.correct[np.ix_(train, known)]).all(1)]
                for i in rng.choice(asked, n, replace=False):
                    cells.append((data.queries.query_id[i], name, data.correct[i, data.models.index(name)], "train"))
            sample, catalog = out / f"outcomes{n}.csv", out / f"fitted{n}.json"
            pd.DataFrame(cells, columns=["query_id", "model", "correct", "split"]).to_csv(sample, index=False)
            tools.run(out, "fit", "--queries", tools.folder / "queries_core.jsonl.gz", "--outcomes", sample,
                      "--catalog", out / "recorded.json", "--out", catalog)
            rows.append({"group": g, "outcomes": n, **figures(tools, out, catalog, split, names)})
        rows.append({"group": g, "outcomes": "all", **figures(tools, HERE.parent, OUT / "recorded.json", split, names)})
    table = pd.DataFrame(rows)
    print(table.groupby("outcomes", sort=False)[["auc", "ece"]].mean().round(4).to_string())


def figures(tools: Tools, artifacts: Path, catalog: Path, split: str, names: list[str]) -> dict[str, float]:
    printed = tools.run(artifacts, "eval", *tools.files("core"), "--catalog", catalog, "--split", split, "--models",
                        ",".join(names), "--json")
    router = json.loads(printed.splitlines()[-1])["router"]
    return {"auc": router["auc"], "ece": router["ece"]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder of the recorded outcomes")
    arguments.add_argument("--pennyroute", type=Path, required=True, help="the Rust command")
    arguments.add_argument("--part", choices=("folds", "sources", "models"), help="only this part")
    arguments.add_argument("--test", action="store_true", help="judge new models on the test split; to be used rarely")
    given = arguments.parse_args()
    tools, data = Tools(given.data, given.pennyroute, given.test), recorded.load(given.data)
    for part in (folds, sources, models):
        if given.part in (None, part.__name__):
            part(tools, data)


if __name__ == "__main__":
    main()
