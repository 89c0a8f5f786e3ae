"""How tests and runs end, from the reports of pytest."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from harness.fleet.endings import LAB_FAULT, Ending, Endings, Tally

OK, FAILED, INTERRUPTED, INTERNAL, USAGE, NO_TESTS = range(6)


def report(when: str, outcome: Literal["passed", "failed", "skipped"], **more: Any) -> Any:
    given = {"longrepr": None, "duration": 1.5, **more}
    return pytest.TestReport(
        nodeid="suites/test_a.py::test_b[desktop]",
        location=("suites/test_a.py", 6, "test_b[desktop]"),
        keywords={},
        outcome=outcome,
        when=when,  # type: ignore[arg-type]
        **given,
    )


def ending(*reports: Any) -> Ending:
    ends = Endings()
    *before, last = [ends.add(one) for one in reports]
    assert before == [None] * len(before)
    assert last is not None
    return last


def test_a_test_that_passes() -> None:
    found = ending(
        report("setup", "passed"),
        report("call", "passed"),
        report("teardown", "passed", user_properties=[("trial", "t1"), ("n", 1)]),
    )
    assert found == Ending(
        node_id="suites/test_a.py::test_b[desktop]",
        outcome="passed",
        seconds=4.5,
        file="suites/test_a.py",
        line=7,
        properties={"trial": "t1", "n": "1"},
    )


@pytest.mark.parametrize(
    ("reports", "outcome", "reason"),
    [
        (
            [
                report("setup", "passed"),
                report("call", "failed", longrepr="no tokens"),
                report("teardown", "passed"),
            ],
            "failed",
            "no tokens",
        ),
        (
            [report("setup", "failed", longrepr="no phone"), report("teardown", "passed")],
            "error",
            "no phone",
        ),
        (
            [
                report("setup", "passed"),
                report("call", "passed"),
                report("teardown", "failed", longrepr="it hangs"),
            ],
            "error",
            "it hangs",
        ),
        (
            [
                report("setup", "skipped", longrepr=("a.py", 3, "Skipped: no")),
                report("teardown", "passed"),
            ],
            "skipped",
            "Skipped: no",
        ),
    ],
)  # fmt: skip
def test_other_outcomes(reports: list[Any], outcome: str, reason: str) -> None:
    found = ending(*reports)
    assert (found.outcome, found.reason, found.lab_fault) == (outcome, reason, False)


def test_a_failure_by_the_lab_says_so_in_its_properties() -> None:
    mark = [(LAB_FAULT, "true")]
    failed = report("call", "failed", longrepr="infra", user_properties=mark)
    end = report("teardown", "passed", user_properties=mark)
    assert ending(report("setup", "passed"), failed, end).lab_fault
    # Only of a test that failed is it a fault.
    assert not ending(report("setup", "passed"), report("call", "passed"), end).lab_fault


def test_a_worker_that_died_is_the_labs_fault() -> None:
    found = ending(report("???", "failed", longrepr="worker 'gw0' crashed"))
    assert found.lab_fault
    assert found.failed
    assert found.reason == "worker 'gw0' crashed"


@pytest.mark.parametrize(
    ("pytests", "failures", "lab_faults", "deadline", "code"),
    [
        (OK, 0, 0, False, 0),
        (FAILED, 1, 0, False, 1),
        (FAILED, 0, 2, False, 75),
        (FAILED, 1, 2, False, 1),
        (INTERRUPTED, 0, 0, True, 124),
        (INTERRUPTED, 0, 1, True, 124),
        (INTERRUPTED, 1, 1, True, 1),
        (INTERRUPTED, 0, 1, False, 2),
        (INTERRUPTED, 1, 0, False, 2),
        (INTERNAL, 1, 1, False, 3),
        (USAGE, 0, 0, False, 4),
        (NO_TESTS, 0, 0, False, 5),
        # Red without a red test: a plugin of somebody else.
        (FAILED, 0, 0, False, 1),
    ],
)
def test_the_exit_code(
    pytests: int, failures: int, lab_faults: int, deadline: bool, code: int
) -> None:
    tally = Tally(failures=failures, lab_faults=lab_faults, deadline=deadline)
    assert tally.exit_code(pytests) == code


def test_what_is_counted() -> None:
    tally = Tally()
    for outcome, lab_fault in (("passed", False), ("failed", False), ("error", True)):
        tally.add(Ending("a", outcome, 1.0, lab_fault=lab_fault))  # type: ignore[arg-type]
    assert (tally.failures, tally.lab_faults) == (1, 1)
