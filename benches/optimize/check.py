"""Verifies answers from the instances' bytes alone; shares no code with the solver.

    python check.py FOLDER ANSWERS.jsonl...
    python check.py --self-test

Every plan, ours and the peers', is held against every constraint. For ours the lower bound is
computed anew from the reported prices, by weak duality: for any lambda, mu, nu >= 0

    cost >= sum_i min_j (c_ij - (lambda + nu_g(i)) p_ij + mu_j)
            - sum_j mu_j L_j + lambda alpha N + sum_g nu_g alpha_g |g|

(for a budget the mirror image, an upper bound on quality). Where every p is a whole multiple of 1/16,
so is every sum of them, and a sum that must reach alpha N must reach the next multiple. One JSON line per answer; the verdict of
ours is `verified`; `unconfirmed`, where the stated bound is above both that of the prices and the
optimum that a peer has proven; or `refused`, with the reasons. The exit status is 1 if any is refused.
"""

import json
import sys
from collections import defaultdict
from itertools import product
from math import ceil, floor, fsum
from pathlib import Path

import numpy as np

from instance import Instance, load

QUALITY_TARGET, WORKLOADS, FLOORS, BUDGET = "QCF", "TACFB", "F", "B"
OURS = "pennyroute"
# What the solver documents: the mean quality may miss its target, and the cost relatively its budget.
FEASIBILITY = 1e-12
# Relative, of sums: rounding in double precision.
ROUNDING = 1e-12
# Two optima are equal within what HiGHS is asked to prove.
EQUAL = 2e-9
OPTIMALITY = 1e-9
GRID = 16


def totals(instance, assignment):
    rows = np.arange(len(assignment))
    return fsum(instance.cost[rows, assignment]), fsum(instance.quality[rows, assignment])


def violations(instance, kind, assignment):
    """Every constraint that an assignment breaks, in words."""
    n, m = instance.shape
    x = np.asarray(assignment)
    if x.shape != (n,) or x.dtype.kind not in "iu" or (n and not (0 <= x.min() and x.max() < m)):
        return [f"not one of {m} models for each of {n} queries"]
    found = []
    forbidden = np.flatnonzero(instance.forbidden[np.arange(n), x])
    if len(forbidden):
        found.append(f"{len(forbidden)} forbidden pairs, query {forbidden[0]} first")
    if kind in WORKLOADS:
        load = np.bincount(x, minlength=m)
        found += [f"model {j}: {load[j]} queries, limit {instance.limits[j]:.0f}" for j in np.flatnonzero(load > instance.limits)]
    cost, quality = totals(instance, x)
    if kind in QUALITY_TARGET and quality < (instance.alpha - FEASIBILITY) * n:
        found.append(f"mean quality short of the target by {instance.alpha - quality / n:.3g}")
    if kind in BUDGET and cost > instance.budget * (1 + FEASIBILITY):
        found.append(f"cost above the budget by {cost / instance.budget - 1:.3g} of it")
    if kind in FLOORS:
        for g, least in enumerate(instance.floors):
            mine = instance.members(g)
            short = least * len(mine) - fsum(instance.quality[mine, x[mine]])
            if short > FEASIBILITY * len(mine):
                found.append(f"group {g} short of its floor by {short / len(mine):.3g}")
    return found


def on_grid(instance):
    """Whether sums of quality are whole multiples of 1 / GRID, exactly."""
    steps = instance.quality * GRID
    return bool((steps == np.round(steps)).all())


def needed(instance, mean, count):
    """The least sum of quality that a plan may have where its mean over `count` queries has a floor."""
    if on_grid(instance):
        return ceil((mean - FEASIBILITY) * count * GRID) / GRID
    return mean * count


def dual_bound(instance, kind, duals):
    """The bound that prices prove, and the rounding error it may have; None where they prove none."""
    n, m = instance.shape
    mu = np.asarray(duals["workloads"] if kind in WORKLOADS else np.zeros(m), float)
    usd_per_quality = duals["quality"] / (0.01 * n)
    if mu.shape != (m,) or not (np.isfinite(mu).all() and (mu >= 0).all() and usd_per_quality >= 0):
        return None
    usable = ~instance.forbidden
    if kind in BUDGET:
        # Prices are in dollars; the bound is on quality, of which a dollar is worth theta.
        theta = 1 / usd_per_quality if usd_per_quality > 0 else 0.0
        best = np.where(usable, instance.quality - theta * (instance.cost + mu), -np.inf).max(1)
        rent = theta * fsum(mu * instance.limits)
        terms = [*best, rent, theta * instance.budget]
        most, error = fsum(terms), ROUNDING * fsum(map(abs, terms))
        if on_grid(instance):
            most, error = floor((most + error) * GRID) / GRID, 0.0
        return most / n, error / n
    price = np.full(n, usd_per_quality if kind in QUALITY_TARGET else 0.0)
    owed = [price[0] * needed(instance, instance.alpha, n)] if kind in QUALITY_TARGET else []
    if kind in FLOORS:
        sizes = np.bincount(instance.group, minlength=len(instance.floors))
        nu = np.divide(duals["groups"], 0.01 * sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        if not (nu >= 0).all():
            return None
        price = price + nu[instance.group]
        owed += [nu[g] * needed(instance, least, sizes[g]) for g, least in enumerate(instance.floors)]
    least = np.where(usable, instance.cost - price[:, None] * instance.quality + mu, np.inf).min(1)
    terms = [*least, *owed, -fsum(mu * instance.limits)]
    return fsum(terms), ROUNDING * fsum(map(abs, terms))


def value_of(instance, kind, assignment):
    """What is optimised, so that less is better: cost, or lost quality."""
    cost, quality = totals(instance, assignment)
    return -quality / len(assignment) if kind in BUDGET else cost


def check_peer(instance, kind, answer):
    """A peer's plan: its value, and whether it keeps the constraints as strictly as ours must."""
    result = {"solver": answer["solver"], "status": answer["status"]}
    if answer.get("assignment"):
        result["violations"] = violations(instance, kind, answer["assignment"])
        result["value"] = value_of(instance, kind, answer["assignment"])
    return result


def check_ours(instance, kind, answer, peers):
    """`peers` are the results of check_peer and the answers they are about, by solver."""
    sign = -1 if kind in BUDGET else 1
    exact = peers.get("highs_exact", ({},))[0]
    proven = exact.get("status") == "optimal" and not exact.get("violations", [""])
    if answer["status"] == "infeasible":
        found = [f"a plan exists: {name} has one" for name, (peer, _) in peers.items() if peer.get("violations") == []]
        agreed = any(peer["status"] == "infeasible" for peer, _ in peers.values())
        return {"verdict": "refused" if found else "verified" if agreed else "unconfirmed", "reasons": found}

    found = violations(instance, kind, answer["assignment"])
    if found:
        return {"verdict": "refused", "reasons": found}
    cost, quality = totals(instance, answer["assignment"])
    n = instance.shape[0]
    for name, true in (("cost", cost), ("quality", quality / n)):
        if abs(answer[name] - true) > ROUNDING * abs(true):
            found.append(f"{name} is {true!r}, not {answer[name]!r}")
    # Less is better from here on, bounds are lower bounds.
    value, bound = value_of(instance, kind, answer["assignment"]), sign * answer["bound"]
    rounding = ROUNDING * abs(value)
    if bound > value + rounding:
        found.append("the bound is beyond the plan's own value")
    gap = (value - bound) / abs(bound) if bound else 0.0
    if not abs(gap - answer["gap"]) <= 1e-12 + 1e-6 * gap:
        found.append(f"the gap is {gap:.6g}, not {answer['gap']:.6g}")
    if answer["status"] == "optimal" and gap > OPTIMALITY * (1 + 1e-6):
        found.append("called optimal with a gap")

    result = {"value": sign * value, "gap": gap, "bound_from_prices": None, "gap_from_prices": None, "over_ours": {}}
    confirmed = None
    priced = dual_bound(instance, kind, answer["duals"])
    if priced is None:
        found.append("a price is negative or missing")
    else:
        dual, error = sign * priced[0], priced[1]
        result |= {"bound_from_prices": priced[0], "gap_from_prices": max(0.0, (value - dual) / abs(dual))}
        if dual > value + error + rounding:
            found.append("the prices prove a bound beyond the plan: the instance or the checker is wrong")
        if bound <= dual + error + rounding:
            confirmed = "prices"
        if "highs_lp" in peers and peers["highs_lp"][0]["status"] == "optimal":
            lp = sign * peers["highs_lp"][1]["bound"]
            result["lp_over_prices"] = (lp - dual) / abs(dual)
    for name, (peer, _) in peers.items():
        if peer.get("violations") != []:
            continue
        # More than 0: the peer's plan is worse. By up to one unit of its integer costs per query, or
        # by its tolerances, it may also be worse where the peer is exact.
        other = peer["value"]
        result["over_ours"][name] = (other - value) / abs(value)
        if bound > other + EQUAL * abs(other):
            found.append(f"{name} has a plan beyond the bound")
        if answer["status"] == "optimal" and value > other + EQUAL * abs(other):
            found.append(f"called optimal, but {name} is better by {(value - other) / abs(other):.3g}")
    if confirmed is None and proven and bound <= exact["value"] + EQUAL * abs(exact["value"]):
        confirmed = "highs_exact"
    result["confirmed_by"] = confirmed
    result["verdict"] = "refused" if found else "verified" if confirmed else "unconfirmed"
    result["reasons"] = found
    return result


def check_all(folder, files):
    answers = defaultdict(dict)
    for file in files:
        for line in Path(file).read_text().splitlines():
            answer = json.loads(line)
            answers[answer["instance"], answer["kind"]][answer["solver"]] = answer
    refused = False
    for (name, kind), by_solver in answers.items():
        instance = load(Path(folder) / f"{name}.bin")
        ours = by_solver.pop(OURS, None)
        peers = {solver: (check_peer(instance, kind, answer), answer) for solver, answer in by_solver.items()}
        results = [peer for peer, _ in peers.values()]
        if ours:
            results.insert(0, {"solver": OURS} | check_ours(instance, kind, ours, peers))
        for result in results:
            refused |= result.get("verdict") == "refused"
            print(json.dumps({"instance": name, "kind": kind} | result))
    return 1 if refused else 0


def small_instance(random, ties):
    """Six queries and three models, few enough to try every plan."""
    n, m = 6, 3
    quality = random.uniform(0.2, 0.6, (n, m)) + [0, 0.2, 0.4]
    instance = Instance(
        alpha=0.6,
        budget=0.0,
        limits=np.array([3.0, 3.0, 4.0]),
        floors=np.array([0.5, 0.6]),
        cost=random.uniform(0.1, 1.0, (n, m)) * [1, 2, 4],
        quality=np.round(quality * GRID) / GRID if ties else quality,
        group=np.arange(n) % 2,
        forbidden=random.uniform(size=(n, m)) < 0.15,
    )
    plans = list(product(range(m), repeat=n))
    instance.budget = np.median([totals(instance, plan)[0] for plan in plans])
    return instance, plans


def best_plan(instance, plans, kind):
    sound = (plan for plan in plans if not violations(instance, kind, plan))
    return min(sound, key=lambda plan: value_of(instance, kind, plan), default=None)


def climb(instance, kind, random):
    """Bounds of prices that a random search makes ever tighter; all of them must hold."""
    sign = -1 if kind in BUDGET else 1
    prices, best = np.full(6, 0.1), -np.inf
    for _ in range(200):
        trial = prices * random.lognormal(0, 0.5, 6) * (random.uniform(size=6) < 0.9)
        duals = {"quality": trial[0], "workloads": trial[1:4], "groups": 0.1 * trial[4:]}
        bound = sign * dual_bound(instance, kind, duals)[0]
        if bound > best:
            prices, best = np.maximum(trial, 1e-3), bound
    return best


def refuted_bounds(random):
    """Of how many problems the tightest bound found is above the best of all plans, and of how many."""
    refuted = tried = 0
    for problem in range(12):
        instance, plans = small_instance(random, ties=problem % 2 == 1)
        for kind in "TCFBQ":
            plan = best_plan(instance, plans, kind)
            if plan is not None:
                refuted += climb(instance, kind, random) > value_of(instance, kind, plan) + ROUNDING
                tried += 1
    return refuted, tried


def self_test():
    """A small problem whose optimum is found by trying every plan; then each lie must be refused."""
    random = np.random.default_rng(20261120)
    instance, plans = small_instance(random, ties=False)
    n = instance.shape[0]

    def honest(kind):
        plan = best_plan(instance, plans, kind)
        cost, quality = totals(instance, plan)
        duals = {"quality": 0.02 * n, "workloads": [0.0, 0.1, 0.05], "groups": [0.01 * n / 2, 0.0]}
        value, bound = (quality / n if kind in BUDGET else cost), dual_bound(instance, kind, duals)[0]
        answer = {"solver": OURS, "status": "feasible", "assignment": list(plan), "cost": cost, "quality": quality / n}
        return answer | {"bound": bound, "gap": abs(value - bound) / bound, "duals": duals}

    def verdict(kind, answer, peers={}):
        return check_ours(instance, kind, answer, peers)["verdict"]

    def with_bound(kind, answer, bound):
        value = answer["quality"] if kind in BUDGET else answer["cost"]
        return answer | {"bound": bound, "gap": abs(value - bound) / bound}

    def breaking(kind, word):
        """The plan that breaks the constraint of this word alone, told as if it were sound."""
        for plan in plans:
            found = violations(instance, kind, plan)
            if len(found) == 1 and word in found[0]:
                cost, quality = totals(instance, plan)
                answer = honest(kind) | {"assignment": list(plan), "cost": cost, "quality": quality / n}
                return with_bound(kind, answer, answer["bound"])
        raise AssertionError(f"no plan breaks the {word} alone")

    cases = []
    for kind in "TCFBQ":
        answer = honest(kind)
        value, bound = answer["quality" if kind in BUDGET else "cost"], answer["bound"]
        optimum = {"solver": "highs_exact", "status": "optimal", "assignment": answer["assignment"]}
        peers = {"highs_exact": (check_peer(instance, kind, optimum), optimum)}
        between = with_bound(kind, answer, (value + bound) / 2)
        beyond = with_bound(kind, answer, value * (0.99 if kind in BUDGET else 1.01))
        missing = {k: v for k, v in answer.items() if k != "assignment"} | {"assignment": answer["assignment"][1:]}
        cases += [
            (kind, "an honest answer", "verified", answer, {}),
            (kind, "a bound inflated beyond its prices", "unconfirmed", between, {}),
            (kind, "the same, proven by a peer", "verified", between, peers),
            (kind, "a bound inflated beyond the plan", "refused", beyond, {}),
            (kind, "a gap understated", "refused", answer | {"gap": answer["gap"] * 0.9}, {}),
            (kind, "optimal, with a gap", "refused", answer | {"status": "optimal"}, {}),
            (kind, "a cost misstated", "refused", answer | {"cost": answer["cost"] * (1 - 1e-9)}, {}),
            (kind, "a query left out", "refused", missing, {}),
            (kind, "infeasible, where a peer has a plan", "refused", {"status": "infeasible"}, peers),
        ]
    for kind, word in [("T", "limit"), ("C", "limit"), ("C", "target"), ("T", "forbidden"), ("F", "floor"), ("B", "budget"), ("Q", "target")]:
        cases.append((kind, f"a plan that breaks the {word}", "refused", breaking(kind, word), {}))
    negative = honest("C") | {"duals": honest("C")["duals"] | {"workloads": [-0.1, 0.0, 0.0]}}
    cases.append(("C", "a negative price", "refused", negative, {}))
    worse = max((p for p in plans if not violations(instance, "C", p)), key=lambda p: value_of(instance, "C", p))
    cost, quality = totals(instance, worse)
    worse = with_bound("C", honest("C") | {"assignment": list(worse), "cost": cost, "quality": quality / n}, cost)
    best = {"solver": "cbc", "status": "optimal", "assignment": honest("C")["assignment"]}
    cases.append(("C", "optimal, but a peer is better", "refused", worse | {"status": "optimal"}, {"cbc": (check_peer(instance, "C", best), best)}))

    wrong = [(kind, what, expected, got) for kind, what, expected, answer, peers in cases if (got := verdict(kind, answer, peers)) != expected]
    for kind, what, expected, got in wrong:
        print(f"self-test: {kind}, {what}: {got} instead of {expected}", file=sys.stderr)
    print(f"self-test: {len(cases) - len(wrong)} of {len(cases)} answers judged rightly")
    refuted, tried = refuted_bounds(random)
    print(f"self-test: {tried - refuted} of {tried} bounds from prices hold against every plan")
    return 1 if wrong or refuted else 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else check_all(sys.argv[1], sys.argv[2:]))
