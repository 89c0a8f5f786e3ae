"""Stores in memory, and matrices of records."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from results.matrix.build import build_matrix
from results.matrix.model import SECTIONS
from results.matrix.summary import entries
from results.migrations import migrate
from results.record import Conditions, WorkloadRecord
from results.store import Store
from tests.results.records import NUMBER, RECORDS, SIZE, TEXT, maybe, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from results.matrix.model import Cell, Matrix
    from results.matrix.summary import Entry
    from results.record import Record

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)

# What devices, page errors and imported stores may try.
HOSTILE = (
    "<script>alert(1)</script>",
    "</title><svg onload=alert(1)>",
    "| a | b |\n| --- | --- |",
    "`code` ``more`` ```",
    "[click](javascript:alert(1)) ![x](https://example.org/x.png)",
    "<https://example.org> https://example.org www.example.org a@example.org",
    "@octocat #1 GH-1 octo/repo#2 octo@0123456",
    "**bold** _em_ ~~gone~~ \\| \\\\| &lt;b&gt; &#64;octocat",
    "$x$ $$y$$ {{ jinja }} {% raw %}",
    "\u202egnp.exe \u2066\x1b[2J\x00",
    "# heading\n\n- list\n> quote",
    '" onmouseover="alert(1)',
    "]]>\ufffe\uffff",
    "漢字" * 40,
    "w" * 10_000,
    "",
)


@contextlib.contextmanager
def store_of(records: Iterable[Record]) -> Iterator[Store]:
    """A store in memory that holds some records."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection)
    with Store(connection, Path("memory")) as store:
        for item in records:
            store.start_run(item.run_id, "")
            store.add(item)
        yield store


def matrix_of(*records: Record, now: datetime = NOW, expiry_days: int = 90) -> Matrix:
    """The matrix of some records."""
    with store_of(records) as store:
        return build_matrix(store, now, expiry_days)


def all_entries(matrix: Matrix) -> list[Entry]:
    """All cells, with where they are."""
    return [entry for section in SECTIONS for entry in entries(matrix, section)]


def only_cell(matrix: Matrix) -> Cell:
    """The one cell that there is."""
    (entry,) = all_entries(matrix)
    return entry.cell


def trial(number: int, **changes: Any) -> Record:
    """The trial of that number; the higher, the later."""
    started = datetime(2025, 5, 1, tzinfo=UTC) + timedelta(hours=number)
    return record(f"trial-{number:03}", **{"started_at": started, **changes})


def with_conditions(base: Record, **changes: Any) -> Record:
    """The record with some of its conditions replaced."""
    return base.model_copy(update={"conditions": base.conditions.model_copy(update=changes)})


def with_device(base: Record, **changes: Any) -> Record:
    """The record with something else of its device."""
    return base.model_copy(update={"device": base.device.model_copy(update=changes)})


def with_workload(base: Record, **changes: Any) -> Record:
    """The record of another workload."""
    return base.model_copy(update={"workload": base.workload.model_copy(update=changes)})


def with_speeds(
    base: Record, *, decode: float | None = None, prefill: float | None = None
) -> Record:
    """The record with other speeds."""
    assert base.measurement is not None
    assert base.measurement.decode_ms is not None
    step = base.measurement.decode_ms.model_copy(update={"median": 1000 / decode if decode else 0})
    changes = {"decode_ms": step, "prefill_tokens_per_s": prefill}
    return base.model_copy(update={"measurement": base.measurement.model_copy(update=changes)})


NAMES = TEXT | st.sampled_from(HOSTILE)
WORKLOADS = st.builds(
    WorkloadRecord,
    model=NAMES,
    quantisation=NAMES,
    runtime=NAMES | st.just("mediapipe/webgpu"),
    prompt_tokens=SIZE,
    output_tokens=SIZE,
    source=NAMES,
    variant=NAMES,
)
CONDITIONS = st.builds(
    Conditions,
    harness_version=NAMES,
    browser=NAMES,
    browser_version=NAMES,
    runtime_version=NAMES,
    adapter=maybe(NAMES),
    software_adapter=maybe(st.booleans()),
    threads=maybe(SIZE),
    operating_system=NAMES,
    cpu=NAMES,
    cores=SIZE,
    memory_bytes=SIZE,
    load_average=maybe(NUMBER),
    host_at_rest=maybe(st.booleans()),
    temperature_celsius=maybe(NUMBER),
    facts=st.dictionaries(NAMES, NAMES, max_size=2),
)
HOSTILE_RECORDS = st.builds(
    lambda base, workload, conditions, name: with_device(
        base.model_copy(update={"workload": workload, "conditions": conditions}), name=name
    ),
    RECORDS,
    WORKLOADS,
    CONDITIONS,
    NAMES,
)
"""Any record, of any device and workload."""
