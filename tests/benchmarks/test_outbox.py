"""The benchmark of the outbox measures what it says, in tiny."""

from __future__ import annotations

import pytest

from benchmarks.outbox import SAMPLES, drain, storing
from tests.results.influx.influxd import require_influxd


@pytest.mark.integration
def test_the_outbox_is_emptied_in_every_way() -> None:
    require_influxd()
    told = drain(1, 3)
    assert told.startswith(f"3 records, {3 * (SAMPLES + 2)} lines, ")
    rows = told.splitlines()[4:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| bare client, lines ready",
        "| outbox, lines ready",
        "| bare client, lines made of records",
        "| outbox, lines made of records",
    ]


def test_records_are_stored_both_ways() -> None:
    rows = storing(1, 3).splitlines()[4:]
    assert [row.split(" | ")[0] for row in rows] == ["| bare SQLite", "| Store.add"]
