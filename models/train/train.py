"""Train the predictor and write every artifact of models/ that does not come from Rust.

    python models/train/train.py --data ../shared/data [--inputs static|encoder|both]

With `--inputs encoder` or `both` the networks see the vector of the sentence encoder (encoder.py makes it) instead of, or
beside, the mean token vector, and retrieval compares it; whoever routes then has to bring it. That is another set of artifacts,
which goes to models/train/out/predictor-encoder or -both.

Everything is seeded: the same data and versions give the same files on the same kind of processor.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

# One thread: enough for models of this size, and sums come in the same order every time.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from tqdm import tqdm  # noqa: E402

import data as recorded  # noqa: E402
import embeddings  # noqa: E402
import export  # noqa: E402
import fixtures  # noqa: E402
import lexical  # noqa: E402
import logistic  # noqa: E402
import manifest  # noqa: E402
import metrics  # noqa: E402
import model  # noqa: E402
import noise  # noqa: E402
import parameters  # noqa: E402
import retrieval  # noqa: E402
import text  # noqa: E402
import vectors  # noqa: E402
from fold import Columns, Folded, HeldOut, fold, group_units  # noqa: E402
from weights import vocabulary as pieces  # noqa: E402

HERE = Path(__file__).resolve().parent
SEED = 20261120
VOCABULARY, DIMENSIONS, SMOOTH = 10_000, 32, 1e-3
DIRECTIONS = 64  # of the encoder's vector, where it is used
SETTINGS = model.Settings()
SEEDS, FOLDS, SEEDS_PER_FOLD = 5, 5, 2
SKILLS, LENGTHS = 12, 4
SD_FLOOR = 0.02  # of a feature, so that a share that is zero in the data does not become a switch

FLAGGED = 0.04        # share of the validation queries that may count as unlike the training data
REACH = 1.3           # times as far as chat prompts lie apart, a query is still like them
VERY_FAR = 1.5        # times as far as what is flagged, nothing of the estimate is left

INPUTS = ("static", "encoder", "both")

# What a weak label of a chat prompt means: the accuracy of a middling recorded model, and output tokens. Prior
# knowledge, not recorded outcomes.
LEVELS = {"trivial": 0.98, "easy": 0.93, "medium": 0.82, "hard": 0.55, "very_hard": 0.30}
ANSWERS = {"short": 40, "medium": 220, "long": 700}


@dataclass
class Inputs:
    """What the networks see of every query, and the table it comes from."""
    kept: list[str]          # vocabulary
    table: np.ndarray        # [tokens, dimensions] int8
    scale: np.ndarray        # [dimensions]
    words: lexical.Tables
    directions: np.ndarray | None  # [384, directions] of the encoder's vector
    raw: np.ndarray          # [queries, inputs], see fold.Columns; lexical scores of training queries out of fold
    mean: np.ndarray
    inverse_sd: np.ndarray

    @property
    def columns(self) -> Columns:
        return Columns(self.table.shape[1], self.words.tokens.shape[1], 0 if self.directions is None else self.directions.shape[1])

    @property
    def x(self) -> np.ndarray:
        return (self.raw - self.mean) * self.inverse_sd

    @property
    def squashed(self) -> np.ndarray:
        return model.SQUASH * np.tanh(self.x / model.SQUASH)


def with_anchors(data: recorded.Data, path: Path) -> tuple[recorded.Data, model.Targets]:
    """The recorded queries, then the chat prompts: training queries without outcomes, but with a weak label."""
    anchors = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = int(data.queries.cluster.max()) + 1
    chat = pd.DataFrame([{"query_id": f"chat/{i}", "source": "chat", "domain": "chat", "text": a["text"], "text_tokens": np.nan,
                          "cluster": first + i, "split": "train", "pool": "chat"} for i, a in enumerate(anchors)])
    recorded_count, models = data.correct.shape
    empty = np.full((len(chat), models), np.nan)
    joined = recorded.Data(pd.concat([data.queries, chat], ignore_index=True), data.models,
                           *(np.vstack([m, empty]) for m in (data.correct, data.tokens, data.estimated)))
    unknown = np.full(recorded_count, np.nan)
    levels = pd.Series([a["level"] for a in anchors])
    weight = len(levels) / levels.nunique() / levels.map(levels.value_counts()).to_numpy()  # every level counts alike
    return joined, model.Targets(
        joined.correct, joined.tokens, joined.estimated, np.r_[np.ones(recorded_count), weight],
        np.r_[unknown, [LEVELS[a["level"]] for a in anchors]], np.r_[unknown, [np.log(ANSWERS[a["answer"]]) for a in anchors]])


def with_copies(data: recorded.Data, targets: model.Targets) -> tuple[recorded.Data, model.Targets, np.ndarray]:
    """The same, then a noisy copy of every training query, in the part "copy" and with the same outcomes; and per row, the
    row of its copy, or of a copy's original, or its own."""
    rng = random.Random(SEED)
    train = np.flatnonzero(data.queries.split == "train")
    copies = data.queries.iloc[train].assign(split="copy")
    copies["query_id"] = copies.query_id + "#copy"
    copies["text"] = [noise.copy(t, rng) for t in copies.text]

    def twice(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[train]])

    joined = replace(data, queries=pd.concat([data.queries, copies], ignore_index=True), correct=twice(data.correct),
                     tokens=twice(data.tokens), estimated=twice(data.estimated))
    count = len(data.queries)
    pairs = np.r_[np.arange(count), train]
    pairs[train] = np.arange(count, count + len(train))
    return joined, model.Targets(**{name: twice(values) for name, values in vars(targets).items()}), pairs


def encoded_of(data: recorded.Data, pairs: np.ndarray, encoder: Path, cache: Path) -> np.ndarray:
    """The encoder's vectors of all queries. A copy has that of its original: to embed the copies too would take longer than the
    training, once for every set of queries that is trained on."""
    original = np.where(data.queries.split == "copy", pairs, np.arange(len(pairs)))
    own, row = np.unique(original, return_inverse=True)
    return embeddings.embed(data.queries.text.iloc[own].tolist(), encoder, cache)[row]


def inputs_of(data: recorded.Data, cache: Path, vocabulary: int, dimensions: int, encoded: np.ndarray | None = None,
              directions: int = DIRECTIONS, exact: bool = False) -> Inputs:
    """The tables, int8 from the start: what is trained on is what is shipped. `exact` rounds nothing.

    `dimensions` of the mean token vector, 0 for none; `encoded` are the encoder's vectors of the queries.
    """
    train = np.flatnonzero(data.queries.split == "train")
    tokens = pieces(cache)
    kept = text.prune(tokens, data.queries.text.iloc[train], vocabulary)
    ids = text.encode(text.tokenizer(kept), data.queries.text.tolist())
    used = np.bincount(np.concatenate([ids[i] for i in train]), minlength=len(kept)) + 0.5
    index = {token: i for i, token in enumerate(tokens)}
    reduced = vectors.principal(vectors.token_vectors(cache)[[index[token] for token in kept]], dimensions)
    weighted = reduced * (SMOOTH / (SMOOTH + used / used.sum()))[:, None]
    table, scale = vectors.quantize(weighted)
    pooled = np.stack([weighted[i].mean(0) if exact else table[i].astype(np.float32).mean(0) * scale for i in ids])
    rows, fold = data.where("train"), np.where(data.queries.split.isin(["train", "copy"]), fold_of(data), -1)
    words, scores = lexical.scores(lexical.bags(ids, len(kept)), len(kept), data.correct, logistic.labels(data), rows, fold, exact)
    raw = np.hstack([pooled, np.stack([text.features(t) for t in data.queries.text]), scores])
    floor = np.r_[np.full(dimensions, 1e-6), np.full(len(text.FEATURES), SD_FLOOR), np.full(scores.shape[1], 1e-6)]
    onto = None
    if encoded is not None:
        onto = vectors.directions(encoded[rows], directions).T
        raw, floor = np.hstack([raw, encoded @ onto]), np.r_[floor, np.full(directions, 1e-6)]
    return Inputs(kept, table, scale, words, onto, raw, raw[rows].mean(0), 1 / np.maximum(raw[rows].std(0), floor))


def fold_of(data: recorded.Data) -> np.ndarray:
    """The fold of every query; near-duplicates share one."""
    return np.random.default_rng(SEED).integers(0, FOLDS, data.queries.cluster.max() + 1)[data.queries.cluster]


@dataclass
class Networks:
    params: dict         # stacked over seeds
    groups: np.ndarray   # weights of the group units
    held_out: HeldOut    # over the training queries with outcomes
    seed_logits: np.ndarray


def networks(data: recorded.Data, targets: model.Targets, pairs: np.ndarray, inputs: Inputs, settings: model.Settings) -> Networks:
    """Out-of-fold estimates first, then the model itself."""
    seen, rows = np.flatnonzero(data.queries.split.isin(["train", "copy"])), data.where("train")
    fold = fold_of(data)
    labels = logistic.labels(data)
    x = inputs.squashed

    others = [seen[fold[seen] != f] for f in range(FOLDS)]
    params = model.fit(inputs.x, pairs, targets, [r for r in others for _ in range(SEEDS_PER_FOLD)], settings, SEED, "folds")
    logits = model.predict(params, inputs.x, settings)[0].reshape(FOLDS, SEEDS_PER_FOLD, len(x), -1).mean(1)
    logits = logits[fold[rows], rows]
    logits /= parameters.temperature(logits, data.correct[rows])
    units = np.stack([group_units(x, logistic.groups(x[r], labels[r])) for r in tqdm(others, desc="groups", leave=False)])

    params = model.fit(inputs.x, pairs, targets, [seen] * SEEDS, settings, SEED + 1, "model")
    return Networks(params, logistic.groups(x[seen], labels[seen]), HeldOut(logits, units[fold[rows], rows]),
                    model.predict(params, inputs.x[rows], settings)[0])


def assemble(data: recorded.Data, inputs: Inputs, nets: Networks) -> tuple[Folded, np.ndarray]:
    """The shipped model, calibrated on validation, and calibrated out-of-fold logits of the training queries."""
    rows, validation = data.where("train"), data.where("validation")
    folded, refitted = fold(nets.params, nets.groups, inputs.raw[rows], inputs.columns, inputs.mean, inputs.inverse_sd,
                            nets.held_out, data.correct[rows], SKILLS, LENGTHS)
    parameters.calibrate(folded, parameters.temperature(folded.logits(inputs.raw[validation]), data.correct[validation]))
    return folded, refitted / parameters.temperature(refitted, data.correct[rows])


def unfamiliar_sd(data: recorded.Data, targets: model.Targets, pairs: np.ndarray, cache: Path, settings: model.Settings,
                  dimensions: int, encoded: np.ndarray | None) -> float:
    """How far off, in logits, the level of a query of an unknown kind is: every source of the core is left out in turn, of the
    lexical scores too, and the root mean square over sources is taken."""
    train = data.queries.iloc[data.where("train")]
    sds = {}
    for source in sorted(train.source[train.pool == "core"].unique()):
        part = data.without_source(source)
        inputs = inputs_of(part, cache, VOCABULARY, dimensions, encoded)
        seen = np.flatnonzero(part.queries.split == "train")
        params = model.fit(inputs.x, pairs, targets, [seen], settings, SEED + 2, f"without {source}")
        out = np.flatnonzero((data.queries.split == "train") & (data.queries.source == source))
        sds[source] = parameters.query_sd(model.predict(params, inputs.x[out], settings)[0][0], data.correct[out])
    print("sd of the level of queries of a left-out source:", {s: round(v, 2) for s, v in sds.items()})
    return float(np.sqrt(np.mean(np.square(list(sds.values())))))


def residual_sds(data: recorded.Data, log_tokens: np.ndarray) -> np.ndarray:
    """[models] of log output tokens around their estimate, so that nine tenths of what was counted on validation lies within
    the central 90 % of a normal distribution; the median where too few were counted."""
    validation = data.where("validation")
    miss = np.abs(data.tokens[validation] - log_tokens[validation])
    sd = np.nan_to_num(np.nanquantile(miss, 0.9, axis=0)) / parameters.Z90
    counted = np.isfinite(miss).sum(0) >= parameters.ENOUGH_COUNTS
    return np.where(counted, sd, np.median(sd[counted]))


def figures(folder: Path, data: recorded.Data, split: str, quality: np.ndarray, log_tokens: np.ndarray, sd: np.ndarray,
            input_weights: dict[str, float]) -> dict[str, dict]:
    """What the estimates are worth on both pools, at the costs that the router itself would estimate.

    `quality` and `log_tokens` are of all queries. Only the query's text is priced: the instructions that came with it
    in the recorded runs are unknown to a router.
    """
    position = {q: i for i, q in enumerate(data.queries.query_id)}
    weights = np.array([input_weights[name] for name in text.COUNTS])
    result = {}
    for pool in ("core", "mmlu_pro"):
        r = metrics.recorded(folder, pool, data.queries.query_id.iloc[data.where(split)], data.models)
        rows = np.array([position[q] for q in r.queries])
        columns = [data.models.index(m) for m in r.models]
        asked_tokens = np.array([max(1.0, text.token_counts(data.queries.text[i]) @ weights) for i in rows])
        answer = np.exp(log_tokens[np.ix_(rows, columns)] + sd[columns] ** 2 / 2)
        cost = asked_tokens[:, None] * r.price_in + answer * r.price_out
        result[pool] = metrics.judge(r, quality[np.ix_(rows, columns)], cost)
        result[pool]["estimates"] = pd.DataFrame({
            "query_id": np.repeat(r.queries, len(columns)), "model": np.tile(r.models, len(rows)),
            "quality": quality[np.ix_(rows, columns)].ravel(), "cost_usd": cost.ravel(), "output_tokens": answer.ravel()})
    return result


def show(name: str, result: dict[str, dict]) -> None:
    for pool, r in result.items():
        print(f"{name:28} {pool:9} AUC {r['auc']:.4f}  ECE {r['ece']:.2f}  cross-entropy {r['entropy']:.4f}  gain {r['gain']:+.2f}  {r['gains']}")


def ablate(folder: Path, data: recorded.Data, targets: model.Targets, pairs: np.ndarray, cache: Path) -> None:
    """What smaller tables cost on validation: the plain networks, without groups, refit or retrieval."""
    seen, validation = np.flatnonzero(data.queries.split == "train"), data.where("validation")
    sd, weights = np.full(len(data.models), 0.5), parameters.INPUT_TOKENS

    def judge(name: str, params: dict, x: np.ndarray) -> None:
        logits, log_tokens = (v.mean(0) for v in model.predict(params, x, SETTINGS))
        logits /= parameters.temperature(logits[validation], data.correct[validation])
        show(name, figures(folder, data, "validation", retrieval.sigmoid(logits), log_tokens, sd, weights))

    for vocabulary, dimensions in ((10_000, 32), (30_000, 32), (6_000, 32), (10_000, 16), (10_000, 64)):
        inputs = inputs_of(data, cache, vocabulary, dimensions)
        params = model.fit(inputs.x, pairs, targets, [seen] * 3, SETTINGS, SEED + 3, f"{vocabulary} × {dimensions}")
        judge(f"{vocabulary} tokens × {dimensions}", params, inputs.x)
        if (vocabulary, dimensions) == (VOCABULARY, DIMENSIONS):
            exact = replace(inputs, raw=inputs_of(data, cache, vocabulary, dimensions, exact=True).raw)
            judge("  the same, no table rounded", params, exact.x)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder of the recorded outcomes")
    arguments.add_argument("--inputs", choices=INPUTS, default="static", help="vectors that the networks see: of tokens, of the encoder")
    arguments.add_argument("--encoder", type=Path, default=HERE / "out" / "encoder", help="folder of the encoder, for other inputs than static")
    arguments.add_argument("--out", type=Path, help="where the artifacts go; default: models, or models/train/out/predictor-INPUTS")
    arguments.add_argument("--pennyroute", type=Path, help="the Rust command, to build the index at the end")
    arguments.add_argument("--ablate", action="store_true", help="only print what smaller tables cost on validation")
    arguments.add_argument("--test", action="store_true", help="also print figures on the test split; to be used rarely")
    arguments.add_argument("--without-source", metavar="S", help="leave a source out, to see what is made of unknown queries")
    arguments.add_argument("--without-models", metavar="A,B", help="leave models out, to fit them afterwards")
    arguments.add_argument("--fold", type=int, metavar="K", help=f"hold out part K of {FOLDS} of all queries instead of the test split")
    given = arguments.parse_args()
    cache = HERE / "out"
    cache.mkdir(exist_ok=True)
    given.out = given.out or (HERE.parent if given.inputs == "static" else cache / f"predictor-{given.inputs}")
    if given.inputs != "static" and given.out == HERE.parent:
        arguments.error("the artifacts in models are those of static inputs")
    given.out.mkdir(parents=True, exist_ok=True)
    shipped = given.out == HERE.parent
    made = cache if shipped else given.out  # what only the next step needs

    outcomes = recorded.load(given.data)
    if given.without_source:
        outcomes = outcomes.without_source(given.without_source)
    if given.without_models:
        outcomes = outcomes.without_models(given.without_models.split(","))
    if given.fold is not None:
        outcomes = outcomes.fold(given.fold, FOLDS, SEED)
    data, targets, pairs = with_copies(*with_anchors(outcomes, HERE / "chat_anchors.jsonl"))
    if given.ablate:
        return ablate(given.data, data, targets, pairs, cache)
    dimensions = 0 if given.inputs == "encoder" else DIMENSIONS
    encoded = None if given.inputs == "static" else encoded_of(data, pairs, given.encoder, cache)
    rows, seen, validation = data.where("train"), np.flatnonzero(data.queries.split == "train"), data.where("validation")
    inputs = inputs_of(data, cache, VOCABULARY, dimensions, encoded)
    nets = networks(data, targets, pairs, inputs, SETTINGS)
    folded, held_out = assemble(data, inputs, nets)
    skills, difficulty, lengths, embedding = folded.outputs(inputs.raw)
    logits, log_tokens = folded.logits(inputs.raw), folded.log_tokens(inputs.raw)
    residual_sd = residual_sds(data, log_tokens)

    # Retrieval. The index holds the chat prompts too: they teach nothing, but they are known territory. Of MMLU-Pro it holds
    # every second query: the other half moves neither pool's mean gain on validation by more than 0.2 points, and would be
    # 0.15 MB to load and a third of the scan.
    indexed = np.delete(seen, np.flatnonzero(data.queries.pool.iloc[seen] == "mmlu-pro")[::2])
    delta, residual = np.zeros(len(seen)), np.full((len(seen), len(data.models)), np.nan)
    delta[np.isin(seen, rows)], residual[np.isin(seen, rows)] = retrieval.remember(held_out, data.correct[rows])
    delta, residual = delta[np.isin(seen, indexed)], residual[np.isin(seen, indexed)]
    near, distance = retrieval.neighbours(embedding, embedding[indexed], 1 + max(r.k for r in retrieval.GRID))
    # Chosen on the training queries out of fold, against neighbours of other folds: validation is too small to tell 36 apart.
    of_fold, pool = fold_of(data), data.queries.pool.to_numpy()
    parts = []
    for f in range(FOLDS):
        own, others = rows[of_fold[rows] == f], np.flatnonzero(of_fold[indexed] != f)
        found, apart = retrieval.neighbours(embedding[own], embedding[indexed[others]], max(r.k for r in retrieval.GRID))
        parts.append((held_out[of_fold[rows] == f], data.correct[own], pool[own], others[found], apart))
    chosen = retrieval.choose(*map(np.concatenate, zip(*parts)), delta, residual)
    quality = retrieval.blend(logits, near, distance, delta, residual, chosen)
    chat = np.flatnonzero((data.queries.source == "chat") & (data.queries.split == "train"))
    far = retrieval.limit(distance, near, chat, np.isin(indexed, chat), validation, chosen.k, REACH, FLAGGED)

    sd = parameters.ability_sd(folded, skills[rows], logits[rows], data.correct[rows], nets.seed_logits)
    own_sd = np.sqrt(np.hstack([np.ones((len(skills), 1)), skills ** 2]) @ (sd ** 2).T)
    odds = np.log(quality / (1 - quality))
    query_sd = {"near": parameters.calibration_sd(odds[validation], own_sd[validation], data.correct[validation]),
                "far": unfamiliar_sd(data, targets, pairs, cache, SETTINGS, dimensions, encoded)}
    print(f"retrieval {chosen}, unfamiliar beyond {far:.3f}; sd of a level {query_sd}")
    written = {
        "format": 1, "skills": SKILLS, "lengths": LENGTHS, "dimensions": embedding.shape[1], "max_tokens": text.MAX_TOKENS,
        "skills_mean": parameters.rounded(skills[rows].mean(0)), "difficulty_mean": round(float(difficulty[rows].mean()), 4) + 0.0,
        "query_sd": {name: round(value, 4) for name, value in query_sd.items()},
        "ability_prior": parameters.prior(folded.abilities),
        "length_prior": {**parameters.prior(folded.length_abilities), "residual_sd": round(float(np.median(residual_sd)), 4)},
        "retrieval": {**asdict(chosen), "far": round(far, 4), "reach": REACH, "very_far": VERY_FAR},
        "input_tokens": parameters.INPUT_TOKENS, "token_factors": parameters.TOKEN_FACTORS,
        "abilities": parameters.abilities(data, folded, sd, residual_sd, rows),
    }
    if encoded is not None:
        written["encoder"] = {"version": embeddings.manifest(given.encoder)["version"], "dimensions": encoded.shape[1]}
    onnx = export.graph(inputs.table, inputs.scale, inputs.words, folded, inputs.directions).SerializeToString()
    (given.out / "predictor.onnx").write_bytes(onnx)
    (given.out / "vocab.txt").write_text("\n".join(inputs.kept) + "\n", encoding="utf-8")
    references = parameters.references(data, rows, chat, skills, difficulty, lengths, written["input_tokens"])
    for name, content in (("parameters", written), ("reference", references)):
        (given.out / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")

    show("without retrieval", figures(given.data, data, "validation", retrieval.sigmoid(logits), log_tokens, residual_sd, written["input_tokens"]))
    measured = {"validation": figures(given.data, data, "validation", quality, log_tokens, residual_sd, written["input_tokens"])}
    if given.test:
        measured["test"] = figures(given.data, data, "test", quality, log_tokens, residual_sd, written["input_tokens"])
        for pool, result in measured["test"].items():
            result["estimates"].to_parquet(made / f"test.{pool}.parquet", index=False)
    for split, result in measured.items():
        show(split, result)

    # For the index: the queries, and out-of-fold estimates of what was recorded of them.
    estimates = pd.DataFrame(retrieval.sigmoid(held_out).round(4), index=data.queries.query_id.iloc[rows].to_numpy(), columns=data.models)
    estimates = estimates.where(np.isfinite(data.correct[rows])).stack().rename_axis(["query_id", "model"]).rename("quality")
    estimates.reset_index().to_csv(made / "estimates.csv.gz", index=False, compression={"method": "gzip", "mtime": 0})
    with gzip.open(made / "index_queries.jsonl.gz", "wt", encoding="utf-8") as lines:
        for i, row in zip(indexed, data.queries.iloc[indexed][["query_id", "source", "domain", "text", "split"]].to_dict("records")):
            if encoded is not None:
                row["embedding"] = embeddings.listed(encoded[i])
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    pd.concat([pd.read_parquet(given.data / name) for name in recorded.OUTCOMES], ignore_index=True).drop_duplicates(
        ["query_id", "model"]).pipe(lambda o: o[o.query_id.isin(data.queries.query_id.iloc[indexed]) & o.model.isin(data.models)]).to_parquet(
            made / "index_outcomes.parquet", index=False)
    if shipped:
        fixtures.write(HERE.parents[1] / "tests" / "fixtures" / "parity.json", onnx, text.tokenizer(inputs.kept), written,
                       data.queries.text.iloc[chat[:: len(chat) // 8]].tolist()[:8])
    kept = {split: {pool: {k: v for k, v in r.items() if k != "estimates"} for pool, r in result.items()} for split, result in measured.items()}
    options, version = ("", manifest.VERSION) if given.inputs == "static" else (f" --inputs {given.inputs}", f"{manifest.VERSION}+{given.inputs}")
    command = f"python models/train/train.py --data ../shared/data --pennyroute target/debug/pennyroute{options}"
    manifest.write(given.out, manifest.training(given.data, command, SEED), kept, version)

    # The scan: at 7,000 records it takes 0.2 ms at most, and compressed the graph is nearly twice as large.
    index = ["index", "--backend", "exact", "--queries", made / "index_queries.jsonl.gz", "--outcomes", made / "index_outcomes.parquet",
             "--estimates", made / "estimates.csv.gz", "--out", given.out / "index.bin"]
    if given.pennyroute:
        # The program reads the artifacts, so their manifest has to be true before; the index joins it after.
        subprocess.run([given.pennyroute, "--artifacts", given.out, *index], check=True)
        manifest.write(given.out, version=version)
        if shipped:  # abilities of today's models are in the terms of these skills
            subprocess.run([sys.executable, HERE / "catalog.py", "--data", given.data], check=True, stdout=subprocess.DEVNULL)
    else:
        print("next: pennyroute", *(os.path.relpath(part) if isinstance(part, Path) else part for part in index))


if __name__ == "__main__":
    main()
