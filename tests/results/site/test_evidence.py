from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from results.site.evidence import Proof, Proofs
from results.site.view import rows_of
from tests.results.site.examples import MACHINES, MODELS, RUNTIMES, publish, trial

if TYPE_CHECKING:
    from pathlib import Path

    from results.matrix.model import Cell


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    matrix, store = publish([trial(1, MACHINES[3], MODELS[2], RUNTIMES[0])], tmp_path)
    store.close()
    return rows_of(matrix)[0].cell


def test_what_was_published_is_read_back(cell: Cell, tmp_path: Path) -> None:
    proof = Proofs(tmp_path / "matrix", "..").of(cell)
    assert proof.address == f"../evidence/{1:032x}.json"
    assert proof.memory_address == f"../evidence/{1:032x}.memory.json"
    assert (tmp_path / "matrix" / "evidence" / f"{1:032x}.memory.json").is_file()
    assert proof.explanation == "the kernel killed the renderer"
    assert [line.kind for line in proof.lines if line.is_end] == ["oom-kill"]
    assert [line.phase for line in proof.lines] == ["start", "download", "create", ""]
    assert proof.lines[-1].detail == "count: 1, by: <script>alert(1)</script>"
    assert max(sample.processes["renderer"] for sample in proof.curve) == 1_900_000_000


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", "\x00", '{"evidence": 1}', "[" * 9999])
def test_a_file_that_is_no_evidence_is_none(cell: Cell, tmp_path: Path, body: str) -> None:
    (tmp_path / "matrix" / cell.evidence).write_text(body, encoding="utf-8")
    assert Proofs(tmp_path / "matrix", "..").of(cell) == Proof()


@pytest.mark.parametrize("name", ["evidence/../../secret.json", "/etc/passwd", "", "evidence"])
def test_nothing_outside_of_the_folder_is_read_or_linked_to(
    cell: Cell, tmp_path: Path, name: str
) -> None:
    body = (tmp_path / "matrix" / cell.evidence).read_text(encoding="utf-8")
    (tmp_path / "secret.json").write_text(body, encoding="utf-8")
    changed = cell.model_copy(update={"evidence": name})
    assert Proofs(tmp_path / "matrix", "..").of(changed) == Proof()


def test_without_its_curve_a_trial_has_no_link_to_one(cell: Cell, tmp_path: Path) -> None:
    path = tmp_path / "matrix" / cell.evidence
    body = json.loads(path.read_bytes()) | {"memory_curve": None}
    path.write_text(json.dumps(body), encoding="utf-8")
    proof = Proofs(tmp_path / "matrix", "..").of(cell)
    assert (proof.curve, proof.memory_address) == ([], "")
    assert proof.address
