"""Drawing ahead."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from metaformer_cli.training.prefetch import drawn_ahead


def threads():
    return [own for own in threading.enumerate() if own.name.startswith("prefetch")]


@pytest.mark.parametrize("most", [0, 1, 3, 100])
def test_all_is_drawn_in_order_on_one_other_thread(most):
    drawn_on = set()

    def draw(index):
        drawn_on.add(threading.current_thread())
        return index**2

    with drawn_ahead(draw, range(20), most) as upcoming:
        assert list(upcoming) == [index**2 for index in range(20)]
    assert len(drawn_on) == 1
    assert threading.main_thread() not in drawn_on


def test_no_more_is_drawn_ahead_than_asked_for():
    drawn: list[int] = []
    with drawn_ahead(drawn.append, count(), 3) as upcoming:
        for _ in range(5):
            next(upcoming)
    assert drawn == list(range(len(drawn)))
    assert 5 <= len(drawn) <= 5 + 3


def test_an_error_is_raised_where_its_episode_is_asked_for():
    def draw(index):
        if index == 2:
            raise ValueError("no such passage")
        return index

    with drawn_ahead(draw, range(9), 9) as upcoming:
        assert [next(upcoming), next(upcoming)] == [0, 1]
        with pytest.raises(ValueError, match="no such passage"):
            next(upcoming)
    assert threads() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_context_ends_the_thread(stop):
    def use():
        with drawn_ahead(str, count(), 4) as upcoming:
            assert next(upcoming) == "0"
            assert len(threads()) == 1
            raise stop

    with pytest.raises(stop):
        use()
    assert threads() == []
