"""`kill -9` of sender and InfluxDB at random moments: in the end every record is there, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from results.influx.client import Influx
from results.influx.lines import lines_of
from results.influx.outbox import count, parked
from results.influx.settings import InfluxSettings
from results.store import Store
from tests.results.influx.influxd import BUCKET, ORG, TOKEN, running_influx
from tests.results.influx.line_protocol import parse
from tests.results.records import record
from tests.results.test_store import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from results.record import Record
    from tests.results.influx.influxd import Influx as Server
    from tests.results.influx.influxd import Row

# One record in so many has a line that InfluxDB refuses.
POISON_EVERY = 25

ADDING = """
import sys, time
from pathlib import Path
from results.store import Store
from tests.results.influx.test_delivery_kills import numbered
with Store.open(Path(sys.argv[1])) as store:
    store.start_run("run-1", "")
    for number in range(10**9):
        store.add(numbered(number))
        print(number, flush=True)
        if not sys.stdin.readline():
            break
"""

SENDING = """
import sys, time
from pathlib import Path
from results.influx.delivery import Sender
from results.influx.client import Influx
from results.store import Store
from tests.results.influx.test_delivery_kills import lines_and_poison, settings_of

def pause(seconds, *, asked, failing_seconds):
    time.sleep(min(seconds, 0.05))
    return True

sys.stdin.readline()
with Store.open(Path(sys.argv[1])) as store, Influx(settings_of(sys.argv[2])) as influx:
    while True:
        Sender(store, influx, lines_and_poison, pause=pause, most=20).send()
        time.sleep(0.001)
"""


def settings_of(url: str) -> InfluxSettings:
    return InfluxSettings(url, BUCKET, ORG, TOKEN)


def numbered(number: int) -> Record:
    """A trial that began at a time of its own."""
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    return record(f"trial-{number:06}", started_at=at)


def lines_and_poison(whole: Record, results: Path | None) -> Sequence[str]:
    """The lines of a trial; of some, the first has a field of a type that it does not have."""
    first, *others = lines_of(whole, results)
    if int(whole.trial_id[-6:]) % POISON_EVERY == POISON_EVERY - 1:
        first = first.replace("schema_version=1i", "schema_version=1.5")
    return [first, *others]


class Processes:
    """The one that adds records, and the senders, of which one is always ready to take over."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._adder = self._start(ADDING, stdout=subprocess.PIPE)
        self._adding = threading.Thread(target=self._pace)
        self._enough = threading.Event()
        self.added = 0
        self._spare = self._start(SENDING)
        self._sender = self._start(SENDING)

    def __enter__(self) -> Self:
        self._adding.start()
        self._tell(self._sender)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._adding.join()
        for process in (self._adder, self._sender, self._spare):
            process.kill()
            process.communicate()

    def kill_sender(self) -> None:
        """Kill the one that sends; the one that is ready begins."""
        self._sender.kill()
        self._sender.communicate()
        self._sender, self._spare = self._spare, self._start(SENDING)
        self._tell(self._sender)

    def add_no_more(self) -> None:
        self._enough.set()
        self._adding.join()

    def _start(self, code: str, **more: Any) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", code, str(self._folder), self._url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, **more)

    @staticmethod
    def _tell(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()

    def _pace(self) -> None:
        """Let a record be added every few milliseconds, until there are enough."""
        assert self._adder.stdout is not None
        assert self._adder.stdin is not None
        while self._adder.stdout.readline():
            self.added += 1
            if self._enough.wait(0.003):
                self._adder.stdin.close()
                self._adder.stdin = None
                self._adder.stdout.read()
                return
            self._tell(self._adder)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    tick = threading.Event()
    for _ in range(12_000):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("it never came true")


def kill_at_random(processes: Processes, server: Server, kills: int) -> int:
    """Kill one or the other between two requests or within one; how often the sender."""
    chance, senders = random.Random(), 0  # noqa: S311 - no secret hangs on it
    for _ in range(kills):
        enough = len(server.front.writes) + chance.randint(1, 6)
        until(lambda: len(server.front.writes) >= enough)  # noqa: B023 - called here only
        threading.Event().wait(chance.random() * 0.03)
        if chance.random() < 0.5:
            processes.kill_sender()
            senders += 1
        else:
            server.influxd.kill()
            threading.Event().wait(chance.random() * 0.1)
            server.influxd.start()
    return senders


def whole_point(point: Row) -> tuple[Any, ...]:
    """A point as InfluxDB tells it, in a form that can be counted."""
    values = {name: value for name, value in point.items() if value is not None}
    return (values.pop("measurement"), values.pop("time"), frozenset(values.items()))


def expected_points(records: int) -> Iterator[tuple[Any, ...]]:
    for number in range(records):
        for line in lines_and_poison(numbered(number), None):
            point = parse(line)
            if point.field.get("schema_version") != 1.5:
                yield (point.measurement, point.time, frozenset([*point.tags, *point.fields]))


def deliver_and_kill(folder: Path, kills: int) -> str:
    """Do it all; what was done, in words."""
    began = datetime.now(UTC)
    with running_influx() as server:
        with Influx(settings_of(server.url)) as first:
            first.write(lines_of(numbered(0), None))  # settles the types of the fields
        with Processes(folder, server.url) as processes:
            senders = kill_at_random(processes, server, kills)
            processes.add_no_more()
            with Store.open(folder) as store:
                until(lambda: not count(store).waiting)
            processes.kill_sender()
            added = processes.added
        server.influxd.restart()
        with Store.open(folder) as store:
            refused = parked(store)
            stored = store.read("SELECT count(*) FROM records")[0][0]
        found = Counter(whole_point(point) for point in server.points())
    expected = Counter(expected_points(added))
    assert stored == added
    assert found == expected
    assert sorted(line.trial_id for line in refused) == [
        f"trial-{number:06}" for number in range(POISON_EVERY - 1, added, POISON_EVERY)
    ]
    assert all("field type conflict" in line.reason for line in refused)
    assert added > kills
    seconds = (datetime.now(UTC) - began).total_seconds()
    return (
        f"{kills} kills ({senders} of the sender, {kills - senders} of influxd) in {seconds:.0f} s:"
        f" {added} records, {len(expected)} points, {len(refused)} refused lines"
    )


@pytest.mark.integration
def test_a_few_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    print(deliver_and_kill(tmp_path, kills=10))  # noqa: T201 - shown with -rA


@pytest.mark.full
def test_many_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    print(deliver_and_kill(tmp_path, kills=100))  # noqa: T201 - as above
