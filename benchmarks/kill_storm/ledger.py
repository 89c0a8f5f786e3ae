"""Which trials were once committed, in any store, and whether the end accounts for all of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.fleet.journal_file import FOLDER as JOURNAL
from results.fleet.events import Event
from results.fleet.requests import requests
from results.query import NO_STATEMENT
from results.store import FILE_NAME, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COUNTED = (
    "SELECT request_id, count(*) FROM records"  # noqa: S608 - our own
    f" WHERE run_id = ? AND verdict NOT IN {NO_STATEMENT} GROUP BY request_id"
)


class Ledger:
    """Reads the stores after every kill, and keeps what it saw."""

    def __init__(self) -> None:
        self.committed: dict[str, str] = {}
        """Where each trial was seen first."""
        self.problems: list[str] = []
        """Of stores that could not be read."""

    def read(self, folders: Iterable[Path]) -> None:
        """Note the trials that these results folders have now."""
        for folder in folders:
            if not (folder / FILE_NAME).exists():
                continue
            try:
                with Store.open(folder) as store:
                    for trial in trials_of(store):
                        self.committed.setdefault(trial, str(folder))
            except StoreError as error:
                self.problems.append(f"{folder}: {error}")

    def lost(self, controller: Path) -> list[str]:
        """The trials that were once committed and are not in the store of the controller."""
        with Store.open(controller) as store:
            there = trials_of(store)
        return [
            f"trial {trial}, seen in {where}, is lost"
            for trial, where in self.committed.items()
            if trial not in there
        ]


def trials_of(store: Store) -> set[str]:
    """The trials of a store, those that were set aside too."""
    query = "SELECT trial_id FROM records UNION SELECT trial_id FROM superseded"
    return {trial for (trial,) in store.read(query)}


def unfulfilled(results: Path, run_ids: Iterable[str]) -> list[str]:
    """The requests that do not have exactly one record that counts."""
    found = []
    with Store.open(results) as store:
        for run_id in run_ids:
            asked = {request.request_id for request in requests(store, run_id)}
            rows = store.read(_COUNTED, (run_id,))
            counts: dict[str, int] = dict(rows)
            if not asked:
                found.append(f"{run_id}: nothing was requested")
            found += [
                f"{run_id}: request {one} has {counts.get(one, 0)} records that count"
                for one in sorted(asked | counts.keys())
                if one not in asked or counts.get(one, 0) != 1
            ]
    return found


def untrue(results: Path, runtime: str) -> list[str]:
    """Records that say of this engine what is not so: the model fits, and it takes it.

    A load whose browser is killed may be called a crash or a hang, which it is.
    """
    with Store.open(results) as store:
        rows = store.read(
            "SELECT trial_id, verdict, body ->> '$.explanation' FROM records"
            " WHERE runtime = ? AND verdict IN ('oom', 'unsupported')",
            (runtime,),
        )
    return [f"trial {trial}: {verdict}: {why}" for trial, verdict, why in rows]


def damaged(folders: Iterable[Path]) -> list[str]:
    """What SQLite finds in these stores, and events that are told twice."""
    found = []
    for folder in folders:
        if not (folder / FILE_NAME).exists():
            continue
        with Store.open(folder) as store:
            check = [text for (text,) in store.read("PRAGMA integrity_check")]
            keys = store.read("PRAGMA foreign_key_check")
            told = store.read(
                "SELECT kind || ' ' || at || ' ' || (body ->> '$.text'), count(*) FROM events"
                " GROUP BY kind, at, body ->> '$.text', body ->> '$.detail' HAVING count(*) > 1"
            )
        found += [f"{folder}: {text}" for text in check if text != "ok"]
        found += [f"{folder}: a key of {table} leads nowhere" for table, *_ in keys]
        found += [f"{folder}: {count} times in the journal: {text}" for text, count in told]
        found += [f"{folder}: {line}" for line in _twice_in_journals(folder)]
    return found


def _twice_in_journals(folder: Path) -> list[str]:
    ids: Counter[str] = Counter()
    for file in sorted((folder / JOURNAL).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip():
                ids[Event.model_validate_json(line).event_id] += 1
    return [f"event {one} is {count} times in the files" for one, count in ids.items() if count > 1]
