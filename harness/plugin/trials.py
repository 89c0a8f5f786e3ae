"""Which trials a test is about, and whether it failed by a fault of the lab."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from harness.devices.base import DeviceLostError, TabLostError
from harness.errors import UserError
from harness.fleet.endings import EARLIER_ATTEMPT, LAB_FAULT
from harness.plugin.stash import ATTEMPT_ID, PLAN, RUN_ID
from harness.probe.run import ProbeFailedError
from harness.profiles import Profile
from results.record import Record, Verdict
from results.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

# Their messages say all that there is to say; a traceback through the harness would hide them.
TOLD_WITHOUT_TRACEBACK: Final = (
    UserError,
    StoreError,
    ProbeFailedError,
    TabLostError,
    DeviceLostError,
)

# Of these the suites make a failure of their own words.
_SAID_BY_SUITES: Final = (AssertionError, pytest.fail.Exception)

_NO_STATEMENT: Final = frozenset({Verdict.INFRA, Verdict.CASCADE})

ASKED = pytest.StashKey[list[Record]]()
"""The trials that the test which runs now has asked for, newest last."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say which trials a test is about, and show what the user can mend as its message alone."""
    if PLAN not in item.config.stash:
        return (yield)
    if call.when == "setup":
        item.user_properties.extend(_of_run(item))
    raised = call.excinfo
    told = raised is not None and raised.errisinstance(TOLD_WITHOUT_TRACEBACK)
    records = _records(item)
    if raised is not None and is_lab_fault(raised.value, records):
        item.user_properties.append((LAB_FAULT, "true"))
        _retell(call, f"a fault of the lab, no statement about the device: {_said(raised.value)}")
    elif raised is not None and told:
        _retell(call, str(raised.value))
    if call.when == "teardown":
        item.user_properties.extend(properties_of(records, item.config.stash[ATTEMPT_ID]))
        item.config.stash[ASKED] = []
    return (yield)


def is_lab_fault(error: BaseException, records: Iterable[Record]) -> bool:
    """Whether a test failed for something that is no statement about its device.

    Args:
        error: what ended the test.
        records: of the trials that it is about.
    """
    match error:
        case ProbeFailedError():
            return error.infra
        case UserError() | StoreError() | DeviceLostError():
            return True
        case _ if isinstance(error, _SAID_BY_SUITES):
            return any(record.verdict in _NO_STATEMENT for record in records)
    return False


def properties_of(records: Iterable[Record], attempt_id: str) -> list[tuple[str, str]]:
    """What a report of an attempt says of the trials that its test is about."""
    trials = list({record.trial_id: record for record in records}.values())
    if not trials:
        return []
    if len(trials) > 1:
        verdicts = Counter(str(record.verdict) for record in trials)
        return [
            ("trials", " ".join(record.trial_id for record in trials)),
            ("verdicts", ", ".join(f"{count} {name}" for name, count in verdicts.items())),
        ]
    (record,) = trials
    found = [
        ("trial", record.trial_id),
        ("verdict", str(record.verdict)),
        ("judgement", str(record.judgement)),
    ]
    if (lineage := record.lineage) is not None:
        found += [("resource", lineage.resource)] if lineage.resource else []
        if lineage.attempt_id != attempt_id:
            found.append((EARLIER_ATTEMPT, lineage.attempt_id))
    return found


def _of_run(item: pytest.Item) -> list[tuple[str, str]]:
    stash = item.config.stash
    found = [("run", stash[RUN_ID]), ("attempt", stash[ATTEMPT_ID])]
    callspec = getattr(item, "callspec", None)
    profile = callspec.params.get("profile") if callspec else None
    return [*found, ("device", profile.id)] if isinstance(profile, Profile) else found


def _records(item: pytest.Item) -> list[Record]:
    """The trials that a test was given, and those that it asked for itself."""
    asked: list[Record] = item.config.stash.get(ASKED, [])
    found = list(asked)
    for value in getattr(item, "funcargs", {}).values():
        several = value if isinstance(value, list | tuple) else [value]
        found += [record for record in several if isinstance(record, Record)]
    return found


def _said(error: BaseException) -> str:
    """The message of an error, without what pytest says of the comparison behind it."""
    text = str(error)
    return text.partition("\nassert ")[0] if isinstance(error, AssertionError) else text


def _retell(call: pytest.CallInfo[None], message: str) -> None:
    if call.excinfo is not None:
        failure = pytest.fail.Exception(message, pytrace=False)
        failure = failure.with_traceback(call.excinfo.tb)
        call.excinfo = pytest.ExceptionInfo.from_exception(failure)
