"""What the words of a query say by themselves: its level, and which source and subject it looks like.

    score(q) = Σ_{t ∈ terms(q)} row(t) / √(number of terms of q)

The terms are the distinct tokens and the distinct hashed pairs of neighbouring tokens; a row is a term's weight times its
inverse document frequency. The weights are a ridge regression, one per score: the level regresses on tokens and pairs, the
groups on tokens alone. A mean of token vectors blurs single words; this does not, and on what it sees depends more of what
can be known of a query than on the vectors (the model card has the figures).

The network trains on scores of queries that the regression had not seen, as it will meet them.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import lsqr
from tqdm import tqdm

import text
from vectors import quantize

LEVEL_RIDGE, GROUP_RIDGE = 3.0, 1.0


@dataclass
class Tables:
    """int8 rows and their scales, the level in the first column."""
    tokens: np.ndarray       # [tokens, 1 + groups]
    token_scale: np.ndarray
    pairs: np.ndarray        # [text.PAIRS, 1]; of the level's scale

    def scores(self, bags: sparse.csr_matrix) -> np.ndarray:
        """[queries, 1 + groups] of bags of terms, pairs after tokens."""
        count = self.tokens.shape[0]
        sums = bags[:, :count] @ self.tokens.astype(np.float32)
        sums[:, :1] += bags[:, count:] @ self.pairs.astype(np.float32)
        return sums * self.token_scale / np.sqrt(np.asarray(bags.sum(1)))


def bags(ids: list[list[int]], vocabulary: int) -> sparse.csr_matrix:
    """[queries, vocabulary + text.PAIRS], 1 where a query has the term."""
    rows, columns = [], []
    for i, each in enumerate(ids):
        tokens, pairs = text.terms(each)
        columns += [tokens, vocabulary + pairs]
        rows.append(np.full(len(tokens) + len(pairs), i))
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(ids), vocabulary + text.PAIRS))


def levels(correct: np.ndarray) -> np.ndarray:
    """How much better than usual the models did on each query, as a mean over those that were asked."""
    return np.nanmean(correct - np.nanmean(correct, 0), 1)


def fit(bags: sparse.csr_matrix, vocabulary: int, correct: np.ndarray, groups: np.ndarray, exact: bool) -> Tables:
    """`correct` [queries, models] and `groups` [queries, groups] are those of the queries in `bags`; `exact` does not round."""
    seen = np.asarray(bags.sum(0))[0]
    idf = np.where(seen < 2, 0, np.log((1 + bags.shape[0]) / (1 + seen)) + 1)
    x = sparse.diags(1 / np.sqrt(np.asarray(bags.sum(1))[:, 0])) @ bags @ sparse.diags(idf)

    def ridge(x: sparse.csr_matrix, y: np.ndarray, strength: float) -> np.ndarray:
        # Strength is relative to rows of unit length, so that it means the same whatever the vocabulary.
        unit = np.sqrt(x.multiply(x).sum() / x.shape[0])
        return lsqr(x / unit, y - y.mean(), damp=np.sqrt(strength), atol=1e-4, btol=1e-4)[0] / unit

    x = x.tocsr()
    level = ridge(x, levels(correct), LEVEL_RIDGE) * idf
    own = np.stack([ridge(x[:, :vocabulary], g, GROUP_RIDGE) * idf[:vocabulary] for g in groups.T], 1)
    if exact:
        return Tables(np.hstack([level[:vocabulary, None], own]), np.ones(1 + own.shape[1]), level[vocabulary:, None])
    _, scale = quantize(level[:, None])
    tokens, token_scale = quantize(own)
    share = lambda w: np.round(w / scale).astype(np.int8)[:, None]
    return Tables(np.hstack([share(level[:vocabulary]), tokens]), np.r_[scale, token_scale], share(level[vocabulary:]))


def scores(bags: sparse.csr_matrix, vocabulary: int, correct: np.ndarray, groups: np.ndarray, rows: np.ndarray,
           fold_of: np.ndarray, exact: bool = False) -> tuple[Tables, np.ndarray]:
    """The tables fitted on `rows`, and the scores of all queries by them, those of queries with a fold (not -1) out of fold."""
    tables = fit(bags[rows], vocabulary, correct[rows], groups[rows], exact)
    held_out = tables.scores(bags)
    for f in tqdm(np.unique(fold_of[rows]), desc="lexical", leave=False):
        seen, out = rows[fold_of[rows] != f], np.flatnonzero(fold_of == f)
        held_out[out] = fit(bags[seen], vocabulary, correct[seen], groups[seen], exact).scores(bags[out])
    return tables, held_out
