"""What the outbox costs: emptying it beside the bare client, and storing beside bare SQLite.

**Drain.** A store of finished trials, each with a memory curve, is sent to a real InfluxDB (influxd
1.6.7 behind the front of the tests, in processes of their own) by `Sender`, and the same lines by
`influxdb-client` alone: synchronous, gzip, 5,000 lines a request, nothing kept. Once with lines
that are ready, which leaves what the outbox itself costs; once with lines that are made of the
stored records, which is what a lab pays. Every measurement begins with an empty bucket, and ends
with a count of its points; the first one does not count.

**Store.** `Store.add` of whole records beside the same bodies as rows of one SQLite table of two
columns; both WAL, `synchronous=FULL`, a transaction a row. `Store.add` also makes the body, its own
columns, the figures, four indices and the place in the outbox.

Rounds are interleaved, in turning order. Needs influxd (`apt-get install influxdb`).

    python benchmarks/outbox.py --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from rich.console import Console

from benchmarks.markdown import markdown_table, ratio_of, significant
from results.influx.client import Influx
from results.influx.delivery import LINES_A_REQUEST, Sender
from results.influx.lines import lines_of
from results.influx.settings import InfluxSettings
from results.rows import parse_record
from results.store import Store
from tests.results.influx.influxd import BUCKET, ORG, TOKEN, ask
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from results.record import Record

ROOT: Final = Path(__file__).parent.parent
SAMPLES: Final = 120  # of a memory curve: a load of a minute, sampled every half second

DRAIN_HEADS: Final = ("drain", "n", "lines/s", "lowest", "highest", "records/s", "outbox / bare")
STORE_HEADS: Final = ("store", "n", "records/s", "lowest", "highest", "Store.add / bare")


def trials(count: int, folder: Path) -> Iterator[Record]:
    """Trials a minute apart, each with a memory curve in the results folder."""
    first = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(count):
        trial_id = f"trial-{number:06}"
        name = f"trials/{trial_id}/memory-curve.json"
        samples = [
            {
                "at_seconds": at / 2,
                "processes": {"renderer": 10**9 + number * 997 + at * 10**7, "gpu": 10**8},
                "group_bytes": 2 * 10**9 + at,
            }
            for at in range(SAMPLES)
        ]
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(samples))
        at = first + timedelta(minutes=number)
        yield record(trial_id, started_at=at, files={"memory-curve.json": name})


# ---- drain ----


class Server:
    """The InfluxDB of the tests, in a process of its own."""

    def __init__(self) -> None:
        words = [sys.executable, "-m", "tests.results.influx.influxd"]
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)", self._process.stdout.readline())
        assert found
        self.url, self._port = found[0], int(found[1])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()

    def empty(self) -> None:
        """Begin with an empty bucket."""
        self._ask(f'DROP DATABASE "{BUCKET}"; CREATE DATABASE "{BUCKET}"')

    def points(self) -> int:
        """How many points the bucket holds; each has the field that is counted."""
        counted = self._ask("SELECT count(trial_id) FROM /.*/")
        return sum(series["values"][0][1] for series in counted[0]["series"])

    def _ask(self, query: str) -> Any:  # noqa: ANN401 - JSON
        words = urllib.parse.urlencode({"db": BUCKET, "q": query})
        status, _, body = ask(self._port, "POST", f"/query?{words}")
        assert status == 200, body
        return json.loads(body)["results"]


def bare(url: str, every: Callable[[], Iterator[str]]) -> None:
    """Send lines with the client alone."""
    with InfluxDBClient(url, token=TOKEN, org=ORG, enable_gzip=True, timeout=60_000) as client:
        write = client.write_api(write_options=SYNCHRONOUS).write
        batch: list[str] = []
        for line in every():
            batch.append(line)
            if len(batch) == LINES_A_REQUEST:
                write(BUCKET, ORG, batch)
                batch = []
        write(BUCKET, ORG, batch)


def outbox(url: str, store: Store, make: Callable[[Record, Path | None], Sequence[str]]) -> None:
    """Send the same records through the outbox."""
    with Influx(InfluxSettings(url, BUCKET, ORG, TOKEN)) as influx:
        Sender(store, influx, make, pause=lambda *_, **__: False).send()
    assert store.read("SELECT count(*) FROM outbox") == [(0,)]


def drain(rounds: int, records: int) -> str:
    """Both ways, in rounds; the table."""
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
            store.start_run("run-1", "a benchmark")
            ready: dict[str, list[str]] = {}
            for whole in trials(records, Path(folder)):
                store.add(whole)
                ready[whole.trial_id] = lines_of(whole, Path(folder))
            return _drain(rounds, server, store, ready)
    finally:
        server.stop()


def _drain(rounds: int, server: Server, store: Store, ready: dict[str, list[str]]) -> str:
    folder = store.path.parent

    def ready_lines() -> Iterator[str]:
        for lines in ready.values():
            yield from lines

    def made_lines() -> Iterator[str]:
        for trial_id, body in store.read("SELECT trial_id, body FROM records ORDER BY rowid"):
            yield from lines_of(parse_record(trial_id, body), folder)

    ways: dict[str, Callable[[], None]] = {
        "bare client, lines ready": lambda: bare(server.url, ready_lines),
        "outbox, lines ready": lambda: outbox(server.url, store, lambda r, _: ready[r.trial_id]),
        "bare client, lines made of records": lambda: bare(server.url, made_lines),
        "outbox, lines made of records": lambda: outbox(server.url, store, lines_of),
    }
    total = sum(map(len, ready.values()))
    taken: dict[str, list[float]] = {name: [] for name in ways}
    bare(server.url, ready_lines)
    for number in range(rounds):
        for name in sorted(ways, reverse=number % 2 == 1):
            with store.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO outbox (trial_id) SELECT trial_id FROM records"
                )
            server.empty()
            began = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - began)
            assert server.points() == total
    rows = []
    for first, second in zip(list(ways)[::2], list(ways)[1::2], strict=True):
        ratio = ratio_of(list(zip(taken[second], taken[first], strict=True)))
        for name, told in ((first, ""), (second, significant(ratio or 0))):
            rates = [total / seconds for seconds in taken[name]]
            per_record = significant(len(ready) / median(taken[name]))
            rows.append([name, str(rounds), *_spread(rates), per_record, told])
    return (
        f"{len(ready)} records, {total} lines, {sum(map(len, ready_lines())) / 1e6:.1f} MB;"
        f" outbox / bare is the median of the ratios in time.\n\n"
        + markdown_table(DRAIN_HEADS, rows)
    )


def _spread(rates: Sequence[float]) -> list[str]:
    return [significant(value) for value in (median(rates), min(rates), max(rates))]


# ---- store ----


def add_to_store(folder: Path, wholes: Sequence[Record]) -> float:
    """Seconds to store records, each durable before the next."""
    with Store.open(folder) as store:
        store.start_run("run-1", "a benchmark")
        began = time.perf_counter()
        for whole in wholes:
            store.add(whole)
        return time.perf_counter() - began


def insert_bare(folder: Path, bodies: Sequence[tuple[str, str]]) -> float:
    """Seconds to insert the same bodies, each durable before the next."""
    with closing(sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE records (trial_id TEXT PRIMARY KEY, body TEXT) STRICT")
        began = time.perf_counter()
        for row in bodies:
            connection.execute("INSERT INTO records VALUES (?, ?)", row)
        return time.perf_counter() - began


def storing(rounds: int, records: int) -> str:
    """Both ways, in rounds, each into a new file; the table."""
    with tempfile.TemporaryDirectory() as folder:
        wholes = list(trials(records, Path(folder)))
    bodies = [(whole.trial_id, whole.model_dump_json()) for whole in wholes]
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ways: dict[str, Callable[[Path], float]] = {
                "store": lambda path: add_to_store(path, wholes),
                "bare": lambda path: insert_bare(path, bodies),
            }
            taken = {
                name: ways[name](Path(folder)) for name in sorted(ways, reverse=number % 2 == 1)
            }
        pairs.append((taken["store"], taken["bare"]))
    ratio = significant(ratio_of(pairs) or 0)
    rates = [[records / seconds for seconds in way] for way in zip(*pairs, strict=True)]
    size = sum(len(body) for _, body in bodies) / len(bodies)
    return f"{records} records of {size:.0f} bytes; the ratio is in time.\n\n" + markdown_table(
        STORE_HEADS,
        [
            ["bare SQLite", str(rounds), *_spread(rates[1]), ""],
            ["Store.add", str(rounds), *_spread(rates[0]), ratio],
        ],
    )


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=1_000, help="in the outbox (default: 1000)")
    parser.add_argument("--stored", type=int, default=500, help="a round (default: 500)")
    options = parser.parse_args()
    console = Console(stderr=True)
    console.print(f"load average at the start: {os.getloadavg()[0]:.2f}")
    print(drain(options.rounds, options.records), end="\n\n")
    print(storing(options.rounds, options.stored))
    console.print(f"load average at the end: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
