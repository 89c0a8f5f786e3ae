"""What all pages are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from results.matrix.badges import FOLDER as BADGES
from results.matrix.names import unique_slugs
from results.record import Verdict
from results.site import figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.figures import CellKey
    from results.matrix.model import Matrix
    from results.site.drawing import Draw
    from results.site.evidence import Proof, Proofs
    from results.site.figures import Figure
    from results.site.trends import VersionFigures
    from results.site.view import Row


@dataclass(slots=True)
class Context:
    """The matrix with all that belongs to it; evidence and its chart are read and made once a cell.

    Attributes:
        data: the address of the folder with matrix.json, from the root of the site.
        draw: makes a chart of a specification and a title.
        memory_charts: so many memory charts of cells that did not run out of memory are made.
    """

    matrix: Matrix
    rows: list[Row]
    proofs: Proofs
    trends: Mapping[CellKey, list[VersionFigures]]
    data: str
    draw: Draw
    memory_charts: int
    _memory: dict[str, tuple[Proof, Figure | None]] = field(default_factory=dict)
    _badges: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._badges = unique_slugs(self.matrix.models)

    def badge(self, row: Row) -> str:
        """The badge of a device and model, from the root of the site; empty where there is none."""
        name = f"{BADGES}/{row.shown_in.anchor}/{row.device_id}/{self._badges[row.model]}.svg"
        return f"{self.data}/{quote(name)}" if (self.proofs.folder / name).is_file() else ""

    def memory(self, row: Row) -> tuple[Proof, Figure | None]:
        """The evidence of a cell and its memory chart."""
        known = self._memory.get(row.address)
        if known is None:
            known = self._memory[row.address] = self._made(row)
        return known

    def _made(self, row: Row) -> tuple[Proof, Figure | None]:
        proof = self.proofs.of(row.cell)
        if row.cell.verdict is not Verdict.OOM:
            if not proof.curve or self.memory_charts <= 0:
                return proof, None
            self.memory_charts -= 1
        whose = f"{row.name}, on {row.device_label}"
        return proof, figures.memory(self.draw, row, proof, whose=whose)
