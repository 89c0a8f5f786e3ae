"""Writes everything that a matrix is, but for its site, into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.errors import StoreError
from results.matrix.badges import badges
from results.matrix.evidence import curve_name, published, published_curve
from results.matrix.markdown import to_markdown
from results.matrix.model import SECTIONS
from results.matrix.redact import Redactor
from results.matrix.schema import SCHEMAS, schema_text, to_json
from results.matrix.summary import entries
from results.memory_curve import curve_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from results.matrix.model import Cell, Matrix
    from results.record import Record
    from results.store import Store

    Progress = Callable[[int, int], None]

MATRIX_FILE: Final = "matrix.json"
MARKDOWN_FILE: Final = "matrix.md"
EVIDENCE_FOLDER: Final = "evidence"


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it.

    Attributes:
        cells: how many the matrix has.
        without_evidence: the newest trials whose records are missing or damaged.
    """

    cells: int
    without_evidence: tuple[str, ...]


def write_matrix(
    matrix: Matrix, store: Store, results: Path, folder: Path, progress: Progress | None = None
) -> Written:
    """Write `matrix.json`, the schemas, `matrix.md`, the badges, and the evidence of each cell.

    Args:
        matrix: what to write.
        store: where the records of its newest trials are.
        results: the results folder, which the records' files are relative to.
        folder: where to; it exists, and is empty.
        progress: told how many cells have their evidence, and how many there are.

    Raises:
        OSError: the folder cannot be written.
    """
    (folder / MATRIX_FILE).write_text(to_json(matrix), encoding="utf-8")
    (folder / MARKDOWN_FILE).write_text(to_markdown(matrix), encoding="utf-8")
    for name, model in SCHEMAS.items():
        (folder / name).write_text(schema_text(model), encoding="utf-8")
    _write_badges(matrix, folder)
    return _write_evidence(matrix, store, results, folder, progress)


def _write_badges(matrix: Matrix, folder: Path) -> None:
    for address, badge in badges(matrix):
        path = folder / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.svg").write_text(badge.svg(), encoding="utf-8")
        path.with_name(f"{path.name}.json").write_text(badge.endpoint(), encoding="utf-8")


def _write_evidence(
    matrix: Matrix, store: Store, results: Path, folder: Path, progress: Progress | None
) -> Written:
    (folder / EVIDENCE_FOLDER).mkdir()
    cells = [entry.cell for section in SECTIONS for entry in entries(matrix, section)]
    redactors: dict[str, Redactor] = {}
    missing: list[str] = []
    for done, cell in enumerate(cells, 1):
        record = _record_of(cell, store)
        if record is None:
            missing.append(cell.newest_trial)
        else:
            host = record.device.host
            if host not in redactors:
                redactors[host] = Redactor.of_this_machine(results, [host])
            _write_trial(record, cell, redactors[host], results, folder)
        if progress is not None:
            progress(done, len(cells))
    return Written(len(cells), tuple(missing))


def _record_of(cell: Cell, store: Store) -> Record | None:
    try:
        return store.record(cell.newest_trial)
    except StoreError:
        return None


def _write_trial(
    record: Record, cell: Cell, redactor: Redactor, results: Path, folder: Path
) -> None:
    path = folder / cell.evidence
    curve = curve_of(record, results)
    shown = published(record, redactor, with_curve=bool(curve))
    path.write_text(to_json(shown), encoding="utf-8")
    if curve:
        beside = path.with_name(curve_name(record.trial_id))
        beside.write_text(to_json(published_curve(curve)), encoding="utf-8")
