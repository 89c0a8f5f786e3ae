"""Least squares with factors that are not negative, of a few columns, from normal equations.

Many small problems are solved at once (one a fold): block principal pivoting (J. Kim and H. Park,
"Fast nonnegative matrix factorization", SIAM J. Sci. Comput. 33, 2011), and for the few where its
full exchange goes in circles the active sets of Lawson and Hanson ("Solving Least Squares
Problems", 1974, chapter 23).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Of problems that are scaled to a diagonal of ones.
_RIDGE: Final = 1e-9
_TOLERANCE: Final = 1e-10


def nnls(grams: Floats, moments: Floats) -> Floats:
    """The x >= 0 that minimise `x G x / 2 - m x`, for each of some problems.

    Args:
        grams: `A^T W A` of each problem, (problems, columns, columns).
        moments: `A^T W y`, (problems, columns).

    Returns:
        (problems, columns); 0 for a column that is all zero.
    """
    size = np.sqrt(np.maximum(np.diagonal(grams, axis1=1, axis2=2), 0.0))
    there = size > 0
    scale = np.where(there, size, 1.0)
    gram = grams / (scale[:, :, None] * scale[:, None, :])
    columns = gram.shape[1]
    gram = gram + np.eye(columns) * np.where(there, _RIDGE, 1.0)[:, :, None]
    moment = np.where(there, moments / scale, 0.0)
    passive = there.copy()
    solved = np.zeros_like(moment)
    open_ = np.ones(len(moment), dtype=bool)
    for _ in range(columns + 3):
        solved[open_] = _solve(gram[open_], moment[open_], passive[open_])
        gradient = np.einsum("bij,bj->bi", gram, solved) - moment
        wrong = (passive & (solved < -_TOLERANCE)) | (~passive & there & (gradient < -_TOLERANCE))
        open_ = wrong.any(axis=1)
        if not open_.any():
            break
        passive ^= wrong
    for problem in np.flatnonzero(open_):
        solved[problem] = _lawson_hanson(gram[problem], moment[problem])
    result: Floats = np.maximum(solved, 0.0) / scale
    return result


def _solve(gram: Floats, moment: Floats, passive: NDArray[np.bool_]) -> Floats:
    """The unconstrained solutions in the passive columns, 0 in the others."""
    both = passive[:, :, None] & passive[:, None, :]
    square = np.where(both, gram, np.eye(gram.shape[1]))
    right = np.where(passive, moment, 0.0)
    answer: Floats = np.linalg.solve(square, right[:, :, None])[:, :, 0]
    return answer


def _lawson_hanson(gram: Floats, moment: Floats) -> Floats:
    columns = len(moment)
    x = np.zeros(columns)
    passive = np.zeros(columns, dtype=bool)
    for _ in range(10 * columns):
        gradient = moment - gram @ x
        gradient[passive] = -np.inf
        best = int(np.argmax(gradient))
        if gradient[best] <= _TOLERANCE:
            break
        passive[best] = True
        x = _step(gram, moment, x, passive)
    return x


def _step(gram: Floats, moment: Floats, x: Floats, passive: NDArray[np.bool_]) -> Floats:
    """Go to the solution in the passive columns, dropping those that would fall below zero."""
    while True:
        goal: Floats = _solve(gram[None], moment[None], passive[None])[0]
        below = passive & (goal <= 0)
        if not below.any():
            return goal
        way = np.min(x[below] / np.maximum(x[below] - goal[below], 1e-300))
        x = x + way * (goal - x)
        passive &= x > _TOLERANCE
        x = np.where(passive, x, 0.0)
        if not passive.any():
            return x
