"""What GitHub is told, also of devices that would like to tell it something themselves."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from harness.fleet.annotations import MOST, Guard, annotated, annotation, summary
from harness.fleet.endings import Ending, Tally

COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^:,\r\n]*,?)*)::([^\r\n]*)")


def red(
    name: str = "a.py::b[desktop]", reason: str = "no tokens", *, lab_fault: bool = False
) -> Ending:
    return Ending(
        name, "failed", 1.0, reason=reason, file="suites/a.py", line=7, lab_fault=lab_fault
    )


def test_an_error_at_its_line() -> None:
    assert annotated([red(), Ending("c", "passed", 1.0)]) == [
        "::error file=suites/a.py,line=7,title=failed%3A a.py%3A%3Ab[desktop]::no tokens"
    ]


def test_a_fault_of_the_lab_is_a_warning_and_comes_last() -> None:
    levels = [line.split()[0] for line in annotated([red(lab_fault=True), red()])]
    assert levels == ["::error", "::warning"]


def test_a_device_that_says_a_command() -> None:
    evil = "no\n::warning title=pwned::hello\r\n##[error]x\x1b[2J%0A::stop-commands::x"
    (line,) = annotated([red("a.py::b[x\n::error::y]", evil)])
    assert len(line.splitlines()) == 1
    found = COMMAND.fullmatch(line)
    assert found
    assert found[1] == "error"
    assert unquote(found[3]) == evil.replace("\r\n", "\n").replace(
        "\x1b", "\N{REPLACEMENT CHARACTER}"
    )
    assert "a.py%3A%3Ab[x %3A%3Aerror%3A%3Ay]" in found[2]


@given(st.text(), st.text(), st.text())
def test_any_text_is_one_command(message: str, file: str, title: str) -> None:
    line = annotation("error", message, file=file, line=3, title=title)
    found = COMMAND.fullmatch(line)
    assert found, line
    keys = [part.split("=")[0] for part in found[2].split(",")]
    assert set(keys) <= {"file", "line", "title"}
    assert len(keys) == len(set(keys))


def test_no_more_than_github_shows() -> None:
    lines = annotated([red(f"t{number}") for number in range(25)])
    assert len(lines) == MOST
    assert lines[-1] == "::error title=failed::16 more tests: see the log of this step"
    assert len(annotated([red(f"t{number}") for number in range(MOST)])) == MOST


def test_commands_are_stopped_by_a_token_that_nobody_knows() -> None:
    lines: list[str] = []
    one, two = Guard(lines.append), Guard(lines.append)
    one.stop()
    one.resume()
    two.stop()
    stopped, resumed, other = lines
    token = stopped.removeprefix("::stop-commands::")
    assert resumed == f"::{token}::"
    assert len(token) == 32
    assert token not in other


def test_the_summary_of_a_job() -> None:
    tally = Tally(
        failures=1, lab_faults=1, not_reached=Counter({"pixel7": 3, "desktop": 1}), stopped="late"
    )
    ends = [red(reason="<b>::error::|x"), red(lab_fault=True), Ending("c", "passed", 1.0)]
    told = summary("nightly", ends, tally)
    assert "1 passed, 1 failed, 1 failed by faults of the lab, 4 not reached." in told
    assert "- pixel7: 3 tests not reached\n" in told
    assert "- desktop: 1 test not reached\n" in told
    assert "It ended early: late." in told
    rows = [line for line in told.splitlines() if line.startswith("| a.py")]
    assert [row.count("|") for row in rows] == [4, 4]
    assert "<b>" not in told


def test_a_summary_has_its_limits() -> None:
    ends = [red(f"t{number}", "x" * 2000) for number in range(3000)]
    assert len(summary("run", ends, Tally()).encode()) < 1 << 20
