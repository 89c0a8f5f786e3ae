from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.learning.margin import margin

RATIOS = st.lists(st.floats(0.1, 10), max_size=12)


@given(RATIOS, RATIOS, st.floats(1, 3))
def test_what_can_be_parted_is_parted(ran: list[float], died: list[float], believed: float) -> None:
    found = margin(ran, died, believed)
    assert found > 0
    if ran and died and max(died) * 1.001 < min(ran):
        assert max(died) < found < min(ran)


def test_it_stays_where_it_is_believed_when_nothing_speaks_against_it() -> None:
    assert margin([], [], 1.2) == pytest.approx(1.2)
    assert margin([2.0, 3.0], [0.9, 0.5], 1.2) == pytest.approx(1.2)


def test_it_moves_just_so_far_as_trials_want_it() -> None:
    assert 1.3 < margin([2.0], [1.3], 1.1) < 1.4
    assert 1.0 < margin([1.1], [0.8], 1.5) < 1.1


def test_a_death_weighs_more_than_a_refusal() -> None:
    assert margin([1.1, 1.5, 2.0], [1.2], 1.1) > 1.2
