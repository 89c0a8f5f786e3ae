"""What was asked of pytest: written before the first test runs, so that what is missing is known.

A test without an end was not reached, or the attempt was killed while it ran: see
`results.fleet.flakes`, which tells these apart.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationError

from results.errors import StoreError
from results.figures import moment
from results.fleet.events import At  # noqa: TC001 - pydantic reads annotations at run time
from results.record import Part, Seconds
from results.table import plain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from results.store import Store

TestOutcome = Literal["passed", "failed", "error", "skipped", "not-reached"]


class SuiteTest(Part):
    """One test of one attempt. Without an `outcome` it has not ended, as far as is known."""

    attempt_id: str
    node_id: str = Field(description="as pytest names it")
    run_id: str
    host: str
    profile: str
    suite: str
    requested_at: At
    ended_at: At | None = None
    outcome: TestOutcome | None = None
    seconds: Seconds | None = None
    reason: Annotated[str, AfterValidator(plain)] = ""
    lab_fault: bool = Field(default=False, description="it failed by a fault of the lab")


COLUMNS: Final = tuple(SuiteTest.model_fields)
"""The columns of the store's table `tests`."""

_INSERT: Final = (
    f"INSERT INTO tests ({', '.join(COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ({', '.join('?' * len(COLUMNS))})"
    " ON CONFLICT (attempt_id, node_id) DO UPDATE SET ended_at = excluded.ended_at,"
    " outcome = excluded.outcome, seconds = excluded.seconds, reason = excluded.reason,"
    " lab_fault = excluded.lab_fault WHERE tests.outcome IS NULL AND excluded.outcome IS NOT NULL"
)


def request_tests(store: Store, tests: Iterable[SuiteTest]) -> int:
    """Note tests that are about to be run; on disk when this returns. One that is there is left.

    Returns:
        How many were new.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction() as connection:
        return sum(insert_test(connection, test) for test in tests)


def insert_test(connection: sqlite3.Connection, test: SuiteTest) -> bool:
    """Add a test, or how one that is there ended. Inside a transaction.

    Returns:
        Whether that was new.
    """
    return connection.execute(_INSERT, columns_of(test)).rowcount > 0


def columns_of(test: SuiteTest) -> tuple[object, ...]:
    """The values of `COLUMNS`."""
    return tuple(
        moment(value) if isinstance(value, datetime) else value
        for value in (getattr(test, name) for name in COLUMNS)
    )


def finish_test(
    store: Store,
    attempt_id: str,
    node_id: str,
    *,
    outcome: TestOutcome,
    seconds: float | None,
    reason: str = "",
    lab_fault: bool = False,
) -> None:
    """Note how a test ended; on disk when this returns. A second end of one changes nothing.

    Raises:
        StoreError: the store cannot be written, or the test was never asked for.
    """
    with store.transaction() as connection:
        asked = connection.execute(
            "SELECT 1 FROM tests WHERE attempt_id = ? AND node_id = ?", (attempt_id, node_id)
        ).fetchone()
        if not asked:
            raise StoreError(f"{store.path}: {node_id} was not asked for in attempt {attempt_id}")
        connection.execute(
            "UPDATE tests SET ended_at = ?, outcome = ?, seconds = ?, reason = ?, lab_fault = ?"
            " WHERE attempt_id = ? AND node_id = ? AND outcome IS NULL",
            (
                moment(datetime.now(UTC)),
                outcome,
                seconds,
                plain(reason),
                lab_fault,
                attempt_id,
                node_id,
            ),
        )


def requested_tests(store: Store, run_id: str) -> list[SuiteTest]:
    """The tests of a run, in the order in which they were asked for.

    Raises:
        StoreError: the store cannot be read, or a row does not follow the schema.
    """
    return _tests(
        store,
        "WHERE run_id = ? ORDER BY requested_at, attempt_id, node_id",
        run_id,
    )


def not_reached(store: Store, run_id: str) -> list[SuiteTest]:
    """Tests of a run that no attempt brought to an end: without an outcome, or `not-reached`."""
    reached = (
        "SELECT 1 FROM tests AS other WHERE other.run_id = tests.run_id"
        " AND other.profile = tests.profile AND other.node_id = tests.node_id"
        " AND other.outcome <> 'not-reached'"
    )
    found = _tests(
        store,
        "WHERE run_id = ? AND (outcome IS NULL OR outcome = 'not-reached')"
        f" AND NOT EXISTS ({reached}) ORDER BY requested_at, attempt_id, node_id",
        run_id,
    )
    # One a test, however many attempts did not come to it; the last attempt says why.
    return list({(test.profile, test.node_id): test for test in found}.values())


def durations(store: Store, newest: int = 20) -> dict[tuple[str, str], float]:
    """How long tests take: the median of the newest that passed or failed, in seconds.

    Args:
        store: where they are.
        newest: of so many of each.

    Returns:
        The seconds, by profile and `general_name` of the test.

    Raises:
        StoreError: the store cannot be read.
    """
    rows = store.read(
        "SELECT profile, node_id, seconds FROM (SELECT profile, node_id, seconds, row_number()"
        " OVER (PARTITION BY profile, node_id ORDER BY requested_at DESC) AS place FROM tests"
        " WHERE outcome IN ('passed', 'failed') AND NOT lab_fault AND seconds IS NOT NULL)"
        " WHERE place <= ?",
        (newest,),
    )
    found: dict[tuple[str, str], list[float]] = {}
    for profile, node_id, seconds in rows:
        found.setdefault((profile, general_name(node_id)), []).append(seconds)
    return {name: median(seconds) for name, seconds in found.items()}


# Added by xdist's `--dist=loadgroup`: its group of tests.
_GROUP: Final = re.compile(r"@[^@\]/]*$")


def general_name(node_id: str) -> str:
    """The name of a test without what differs between runs: where its file is, and its group."""
    path, separator, rest = _GROUP.sub("", node_id).partition("::")
    return f"{path.rpartition('/')[2]}{separator}{rest}"


def _tests(store: Store, where: str, *values: object) -> list[SuiteTest]:
    rows = store.read(f"SELECT {', '.join(COLUMNS)} FROM tests {where}", values)  # noqa: S608 - our own
    try:
        return [SuiteTest.model_validate(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    except ValidationError as error:
        raise StoreError(f"{store.path}: a test of the suites cannot be read: {error}") from error
