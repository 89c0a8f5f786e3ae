from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from results.figures import CellKey
from results.record import Judgement
from results.site.view import SECTIONS, by_section, rows_of
from tests.results.site.examples import NOW, hostile_trials, publish, trials

if TYPE_CHECKING:
    from pathlib import Path

    from results.site.view import Row


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder: Path = tmp_path_factory.mktemp("view")
    matrix, store = publish([*trials(), *hostile_trials()], folder)
    store.close()
    return rows_of(matrix)


def test_every_cell_is_a_row_of_its_own_section(rows: list[Row]) -> None:
    assert len(rows) == len({row.key for row in rows})
    for section, those in by_section(rows):
        marks = {row.marks for row in those}
        match section.section:
            case "support":
                assert marks == {""}
            case "limited":
                assert marks == {"limited", "emulated"}
            case _:
                assert all("software adapter" in mark for mark in marks)
    assert [section for section, _ in by_section(rows)] == list(SECTIONS)


def test_rows_are_known_to_the_store_by_their_keys(rows: list[Row]) -> None:
    assert {row.key for row in rows} == {
        CellKey.of(record) for record in [*trials(), *hostile_trials()]
    }


def test_devices_of_one_name_are_told_apart_by_their_hardware(rows: list[Row]) -> None:
    labels = {row.device_label for row in rows}
    assert {"Pixel 9 Pro", "A machine with 2 GiB (limited)"} <= labels
    twin = replace(rows[-1], told_apart=True)
    assert twin.device.hardware in twin.device_label


def test_no_two_cells_have_one_address(rows: list[Row]) -> None:
    assert len({row.address for row in rows}) == len(rows)


def test_of_one_device_and_model_the_best_comes_first(rows: list[Row]) -> None:
    those = [r for r in rows if (r.device_id, r.model) == ("galaxy-a15", "gemma-3-270m")]
    assert [row.outcome_class for row in those] == ["tier-high", "tier-high", "tier-medium"]
    speeds = [row.median("decode_tokens_per_s") or 0.0 for row in those]
    assert speeds == sorted(speeds, reverse=True)


def test_what_does_not_run_is_named_by_its_verdict(rows: list[Row]) -> None:
    those = {r.runtime: r for r in rows if (r.device_id, r.model) == ("galaxy-a15", "gemma-4-e2b")}
    assert those["wllama/wasm"].outcome_words == "out of memory"
    assert those["litert-lm/webgpu"].outcome_class == "crash"


def test_a_cell_is_out_of_date_from_its_expiry_on(rows: list[Row]) -> None:
    assert [row.model for row in rows if row.expired] == ["gemma-2-2b-it"]
    assert all(row.cell.expires_at > NOW for row in rows if not row.expired)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"right": 2, "over-promise": 1}, Judgement.RIGHT),
        ({"right": 1, "over-promise": 1}, Judgement.OVER_PROMISE),
        ({"right": 1, "under-promise": 1}, Judgement.UNDER_PROMISE),
        ({"unknown": 3}, Judgement.UNKNOWN),
        ({}, Judgement.UNKNOWN),
    ],
)
def test_the_judgement_of_most_trials_is_the_cells(
    rows: list[Row], counts: dict[str, int], expected: Judgement
) -> None:
    row = rows[0]
    cell = row.cell.model_copy(update={"judgements": counts})
    assert replace(row, cell=cell).judgement is expected
