"""What one split is too small to tell, on artifacts that had not seen what they are judged on.

    python models/train/crossfit.py --data ../shared/data --pennyroute target/debug/pennyroute [--part folds|sources|models|inputs]
        [--inputs static|encoder|both]

folds     five trainings, each judged on the fifth of all queries that it was not given; near-duplicates stay together. Beside
          the estimates stand those without retrieval
sources   three trainings without a source each: is it recognised as unfamiliar, and what is made of it, beside the test split
models    four trainings without five models of the core each: what `pennyroute fit` makes of them from n outcomes
inputs    networks alone over train and validation, out of fold, without noisy copies, on every kind of vector: what each is worth,
          and what retrieval over each adds; not in the parts that run by default

Other inputs than static are cross-fitted by folds alone. Everything goes to models/train/out; the figures are those of `pennyroute eval`.
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
import embeddings
import model
import parameters
import retrieval
import train
from fold import embedding_of
from train import FOLDS, INPUTS, SEED

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
POOLS = ("core", "mmlu_pro")
SOURCES = ("gsm8k", "math-l5", "crux")
OUTCOMES = (10, 50, 200, 1000)
ESTIMATORS = ("blend", "trained")
# Dimensions of the mean token vector, and directions of the encoder's.
VECTORS = {"static": (32, 0), "encoder64": (0, 64), "encoder128": (0, 128), "both32": (32, 32), "both64": (32, 64), "both128": (32, 128)}
RETRIEVED = ("static", "encoder64", "both64")
NEAREST = max(r.k for r in retrieval.GRID)


class Tools:
    def __init__(self, folder: Path, pennyroute: Path, test: bool, inputs: str):
        self.folder, self.pennyroute, self.test, self.inputs = folder, pennyroute, test, inputs

    def train(self, name: str, *options: str) -> Path:
        """Artifacts of that name, and recorded.json beside them: the recorded models with their abilities."""
        out = OUT / name
        command = [sys.executable, HERE / "train.py", "--data", self.folder, "--out", out, "--pennyroute", self.pennyroute,
                   "--inputs", self.inputs]
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
        """The queries of these ids, in a part of that name, with the encoder's vectors where the predictor takes them."""
        chosen = []
        for name in recorded.QUERIES:
            with gzip.open(self.folder / name, "rt", encoding="utf-8") as lines:
                chosen += [{**query, "split": split} for query in map(json.loads, lines) if query["query_id"] in ids]
        if self.inputs != "static":
            for query, vector in zip(chosen, embeddings.embed([query["text"] for query in chosen], OUT / "encoder", OUT)):
                query["embedding"] = embeddings.listed(vector)
        with gzip.open(path, "wt", encoding="utf-8") as written:
            written.writelines(json.dumps(query) + "\n" for query in chosen)
        return path


def folds(tools: Tools, data: recorded.Data) -> None:
    prefix = "" if tools.inputs == "static" else f"{tools.inputs}-"
    estimates: dict[str, list[pd.DataFrame]] = {estimator: [] for estimator in ESTIMATORS}
    for k in range(FOLDS):
        out = tools.train(f"{prefix}fold{k}", "--fold", str(k))
        part = data.fold(k, FOLDS, SEED)
        ids = set(part.queries.query_id.iloc[part.where("test")])
        queries = tools.queries(ids, out / "held_out.jsonl.gz", "test")
        for estimator, parts in estimates.items():
            tools.run(out, "predict", "--queries", queries, "--catalog", out / "recorded.json", "--out", out / "held_out.csv",
                      "--estimator", estimator)
            parts.append(pd.read_csv(out / "held_out.csv"))
    files = {estimator: OUT / f"{prefix}crossfit-{estimator}.csv" for estimator in ESTIMATORS}
    for estimator, parts in estimates.items():
        pd.concat(parts).to_csv(files[estimator], index=False)
    for pool in POOLS:
        tools.run(out, "eval", *tools.files(pool), "--catalog", out / "recorded.json", "--split", "all",
                  "--estimates", ",".join(f"{name}={file}" for name, file in files.items()), "--only", "--intervals", show=True)


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


def inputs(tools: Tools, data: recorded.Data) -> None:
    data = data.resplit(np.where(data.queries.split.isin(["train", "validation"]), "train", ""))
    data, targets = train.with_anchors(data, HERE / "chat_anchors.jsonl")
    own = np.arange(len(data.queries))
    encoded = train.encoded_of(data, own, OUT / "encoder", OUT)
    seen, rows, fold = np.flatnonzero(data.queries.split == "train"), data.where("train"), train.fold_of(data)
    pool = data.queries.pool.to_numpy()
    sd, files = np.full(len(data.models), 0.5), {}

    def judge(name: str, quality: np.ndarray, log_tokens: np.ndarray) -> None:
        filled = np.full((len(own), len(data.models)), np.nan)
        filled[rows] = quality
        result = train.figures(tools.folder, data, "train", filled, log_tokens, sd, parameters.INPUT_TOKENS)
        train.show(name, result)
        files[name] = OUT / f"inputs-{name}.csv"
        pd.concat([r["estimates"] for r in result.values()]).to_csv(files[name], index=False)

    for name, (dimensions, directions) in VECTORS.items():
        seeing = train.inputs_of(data, OUT, train.VOCABULARY, dimensions, encoded if directions else None, directions)
        others = [seen[fold[seen] != f] for f in range(FOLDS) for _ in range(train.SEEDS_PER_FOLD)]
        params = model.fit(seeing.x, own, targets, others, train.SETTINGS, SEED, name)
        logits, log_tokens = (v.reshape(FOLDS, train.SEEDS_PER_FOLD, *v.shape[1:]).mean(1)[fold, own]
                              for v in model.predict(params, seeing.x, train.SETTINGS))
        logits = logits[rows] / parameters.temperature(logits[rows], data.correct[rows])
        judge(name, retrieval.sigmoid(logits), log_tokens)
        if name not in RETRIEVED:
            continue
        # Neighbours of other folds, their outcomes against out-of-fold estimates; the setting is chosen on these same queries.
        embedding = (seeing.squashed @ embedding_of(seeing.columns)).astype(np.float32)[rows]
        delta, residual = retrieval.remember(logits, data.correct[rows])
        near, distance = np.empty((len(rows), NEAREST), int), np.empty((len(rows), NEAREST), np.float32)
        for f in range(FOLDS):
            mine, past = np.flatnonzero(fold[rows] == f), np.flatnonzero(fold[rows] != f)
            found, distance[mine] = retrieval.neighbours(embedding[mine], embedding[past], NEAREST)
            near[mine] = past[found]
        chosen = retrieval.choose(logits, data.correct[rows], pool[rows], near, distance, delta, residual)
        print(f"{name}: {chosen}")
        judge(f"{name}+retrieval", retrieval.blend(logits, near, distance, delta, residual, chosen), log_tokens)

    tools.recorded(HERE.parent, OUT / "recorded.json")
    for pool in POOLS:
        tools.run(HERE.parent, "eval", *tools.files(pool), "--catalog", OUT / "recorded.json", "--split", "all",
                  "--estimates", ",".join(f"{name}={file}" for name, file in files.items()), "--only", "--intervals", show=True)


def figures(tools: Tools, artifacts: Path, catalog: Path, split: str, names: list[str]) -> dict[str, float]:
    printed = tools.run(artifacts, "eval", *tools.files("core"), "--catalog", catalog, "--split", split, "--models",
                        ",".join(names), "--json")
    router = json.loads(printed.splitlines()[-1])["router"]
    return {"auc": router["auc"], "ece": router["ece"]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder of the recorded outcomes")
    arguments.add_argument("--pennyroute", type=Path, required=True, help="the Rust command")
    arguments.add_argument("--part", choices=("folds", "sources", "models", "inputs"), help="only this part")
    arguments.add_argument("--test", action="store_true", help="judge new models on the test split; to be used rarely")
    arguments.add_argument("--inputs", choices=INPUTS, default="static", help="vectors that the networks see; see train.py")
    given = arguments.parse_args()
    if given.inputs != "static" and given.part not in (None, "folds"):
        arguments.error("other inputs than static are cross-fitted by folds alone")
    tools, data = Tools(given.data, given.pennyroute, given.test, given.inputs), recorded.load(given.data)
    if given.part == "inputs":
        inputs(tools, data)
    for part in (folds, sources, models) if given.inputs == "static" else (folds,):
        if given.part in (None, part.__name__):
            part(tools, data)


if __name__ == "__main__":
    main()
