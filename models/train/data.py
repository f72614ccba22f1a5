"""The recorded outcomes as matrices: one row per query, one column per model name, NaN where nothing was recorded."""

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

QUERIES = ("queries_core.jsonl.gz", "queries_mmlu_pro.jsonl.gz")
OUTCOMES = ("outcomes_core.parquet", "outcomes_wide.parquet", "outcomes_mmlu_pro.parquet")


@dataclass
class Data:
    queries: pd.DataFrame    # query_id, source, domain, text, text_tokens, input_tokens, cluster, split, pool
    models: list[str]        # names, one column each; a model recorded in two pools has one column
    correct: np.ndarray      # [queries, models] 0, 1 or NaN
    tokens: np.ndarray       # [queries, models] log of raw output tokens, or NaN
    estimated: np.ndarray    # [queries, models] log of estimated output tokens where there is no raw count, or NaN

    def where(self, split: str) -> np.ndarray:
        """Rows of a split, all of them with outcomes: the chat prompts that are trained on beside them are left out."""
        return np.flatnonzero((self.queries.split == split) & (self.queries.source != "chat"))


    def resplit(self, split: np.ndarray) -> "Data":
        """The same with other parts; a query of none has the part \"\"."""
        return replace(self, queries=self.queries.assign(split=split))

    def without_source(self, source: str) -> "Data":
        """As if nothing of a source had been recorded for training or choosing."""
        if source not in set(self.queries.source):
            raise SystemExit(f"no query has the source {source!r}")
        return self.resplit(np.where(self.queries.source == source, "", self.queries.split))

    def without_models(self, names: list[str]) -> "Data":
        """As if some models had never been asked."""
        if unknown := set(names) - set(self.models):
            raise SystemExit(f"no outcomes of {', '.join(sorted(unknown))}")
        kept = [i for i, name in enumerate(self.models) if name not in names]
        known = np.isfinite(self.correct[:, kept]).any(1)
        narrow = replace(self, models=[self.models[i] for i in kept], correct=self.correct[:, kept],
                         tokens=self.tokens[:, kept], estimated=self.estimated[:, kept])
        return narrow.resplit(np.where(known, self.queries.split, ""))

    def fold(self, number: int, folds: int, seed: int) -> "Data":
        """Test on one of `folds` parts of everything, choose on an eighth of the rest, train on what is left. Near-duplicates
        stay together."""
        random = np.random.default_rng(seed)
        clusters = int(self.queries.cluster.max()) + 1
        held_out = random.permutation(np.arange(clusters) % folds)[self.queries.cluster] == number
        choosing = random.random(clusters)[self.queries.cluster] < 1 / 8
        return self.resplit(np.select([held_out, choosing], ["test", "validation"], "train"))


def load(folder: Path) -> Data:
    pools = []
    for name, pool in zip(QUERIES, ("core", "mmlu-pro")):
        with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
            pools.append(pd.DataFrame(map(json.loads, lines)).assign(pool=pool))
    queries = pd.concat(pools, ignore_index=True)

    outcomes = pd.concat([pd.read_parquet(folder / name) for name in OUTCOMES], ignore_index=True)
    outcomes = outcomes.drop_duplicates(["query_id", "model"])  # the wide table repeats the core
    models = sorted(outcomes.model.unique())
    rows = pd.Index(queries.query_id).get_indexer(outcomes.query_id)
    columns = pd.Index(models).get_indexer(outcomes.model)

    def matrix(values: np.ndarray) -> np.ndarray:
        filled = np.full((len(queries), len(models)), np.nan)
        filled[rows, columns] = values
        return filled

    raw = (outcomes.tokens_source == "raw").to_numpy()
    logs = np.log(outcomes.output_tokens_est.clip(lower=1).to_numpy(float))
    return Data(queries, models, matrix(outcomes.correct.to_numpy(float)), matrix(np.where(raw, logs, np.nan)),
                matrix(np.where(raw, np.nan, logs)))
