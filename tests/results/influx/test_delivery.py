"""Delivery to InfluxDB: nothing lost and nothing doubled, whatever goes wrong on the way."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.influx import courier as courier_module
from results.influx import outbox
from results.influx.client import Influx, RefusedError, UnavailableError
from results.influx.commands import add_commands
from results.influx.courier import Courier
from results.influx.delivery import (
    LEAST_LINES_A_REQUEST,
    LINES_A_REQUEST,
    LONGEST_WAIT_SECONDS,
    Progress,
    Sender,
    send_command,
    summary,
    wait_seconds,
)
from results.influx.lines import lines_of
from results.influx.outbox import Counts
from results.influx.settings import InfluxSettings, MisconfiguredError
from results.store import Store, StoreError
from tests.results.influx.influxd import (
    BUCKET,
    DROPPED,
    HANG,
    LOST_ANSWER,
    ORG,
    TOKEN,
    busy,
    influx_fixture,  # noqa: F401 - a fixture
)
from tests.results.influx.test_outbox import NOW, park, trials, two_lines
from tests.results.records import record
from tests.results.test_store import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from results.influx.outbox import LinesOf
    from results.record import Record
    from tests.results.influx.influxd import Influx as Server

# ---- stand-ins ----


class Database:
    """Lines as a database keeps them: a line that is written twice is there once.

    Attributes:
        kept: what it has.
        bad: what it refuses.
        keeps_the_good: whether the good lines of a request with bad ones are kept.
        faults: raised by the next writes, one each; `None` for none. With `written` set on it, a
            fault comes after the lines were kept.
        requests: how many lines each request had.
    """

    def __init__(self, bad: Sequence[str] = (), *, keeps_the_good: bool = True) -> None:
        self.kept: set[str] = set()
        self.bad = set(bad)
        self.keeps_the_good = keeps_the_good
        self.faults: list[Exception | None] = []
        self.lost_answers = 0
        self.requests: list[int] = []

    def write(self, lines: Sequence[str]) -> None:
        self.requests.append(len(lines))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        refused = [line for line in lines if line in self.bad]
        if not refused or self.keeps_the_good:
            self.kept |= set(lines) - self.bad
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("the answer is lost")
        if refused:
            raise RefusedError(f"{refused[0]} is bad")


class Pauses:
    """Remembers the waits instead of waiting."""

    def __init__(self, most: int = 1_000) -> None:
        self.waits: list[tuple[float, bool]] = []
        self._most = most

    def __call__(self, seconds: float, *, asked: bool, failing_seconds: float) -> bool:
        assert failing_seconds >= 0
        self.waits.append((seconds, asked))
        return len(self.waits) <= self._most


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        opened.start_run("run-1", "a command")
        yield opened


def trial(name: str) -> Record:
    """A trial that began at a time of its own."""
    later = timedelta(milliseconds=int.from_bytes(name.encode()) % 10**9)
    return record(name, started_at=NOW + later)


def fill(store: Store, *names: str) -> None:
    for name in names:
        store.add(trial(name))


def sender(store: Store, database: Any, lines_of: LinesOf = two_lines, **changes: Any) -> Sender:
    return Sender(store, database, lines_of, **{"pause": Pauses(), **changes})


# ---- all is well ----


def test_all_that_waits_is_sent(store: Store) -> None:
    fill(store, "a", "b")
    database = Database()
    sending = sender(store, database)
    sending.send()
    assert database.kept == {"a first", "a second", "b first", "b second"}
    assert database.requests == [4]
    assert trials(store) == []
    assert sending.progress == Progress(records=2, lines=4)


def test_an_empty_outbox_asks_for_nothing(store: Store) -> None:
    database = Database()
    sender(store, database).send()
    assert database.requests == []


def test_no_request_has_more_lines_than_it_should(store: Store) -> None:
    fill(store, "a", "b", "c")
    database = Database()

    def seven(whole: Record, _: Path | None) -> list[str]:
        return [f"{whole.trial_id}{number}" for number in range(7)]

    sender(store, database, seven, most=5).send()  # even where one record has more
    assert database.requests == [5, 2] * 3
    assert len(database.kept) == 21


def test_a_record_leaves_when_it_is_written_and_not_before(store: Store) -> None:
    fill(store, "a", "b")
    seen = []

    class Watching(Database):
        def write(self, lines: Sequence[str]) -> None:
            seen.append(trials(store))
            super().write(lines)

    sender(store, Watching(), most=2).send()
    assert seen == [["a", "b"], ["b"]]


def test_records_that_come_meanwhile_are_sent_too(store: Store) -> None:
    fill(store, "a")

    class Busy(Database):
        def write(self, lines: Sequence[str]) -> None:
            if not self.requests:
                fill(store, "b")
            super().write(lines)

    database = Busy()
    sender(store, database).send()
    assert len(database.kept) == 4
    assert trials(store) == []


def test_a_record_without_lines_is_done(store: Store) -> None:
    fill(store, "a")
    database = Database()
    sender(store, database, lambda *_: []).send()
    assert (database.requests, trials(store)) == ([], [])


def test_a_record_that_cannot_be_read_waits_and_is_told(store: Store) -> None:
    fill(store, "a", "b")
    with store.transaction() as connection:
        connection.execute("UPDATE records SET body = '{}' WHERE trial_id = 'a'")
    database = Database()
    sending = sender(store, database)
    sending.send()
    assert (len(database.kept), trials(store)) == (2, ["a"])
    assert "cannot be read" in sending.progress.unreadable["a"]


# ---- bad lines ----


@pytest.mark.parametrize("keeps_the_good", [True, False])
def test_a_bad_line_is_found_and_parked(store: Store, keeps_the_good: bool) -> None:
    fill(store, *(f"{number:02}" for number in range(50)))
    database = Database(["17 second", "31 first"], keeps_the_good=keeps_the_good)
    sending = sender(store, database)
    sending.send()
    assert len(database.kept) == 98
    assert trials(store) == []
    assert [(line.trial_id, line.line, line.reason) for line in outbox.parked(store)] == [
        ("17", "17 second", "17 second is bad"),
        ("31", "31 first", "31 first is bad"),
    ]
    assert sending.progress == Progress(records=50, lines=98, parked=2)
    assert len(database.requests) < 40  # halves, and not line by line


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_goes_wrong_every_line_is_written_or_parked(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    every = [f"{trial}/{n}" for trial, many in enumerate(counts) for n in range(many)]
    bad = data.draw(st.sets(st.sampled_from(every))) if every else set()
    database = Database(list(bad), keeps_the_good=data.draw(st.booleans()))
    database.lost_answers = data.draw(st.integers(0, 3))
    down, slow = UnavailableError("down"), UnavailableError("slow", slow=True)
    fault = st.sampled_from([None, down, slow, UnavailableError("busy", retry_after=9)])
    database.faults = data.draw(st.lists(fault, max_size=10))

    def lines_of(whole: Record, _: Path | None) -> list[str]:
        return [f"{whole.trial_id}/{number}" for number in range(counts[int(whole.trial_id)])]

    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        store.start_run("run-1", "")
        fill(store, *map(str, range(len(counts))))
        # Every so often nobody waits any longer, and another sender starts.
        patience = data.draw(st.integers(0, 5))
        while outbox.count(store).waiting:
            most = data.draw(st.integers(1, 9))
            sender(store, database, lines_of, most=most, pause=Pauses(patience)).send()
        parked = [line.line for line in outbox.parked(store)]
    assert sorted(database.kept | bad) == sorted(every)
    assert database.kept.isdisjoint(bad)
    assert sorted(parked) == sorted(bad)


def test_lines_that_were_put_back_are_sent_as_they_are(store: Store) -> None:
    park(store, "good", "bad", "ugly")
    outbox.put_back(store, [1, 2])
    database = Database(["bad"])
    sending = sender(store, database, gauge=None)
    sending.send()
    assert database.kept == {"good"}
    assert [(line.line, line.reason) for line in outbox.parked(store)] == [
        ("bad", "bad is bad"),
        ("ugly", "no good"),
    ]
    assert sending.progress == Progress(lines=1, parked=1)


# ---- faults that pass ----


def test_a_fault_is_waited_for(store: Store) -> None:
    fill(store, "a")
    database = Database()
    database.faults = [UnavailableError("down")] * 4
    pauses = Pauses()
    sending = sender(store, database, pause=pauses)
    sending.send()
    assert len(database.kept) == 2
    assert sending.progress.problem is None
    waits = [seconds for seconds, _ in pauses.waits]
    assert all(
        wait_seconds(n, 0) <= wait <= wait_seconds(n, 1) for n, wait in enumerate(waits, start=1)
    )


def test_waits_double_up_to_a_minute() -> None:
    assert [wait_seconds(n) for n in range(1, 6)] == [0.5, 1, 2, 4, 8]
    assert wait_seconds(10_000) == LONGEST_WAIT_SECONDS
    assert wait_seconds(3, 0) == wait_seconds(3, 1) / 2


def test_a_wait_that_the_server_asks_for_is_obeyed(store: Store) -> None:
    fill(store, "a")
    database = Database()
    database.faults = [UnavailableError("busy", retry_after=77), UnavailableError("down")]
    pauses = Pauses()
    sender(store, database, pause=pauses).send()
    assert [asked for _, asked in pauses.waits] == [True, False]
    first, second = [seconds for seconds, _ in pauses.waits]
    assert first == 77
    assert second < 2


def test_what_is_not_delivered_in_time_waits(store: Store) -> None:
    fill(store, "a", "b")
    database = Database()
    database.faults = [None, UnavailableError("down"), UnavailableError("down")]
    sending = sender(store, database, most=2, pause=Pauses(1))
    sending.send()
    assert trials(store) == ["b"]
    assert sending.progress.problem == "down"
    sender(store, database).send()
    assert len(database.kept) == 4


def test_a_sender_that_shall_stop_begins_no_further_batch(store: Store) -> None:
    fill(store, "a", "b", "c")
    database = Database()
    sender(store, database, most=2, rest=lambda _: len(database.requests) < 2).send()
    assert trials(store) == ["c"]


def test_a_wrong_setting_ends_it_at_once(store: Store) -> None:
    fill(store, "a", "b")
    database = Database()
    database.faults = [None, MisconfiguredError("wrong token", "set another")]
    pauses = Pauses()
    with pytest.raises(MisconfiguredError):
        sender(store, database, most=2, pause=pauses).send()
    assert trials(store) == ["b"]
    assert pauses.waits == []


def test_a_slow_server_is_sent_less_at_once(store: Store) -> None:
    fill(store, *(f"{number:03}" for number in range(200)))

    class Slow(Database):
        def write(self, lines: Sequence[str]) -> None:
            if len(lines) > 150:
                self.requests.append(len(lines))
                raise UnavailableError("no answer in time", slow=True)
            super().write(lines)

    database = Slow()
    pauses = Pauses()
    sender(store, database, pause=pauses).send()
    assert len(database.kept) == 400
    assert database.requests == [400, 200, 100, 100, 200, 100, 100]
    assert LEAST_LINES_A_REQUEST <= 100


def test_a_proxy_that_takes_small_requests_only_is_asked_once(store: Store) -> None:
    fill(store, *(f"{number:03}" for number in range(400)))

    class Proxy(Database):
        def write(self, lines: Sequence[str]) -> None:
            if len(lines) > 150:
                self.requests.append(len(lines))
                raise RefusedError("too large", too_large=True)
            super().write(lines)

    database = Proxy()
    sender(store, database, most=400).send()
    assert len(database.kept) == 800
    assert outbox.count(store) == (0, None, 0, 0)
    assert database.requests == [400, 200, 100, 100, 200, 100, 100] + [100] * 4


def test_the_gauge_is_written_where_that_works(store: Store) -> None:
    fill(store, "a")
    park(store, "x")

    def gauge(counts: Counts) -> str:
        return f"waiting={counts.waiting} parked={counts.parked}"

    database = Database()
    sender(store, database, gauge=gauge).send()
    assert "waiting=0 parked=1" in database.kept
    for fault in (UnavailableError("down"), RefusedError("no")):
        database.faults = [fault]
        pauses = Pauses()
        sender(store, database, gauge=gauge, pause=pauses).send()
        assert pauses.waits == []


# ---- several senders ----


def test_two_senders_at_once_are_harmless(store: Store) -> None:
    fill(store, *(f"{number:02}" for number in range(40)))
    path = store.path.parent
    barrier = threading.Barrier(2)
    sent, parked = [], []

    class Together(Database):
        """Both have read the same rows when the first write begins."""

        def write(self, lines: Sequence[str]) -> None:
            if not self.requests:
                barrier.wait(10)
            super().write(lines)

    database = Together(["07 first", "23 second"])

    def work() -> None:
        with Store.open(path) as own:
            sending = sender(own, database, most=20)
            sending.send()
            sent.append(sending.progress.records)
            parked.append(sending.progress.parked)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(database.kept) == 78
    assert trials(store) == []
    assert sum(sent) == 40  # each record was counted by the one that took it out
    assert [line.line for line in outbox.parked(store)] == ["07 first", "23 second"]


# ---- what is said ----


@pytest.mark.parametrize(
    ("progress", "counts", "problem", "told"),
    [
        (Progress(), Counts(0, None, 0, 0), None, "InfluxDB: nothing waits"),
        (Progress(1, 9), Counts(0, None, 0, 0), None, "InfluxDB: 1 record delivered"),
        (
            Progress(2, 9, problem="down"),
            Counts(1, NOW, 2, 0),
            None,
            "InfluxDB: 2 records delivered; 1 record and 2 lines wait: down; go on with: send",
        ),
        (
            Progress(problem="down"),
            Counts(1, NOW, 0, 0),
            "interrupted",
            "InfluxDB: 1 record waits: interrupted; go on with: send",
        ),
        (
            Progress(3, 9, 1),
            Counts(0, None, 0, 5),
            None,
            "InfluxDB: 3 records delivered; 1 line was refused: tierlab outbox list",
        ),
        (
            Progress(unreadable={"a\x1b": "of no\nuse"}),
            Counts(1, NOW, 0, 0),
            None,
            "InfluxDB: 1 record waits: trial a\ufffd cannot be sent: of no use; go on with: send",
        ),
        (
            Progress(4),
            None,
            "the disk is gone",
            "InfluxDB: 4 records delivered; the disk is gone; go on with: send",
        ),
    ],
)
def test_one_line_says_it(
    progress: Progress, counts: Counts | None, problem: str | None, told: str
) -> None:
    assert summary(progress, counts, problem, ["send"]) == told


def test_the_command_that_goes_on_has_no_token(tmp_path: Path) -> None:
    words = send_command(tmp_path, InfluxSettings("http://here", "b", "o", TOKEN))
    assert TOKEN not in " ".join(words)
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(words[1:])
    assert (options.results, options.influx) == (tmp_path, "http://here")
    assert (options.influx_org, options.influx_bucket) == ("o", "b")


# ---- a real InfluxDB ----


def settings_of(server: Server, **changes: str) -> InfluxSettings:
    given = {"url": server.url, "bucket": BUCKET, "org": ORG, "token": TOKEN, **changes}
    return InfluxSettings(**given)


def points_of(server: Server) -> list[tuple[str, str]]:
    """Measurement and trial of every point that a record became, sorted."""
    return sorted(
        (point["measurement"], point["trial_id"])
        for point in server.points()
        if point["measurement"] != "outbox"
    )


def expected(*names: str) -> list[tuple[str, str]]:
    """What `points_of` says once these trials arrived, each once."""
    return sorted(
        (line.partition(",")[0], name) for name in names for line in lines_of(trial(name), None)
    )


def deliver(store: Store, server: Server, **changes: Any) -> Sender:
    with Influx(settings_of(server), answer_seconds=0.5) as influx:
        sending = sender(store, influx, lines_of, **changes)
        sending.send()
    return sending


@pytest.mark.integration
def test_records_arrive_once(store: Store, influx: Server) -> None:
    fill(store, "a", "b")
    deliver(store, influx)
    assert points_of(influx) == expected("a", "b")
    with store.transaction() as connection:
        connection.execute("INSERT INTO outbox (trial_id) SELECT trial_id FROM records")
    deliver(store, influx)  # all of it again
    assert points_of(influx) == expected("a", "b")


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault",
    [busy(500), busy(503, "0"), busy(429, "0"), DROPPED, LOST_ANSWER, HANG],
    ids=["500", "503", "429", "dropped", "lost-answer", "hangs"],
)
def test_a_fault_in_between_costs_nothing(store: Store, influx: Server, fault: Any) -> None:
    names = [f"{number}" for number in range(6)]
    fill(store, *names)
    influx.front.faults += [fault, fault]
    pauses = Pauses()
    sending = deliver(store, influx, most=4, pause=pauses)
    assert len(pauses.waits) == 2
    assert sending.progress.records == 6
    assert points_of(influx) == expected(*names)


@pytest.mark.integration
def test_influxdb_that_is_down_and_comes_back(store: Store, influx: Server) -> None:
    fill(store, "a")
    influx.influxd.kill()
    tries = []

    def pause(seconds: float, *, asked: bool, failing_seconds: float) -> bool:
        del seconds, asked, failing_seconds
        tries.append(trials(store))
        if len(tries) == 3:
            influx.influxd.start()
        return True

    deliver(store, influx, pause=pause)
    assert tries == [["a"]] * 3
    assert points_of(influx) == expected("a")


@pytest.mark.integration
def test_influxdb_that_is_restarted_in_mid_batch(store: Store, influx: Server) -> None:
    names = [f"{number}" for number in range(10)]
    fill(store, *names)

    class Restarted(Influx):
        requests = 0

        def write(self, lines: Sequence[str]) -> None:
            self.requests += 1
            if self.requests in {3, 6}:
                influx.influxd.restart()
            super().write(lines)

    with Restarted(settings_of(influx)) as client:
        sender(store, client, lines_of, most=3).send()
    assert client.requests > 6
    assert points_of(influx) == expected(*names)


@pytest.mark.integration
def test_influxdb_whose_disk_is_full(store: Store, influx: Server) -> None:
    """It answers 500 and shows the lines until it is restarted; they were never on its disk."""
    fill(store, "a")
    influx.influxd.fill_disk()
    sending = deliver(store, influx, pause=Pauses(2))
    assert "file too large" in (sending.progress.problem or "")
    assert trials(store) == ["a"]
    influx.influxd.restart()
    assert points_of(influx) == []
    deliver(store, influx)
    influx.influxd.restart()
    assert points_of(influx) == expected("a")


@pytest.mark.integration
def test_a_field_of_another_type_parks_one_line(store: Store, influx: Server) -> None:
    names = [f"{number}" for number in range(8)]
    fill(store, *names)

    def one_of_another_type(whole: Record, results: Path | None) -> Sequence[str]:
        lines = lines_of(whole, results)
        if whole.trial_id == "5":
            return [lines[0].replace("schema_version=1i", "schema_version=1.5"), *lines[1:]]
        return lines

    with Influx(settings_of(influx)) as client:
        client.write(lines_of(trial("0"), None))  # the type is settled
        sending = sender(store, client, one_of_another_type)
        sending.send()
    (line,) = outbox.parked(store)
    assert line.trial_id == "5"
    assert line.line.startswith("trial,")
    assert 'field type conflict: input field "schema_version"' in line.reason
    assert sending.progress.records == 8
    missing = set(expected(*names)) - set(points_of(influx))
    assert missing == {("trial", "5")}


# ---- tierlab outbox send ----


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", "outbox", *words]


def in_environment(server: Server, **more: str) -> dict[str, str]:
    return {
        "TIERLAB_INFLUX_URL": server.url,
        "TIERLAB_INFLUX_ORG": ORG,
        "TIERLAB_INFLUX_TOKEN": TOKEN,
        "PATH": "/usr/bin:/bin",
        **more,
    }


def tierlab(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=ROOT, env=environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.integration
def test_send(store: Store, influx: Server) -> None:
    fill(store, "a", "b")
    results = ["--results", str(store.path.parent)]
    done = tierlab("send", *results, environment=in_environment(influx))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "InfluxDB: 2 records delivered\n"
    assert points_of(influx) == expected("a", "b")
    (gauge,) = influx.query("SELECT * FROM outbox")
    assert (gauge["waiting"], gauge["parked"]) == (0, 0)


@pytest.mark.integration
def test_send_with_a_wrong_token(store: Store, influx: Server) -> None:
    fill(store, "a")
    results = ["--results", str(store.path.parent)]
    wrong = in_environment(influx, TIERLAB_INFLUX_TOKEN="wr0ng-token")  # noqa: S106 - it opens nothing
    done = tierlab("send", *results, environment=wrong)
    assert done.returncode == 1
    assert "1 record waits: InfluxDB at" in done.stdout
    assert "refuses the token (401: unauthorized access); go on with: tierlab out" in done.stdout
    assert "\n  -> set TIERLAB_INFLUX_TOKEN or TIERLAB_INFLUX_TOKEN_FILE to a token" in done.stdout
    assert "wr0ng-token" not in done.stdout + done.stderr
    assert trials(store) == ["a"]


@pytest.mark.integration
def test_send_where_nothing_answers_ends(store: Store, influx: Server) -> None:
    fill(store, "a")
    influx.influxd.kill()
    words = ["send", "--wait=0.6", "--results", str(store.path.parent)]
    done = tierlab(*words, environment=in_environment(influx))
    assert done.returncode == 1
    assert done.stderr.endswith("the connection broke off; trying again\n")
    assert "InfluxDB: 1 record waits: http" in done.stdout


# Who starts the tests in the background leaves SIGINT ignored for all that they start.
LISTENING = """
import signal, sys
from harness.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.integration
def test_send_can_be_interrupted(store: Store, influx: Server) -> None:
    fill(store, "a")
    influx.front.always = HANG
    results = ["--results", str(store.path.parent)]
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING, "outbox", "send", *results],
        cwd=ROOT, env=in_environment(influx),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert influx.front.asked.wait(30)
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert told.startswith("InfluxDB: 1 record waits: interrupted; go on with: tierlab outbox send")
    assert trials(store) == ["a"]
    influx.front.always = None
    assert tierlab("send", *results, environment=in_environment(influx)).returncode == 0
    assert points_of(influx) == expected("a")


# ---- beside a run ----


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A courier that looks often, and rests little."""
    monkeypatch.setattr(courier_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(courier_module, "SHARE_OF_A_CORE", 0.9)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    done = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        done.wait(0.01)
    pytest.fail("it never came true")


@pytest.mark.integration
@pytest.mark.usefixtures("quick")
def test_a_courier_delivers_while_the_run_goes_on(store: Store, influx: Server) -> None:
    courier = Courier(store.path.parent, settings_of(influx))
    courier.start()
    for name in ("a", "b"):
        fill(store, name)
        until(lambda: not trials(store))
    fill(store, "c")
    assert courier.finish(10) == "InfluxDB: 3 records delivered"
    assert courier.news() is None
    assert points_of(influx) == expected("a", "b", "c")


@pytest.mark.integration
def test_a_courier_delivers_what_came_last(store: Store, influx: Server) -> None:
    """It sleeps between two looks; the end of the run wakes it."""
    courier = Courier(store.path.parent, settings_of(influx))
    courier.start()
    until(lambda: courier._sender is not None)
    fill(store, *(f"{number:02}" for number in range(50)))
    assert courier.finish(30) == "InfluxDB: 50 records delivered"


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault", [HANG, DROPPED, busy(503, "3600")], ids=["hangs", "drops", "busy"]
)
def test_a_courier_holds_up_nobody(store: Store, influx: Server, fault: Any) -> None:
    fill(store, "a")
    influx.front.always = fault
    courier = Courier(store.path.parent, settings_of(influx))
    courier.start()
    assert influx.front.asked.wait(30)
    told = courier.finish(0.2)
    assert told.startswith("InfluxDB: 1 record waits: http://127.0.0.1")
    assert f"; go on with: tierlab outbox send --results {store.path.parent} --influx" in told
    assert trials(store) == ["a"]


@pytest.mark.integration
@pytest.mark.usefixtures("quick")
def test_a_courier_waits_for_influxdb_to_come_back(store: Store, influx: Server) -> None:
    fill(store, "a")
    influx.influxd.kill()
    courier = Courier(store.path.parent, settings_of(influx))
    courier.start()
    assert influx.front.asked.wait(30)
    influx.influxd.start()
    assert courier.finish(30) == "InfluxDB: 1 record delivered"


@pytest.mark.integration
def test_a_courier_tells_once_what_has_to_be_mended(store: Store, influx: Server) -> None:
    fill(store, "a")
    courier = Courier(store.path.parent, settings_of(influx, bucket="nosuch"))
    courier.start()
    courier._thread.join(30)
    told = courier.news()
    assert told is not None
    assert "nothing is delivered: InfluxDB at" in told
    assert "\n  -> give another --influx-bucket" in told
    assert courier.news() is None
    assert "1 record waits: InfluxDB at" in courier.finish(10)


def test_a_fault_of_the_couriers_own_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, _: InfluxSettings) -> None:
            raise ZeroDivisionError(f"{TOKEN} by zero")

    monkeypatch.setattr(courier_module, "Influx", Broken)
    fill(store, "a")
    courier = Courier(store.path.parent, InfluxSettings("http://here", token=TOKEN))
    courier.start()
    told = courier.finish(10)
    assert "1 record waits: a fault of the sender's own: ZeroDivisionError: *** by zero;" in told


def test_a_courier_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    courier = Courier(tmp_path / "file", InfluxSettings("http://here"))
    courier.start()
    told = courier.finish(10)
    assert told.startswith(f"InfluxDB: {tmp_path}/file/store.sqlite3: cannot be opened")


def test_a_courier_looks_once_more_when_the_run_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last record came, and the run ended, just as it had found the outbox empty."""
    database, waiting = Database(), ["b"]

    class Writer(Database):
        def __init__(self, _: InfluxSettings) -> None:
            super().__init__()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, lines: Sequence[str]) -> None:
            database.write(lines)
            if lines[0].startswith("outbox") and waiting:
                with Store.open(store.path.parent) as own:
                    fill(own, waiting.pop())
                courier._ending.set()

    monkeypatch.setattr(courier_module, "Influx", Writer)
    fill(store, "a")
    courier = Courier(store.path.parent, InfluxSettings("http://here"))
    courier.start()
    courier._thread.join(30)
    assert trials(store) == []
    assert courier.finish(10) == "InfluxDB: 2 records delivered"


def test_a_courier_does_not_wait_for_what_comes_too_late(tmp_path: Path) -> None:
    courier = Courier(tmp_path, InfluxSettings("http://here"))
    courier._ending.set()
    courier._deadline = time.monotonic() + 60
    waited = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return False

    courier._stopped = Never()
    assert not courier._pause(3_600, asked=True, failing_seconds=0)
    assert waited == []
    assert courier._pause(3_600, asked=False, failing_seconds=0)
    assert courier._pause(5, asked=True, failing_seconds=0)
    assert waited == [1, pytest.approx(5, abs=1)]


def test_a_courier_leaves_the_processor_to_the_trials(tmp_path: Path) -> None:
    courier = Courier(tmp_path, InfluxSettings("http://here"))
    slept = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            slept.append(timeout)
            return False

    courier._ending = Never()
    assert courier._rest(0.05)
    assert slept == [pytest.approx(0.95)]


def test_records_are_sent_in_no_more_than_5000_lines() -> None:
    assert LINES_A_REQUEST == 5_000
    assert courier_module.LINES_DURING_A_RUN < LINES_A_REQUEST


def test_a_locked_store_is_told(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError):
        sender(store, Database()).send()
