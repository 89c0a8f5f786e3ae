"""Results folders for tests: filled ones, with evidence, and of every released schema."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from results.store import FILE_NAME, Store
from tests.results.capabilities import capability
from tests.results.records import record

if TYPE_CHECKING:
    from results.record import Record

DATA = Path(__file__).parent / "data"
VERSIONS = (1, 2, 3, 4, 6)
# What every dump holds.
RUN = "0f6f2f6c7d3c4c3e9d8f1f3a5b7c9e01"
TRIALS = [f"5b1e0d4c9a7f4e02b6a3c8d1f0e29a1{n}" for n in range(1, 5)]


def restore(folder: Path, version: int) -> Path:
    """The store of a dump, in a results folder."""
    folder.mkdir(exist_ok=True)
    path = folder / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / f"store-v{version}.sql").read_text())
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    return path


def with_evidence(
    folder: Path, trial_id: str, *, run_id: str = "run-1", **changes: object
) -> Record:
    """A record whose raw evidence lies in the results folder."""
    place = folder / "trials" / trial_id
    (place / "probe").mkdir(parents=True)
    files = {}
    for name in ("memory-curve.json", "probe/browser-stderr.log"):
        (place / name).write_text(f"{name} of {trial_id}")
        files[name] = f"trials/{trial_id}/{name}"
    return record(trial_id, run_id, files=files, **changes)


def filled(folder: Path, *trials: str, run_id: str = "run-1") -> None:
    """A store with trials, their evidence, and a capability."""
    with Store.open(folder) as store:
        store.start_run(run_id, "a command")
        for trial in trials:
            store.add(with_evidence(folder, trial, run_id=run_id))
        store.add_capability(capability(f"of-{run_id}", run_id))
        store.finish_run(run_id)


def everything(folder: Path) -> dict[str, tuple[str, int]]:
    """All files below a folder: what they hold, and when they were written."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a store holds, but for numbers that are its own affair."""
    queries = {
        "runs": "SELECT * FROM runs ORDER BY 1",
        "records": "SELECT * FROM records ORDER BY 1",
        "findings": "SELECT * FROM findings ORDER BY run_id, body",
        "capabilities": "SELECT * FROM capabilities ORDER BY 1",
        "figures": "SELECT key, f.* FROM figures f JOIN cells USING (cell_id) ORDER BY trial_id",
        "outbox": "SELECT trial_id FROM outbox ORDER BY 1",
        "superseded": "SELECT * FROM superseded ORDER BY 1",
        "requests": "SELECT * FROM requests ORDER BY 1",
        "events": "SELECT * FROM events ORDER BY 1",
        "tests": "SELECT * FROM tests ORDER BY 1, 2",
    }
    with Store.open(folder) as store:
        found = {name: store.read(query) for name, query in queries.items()}
    found["figures"] = [(row[0], *row[2:]) for row in found["figures"]]
    return found
