from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.learning.nnls import _lawson_hanson, nnls


def _problem(seed: int, rows: int, columns: int, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Columns that are all the more alike the nearer `alike` is to 1."""
    chance = np.random.default_rng(seed)
    base = chance.normal(size=(rows, 1))
    matrix = alike * base + (1 - alike) * chance.normal(size=(rows, columns))
    return matrix * chance.uniform(1e-3, 1e3, size=columns), chance.normal(size=rows)


def _best(matrix: np.ndarray, target: np.ndarray) -> float:
    """The least sum of squares over all sets of columns, by brute force."""
    columns = matrix.shape[1]
    best = float(target @ target)
    for count in range(1, columns + 1):
        for chosen in itertools.combinations(range(columns), count):
            x = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
            if (x >= 0).all():
                rest = matrix[:, chosen] @ x - target
                best = min(best, float(rest @ rest))
    return best


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 20), st.floats(0, 0.9))
def test_it_is_as_good_as_the_best_of_all_sets_of_columns(
    seed: int, columns: int, rows: int, alike: float
) -> None:
    matrix, target = _problem(seed, rows, columns, alike)
    x = nnls((matrix.T @ matrix)[None], (matrix.T @ target)[None])[0]
    rest = matrix @ x - target
    assert (x >= 0).all()
    assert float(rest @ rest) <= _best(matrix, target) * (1 + 1e-5) + 1e-6


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 20))
def test_both_ways_agree(seed: int, columns: int, rows: int) -> None:
    matrix, target = _problem(seed, rows, columns, 0.3)
    scale = np.linalg.norm(matrix, axis=0)
    gram = (matrix / scale).T @ (matrix / scale) + 1e-9 * np.eye(columns)
    moment = (matrix / scale).T @ target
    slow = _lawson_hanson(gram, moment)
    fast = nnls((matrix.T @ matrix)[None], (matrix.T @ target)[None])[0] * scale

    def cost(x: np.ndarray) -> float:
        return float(x @ gram @ x / 2 - moment @ x)

    assert cost(fast) == pytest.approx(cost(slow), rel=1e-6, abs=1e-8)


def test_a_column_of_nothing_gets_nothing() -> None:
    matrix = np.array([[1.0, 0.0], [2.0, 0.0]])
    x = nnls((matrix.T @ matrix)[None], (matrix.T @ np.array([3.0, 6.0]))[None])[0]
    assert x == pytest.approx([3.0, 0.0])


def test_many_problems_are_what_each_is_alone() -> None:
    pairs = [_problem(seed, 9, 4, 0.5) for seed in range(50)]
    grams = np.array([m.T @ m for m, _ in pairs])
    moments = np.array([m.T @ y for m, y in pairs])
    together = nnls(grams, moments)
    for number in range(50):
        alone = nnls(grams[number : number + 1], moments[number : number + 1])[0]
        assert together[number] == pytest.approx(alone)
