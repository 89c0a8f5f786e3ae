"""Bundles: all that is not confirmed, whole, as often as need be, and interrupted anywhere."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from results.errors import StoreError
from results.fleet.attempts import began, ended
from results.fleet.events import Event, EventKind, add_events
from results.fleet.handover import confirm, make_bundle
from results.fleet.requests import add_requests
from results.record import Verdict
from results.store import Store
from results.upkeep.integrity import check
from results.upkeep.merge import Merged, merge
from results.upkeep.retention import LEAST_AGE, prune
from tests.results.fleet.fleets import RUN, asked, story, suite_test, tried
from tests.results.stores import content, everything, filled, with_evidence

ROOT = Path(__file__).parent.parent.parent.parent


def host(folder: Path) -> Path:
    """The store of a host, with all that there is in one."""
    filled(folder, "old", run_id="run-0")
    with Store.open(folder) as store:
        story(store)
    for kind, name in (("pages", "attempt-1"), ("probes", "attempt-1"), ("pages", "open")):
        place = folder / kind / RUN / name / "deep"
        place.mkdir(parents=True)
        (place / "console.log").write_text(f"{kind} of {name}")
    return folder


def handed_over(folder: Path, bundle: Path, controller: Path) -> tuple[str, Merged]:
    """A bundle of a host, taken up by its controller; not confirmed."""
    with Store.open(folder) as store:
        made = make_bundle(store, bundle)
    with Store.open(controller) as store:
        return made.bundle_id, merge(store, bundle)


def test_everything_arrives_and_then_nothing_is_left_to_hand_over(tmp_path: Path) -> None:
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    before = content(here)
    name, done = handed_over(here, tmp_path / "bundle", controller)
    assert done.clean
    assert (done.records, done.superseded, done.requests, done.tests) == (3, 1, 3, 2)
    assert content(controller) == content(here) == before
    for kind in ("trials", "capabilities", "probes"):
        assert hashes(controller / kind) == hashes(here / kind)
    # What belongs to an attempt that may go on is left for later.
    assert [one.name for one in (controller / "pages" / RUN).iterdir()] == ["attempt-1"]
    with Store.open(here) as store:
        assert confirm(store, name) > 0
        assert confirm(store, name) == 0
        empty = make_bundle(store, tmp_path / "empty")
        assert (empty.counts, empty.left) == ({}, ())
        assert check(store).sound


def hashes(folder: Path) -> dict[str, str]:
    return {name: digest for name, (digest, _) in everything(folder).items()}


def test_only_what_is_new_is_handed_over(tmp_path: Path) -> None:
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    name, _ = handed_over(here, tmp_path / "first", controller)
    with Store.open(here) as store:
        confirm(store, name)
        store.add(with_evidence(here, "late", run_id=RUN))
        add_events(store, ended(RUN, "open", exit_code=0))
        made = make_bundle(store, tmp_path / "second")
    # The page's evidence is whole now that its attempt is over.
    assert made.counts == {"trial": 1, "event": 1, "pages": 1}
    with Store.open(controller) as store:
        done = merge(store, tmp_path / "second")
        assert (done.clean, done.records, done.events) == (True, 1, 1)
        assert store.record("late") is not None
        assert (controller / "trials" / "late" / "memory-curve.json").exists()
        assert (controller / "pages" / RUN / "open" / "deep" / "console.log").exists()


def test_what_changed_since_is_handed_over_again(tmp_path: Path) -> None:
    here, controller = tmp_path / "host", tmp_path / "controller"
    with Store.open(here) as store:
        store.start_run(RUN, "")
        suite_test(store, "attempt-1", "a")
    name, _ = handed_over(here, tmp_path / "first", controller)
    with Store.open(here) as store:
        confirm(store, name)
        suite_test(store, "attempt-1", "a", outcome="passed")
        store.finish_run(RUN)
    _, done = handed_over(here, tmp_path / "second", controller)
    assert (done.tests, done.runs) == (1, 0)
    assert content(controller) == content(here)


def test_what_is_not_confirmed_comes_again_and_is_there_once(tmp_path: Path) -> None:
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    first, _ = handed_over(here, tmp_path / "first", controller)
    after = content(controller)
    second, done = handed_over(here, tmp_path / "second", controller)
    assert (done.records, done.superseded, done.events, done.folders) == (0, 0, 0, 0)
    assert content(controller) == after
    with Store.open(here) as store:
        # Confirmed in any order, both are settled by the first.
        assert confirm(store, first) > 0
        assert confirm(store, second) == 0
        assert make_bundle(store, tmp_path / "third").counts == {}
        assert confirm(store, "no such bundle") == 0


def test_a_bundle_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    here = host(tmp_path / "host")
    target = tmp_path / "there"
    target.mkdir()
    with Store.open(here) as store:
        with pytest.raises(StoreError, match=r"there: no bundle can be made here: File exists"):
            make_bundle(store, target)
        assert store.read("SELECT * FROM handed_over") == []


def test_a_record_that_cannot_be_read_is_told_and_holds_back_no_other(tmp_path: Path) -> None:
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    with Store.open(here) as store:
        with store.transaction() as connection:
            connection.execute("UPDATE records SET body = '{}' WHERE trial_id = 'old'")
        made = make_bundle(store, tmp_path / "bundle")
        assert [text.partition(" cannot")[0] for text in made.left] == ["the record of trial old"]
        confirm(store, made.bundle_id)
        assert make_bundle(store, tmp_path / "next").counts == {}
    with Store.open(controller) as store:
        assert merge(store, tmp_path / "bundle").records == 2


KILLED = """
import os, signal, sys
from pathlib import Path
import results.fleet.handover as h
from results.store import Store
left = int(sys.argv[3])
def count(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
real = h.copy_evidence
def copy(*folders):
    count()
    return real(*folders)
h.copy_evidence = copy
opened = Store.open
def traced(folder):
    store = opened(folder)
    store._connection.set_trace_callback(count)
    return store
h.Store.open = traced
with traced(Path(sys.argv[1])) as store:
    print(h.make_bundle(store, Path(sys.argv[2])).bundle_id, left)
"""


def test_killed_at_any_moment_it_harms_nothing(tmp_path: Path) -> None:
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    before = content(here)
    for moment in (20, 55, 76):
        target = tmp_path / f"killed-{moment}"
        done = subprocess.run(
            [sys.executable, "-c", KILLED, here, target, str(moment)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, ""), done.stdout
        assert content(here) == before
        with Store.open(here) as store:
            # None of them can be taken for one that was whole.
            assert store.read("SELECT * FROM handed_over") == []
        shutil.rmtree(target, ignore_errors=True)
    _, whole = handed_over(here, tmp_path / "whole", controller)
    assert whole.clean
    assert content(controller) == before


def test_half_of_a_bundle_is_completed_by_the_next(tmp_path: Path) -> None:
    """What an import took before it was interrupted is neither lost nor doubled."""
    here, controller = host(tmp_path / "host"), tmp_path / "controller"
    with Store.open(here) as store:
        make_bundle(store, tmp_path / "bundle")
    shutil.rmtree(tmp_path / "bundle" / "trials")
    with Store.open(tmp_path / "bundle") as store, store.transaction() as connection:
        connection.execute("DELETE FROM records WHERE trial_id <> 'old'")
        connection.execute("DELETE FROM events")
    with Store.open(controller) as store:
        merge(store, tmp_path / "bundle")
        # What was set aside on the host is the first here that fulfils its request.
        assert [one.trial_id for one in store.records()] == ["again", "old"]
    _, done = handed_over(here, tmp_path / "next", controller)
    assert done.clean
    assert (done.records, done.superseded) == (1, 1)
    assert hashes(controller / "trials") == hashes(here / "trials")
    found, wanted = content(controller), content(here)
    for table in ("runs", "requests", "events", "tests", "capabilities"):
        assert found[table] == wanted[table]


# ---- pruning a host ----


def test_a_host_keeps_what_is_not_handed_over(tmp_path: Path) -> None:
    here = host(tmp_path / "host")
    with Store.open(here) as store:
        name = make_bundle(store, tmp_path / "bundle").bundle_id
        store.add(with_evidence(here, "late", run_id=RUN))
        before = began("x", "y").at - LEAST_AGE
        done = prune(store, before)
        assert (done.records, done.waiting, done.hands_over) == (0, 5, True)
        confirm(store, name)
        done = prune(store, before)
        assert (done.records, done.superseded, done.waiting) == (3, 1, 1)
        assert [one.trial_id for one in store.records()] == ["late"]
        assert [path.name for path in (here / "trials").iterdir()] == ["late"]
        # It is remembered what was handed over of all that is still here.
        kinds = {kind for (kind,) in store.read("SELECT kind FROM handed_over")}
        assert "trial" not in kinds
        assert kinds >= {"run", "request", "event", "test"}
        assert make_bundle(store, tmp_path / "next").counts == {"trial": 1}


def test_the_story_of_a_run_is_kept_as_long_as_its_trials(tmp_path: Path) -> None:
    here = tmp_path / "host"
    old = began("x", "y").at - 3 * LEAST_AGE
    with Store.open(here) as store:
        story(store, at=old)
        lone = Event.now(EventKind.HEALTH, "quarantined", resource="phone-1")
        add_events(store, lone.model_copy(update={"at": old}))
        before = began("x", "y").at - LEAST_AGE
        done = prune(store, before)
        # Two wait to be sent; what was set aside never is, and what happened to no run is old.
        assert (done.waiting, done.superseded) == (2, 1)
        found = content(here)
        assert [len(found[table]) for table in _KEPT] == [2, 3, 2, 2, 1]
        assert prune(store, before, unsent=True).records == 2
        found = content(here)
        assert [len(found[table]) for table in _KEPT] == [0, 0, 0, 0, 0]


_KEPT = ("records", "requests", "tests", "events", "runs")


def test_requests_of_a_run_that_goes_on_are_kept(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        story(store)
        add_requests(store, asked(4))
        store.add(tried("fault", asked(4)[3], Verdict.INFRA))
        prune(store, began("x", "y").at - LEAST_AGE, unsent=True)
        assert store.read("SELECT count(*) FROM requests") == [(4,)]
        assert store.latest_run() == RUN
