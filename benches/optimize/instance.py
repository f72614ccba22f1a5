"""Instances as the bench writes them: little-endian f64,
`N M G alpha budget | L[M] | alpha_g[G] | c[N*M] row-major | p[N*M] | group[N] | forbidden[N*M]`.

Kinds of problem on an instance; forbidden pairs hold in all of them:

    T  least cost under the workloads                    A  the same, with one slot per model
    C  T with mean quality >= alpha                      Q  least cost with mean quality >= alpha alone
    F  C with mean quality of each group >= its floor    B  most quality under the workloads, cost <= budget
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Instance:
    alpha: float
    budget: float
    limits: np.ndarray
    floors: np.ndarray
    cost: np.ndarray
    """N x M, USD; finite also where forbidden."""
    quality: np.ndarray
    group: np.ndarray
    forbidden: np.ndarray

    @property
    def shape(self):
        return self.cost.shape

    def members(self, group):
        return np.flatnonzero(self.group == group)


def load(path):
    numbers = np.fromfile(path, "<f8")
    n, m, groups = (int(x) for x in numbers[:3])
    sizes = [m, groups, n * m, n * m, n, n * m]
    if len(numbers) != 5 + sum(sizes):
        raise ValueError(f"{path}: {len(numbers)} numbers where {5 + sum(sizes)} are needed")
    limits, floors, cost, quality, group, forbidden = np.split(numbers[5:], np.cumsum(sizes)[:-1])
    return Instance(
        alpha=numbers[3],
        budget=numbers[4],
        limits=limits,
        floors=floors,
        cost=cost.reshape(n, m),
        quality=quality.reshape(n, m),
        group=group.astype(int),
        forbidden=forbidden.reshape(n, m) > 0.5,
    )


def jobs(folder, names):
    """`NAME:KINDS` arguments as (name, kind, instance), each instance read once."""
    for name in names:
        name, kinds = name.split(":")
        instance = load(Path(folder) / f"{name}.bin")
        for kind in kinds:
            yield name, kind, instance
