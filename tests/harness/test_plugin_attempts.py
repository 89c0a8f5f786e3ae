"""Attempts of runs as users see them: names, deadlines, exit codes, and what is told to a CI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from results.fleet.attempts import attempts
from results.fleet.requests import requests
from results.fleet.suite_tests import SuiteTest, not_reached, requested_tests
from results.store import Store
from tests.harness.test_plugin import (
    Suites,
    a_browser,  # noqa: F401 - a fixture
    own_places,  # noqa: F401 - a fixture
    refusal,
)

if TYPE_CHECKING:
    from pathlib import Path

    from results.fleet.attempts import Attempt

pytest_plugins = ("pytester",)

RUN = "--run-id=nightly"

# A trial of this run, as a suite gets it; the verdict is in its name.
RECORD = """
import os, pytest
from pathlib import Path
from harness.devices.base import DeviceLostError
from harness.errors import UserError
from harness.fleet.deadline import Deadline
from harness.plugin import DEADLINE
from results.record import Lineage, Verdict
from tests.results.records import record as made

@pytest.fixture
def infra(): return made("t-infra", verdict=Verdict.INFRA, explanation="the phone is gone")
@pytest.fixture
def good(): return made("t-good")
@pytest.fixture
def earlier():
    lineage = Lineage(request_id="r", attempt_id="before", number=1, resource="machine")
    return made("t-before", lineage=lineage)
"""


@pytest.fixture(name="suites")
def made_suites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suites:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Suites(pytester, monkeypatch)


def stored(suites: Suites, run_id: str = "nightly") -> tuple[list[Attempt], list[SuiteTest]]:
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        return attempts(store, run_id), requested_tests(store, run_id)


# ---- runs and attempts ----


@pytest.mark.usefixtures("a_browser")
def test_a_run_has_a_name_and_many_attempts(suites: Suites) -> None:
    options = ("--device=desktop,desktop-1g", "--model=gemma-2b", "--runtime=wllama/wasm", RUN)
    suite = f"{RECORD}def test_a(profile, workload): pass\n"
    (suites.pytester.path / "suites").mkdir()
    (suites.pytester.path / "suites/test_full_load.py").write_text(suite)
    for _ in range(2):
        assert suites.made("def test_b(profile): assert False", *options).ret == 1
    told, tests = stored(suites)
    assert [(one.number, one.exit_code, one.complete) for one in told] == [
        (1, 1, True),
        (2, 1, True),
    ]
    assert told[0].devices == ("desktop", "desktop-1g")
    assert len(told[0].request_ids) == 2
    assert told[0].request_ids == told[1].request_ids
    assert {test.attempt_id for test in tests} == {one.attempt_id for one in told}
    assert sorted((t.suite, t.profile, t.outcome) for t in tests[:4]) == [
        ("test_full_load", "desktop", "passed"),
        ("test_full_load", "desktop-1g", "passed"),
        ("test_made", "desktop", "failed"),
        ("test_made", "desktop-1g", "failed"),
    ]
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        assert [one.profile for one in requests(store, "nightly")] == ["desktop", "desktop-1g"]


@pytest.mark.usefixtures("a_browser")
def test_what_is_in_the_store_is_told(suites: Suites) -> None:
    suite = (
        f"{RECORD}"
        "from results.fleet.requests import requests\n"
        "from results.record import Lineage\n"
        "from results.store import Store\n"
        "def test_a(profile, workload, request):\n"
        "    with Store.open(request.config.option.results) as store:\n"
        "        (asked,) = requests(store, 'nightly')\n"
        "        lineage = Lineage(request_id=asked.request_id, attempt_id='x', number=1)\n"
        "        store.add(made('t', 'nightly', lineage=lineage))\n"
    )
    (suites.pytester.path / "suites").mkdir()
    (suites.pytester.path / "suites/test_full_load.py").write_text(suite)
    options = ("--runtime=wllama/wasm", RUN)
    first = suites.made("", *options)
    first.stdout.no_fnmatch_line("*are not run again*")
    second = suites.made("", *options)
    second.stdout.fnmatch_lines(
        ["run nightly: 1 of 1 trials are in the store already, and are not run again"]
    )


@pytest.mark.usefixtures("a_browser")
def test_a_name_that_no_run_can_have(suites: Suites) -> None:
    assert refusal(suites.real("--run-id=../x")).startswith("--run-id='../x' cannot name a run\n")
    assert refusal(suites.real("--deadline=5")).startswith(
        "--deadline: '5' is not a span of time\n"
    )


def test_a_run_that_is_killed_shows_what_it_did_not_reach(suites: Suites) -> None:
    suites.by_workers(
        f"{RECORD}def test_a(profile): pass\ndef test_b(profile): os._exit(9)\n"
        "def test_c(profile): pass\n",
        RUN,
    )
    (attempt,), tests = stored(suites)
    assert not attempt.complete
    assert attempt.ended_at is None
    assert {t.node_id.split("::")[1]: t.outcome for t in tests} == {
        "test_a[desktop]": "passed",
        "test_b[desktop]": None,
        "test_c[desktop]": None,
    }


# ---- the deadline ----

# The first test waits for it: a run may take longer to begin than any deadline of a test.
LATE = f"""{RECORD}
def test_a(profile, request):
    request.config.stash[DEADLINE] = Deadline(0.0, request.config.stash[DEADLINE].span)
def test_b(profile): pass
def test_c(profile): pass
"""


def check_late(suites: Suites, result: pytest.RunResult) -> None:
    assert result.ret == 124
    result.stdout.fnmatch_lines(
        ["not reached: desktop: 2 tests (the deadline of 2h has passed)", "go on with: *=nightly"]
    )
    (attempt,), tests = stored(suites)
    assert attempt.exit_code == 124
    assert [t.outcome for t in tests if "test_a" in t.node_id] == ["passed"]
    with Store.open(suites.pytester.path / "tierlab-results") as store:
        left = not_reached(store, "nightly")
    assert [(t.outcome, t.reason) for t in left] == [
        ("not-reached", "the deadline of 2h has passed")
    ] * 2
    result.assert_outcomes(passed=1)


@pytest.mark.usefixtures("a_browser")
def test_no_test_begins_after_the_deadline(suites: Suites) -> None:
    check_late(suites, suites.made(LATE, "--deadline=2h", RUN))


@pytest.mark.integration
def test_no_test_of_a_worker_begins_after_the_deadline(suites: Suites) -> None:
    check_late(suites, suites.by_workers(LATE, "--deadline=2h", RUN, "-n", "auto"))


@pytest.mark.usefixtures("a_browser")
def test_a_failure_counts_for_more_than_the_deadline(suites: Suites) -> None:
    failing = LATE.replace(
        "profile, request):", "profile, request):\n    __tracebackhide__ = True", 1
    )
    result = suites.made(
        f"{failing}".replace(".span)", ".span)\n    assert False", 1), "--deadline=2h", RUN
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not reached: desktop: 2 tests (the deadline of 2h has passed)"])


@pytest.mark.usefixtures("a_browser")
def test_a_deadline_that_is_not_reached_changes_nothing(suites: Suites) -> None:
    result = suites.made("def test_a(profile): pass", "--deadline=2h")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*not reached*")


@pytest.mark.integration
def test_ctrl_c_lists_what_was_not_reached(suites: Suites) -> None:
    result = suites.by_workers(
        "def test_a(profile): pass\ndef test_b(profile): raise KeyboardInterrupt\n"
        "def test_c(profile): pass\n",
        RUN,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["not reached: desktop: 2 tests (it was interrupted)"])
    (attempt,), tests = stored(suites)
    assert attempt.exit_code == 2
    assert [t.outcome for t in tests] == ["passed", "not-reached", "not-reached"]


# ---- whose fault it was ----

FAULTS = f"""{RECORD}
def test_verdict(infra): assert infra.verdict is not Verdict.INFRA, infra.explanation
def test_no_phone(profile): raise UserError("no phone", "attach one")
def test_lost(profile): raise DeviceLostError("it does not answer")
def test_fine(profile, good): pass
"""


@pytest.mark.usefixtures("a_browser")
def test_faults_of_the_lab_alone(suites: Suites) -> None:
    result = suites.made(FAULTS, RUN)
    assert result.ret == 75
    result.assert_outcomes(passed=1, failed=3)
    fault = "a fault of the lab, no statement about the device: "
    for why in ("the phone is gone", "no phone", "it does not answer"):
        result.stdout.fnmatch_lines([f"{fault}{why}*"])
    result.stdout.fnmatch_lines(
        ["3 tests failed by faults of the lab, which say nothing about a device"]
    )
    _, tests = stored(suites)
    assert sorted(t.lab_fault for t in tests) == [False, True, True, True]
    assert {t.reason for t in tests if t.lab_fault} >= {f"{fault}the phone is gone"}


@pytest.mark.usefixtures("a_browser")
def test_a_failure_about_a_device_counts_for_more(suites: Suites) -> None:
    result = suites.made(f"{FAULTS}def test_bad(good): assert False, 'too slow'\n", RUN)
    assert result.ret == 1
    # An error of the program is none of the lab's, whatever the trial was.
    assert suites.made(f"{RECORD}def test_a(infra): raise ValueError('x')\n").ret == 1


@pytest.mark.integration
def test_a_worker_that_dies_is_a_fault_of_the_lab(suites: Suites) -> None:
    result = suites.by_workers(
        f"{RECORD}def test_a(profile): os._exit(9)\ndef test_b(profile): pass\n",
        RUN, "-n", "auto",
    )  # fmt: skip
    assert result.ret == 75
    _, tests = stored(suites)
    assert {(t.node_id.split("::")[1], t.outcome, t.lab_fault) for t in tests} == {
        ("test_a[desktop]", "failed", True),
        ("test_b[desktop]", "passed", False),
    }


# ---- JUnit ----

# What `junit-10.xsd` of Jenkins' xunit plugin has, and `properties` of a test case, which it lacks
# and every reader of such files that we know takes.
JUNIT = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"testcase", "properties"},
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
    ),
    "testcase": (
        {"properties", "skipped", "error", "failure", "system-out", "system-err"},
        {"name", "time", "classname"},
    ),
    "properties": ({"property"}, set()),
    "property": (set(), {"name", "value"}),
    "failure": (set(), {"message", "type"}),
    "error": (set(), {"message", "type"}),
}


def junit(path: Path) -> dict[str, dict[str, str]]:
    """The properties of each test in a JUnit file that follows the schema."""
    root = ET.parse(path).getroot()  # noqa: S314 - pytest has just written it
    assert root.tag == "testsuites"
    for element in root.iter():
        children, attributes = JUNIT[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.attrib) <= attributes
    return {
        case.attrib["name"]: {
            p.attrib["name"]: p.attrib["value"] for p in case.iterfind("properties/property")
        }
        for case in root.iter("testcase")
    }


@pytest.mark.usefixtures("a_browser")
def test_junit_says_which_trial_a_test_was_about(suites: Suites) -> None:
    more = "def test_two(profile, good, infra): pass\ndef test_read(earlier): pass\n"
    suites.made(FAULTS + more, RUN, "--junit-xml=found.xml")
    found = junit(suites.pytester.path / "found.xml")
    (attempt,), tests = stored(suites)
    assert found["test_read"]["resource"] == "machine"
    assert found["test_read"]["earlier_attempt"] == "before"
    assert [t.node_id.split("::")[1] for t in tests if t.seconds is None] == ["test_read"]
    assert found["test_fine[desktop]"] == {
        "run": "nightly",
        "attempt": attempt.attempt_id,
        "device": "desktop",
        "trial": "t-good",
        "verdict": "ok",
        "judgement": "right",
    }
    assert found["test_verdict"]["verdict"] == "infra"
    assert found["test_verdict"]["lab_fault"] == "true"
    assert found["test_two[desktop]"]["trials"] == "t-good t-infra"
    assert found["test_two[desktop]"]["verdicts"] == "1 ok, 1 infra"


@pytest.mark.integration
def test_junit_of_workers(suites: Suites) -> None:
    suites.by_workers(FAULTS, RUN, "--junit-xml=found.xml", "-n", "auto")
    found = junit(suites.pytester.path / "found.xml")
    assert found["test_fine[desktop]"]["trial"] == "t-good"
    assert found["test_verdict"]["lab_fault"] == "true"


# ---- GitHub ----

EVIL = RECORD + (
    "def test_a(profile):\n"
    "    print('::add-mask::e')\n"
    "    print('  ::error::captured')\n"
    "    assert False, 'x\\n::warning title=t::from the device\\n##[error]y'\n"
    "def test_b(profile): raise UserError('::error file=a::no phone\\n::stop-commands::z')\n"
)


def commands(lines: list[str]) -> list[str]:
    """The workflow commands that GitHub would obey, as its runner reads lines."""
    found, token = [], ""
    for line in lines:
        text = line.lstrip()
        if token:
            token = "" if text.startswith(f"::{token}::") else token
        elif text.startswith("::stop-commands::"):
            token = text.removeprefix("::stop-commands::")
        elif re.match(r"::[a-z-]+( .*)?::", text) or "##[" in text:
            found.append(line)
    assert not token, "the rest of the job could give no command"
    return found


@pytest.mark.usefixtures("a_browser")
def test_a_device_can_tell_github_nothing(suites: Suites, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = suites.pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = suites.made(EVIL, "--github", RUN, "-s")
    assert result.ret == 1
    error, warning = commands(result.outlines)
    assert error.startswith("::error file=suites/test_made.py,line=")
    assert "from the device%0A  ##[error]y" in error
    assert warning.startswith("::warning file=suites/test_made.py,line=")
    assert "%0A::stop-commands::z" in warning
    told = summary.read_text()
    assert "0 passed, 1 failed, 1 failed by faults of the lab, 0 not reached." in told
    assert not [line for line in told.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.usefixtures("a_browser")
def test_github_is_told_where_it_is_github(
    suites: Suites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert commands(suites.made("def test_a(profile): pass").outlines) == []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nosuch/summary.md"))
    result = suites.made("def test_a(profile): assert False, 'slow'")
    assert result.ret == 1
    assert len(commands(result.outlines)) == 1
    result.stdout.fnmatch_lines(["*summary.md: no summary of the job: No such file or directory"])


@pytest.mark.usefixtures("a_browser")
def test_exit_codes_are_in_the_help(suites: Suites) -> None:
    words = " ".join(suites.real("--help").stdout.str().split())
    assert "75 nothing failed but the lab: try again" in words
    assert "124 the deadline passed before all tests were reached" in words


@pytest.mark.usefixtures("a_browser")
def test_a_run_that_met_its_deadline_makes_its_matrix(
    suites: Suites, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(
        "results.matrix.after_run.matrix_after_run", lambda results, **_: made.append(results)
    )
    assert suites.made(LATE, "--deadline=2h", "--matrix").ret == 124
    assert made == [suites.pytester.path / "tierlab-results"]
