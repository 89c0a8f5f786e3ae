"""Hosts' stores put together: in any order and as often as one likes, the same comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.fleet.attempts import began, ended
from results.fleet.events import Event, EventKind, add_events, events
from results.fleet.requests import add_requests, progress
from results.fleet.suite_tests import requested_tests
from results.record import Verdict
from results.store import Store
from results.upkeep.integrity import check
from results.upkeep.merge import merge
from tests.results.fleet.fleets import RUN, asked, suite_test, tried
from tests.results.stores import content, with_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS = asked(4)
HOSTS = ("lab-1", "lab-2", "lab-3")
VERDICTS = st.sampled_from([Verdict.OK, Verdict.CRASH, Verdict.INFRA])

# What each host tried: which request, with what verdict.
TRIED = st.lists(st.tuples(st.integers(0, 3), VERDICTS), max_size=4)
# Which host's store arrives when; some more than once.
ORDER = st.lists(st.sampled_from(range(len(HOSTS))), max_size=3).flatmap(
    lambda more: st.permutations([*range(len(HOSTS)), *more])
)


def host(folder: Path, name: str, trials: Sequence[tuple[int, Verdict]]) -> None:
    with Store.open(folder) as store:
        store.start_run(RUN, f"on {name}")
        add_requests(store, REQUESTS)
        for number, (request, verdict) in enumerate(trials):
            trial = f"{name}-{number}"
            add_events(
                store,
                began(RUN, trial, request_ids=[REQUESTS[request].request_id], host=name),
            )
            suite_test(store, trial, "a", outcome="passed")
            store.add(tried(trial, REQUESTS[request], verdict))
            add_events(store, ended(RUN, trial, host=name))
        store.finish_run(RUN)


def merged(folder: Path, hosts: Sequence[Path]) -> dict[str, object]:
    """What does not depend on the order of arrival."""
    with Store.open(folder) as store:
        for other in hosts:
            assert merge(store, other).clean
        assert check(store).sound
        state = progress(store, RUN)
        counted = [one.trial_id for one in store.records()]
        aside = [name for (name,) in store.read("SELECT trial_id FROM superseded")]
        assert not {*counted} & {*aside}
        stating = [one for one in store.records() if one.states]
        fulfilled = [one.lineage.request_id for one in stating if one.lineage]
        assert len({*fulfilled}) == len(fulfilled) == state.recorded
        found: dict[str, object] = {
            "trials": sorted([*counted, *aside]),
            "fulfilled": sorted(fulfilled),
            "set aside": len(aside),
            "open": [one.request_id for one in state.open],
            "events": events(store),
            "tests": requested_tests(store, RUN),
        }
    tables = content(folder)
    assert [row[0] for row in tables["outbox"]] == sorted(counted)
    assert [row[1] for row in tables["figures"]] == sorted(counted)
    return found | {name: tables[name] for name in ("runs", "requests", "events", "tests")}


@given(st.tuples(TRIED, TRIED, TRIED), ORDER, ORDER)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_gives_the_same(
    tries: tuple[list[tuple[int, Verdict]], ...], one: list[int], other: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = [folder / host_name for host_name in HOSTS]
        for path, trials in zip(hosts, tries, strict=True):
            host(path, path.name, trials)
        first = merged(folder / "first", [hosts[n] for n in one])
        assert first == merged(folder / "second", [hosts[n] for n in other])
        # A controller of controllers, which takes what was set aside as well.
        third = merged(folder / "third", [folder / "second", *hosts])
        # What was set aside in one place counts in none: the same trials, and each request once.
        assert third == first
        wanted = {
            f"{path.name}-{n}" for path, t in zip(hosts, tries, strict=True) for n in range(len(t))
        }
        assert {*first["trials"]} == wanted  # type: ignore[misc]


def test_a_record_that_arrives_late_is_set_aside_with_its_evidence(tmp_path: Path) -> None:
    with Store.open(tmp_path / "late") as store:
        store.start_run(RUN, "")
        files = with_evidence(tmp_path / "late", "slow").files
        store.add(tried("slow", REQUESTS[0], Verdict.OOM, files=files))
    with Store.open(tmp_path / "here") as store:
        store.start_run(RUN, "")
        store.add(tried("quick", REQUESTS[0]))
        done = merge(store, tmp_path / "late")
        assert (done.clean, done.records, done.superseded, done.folders) == (True, 0, 1, 1)
        assert (tmp_path / "here" / files["memory-curve.json"]).exists()
        again = merge(store, tmp_path / "late")
        assert (again.superseded, again.known) == (0, 1)
        assert [one.trial_id for one in store.records()] == ["quick"]
        assert check(store).sound


def test_the_same_trial_with_another_body_is_told_also_where_it_was_set_aside(
    tmp_path: Path,
) -> None:
    for name, verdict in (("here", Verdict.OK), ("other", Verdict.OOM)):
        with Store.open(tmp_path / name) as store:
            store.start_run(RUN, "")
            store.add(tried(f"first-{name}", REQUESTS[0]))
            store.add(tried("same", REQUESTS[0], verdict))
    with Store.open(tmp_path / "here") as store:
        done = merge(store, tmp_path / "other")
        assert done.conflicts == ["trial same is another one here; it was left"]


def test_what_another_journal_says_under_a_known_id_is_told_and_left(tmp_path: Path) -> None:
    event = Event.now(EventKind.HEALTH, "ready", resource="phone-1")
    for name, text in (("here", "ready"), ("other", "quarantined")):
        with Store.open(tmp_path / name) as store:
            add_events(store, event.model_copy(update={"text": text}))
    with Store.open(tmp_path / "here") as store:
        done = merge(store, tmp_path / "other")
        assert done.conflicts == [f"event {event.event_id} is another one here; it was left"]
        assert [one.text for one in events(store)] == ["ready"]


def test_what_cannot_be_read_is_told_and_holds_back_nothing(tmp_path: Path) -> None:
    host(tmp_path / "other", "lab-1", [(0, Verdict.OK), (1, Verdict.OK)])
    with Store.open(tmp_path / "other") as store, store.transaction() as connection:
        connection.execute("UPDATE events SET body = '[]' WHERE rowid = 1")
        connection.execute("UPDATE requests SET request_id = 'x' WHERE rowid = 1")
        connection.execute("UPDATE tests SET outcome = 'splendid' WHERE attempt_id = 'lab-1-0'")
    with Store.open(tmp_path / "here") as store:
        done = merge(store, tmp_path / "other")
        assert (done.records, done.requests, done.events, done.tests) == (2, 3, 3, 1)
        assert len(done.unreadable) == 3
        assert check(store).sound
    with Store.open(tmp_path / "other") as store:
        report = check(store)
        assert len(report.problems) == 3
        assert not report.sound


def test_a_run_of_two_hosts_began_with_the_first_and_ended_with_the_last(tmp_path: Path) -> None:
    times = {"lab-1": ("2026-01-02", "2026-01-05"), "lab-2": ("2026-01-01", None)}
    for name, (began_at, ended_at) in times.items():
        host(tmp_path / name, name, [])
        with Store.open(tmp_path / name) as store, store.transaction() as connection:
            connection.execute("UPDATE runs SET started_at = ?, ended_at = ?", (began_at, ended_at))
    for number, order in enumerate((("lab-1", "lab-2"), ("lab-2", "lab-1"))):
        with Store.open(tmp_path / f"here-{number}") as store:
            for name in order:
                merge(store, tmp_path / name)
            assert store.read("SELECT * FROM runs") == [
                (RUN, "2026-01-01", "2026-01-05", "on lab-2")
            ]


def test_pages_of_two_hosts_that_had_a_part_in_one_run_are_both_kept(tmp_path: Path) -> None:
    for name in HOSTS[:2]:
        host(tmp_path / name, name, [])
        place = tmp_path / name / "pages" / RUN / f"attempt-of-{name}"
        place.mkdir(parents=True)
        (place / "console.log").write_text(name)
    secret = tmp_path / "secret"
    secret.mkdir()
    (tmp_path / "lab-1" / "pages" / RUN / "link").symlink_to(secret)
    with Store.open(tmp_path / "here") as store:
        for name in HOSTS[:2]:
            assert merge(store, tmp_path / name).folders == 1
    found = sorted(path.name for path in (tmp_path / "here" / "pages" / RUN).iterdir())
    assert found == ["attempt-of-lab-1", "attempt-of-lab-2"]


# ---- the check ----


def test_a_check_finds_what_is_wrong_with_a_fleet(tmp_path: Path) -> None:
    host(tmp_path, "lab-1", [(0, Verdict.OK), (0, Verdict.OK), (1, Verdict.OK), (1, Verdict.OK)])
    with Store.open(tmp_path) as store:
        assert check(store).sound
        with store.transaction() as connection:
            connection.execute("UPDATE superseded SET request_id = 'x' WHERE trial_id = 'lab-1-1'")
            connection.execute("UPDATE events SET resource = 'x' WHERE rowid = 1")
            # The mark that keeps a second one out is gone, and then there are two.
            connection.execute("UPDATE records SET request_id = NULL WHERE trial_id = 'lab-1-2'")
            connection.execute(
                "UPDATE superseded SET trial_id = 'lab-1-2', body = replace(body, 'lab-1-3',"
                " 'lab-1-2') WHERE trial_id = 'lab-1-3'"
            )
        found = [text for text, _ in check(store).problems]
        assert len(found) == 4
        assert any("lab-1-2 counts, and is set aside as well" in text for text in found)
        # A column is made anew; bodies are nobody's to change.
        assert sum(mended for _, mended in check(store, repair=True).problems) == 1
        ((request,),) = store.read("SELECT request_id FROM records WHERE trial_id = 'lab-1-2'")
        assert request == REQUESTS[1].request_id


def test_a_repair_does_not_decide_which_of_two_counts(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.start_run(RUN, "")
        store.add(tried("one", REQUESTS[0]))
        with store.transaction() as connection:
            connection.execute("UPDATE records SET request_id = NULL")
        store.add(tried("two", REQUESTS[0]))
        report = check(store, repair=True)
        assert [text for text, _ in report.problems] == [
            "trial one: two fulfils its request already"
        ]
        assert not report.sound
