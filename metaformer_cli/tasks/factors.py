"""Matrix factorisation: what users' likes say of items, beyond how good they are.

Shape suffixes: I items, R factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FACTORS = 16  # R
DOUBT = 10.0  # of each factor, against 0; this and R were found on validation users of MovieLens
ROUNDS, MORE = 6, 3  # of alternating, and of going on without some users: more change no score

Left = Sequence[Sequence[tuple[int, float]]]  # of each row, the columns it has, and their numbers


def item_factors(users: Left, items: int, folds: int) -> list[list[list[float]]]:
    """[I, R] factors of items, of all users, and then without those of each fold.

    A user's own ratings shape the factors, which foretell them better than a new user's: whoever
    is to be trained on needs factors that were found without it. These go on from those of all, so
    that a factor means the same in each. Those of all have a standard deviation of 1.

    They minimise Σ (left - p_u·q_i)² + DOUBT (Σ |p_u|² + Σ |q_i|²), by alternating least squares
    from a fixed draw (Koren, Bell & Volinsky 2009, eq. 2).

    Args:
        users: of each, the items that it rated, by number, and what biases leave of the rating.
        items: how many there are.
        folds: how many; the user at place n is in fold n modulo that.
    """
    import numpy as np

    first_IR = 0.3 * np.random.default_rng(0).normal(size=(items, FACTORS))
    of_all_IR = alternate(users, first_IR, ROUNDS)
    found = [of_all_IR]
    for fold in range(folds):
        others = [() if place % folds == fold else own for place, own in enumerate(users)]
        found.append(alternate(others, of_all_IR, MORE))
    scale = of_all_IR.std() or 1.0
    return [(own_IR / scale).round(3).tolist() for own_IR in found]


def alternate(users: Left, q_IR: Array, rounds: int) -> Array:
    """[I, R] factors of items, so many rounds of alternating later."""
    by_item: list[list[tuple[int, float]]] = [[] for _ in q_IR]
    for user, own in enumerate(users):
        for item, left in own:
            by_item[item].append((user, left))
    for _ in range(rounds):
        q_IR = least_squares(by_item, least_squares(users, q_IR))
    return q_IR


def least_squares(rows: Left, others: Array) -> Array:
    """The factors of each row, given those of the columns; zeros of a row without numbers."""
    import numpy as np

    found = np.zeros((len(rows), others.shape[1]))
    for place, own in enumerate(rows):
        if own:
            theirs = others[[column for column, _ in own]]
            left = np.array([number for _, number in own])
            square = theirs.T @ theirs + DOUBT * np.eye(others.shape[1])
            found[place] = np.linalg.solve(square, theirs.T @ left)
    return found
