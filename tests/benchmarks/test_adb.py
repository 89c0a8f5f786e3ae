from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.adb import HEADS, measure, row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def test_a_row_has_medians_and_the_medians_of_ratios() -> None:
    cells = row("push", [[10.0, 30.0, 20.0], [10.0, 10.0, 10.0], [40.0, 60.0, 40.0]])
    assert len(cells) == len(HEADS)
    assert cells == ("push", "20.0", "10.0", "40.0", "2.00", "0.50", "10.0 to 30.0", "3")


def test_the_order_of_the_ways_alternates_after_a_warm_up() -> None:
    called: list[str] = []

    def way(name: str) -> Callable[[], Awaitable[None]]:
        async def call() -> None:
            called.append(name)

        return call

    taken = asyncio.run(measure([way("a"), way("b")], 2))
    assert "".join(called) == "ab" + "ba" + "ab"
    assert [len(times) for times in taken] == [2, 2]
