"""Capabilities: what marks their figures, how they are stored, and how they are shown."""

from __future__ import annotations

import io
import sqlite3
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from results.capability_table import capability_table
from results.migrations import MIGRATIONS
from results.record import Verdict
from results.store import FILE_NAME, Store, StoreError
from tests.results.capabilities import capability
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

    from results.capability import Capability


def shown(*capabilities: Capability) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(capability_table(capabilities))
    return out.getvalue()


def test_figures_that_are_not_the_devices_own_are_marked() -> None:
    plain = capability()
    assert plain.marks == ()
    conditions = plain.conditions.model_copy(update={"software_adapter": True})
    device = plain.device.model_copy(update={"emulated": True})
    marked = capability(
        conditions=conditions, device=device, browser_flags=("--js-flags=--no-enable-sse4-1",)
    )
    assert marked.marks == ("limited", "software adapter", "browser flags")


def test_a_row_says_figures_with_their_number_and_every_mark() -> None:
    conditions = capability().conditions.model_copy(update={"software_adapter": True})
    text = shown(capability(conditions=conditions))
    assert "tensorflow.js/webgl" in text
    assert "1x8 by 8x8: 1.5 GFLOP/s (n=5)" in text
    assert "software adapter" in text
    assert "ok" in text


def test_a_row_says_why_not() -> None:
    text = shown(
        capability(verdict=Verdict.UNSUPPORTED, reason="no \x1b[31madapter\nhere", figures=())
    )
    assert "unsupported" in text
    assert "no \N{REPLACEMENT CHARACTER}[31madapter here" in text


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for run in ("run-1", "run-2"):
            store.start_run(run, "a command")
        first, second = capability("a"), capability("b", "run-2", verdict=Verdict.CRASH)
        store.add_capability(first)
        store.add_capability(second)
        store.add_capability(capability("a", reason="another"))
        assert store.capabilities() == [first, second]
        assert store.capabilities(run_id="run-2") == [second]


def test_one_of_no_run_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_capability(capability())


def test_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "a command")
        store.add_capability(capability())
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE capabilities SET body = '{}'")
    connection.close()
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="capability cannot be"):
        store.capabilities()


def test_a_store_from_before_capabilities_gains_them(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "a command")
        store.add(record("a"))
        store.add_capability(capability())
        assert [r.trial_id for r in store.records()] == ["a"]
        assert store.capabilities() == [capability()]
