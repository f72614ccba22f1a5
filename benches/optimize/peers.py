"""Solvers that others use for the same problems, on the same instances, one thread each.

    python peers.py SOLVER SECONDS FOLDER NAME:KINDS...

prints one JSON line per job: the status in one word, the median of the CPU time (user and system, of
this process and its children) from the two matrices to the assignment, that of the solver's own call
within it, and the assignment itself, for check.py to verify; `value` and `bound` are the solver's
claims. SECONDS is the time limit of one run. One solver per process: highspy and ortools clash.

Costs are divided by their mean for every solver: in dollars per query they sink below the absolute
tolerances of CBC and HiGHS, whose answers would then be neither slower nor right.
"""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import json
import resource
import sys
import time
from importlib import import_module
from statistics import median

import numpy as np
import scipy.sparse as sp

from instance import jobs

QUALITY_TARGET, WORKLOADS, FLOORS, BUDGET = "QCF", "TACFB", "F", "B"
ENOUGH_S = 1.0
ENOUGH_RUNS = 25


def cpu():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Stopwatch:
    """CPU and wall milliseconds of the solver's own call."""

    def __enter__(self):
        self.cpu_ms, self.wall_ms = -cpu() * 1e3, -time.perf_counter() * 1e3
        return self

    def __exit__(self, *_):
        self.cpu_ms += cpu() * 1e3
        self.wall_ms += time.perf_counter() * 1e3


def cbc(instance, kind, seconds):
    """PuLP with CBC at its default (zero) gap, modelled as the AIOS router does: x[i, j] binary."""
    import pulp

    n, m = instance.shape
    c, p = (instance.cost / instance.cost.mean()).tolist(), instance.quality.tolist()
    pairs = [(i, j) for i in range(n) for j in range(m) if not instance.forbidden[i, j]]
    of_query, of_model, of_group = ([[] for _ in range(k)] for k in (n, m, len(instance.floors)))
    for i, j in pairs:
        of_query[i].append((i, j))
        of_model[j].append((i, j))
        if kind in FLOORS:
            of_group[instance.group[i]].append((i, j))
    x = pulp.LpVariable.dicts("x", pairs, cat="Binary")
    cost = pulp.lpSum(x[i, j] * c[i][j] for i, j in pairs)
    quality = pulp.lpSum(x[i, j] * p[i][j] for i, j in pairs)
    model = pulp.LpProblem("plan", pulp.LpMaximize if kind in BUDGET else pulp.LpMinimize)
    model += quality if kind in BUDGET else cost
    for mine in of_query:
        model += pulp.lpSum(x[pair] for pair in mine) == 1
    if kind in WORKLOADS:
        for mine, limit in zip(of_model, instance.limits):
            model += pulp.lpSum(x[pair] for pair in mine) <= limit
    if kind in QUALITY_TARGET:
        model += quality >= instance.alpha * n
    if kind in BUDGET:
        model += cost <= instance.budget / instance.cost.mean()
    if kind in FLOORS:
        for g, (mine, floor) in enumerate(zip(of_group, instance.floors)):
            model += pulp.lpSum(x[i, j] * p[i][j] for i, j in mine) >= floor * len(instance.members(g))
    with Stopwatch() as solver:
        model.solve(pulp.PULP_CBC_CMD(msg=False, threads=1, timeLimit=seconds))
    # A time limit with a plan in hand is called "Optimal" too; only the second status tells.
    status = {pulp.LpSolutionOptimal: "optimal", pulp.LpSolutionInfeasible: "infeasible"}.get(model.sol_status, "limit")
    assignment = np.full(n, m)
    for (i, j), variable in x.items():
        if (variable.value() or 0) > 0.5:
            assignment[i] = j
    return solver, status, {"assignment": assignment.tolist() if (assignment < m).all() else None}


def rows(instance, kind):
    """The problem as min obj x, lo <= A x <= hi over pairs in row-major order."""
    n, m = instance.shape
    ones, query, model = np.ones(n * m), np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    c, p = instance.cost.ravel() / instance.cost.mean(), instance.quality.ravel()
    a, lo, hi = [sp.csr_matrix((ones, (query, np.arange(n * m))))], [np.ones(n)], [np.ones(n)]

    def add(row, low, high):
        a.append(sp.csr_matrix(row))
        lo.append(np.atleast_1d(low))
        hi.append(np.atleast_1d(high))

    if kind in WORKLOADS:
        add(sp.csr_matrix((ones, (model, np.arange(n * m)))), np.full(m, -np.inf), instance.limits)
    if kind in QUALITY_TARGET:
        add(p, instance.alpha * n, np.inf)
    if kind in BUDGET:
        add(c, -np.inf, instance.budget / instance.cost.mean())
    if kind in FLOORS:
        for g, floor in enumerate(instance.floors):
            inside = instance.group[query] == g
            add(p * inside, floor * len(instance.members(g)), np.inf)
    upper = 1.0 - instance.forbidden.ravel()
    return -p if kind in BUDGET else c, sp.vstack(a, "csc"), np.concatenate(lo), np.concatenate(hi), upper


def highs(integer, options):
    def solve(instance, kind, seconds):
        import highspy

        n, m = instance.shape
        obj, a, lo, hi, upper = rows(instance, kind)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n * m, len(lo)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = obj, np.zeros(n * m), upper
        lp.row_lower_, lp.row_upper_ = lo, hi
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = a.indptr, a.indices, a.data
        if integer:
            lp.integrality_ = np.full(n * m, highspy.HighsVarType.kInteger)
        solver = highspy.Highs()
        settings = {"output_flag": False, "threads": 1, "parallel": "off", "time_limit": float(seconds)}
        for name, value in {**settings, **options}.items():
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        with Stopwatch() as stopwatch:
            solver.run()
        statuses = {"Optimal": "optimal", "Infeasible": "infeasible", "Time limit reached": "limit"}
        status = solver.modelStatusToString(solver.getModelStatus())
        info = solver.getInfo()
        scale = -1.0 / n if kind in BUDGET else instance.cost.mean()
        bound = info.mip_dual_bound if integer else info.objective_function_value
        answer = {"value": info.objective_function_value * scale, "bound": bound * scale}
        x = np.array(solver.getSolution().col_value).reshape(-1, m)
        if integer and len(x) == n:
            answer["assignment"] = x.argmax(1).tolist()
        return stopwatch, statuses.get(status, status), answer

    return solve


def mcf(instance, kind, seconds):
    """OR-Tools' cost-scaling min-cost flow; costs become integers, the largest 1e9."""
    from ortools.graph.python import min_cost_flow

    assert kind in "TA", kind
    n, m = instance.shape
    query, model = np.nonzero(~instance.forbidden)
    cost = np.rint(instance.cost[query, model] * (1e9 / instance.cost.max())).astype(np.int64)
    flow = min_cost_flow.SimpleMinCostFlow()
    sink = n + m
    pairs = flow.add_arcs_with_capacity_and_unit_cost(
        query.astype(np.int32), (n + model).astype(np.int32), np.ones(len(query), np.int64), cost
    )
    models = np.arange(m, dtype=np.int32)
    flow.add_arcs_with_capacity_and_unit_cost(
        n + models, np.full(m, sink, np.int32), instance.limits.astype(np.int64), np.zeros(m, np.int64)
    )
    supply = np.r_[np.ones(n, np.int64), np.zeros(m, np.int64), -n]
    flow.set_nodes_supplies(np.arange(sink + 1, dtype=np.int32), supply)
    with Stopwatch() as stopwatch:
        status = flow.solve()
    if status != flow.OPTIMAL:
        return stopwatch, "infeasible" if status == flow.INFEASIBLE else str(status), {}
    used = flow.flows(pairs) > 0
    assignment = np.empty(n, int)
    assignment[query[used]] = model[used]
    return stopwatch, "optimal", {"assignment": assignment.tolist()}


def lsa(instance, kind, seconds):
    """scipy's Hungarian method (Jonker-Volgenant), each model repeated once per slot."""
    from scipy.optimize import linear_sum_assignment

    assert kind in "TA", kind
    slots = np.repeat(np.arange(instance.shape[1]), instance.limits.astype(int))
    cost = np.where(instance.forbidden, np.inf, instance.cost)[:, slots]
    with Stopwatch() as stopwatch:
        _, chosen = linear_sum_assignment(cost)
    return stopwatch, "optimal", {"assignment": slots[chosen].tolist()}


EXACT = {"mip_rel_gap": 1e-9, "mip_abs_gap": 0.0, "mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9}
# With the module that is to be imported before the clock runs.
SOLVERS = {
    "cbc": (cbc, "pulp"),
    "highs_mip": (highs(True, {}), "highspy"),
    "highs_exact": (highs(True, EXACT), "highspy"),
    "highs_lp": (highs(False, {}), "highspy"),
    "mcf": (mcf, "ortools.graph.python.min_cost_flow"),
    "lsa": (lsa, "scipy.optimize"),
}


def main():
    name, seconds, folder, *names = sys.argv[1:]
    solver, module = SOLVERS[name]
    import_module(module)
    for instance_name, kind, instance in jobs(folder, names):
        runs = []
        start = time.perf_counter()
        # The first run finds cold caches; it counts where it is too long to be repeated.
        while not runs or (time.perf_counter() - start < ENOUGH_S and len(runs) < ENOUGH_RUNS):
            with Stopwatch() as whole:
                own, status, answer = solver(instance, kind, float(seconds))
            runs.append((whole, own))
        warm = runs[1:] or runs
        line = {
            "solver": name,
            "instance": instance_name,
            "kind": kind,
            "status": status,
            "runs": len(warm),
            "cpu_ms": median(whole.cpu_ms for whole, _ in warm),
            "wall_ms": median(whole.wall_ms for whole, _ in warm),
            "solver_cpu_ms": median(own.cpu_ms for _, own in warm),
            **answer,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
