"""models/catalog.json: what is sold today, with abilities derived from published scores; and, in parameters.json, the
constants of that derivation, so that the router can do the same for models that appear later.

    python models/train/catalog.py --data ../shared/data [--pennyroute target/debug/pennyroute]

Prices, limits and capabilities come from `published_scores.json` (LiteLLM's table, checked against models.dev), price
tiers and off-peak hours from LiteLLM's table itself, corrections from `catalog_overrides.json`. The scores themselves are
not shipped, only what is derived from them:

1. One factor g per model (and per reasoning effort) over all score columns that join models, on the logit scale with
   guessing removed, Elo / 100 as it is. Missing cells are integrated out (EM), each column has its own offset, slope and
   noise, outliers weigh less (Student t, 4 degrees of freedom). The two versions of the Artificial Analysis index, and of
   what was re-scored between them, are columns of their own that models having both bridge. `_nr` cells (without
   reasoning) are a row of their own. An effort's g differs from the model's by what the index says, shrunk by how far the
   other scores of the models with and without reasoning follow the index.
2. A ridge map from g to the predictor's ability vector, learnt on models with both scores and recorded outcomes
   (ANCHORS). The level is linear in g; beyond the anchors, where nearly all models of today lie, it goes on at SATURATION
   of its slope, and the weights of skills are held at the anchors' edge. Standard deviations come from leaving one anchor
   out, plus the uncertainty of g, plus EXTRAPOLATION per unit of g beyond the anchors.
3. Models too new to have scores get g from their price and release date, with a wide sd, and one sd below what price and
   date suggest: a router picks by the estimate, so an optimistic guess would be called first of all.

With --pennyroute it also says how far the mean accuracy of each anchor, left out of the map, is off what was recorded.

Lengths of models without recorded outcomes are a prior: the artifacts' own for answers without reasoning, plus EFFORT
(log tokens) for the thoughts, in tokens of the model's own.
"""

import argparse
import gzip
import json
import re
from datetime import date
from pathlib import Path

import numpy as np

import manifest
import published
from parameters import TOKEN_FACTORS

HERE = Path(__file__).parent
MODELS = HERE.parent
FIXTURE = MODELS.parent / "tests" / "fixtures" / "published.json"
VERSION = "2026-11-20"

# Published id -> name in the recorded outcomes. Only where both are the same snapshot of the same model.
ANCHORS = {
    "gemma-2-2b-it": "gemma-2-2b-it", "gemma-2-9b-it": "gemma-2-9b-it", "gemma-2-27b-it": "gemma-2-27b-it",
    "llama-3-8b-instruct": "Meta-Llama-3-8B-Instruct", "llama-3-70b-instruct": "Meta-Llama-3-70B-Instruct",
    "llama-3.1-8b-instruct": "Meta-Llama-3.1-8B-Instruct", "llama-3.1-70b-instruct": "Meta-Llama-3.1-70B-Instruct",
    "llama-3.1-405b-instruct": "Llama-3.1-405B-Inst@sambanova", "qwen2-72b-instruct": "Qwen2-72B-Instruct",
    "qwen2.5-7b-instruct": "Qwen2.5-7B-Instruct", "deepseek-v2.5": "deepseek-v2.5-0908",
    "gemini-1.5-flash-001": "gemini-1.5-flash", "gemini-1.5-flash-002": "gemini-1.5-flash-002",
    "gemini-1.5-pro-001": "gemini-1.5-pro", "gemini-1.5-pro-002": "gemini-1.5-pro-002",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
    "gpt-4o-2024-08-06": "gpt-4o-2024-08-06", "gpt-3.5-turbo-0125": "gpt-3.5-turbo-0125",
    "claude-3-haiku-20240307": "claude-3-haiku-20240307", "claude-3-opus-20240229": "claude-3-opus-20240229",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022": "claude-3-5-sonnet-20241022",
    "mistral-large-2407": "Mistral-Large-2", "o1-preview": "o1-preview-2024-09-12", "o1-mini": "o1-mini-2024-09-12",
}
# The only recorded models that reason, and the top of the anchors. README of openai/simple-evals (MIT), "Benchmark
# Results"; published_scores.json has that source's columns but not these two rows.
REASONING_ANCHORS = {
    "o1-preview": {"simpleevals_mmlu": 90.8, "simpleevals_gpqa": 73.3, "simpleevals_math": 85.5,
                   "simpleevals_humaneval": 92.4, "simpleevals_mgsm": 90.8},
    "o1-mini": {"simpleevals_mmlu": 85.2, "simpleevals_gpqa": 60.0, "simpleevals_math": 90.0,
                "simpleevals_humaneval": 92.4, "simpleevals_mgsm": 89.9},
}

# Columns that do not measure how well one prompt is answered (agents, tools, obscure facts), are at the floor for the
# older models (HLE before its re-scoring), compare routers, or were run with settings of their own (two of the Open LLM
# Leaderboard's).
IGNORED = re.compile(r"tau2|terminal|bfcl|lrb_|routerarena|arenahard|simpleqa|(?<!_v43)hle$|ollm2_(ifeval|gpqa)")
FEWEST = 8                 # models a column needs
GUESSED = {"gpqa": 25.0, "mmlu_pro": 10.0, "mmlu": 25.0}   # percent right by guessing
EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]

# Log of the tokens written, over an answer without reasoning: a prior that is stated, not measured, since nothing recorded
# counts thoughts. The total is about 2, 4, 7, 11 and 15 times the visible answer; an order of magnitude between thinking
# switched off and at its highest is what is generally reported. An
# effort without a name counts as high.
EFFORT = {"none": 0.0, "minimal": 0.0, "low": 0.7, "medium": 1.4, "high": 2.0, "xhigh": 2.4, "max": 2.7}
THINKING_SD = 0.8          # of log tokens, when reasoning
# Beyond the anchors the level grows at this share of its slope. MMLU-Pro is most of what was recorded, and the one test
# that the recorded models and later ones took in the same form: on it, log odds grow 0.67 (+-0.16) times as fast above
# g = 0 as below (printed at every run).
SATURATION = 0.7
EXTRAPOLATION = 0.25       # sd of the level per unit of g beyond the anchors


def is_elo(column: str) -> bool:
    return column.endswith("elo")


def guessed(column: str) -> float:
    """Percent right by guessing."""
    return next((g for name, g in GUESSED.items() if name in column), 0.0)


def log_odds(column: str, value: float) -> float:
    if is_elo(column):
        return value / 100
    p = np.clip((value - guessed(column)) / (100 - guessed(column)), 0.005, 0.995)
    return float(np.log(p / (1 - p)))


class Factor:
    """x[i, j] = offset[j] + slope[j]·g[i] + noise[j]·t, g ~ N(0, 1), by EM; columns are standardised first."""

    def __init__(self, x: np.ndarray, rounds: int = 300):
        known = np.isfinite(x)
        self.mean, self.scale = np.nanmean(x, 0), np.nanstd(x, 0)
        z = np.where(known, (x - self.mean) / self.scale, 0)
        columns = x.shape[1]
        self.offset, self.slope, self.noise = np.zeros(columns), np.full(columns, 0.8), np.full(columns, 0.5)
        weight = known.astype(float)
        for _ in range(rounds):
            precision = weight / self.noise**2
            variance = 1 / (1 + (precision * self.slope**2).sum(1))
            g = variance * ((precision * self.slope) * (z - self.offset)).sum(1)
            for j in range(columns):
                w = weight[:, j]
                moments = np.array([[w.sum(), w @ g], [w @ g, w @ (g * g + variance) + 1e-3]])
                self.offset[j], self.slope[j] = np.linalg.solve(moments, [w @ z[:, j], w @ (g * z[:, j])])
                error = (z[:, j] - self.offset[j] - self.slope[j] * g) ** 2 + self.slope[j] ** 2 * variance
                # Two pseudo-observations keep a column of few models from claiming to be exact.
                self.noise[j] = np.sqrt((w @ error + 2 * 0.2**2) / (known[:, j].sum() + 2))
                weight[:, j] = known[:, j] * 5 / (4 + error / self.noise[j] ** 2)
        self.g, self.sd = g, np.sqrt(variance)

    def steps(self, column: int, x: np.ndarray) -> np.ndarray:
        """Differences in a column as differences in g."""
        return x / self.scale[column] / self.slope[column]


def read_scores(models: list[dict], overrides: dict) -> dict[tuple[str, str], dict[str, float]]:
    """(model, "" or "none") -> column -> log odds; "none" is the model without reasoning."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for model in models:
        moved = overrides["scored_without_reasoning"].get(model["id"], [])
        for name, score in model["scores"].items():
            column = name.removesuffix("_nr")
            if not IGNORED.search(column):
                mode = "none" if column != name or column in moved else ""
                rows.setdefault((model["id"], mode), {})[column] = log_odds(column, score["value"])
    for name, scores in REASONING_ANCHORS.items():
        rows[name, ""] = {column: log_odds(column, value) for column, value in scores.items()}
    return rows


def levels(models: list[dict], overrides: dict) -> tuple[dict[tuple[str, str], tuple[float, float, int]], dict[str, list[float]]]:
    """(model, effort; "" is the effort it was scored at) -> g, its sd, and the number of scores behind it; and the
    columns' constants as `published` has them."""
    rows = read_scores(models, overrides)
    names = list(rows)
    counts: dict[str, int] = {}
    for row in rows.values():
        for column in row:
            counts[column] = counts.get(column, 0) + 1
    columns = sorted(c for c, n in counts.items() if n >= FEWEST)
    x = np.array([[rows[name].get(column, np.nan) for column in columns] for name in names])
    kept = np.isfinite(x).any(1)
    names, x = [n for n, k in zip(names, kept) if k], x[kept]
    factor = Factor(x)
    result = {n: (float(g), float(s), int(np.isfinite(r).sum())) for n, g, s, r in zip(names, factor.g, factor.sd, x)}

    # How far do other scores follow the index between a model with and without reasoning?
    index41, index43 = columns.index("aa_index_v4_1"), columns.index("aa_index_v4_3")
    others = [j for j, c in enumerate(columns) if not c.startswith("aa_index")]
    by_index, by_others = [], []
    for i, (name, mode) in enumerate(names):
        if mode != "none" or (name, "") not in names:
            continue
        difference = x[names.index((name, ""))] - x[i]
        shared = [j for j in others if np.isfinite(difference[j])]
        if np.isfinite(difference[index41]) and len(shared) >= 3:
            weights = (factor.slope[shared] / factor.noise[shared]) ** 2
            steps = np.array([factor.steps(j, difference[j]) for j in shared])
            by_index.append(factor.steps(index41, difference[index41]))
            by_others.append(weights @ steps / weights.sum())
    follow = float(np.dot(by_index, by_others) / np.dot(by_index, by_index))
    shrink = min(max(follow, 0.0), 1.0)
    print(f"{len(names)} rows x {len(columns)} columns, one factor; efforts: {len(by_index)} models with and without "
          f"reasoning move {follow:.2f} as far on other scores as on the index (used: {shrink:.2f})")
    pro = x[:, columns.index("aa_mmlu_pro")]
    bent = np.column_stack([np.ones_like(factor.g), factor.g, np.maximum(factor.g, 0)])[np.isfinite(pro)]
    _, below, bend = np.linalg.lstsq(bent, pro[np.isfinite(pro)], rcond=None)[0]
    print(f"MMLU-Pro: above g = 0 log odds grow {1 + bend / below:.2f} times as fast as below (used: {SATURATION})")
    print("  slope and noise of columns: " + ", ".join(
        f"{c} {s:.2f}±{n:.2f}" for c, s, n in zip(columns, factor.slope, factor.noise)))
    for model in models:
        scores = model["scores"].get("aa_index_v4_3", {})
        if (model["id"], "") not in result:
            continue
        g, sd, n = result[model["id"], ""]
        for effort, value in (scores.get("by_effort") or {}).items():
            step = factor.steps(index43, log_odds("aa_index_v4_3", value) - log_odds("aa_index_v4_3", scores["value"]))
            # The index at another effort is one score, and the shrinking is itself uncertain.
            result[model["id"], effort] = (g + shrink * float(step), float(np.hypot(sd, 0.3 * step)), n)
    followed = {c: score_constants(c, factor, j) for j, c in enumerate(columns)}
    alone = np.array([published.posterior(followed, {c: v for c, v in zip(columns, r) if np.isfinite(v)}) for r in x])
    print(f"one model at a time, from the columns' constants: g differs by at most {np.abs(alone[:, 0] - factor.g).max():.4f}, "
          f"its sd by {np.abs(alone[:, 1] - factor.sd).max():.4f}")
    return result, followed


def score_constants(name: str, factor: Factor, j: int) -> list[float]:
    """How a column follows g, in log odds: what guessing gets, value at g = 0, slope, noise."""
    scale, digits = factor.scale[j], published.digits
    # Next to an Elo of 14 (hundreds), four digits would be coarser than the noise of other columns.
    return [0.0 if is_elo(name) else guessed(name), round(float(factor.mean[j] + scale * factor.offset[j]), 4),
            digits(scale * factor.slope[j]), digits(scale * factor.noise[j])]


class Map:
    """g -> ability vector [level, weights of the skills]; one ridge regression per entry, its strength by leaving one
    anchor out."""

    STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 1e9)

    def __init__(self, g: np.ndarray, ability: np.ndarray):
        self.g, self.ability = g, ability
        self.low, self.high = g.min(), g.max()
        self.strength = np.zeros(ability.shape[1])
        for k in range(1, ability.shape[1]):   # the level is not shrunk: its slope is what it is about
            errors = [np.square(self._left_out(k, s)).mean() for s in self.STRENGTHS]
            self.strength[k] = self.STRENGTHS[int(np.argmin(errors))]
        self.slope, self.at_mean, self.slope_sd = self._fit(g, ability, self.strength)
        self.left_out = np.stack([self._left_out(k, s) for k, s in enumerate(self.strength)], 1)   # truth - prediction

    @staticmethod
    def _fit(g: np.ndarray, y: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centred = g - g.mean()
        spread = centred @ centred
        slope = (centred @ (y - y.mean(0))) / (spread + strength)
        residual = y - y.mean(0) - np.outer(centred, slope)
        return slope, y.mean(0), np.sqrt((residual**2).sum(0) / (len(g) - 2) / spread)

    def _left_out(self, k: int, strength: float) -> np.ndarray:
        errors = np.empty(len(self.g))
        for i in range(len(self.g)):
            rest = np.arange(len(self.g)) != i
            slope, mean, _ = self._fit(self.g[rest], self.ability[rest, k:k + 1], np.array([strength]))
            errors[i] = self.ability[i, k] - (mean + slope * (self.g[i] - self.g[rest].mean()))[0]
        return errors

    def __call__(self, g: float, sd: float) -> tuple[np.ndarray, np.ndarray]:
        edge = np.clip(g, self.low, self.high)
        at = np.full(len(self.slope), edge - self.g.mean())
        at[0] += (g - edge) * (SATURATION if g > edge else 1.0)
        mean = self.at_mean + self.slope * at
        variance = (self.left_out**2).mean(0) + (self.slope_sd * at) ** 2 + (self.slope * sd) ** 2
        variance[0] += (EXTRAPOLATION * max(0.0, g - self.high, self.low - g)) ** 2
        return mean, np.sqrt(variance)

    def constants(self) -> dict:
        return {"known": short(np.array([self.g.mean(), self.low, self.high])),
                "at": {"mean": short(self.at_mean), "sd": short(np.sqrt((self.left_out**2).mean(0)))},
                "slope": {"mean": short(self.slope), "sd": short(self.slope_sd)},
                "saturation": SATURATION, "extrapolation": EXTRAPOLATION}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def year(text: str | None) -> float:
    """A release date, to the month; without one, as new as the catalog."""
    parts = [int(p) for p in (text or VERSION).split("-")]
    return parts[0] + (parts[1] - 0.5) / 12


class ByPrice:
    """g from the log of the price (3 input : 1 output) and the release date, on the current models with scores."""

    def __init__(self, models: list[dict], level: dict):
        known = [m for m in models if m["group"] == "current" and m["input_usd_per_mtok"] and (m["id"], "") in level]
        x = np.array([self.features(m) for m in known])
        g = np.array([level[m["id"], ""][0] for m in known])
        self.coefficients = np.linalg.lstsq(x, g, rcond=None)[0]
        hat = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
        self.sd = float(np.sqrt(np.mean(((g - x @ self.coefficients) / (1 - hat)) ** 2)))

    @staticmethod
    def features(model: dict) -> list[float]:
        return [1.0, np.log10(0.75 * model["input_usd_per_mtok"] + 0.25 * model["output_usd_per_mtok"]),
                year(model["released"]) - 2026]

    def __call__(self, model: dict) -> float:
        """One sd below what price and date suggest."""
        return float(self.coefficients @ self.features(model)) - self.sd

    def constants(self) -> list[float]:
        """g at one USD in 2026, per factor of ten, per year, the year of models without a date, and the sd."""
        return short(np.array([*self.coefficients, year(None), self.sd]))


def usd(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def rates(input: float, output: float, cached: float | None) -> dict:
    found = {"input": usd(input), "output": usd(output)}
    return found | {"cache_read": usd(cached)} if cached else found


def tiers(row: dict) -> list[dict]:
    """From LiteLLM's `input_cost_per_token_above_272k_tokens` and the like."""
    found = []
    for key in row:
        if match := re.fullmatch(r"input_cost_per_token_above_(\d+)k_tokens", key):
            k = int(match[1])
            part = [row.get(f"{kind}_above_{k}k_tokens") for kind in
                    ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")]
            found.append({"above_input_tokens": 1000 * k} | rates(*(p * 1e6 if p else None for p in part)))
    return sorted(found, key=lambda tier: tier["above_input_tokens"])


def off_peak(row: dict) -> list[dict]:
    """Hours that are off-peak on every weekday; weekends are off-peak as a whole, which a price list cannot say."""
    if not (cheap := row.get("off_peak_pricing")):
        return []
    spans = next(w["hours_utc"] for w in cheap["windows"] if 1 in w.get("weekdays", [1]))
    spans = [tuple(span.split("-")) for span in spans]
    joined = [(a, b) for a, b in spans if a != "00:00" and b != "00:00"]
    ends, starts = [a for a, b in spans if b == "00:00"], [b for a, b in spans if a == "00:00"]
    joined += [(ends[0], starts[0])] if ends and starts else []
    part = [cheap.get(kind) for kind in ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")]
    return [{"from": a, "to": b} | rates(*(p * 1e6 if p else None for p in part)) for a, b in sorted(joined)]


def reasons(model: dict, overrides: dict) -> bool:
    """Stated, or scored with and without."""
    return bool(model["reasoning"]) or any(c.endswith("_nr") for c in model["scores"]) or model["id"] in overrides["reasons"]


def named_effort(model: dict, overrides: dict) -> str | None:
    """The effort that the scores were measured at, if they name one that can be asked for."""
    if not reasons(model, overrides):
        return None
    for column in ("aa_index_v4_3", "aa_index_v4_1"):
        note = model["scores"].get(column, {}).get("note") or ""
        found = re.search(r"\b(minimal|low|medium|high|xhigh|max)\b(?! 0)", note.lower().split(";")[0].replace("qwen3.8 max", ""))
        if found and (note.startswith("effort") or "(" in note):
            return found[1]
    return overrides["effort"].get(model["id"])


def candidates(model: dict, level: dict, overrides: dict) -> list[tuple[str, str | None, str]]:
    """(suffix of the id, effort to ask for, key of its level). The plain id is the everyday effort: medium, or high,
    or the one that was scored, and asks for it by name where it has one."""
    scored = named_effort(model, overrides)
    by_effort = [e for e in EFFORTS if (model["id"], e) in level]
    thinking = [e for e in by_effort if e != "none"]
    plain = next((e for e in ("medium", "high", scored) if e in thinking), None)
    if plain is None:
        found = [("", scored, "")]
    else:
        found = [("", plain, plain)] + [(f"@{e}", e, e) for e in thinking if e != plain]
    return found + [("@none", "none", "none")] * ("none" in by_effort)


def entry(model: dict, row: dict, overrides: dict) -> dict:
    """Everything but effort, ability and length."""
    key = model["litellm_key"]
    base = key.split("/", 1)[1] if "/" in key else key
    cost = rates(model["input_usd_per_mtok"], model["output_usd_per_mtok"], model["cache_read_usd_per_mtok"])
    change = overrides["changes"].get(model["id"], {})
    for name, rules in (("tiers", tiers(row)), ("hours", off_peak(row)), ("changes", change.get("changes", []))):
        if rules:
            cost[name] = rules
    limit = {"context": model["context"]}
    if model["max_output"] and not (model.get("max_output_note") or "").startswith("LiteLLM repeats"):
        limit["output"] = model["max_output"]
    result = {"id": f"{model['provider']}/{model['id']}", "provider": model["provider"], "base": base, "cost": cost,
              "limit": limit}
    if model["modalities"]:
        result["modalities"] = sorted(model["modalities"], key=["text", "image", "pdf", "audio", "video"].index)
    for name, value in (("tool_call", model["tools"]), ("json", model["json_mode"])):
        if value is not None:
            result[name] = value
    result["reasoning"] = reasons(model, overrides)
    released = model["released"]
    if released:
        result["released"] = released if len(released) == 10 else f"{released}-01"
    if model["deprecation_date"]:
        result["deprecation_date"] = model["deprecation_date"]
    notes = [overrides["notes"].get(model["id"]), change.get("note")]
    result["sources"] = [f"LiteLLM 1.109.1, {key}"] + [note for note in notes if note]
    return result


def token_factor(name: str) -> float:
    """Tokens of a model per token of o200k, in which recorded answers are counted; the longest name within the id decides."""
    known = [part for part in TOKEN_FACTORS if part in name.lower()]
    return TOKEN_FACTORS[max(known, key=len)] if known else 1.0


def short(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) + 0.0 for v in values]


def build(data: Path) -> tuple[dict, dict]:
    models = json.loads((data / "published_scores.json").read_text())
    prices = json.loads(gzip.decompress((data / "litellm_model_prices.json.gz").read_bytes()))
    overrides = json.loads((HERE / "catalog_overrides.json").read_text())
    parameters = json.loads((MODELS / "parameters.json").read_text())
    reference = json.loads((MODELS / "reference.json").read_text())["queries"]

    level, columns = levels(models, overrides)
    recorded = parameters["abilities"]
    anchors = [(p, o) for p, o in ANCHORS.items() if (p, "") in level and o in recorded]
    for missing in sorted(set(ANCHORS) - {p for p, _ in anchors}):
        print(f"  no anchor: {missing} ({ANCHORS[missing]} is not recorded, or has no scores)")
    g = np.array([level[p, ""][0] for p, _ in anchors])
    to_ability = Map(g, np.array([recorded[o]["ability"]["mean"] for _, o in anchors]))
    report_map(to_ability, anchors, reference)

    by_price = ByPrice(models, level)
    print(f"g by price and date: {np.round(by_price.coefficients, 2)} (1, log10 USD, years since 2026), sd {by_price.sd:.2f}")

    prior, entries = parameters["length_prior"], []
    plain_sd = float(np.hypot(prior["residual_sd"], prior["sd"][0]))
    for model in models:
        retired = model["deprecation_date"] and date.fromisoformat(model["deprecation_date"]) <= date.fromisoformat(VERSION)
        if model["group"] != "current" or retired or model["id"] in overrides["leave_out"]:
            continue
        shared = entry(model, prices.get(model["litellm_key"], {}), overrides)
        for suffix, effort, key in candidates(model, level, overrides):
            named = {"id": shared["id"] + suffix, "provider": shared["provider"], "base": shared["base"]}
            found = named | ({"effort": effort} if effort else {}) | shared | named
            thinks = shared["reasoning"] and effort != "none"
            if (model["id"], key) in level:
                value, sd, n = level[model["id"], key]
                mean, spread = to_ability(value, sd)
                about = {"source": "published", "note": f"{n} scores, g {value:.2f}"}
            else:
                value = by_price(model)
                mean, spread = to_ability(value, by_price.sd)
                about = {"source": "price", "note": f"no scores yet, g {value:.2f} by price and date, one sd down"}
            found["ability"] = {"mean": short(mean), "sd": short(spread)} | about
            length = np.array(prior["mean"])
            length[0] += EFFORT[effort or "high"] if thinks else 0.0
            length[0] += np.log(token_factor(model["id"]))
            found["length"] = {"mean": short(length), "residual_sd": round(THINKING_SD if thinks else plain_sd, 4),
                               "source": "prior"}
            if about["source"] == "published":
                found["sources"] = found["sources"] + ["ability: derived from Artificial Analysis, LMArena and others"]
            entries.append(found)
    entries.sort(key=lambda e: (e["provider"], e["id"]))
    catalog = {
        "format": 1, "version": VERSION,
        "attribution": "Abilities are derived from scores published by Artificial Analysis (https://artificialanalysis.ai), "
                       "LMArena (https://arena.ai), LiveBench, Epoch AI, OpenAI simple-evals and vendors (by way of llm-stats). "
                       "Prices and limits: LiteLLM (MIT) and models.dev (MIT).",
        "models": entries,
    }
    constants = {"scores": columns} | to_ability.constants() | {"price": by_price.constants()}
    return catalog, {"queries": reference, "published": constants, "left_out": left_out(to_ability, level, anchors)}


def left_out(to_ability: Map, level: dict, anchors: list[tuple[str, str]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name in the outcomes -> ability and sd by a map fitted without it."""
    found = {}
    for i, (scored, name) in enumerate(anchors):
        rest = np.arange(len(anchors)) != i
        g, sd, _ = level[scored, ""]
        found[name] = Map(to_ability.g[rest], to_ability.ability[rest])(g, sd)
    return found


def means(ability: np.ndarray, reference: list[dict]) -> np.ndarray:
    """Quality on each query of the reference sample."""
    skills = np.array([q["skills"] for q in reference])
    difficulty = np.array([q["difficulty"] for q in reference])
    return sigmoid(ability[0] + skills @ ability[1:] - difficulty)


def report_map(to_ability: Map, anchors: list[tuple[str, str]], reference: list[dict]) -> None:
    left_out = to_ability.left_out
    truth = np.array([means(a, reference).mean() for a in to_ability.ability])
    guess = np.array([means(a - e, reference).mean() for a, e in zip(to_ability.ability, left_out)])
    print(f"level = {to_ability.at_mean[0]:.3f} + {to_ability.slope[0]:.3f} (g - {to_ability.g.mean():.3f}), slope sd "
          f"{to_ability.slope_sd[0]:.3f}; {len(anchors)} anchors, g {to_ability.low:.2f} to {to_ability.high:.2f}")
    print(f"leaving one anchor out: level off by {np.sqrt((left_out[:, 0] ** 2).mean()):.3f} logits (rms), mean quality by "
          f"{100 * np.abs(truth - guess).mean():.1f} points (mean), {100 * np.abs(truth - guess).max():.1f} (most)")
    print(f"  weights: slopes {np.round(to_ability.slope[1:], 3)}, off by {np.round(np.sqrt((left_out[:, 1:] ** 2).mean(0)), 3)}")
    for i in np.argsort(to_ability.g):
        print(f"    {anchors[i][0]:28} g {to_ability.g[i]:6.2f}  level {to_ability.ability[i, 0]:6.2f}  off by "
              f"{left_out[i, 0]:5.2f}  quality {truth[i]:.3f} predicted {guess[i]:.3f}")


def report(catalog: dict, extra: dict) -> None:
    """Mean quality and cost per 1,000 queries on the reference sample, and whether a stronger model is nowhere weaker."""
    reference = extra["queries"]
    lengths = np.array([q["length"] for q in reference])
    inputs = np.array([q["input_tokens"] for q in reference])
    difficulty = np.array([q["difficulty"] for q in reference])
    hard = difficulty > np.quantile(difficulty, 0.8)
    table, abilities = [], []
    for e in catalog["models"]:
        ability = np.array(e["ability"]["mean"])
        quality = means(ability, reference)
        log_tokens = e["length"]["mean"][0] + lengths @ np.array(e["length"]["mean"][1:])
        tokens = np.exp(log_tokens + e["length"]["residual_sd"] ** 2 / 2)
        cost = (inputs * e["cost"]["input"] + tokens * e["cost"]["output"]).mean() / 1e3
        table.append((cost, quality.mean(), quality[hard].mean(), tokens.mean(), e["ability"]["sd"][0], e["id"]))
        abilities.append(quality)
    order = np.argsort([row[1] for row in table])
    worst = max((float((abilities[a] - abilities[b]).max()) for a, b in zip(order, order[1:])), default=0.0)
    print(f"\n{len(table)} entries; on no query is a model better than the next stronger one by more than {worst:.4f}")
    print("USD/1000  quality  hardest fifth  tokens  sd    id (* on the frontier)")
    best = 0.0
    for cost, quality, hardest, tokens, sd, name in sorted(table):
        mark = "*" if quality > best + 1e-9 else " "
        best = max(best, quality)
        print(f"{cost:8.3f}  {quality:.3f}    {hardest:.3f}         {tokens:6.0f}  {sd:.2f} {mark} {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with published_scores.json and LiteLLM's table")
    parser.add_argument("--out", type=Path, default=MODELS / "catalog.json")
    parser.add_argument("--pennyroute", type=Path, help="the Rust command, to compare with recorded outcomes")
    args = parser.parse_args()
    catalog, extra = build(args.data)
    report(catalog, extra)
    parameters = MODELS / "parameters.json"
    with_constants = json.loads(parameters.read_text()) | {"published": extra["published"]}
    parameters.write_text(json.dumps(with_constants, separators=(",", ":")) + "\n")
    published.write_fixture(FIXTURE, extra["published"], log_odds)
    packed = len(gzip.compress(json.dumps(extra["published"], separators=(",", ":")).encode(), 9))
    print(f"\n{parameters}: constants of {len(extra['published']['scores'])} scores, {packed} bytes gzipped")
    lines = ",\n".join(json.dumps(e, separators=(",", ":"), ensure_ascii=False) for e in catalog["models"])
    head = json.dumps({k: v for k, v in catalog.items() if k != "models"}, separators=(",", ":"))[:-1]
    text = f'{head},"models":[\n{lines}\n]}}\n'
    args.out.write_text(text)
    packed = len(gzip.compress(text.encode(), 9))
    print(f"\n{args.out}: {len(catalog['models'])} entries, {len(text.encode())} bytes, {packed} gzipped")
    # The program refuses artifacts that the manifest does not vouch for.
    manifest.write(MODELS)
    if args.pennyroute:
        published.report_recorded(args.data, args.pennyroute, MODELS, extra["left_out"])


if __name__ == "__main__":
    main()
