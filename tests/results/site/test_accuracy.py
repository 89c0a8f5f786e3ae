from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from results.record import Judgement
from results.site.accuracy import confusion, coverage
from results.site.view import DECODE, by_section, holds, rows_of
from tests.results.site.examples import publish, trials

if TYPE_CHECKING:
    from pathlib import Path

    from results.site.accuracy import Confusion
    from results.site.view import Row


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    matrix, store = publish(trials(), tmp_path)
    store.close()
    return rows_of(matrix)


def square(matrix: Confusion, predicted: str, measured: str) -> tuple[int, Judgement]:
    found = dict(matrix.rows)[predicted][matrix.measured.index(measured)]
    assert found.measured == measured
    return found.count, found.judgement


def test_every_cell_is_in_one_square(rows: list[Row]) -> None:
    for _, those in by_section(rows):
        matrix = confusion(those)
        counted = sum(one.count for _, squares in matrix.rows for one in squares)
        assert counted == matrix.total == len(those)


def test_squares_are_counted_and_judged(rows: list[Row]) -> None:
    limited = confusion([row for row in rows if row.section == "limited"])
    assert square(limited, "high", "cannot run") == (2, Judgement.OVER_PROMISE)
    assert square(limited, "low", "medium") == (1, Judgement.UNDER_PROMISE)
    assert square(limited, "out of memory", "out of memory") == (3, Judgement.RIGHT)
    assert square(limited, "medium", "medium")[1] is Judgement.RIGHT
    assert limited.judgements[Judgement.OVER_PROMISE] == sum(
        row.judgement is Judgement.OVER_PROMISE for row in rows if row.section == "limited"
    )


def test_tiers_are_always_there_and_the_rest_where_it_occurs(rows: list[Row]) -> None:
    software = confusion([row for row in rows if row.section == "software_adapter"])
    assert software.measured == ["high", "medium", "low", "too slow"]
    assert confusion([]).total == 0


def test_intervals_that_hold_are_counted_for_what_ran(rows: list[Row]) -> None:
    (decode, *_), ran = coverage(rows), [row for row in rows if row.cell.verdict == "ok"]
    assert decode.metric is DECODE
    assert decode.n == len(ran)
    inside = [
        row
        for row in ran
        if (interval := row.predicted(DECODE)) and holds(interval, row.measured(DECODE) or 0.0)
    ]
    assert 0 < decode.inside == len(inside) < decode.n


def test_the_ratio_says_how_far_off_the_expected_value_is(rows: list[Row]) -> None:
    row = rows[0]
    measured, interval = row.measured(DECODE), row.predicted(DECODE)
    assert measured
    assert interval
    assert coverage([row])[0].ratio == pytest.approx(measured / interval.expected)
    assert coverage([])[0].ratio is None
