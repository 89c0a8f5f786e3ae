"""What `runs show` tells of a run, and `runs flakes` of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness.cli import main
from results.fleet.attempts import STOPPED, began, ended
from results.fleet.events import Event, EventKind, add_events
from results.fleet.requests import add_requests
from results.fleet.story import print_story
from results.record import Verdict
from results.store import Store
from tests.results.fleet.fleets import RUN, asked, suite_test, tried
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WANTED = asked(4)
NAME = "desktop, gemma-2b/int4 onnxruntime-web/wasm"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        opened.start_run(RUN, "")
        yield opened


def told(store: Store, *, full: bool = False) -> list[str]:
    console = Console(width=120)
    with console.capture() as capture:
        assert print_story(console, store, RUN, full=full)
    return [line.rstrip() for line in capture.get().splitlines()]


def attempt(store: Store, name: str, request: int, *, code: int | None = 0) -> None:
    device = f"phone-{request}"
    wanted = [WANTED[request].request_id]
    add_events(store, began(RUN, name, devices=[device], request_ids=wanted, host="lab-1"))
    if code is not None:
        add_events(store, ended(RUN, name, exit_code=code, host="lab-1"))


def test_a_run_without_a_fleet_has_no_story(store: Store) -> None:
    store.add(record("a", RUN))
    assert not print_story(Console(), store, RUN)
    assert not print_story(Console(), store, RUN, full=True)


def test_a_run_that_went_well_is_one_line(store: Store) -> None:
    add_requests(store, WANTED[:1])
    attempt(store, "a", 0)
    store.add(tried("t", WANTED[0]))
    assert told(store) == [
        "1 trial requested, 1 recorded, each once; 1 attempt",
        f"-> `tierlab runs show {RUN} --story` tells every event",
    ]


def test_what_is_missing_and_why(store: Store) -> None:
    add_requests(store, WANTED)
    attempt(store, "a", 0)
    attempt(store, "b", 1, code=75)
    attempt(store, "c", 2, code=None)
    store.add(tried("one", WANTED[0]))
    store.add(tried("two", WANTED[0], Verdict.CRASH))
    fault = "adb lost\x1b[31m it"
    store.add(tried("three", WANTED[1], Verdict.INFRA, explanation=fault))
    suite_test(store, "c", "suites/x.py::t")
    lines = told(store)
    assert lines[0] == (
        "4 trials requested, 1 recorded, each once; 3 open; 3 attempts: 1 incomplete;"
        " 1 fault of the lab; 1 set aside as superseded"
    )
    faulty, lost, never, unreached = lines[1:5]
    assert faulty == (
        f"open: {NAME}, repeat 1: only faults of the lab, the last on host:"
        " adb lost\N{REPLACEMENT CHARACTER}[31m it"
    )
    assert lost == (
        f"open: {NAME}, repeat 2: its last attempt, on lab-1, is incomplete: it has no end;"
        " it goes on, or was killed"
    )
    assert never == f"open: {NAME}, repeat 3: no attempt set out for it"
    assert unreached == "not reached: suites/x.py::t on lab-1"
    table = "\n".join(lines[5:])
    assert table.count("lab-1  phone-") == 3
    assert "complete, exit code 75" in table
    assert (
        f"tried 2 times: {NAME}: ok on host, trial one -> crash on host, trial two, set aside"
        in lines
    )


def test_the_whole_story_has_what_happened_to_the_lab_meanwhile(store: Store) -> None:
    add_events(store, Event.now(EventKind.WORKER, "worker before: connected"))
    add_events(store, began(RUN, "a", host="lab-1"))
    add_events(store, Event.now(EventKind.WORKER, "worker pixel7-a: lost"))
    add_events(store, Event.now(EventKind.RUN, "of another run", run_id="other"))
    add_events(store, ended(RUN, "a", exit_code=2, outcome=STOPPED, host="lab-1"))
    add_events(store, Event.now(EventKind.CONTROLLER, "after it"))
    happened = [line for line in told(store, full=True) if " worker: " in line or "ttempt" in line]
    assert "".join(happened).count("worker pixel7-a: lost") == 1
    assert not any("before" in line or "after it" in line or "other" in line for line in happened)
    assert "stopped, exit code 2" in "\n".join(told(store))


def test_a_retry_is_told_with_what_it_retries(store: Store) -> None:
    add_requests(store, WANTED[:2])
    store.add(tried("first", WANTED[0], Verdict.HANG))
    store.add(tried("second", WANTED[1], retry_of="first"))
    assert f"tried 2 times: {NAME}: hang on host, trial first -> ok on host, trial second" in told(
        store
    )


def test_long_lists_are_counted_unless_all_is_asked_for(store: Store) -> None:
    add_requests(store, asked(30))
    for number in range(25):
        attempt(store, f"a{number}", number % 4)
    add_events(store, Event.now(EventKind.HEALTH, "quarantined", run_id=RUN, resource="phone-1"))
    short, long = told(store), told(store, full=True)
    assert sum(line.startswith("open: ") for line in short) == 20
    assert "... and 10 more" in short
    assert not any("lab-1  phone-" in line for line in short)  # all of them are complete
    assert sum(line.startswith("open: ") for line in long) == 30
    assert sum("lab-1  phone-" in line for line in long) == 25
    assert long[-1].endswith("phone-1  health: quarantined")
    assert sum("attempt: attempt 1 begins" in line for line in long) == 25


def test_the_command_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(tmp_path) as store:
        store.start_run(RUN, "")
        add_requests(store, WANTED[:1])
    assert main(["runs", "show", "--results", str(tmp_path), "--story"]) == 0
    assert "1 trial requested, 0 recorded; 1 open; 0 attempts" in capsys.readouterr().out
    assert main(["runs", "flakes", "--results", str(tmp_path)]) == 0
    assert "no tries in the last 30 days" in capsys.readouterr().out
    with Store.open(tmp_path) as store:
        for number, request in enumerate(asked(6)):
            store.add(tried(f"t{number}", request, Verdict.OK if number else Verdict.INFRA))
    assert main(["runs", "flakes", "--days", "7", "--results", str(tmp_path)]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "phone-1" in one]
    assert line.split() == ["phone-1", "6", "1", "0", "17%", "0"]


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "99999", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_number_of_days(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["runs", "flakes", f"--days={days}"])
    assert "is no number of days from 1 to 9999" in capsys.readouterr().err


def test_without_results_there_are_no_flakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "flakes", "--results", str(tmp_path)]) != 0
    assert "there are no results here" in " ".join(capsys.readouterr().err.split())
