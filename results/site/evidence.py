"""What was published of the newest trial of each cell: read back, and where pages link to it.

The files were written by tierlab, but a store may hold records from anywhere: anything that is not
as expected is left out, and nothing outside of the folder is read or linked to.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from results.matrix.evidence import PublishedTrial, curve_name
from results.memory_curve import read_curve, thin
from results.record import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from results.matrix.model import Cell
    from results.memory_curve import Sample
    from results.record import Evidence

_LARGEST_FILE: Final = 16 << 20

# What ends a load, as opposed to what only happens while one goes on.
_ENDS: Final = frozenset(
    {
        Kind.BROWSER_GONE,
        Kind.DEADLINE,
        Kind.DEVICE_LOST,
        Kind.DONE,
        Kind.ENGINE_ERROR,
        Kind.EXIT_RECORD,
        Kind.GPU_PROCESS_GONE,
        Kind.LMK_KILL,
        Kind.NATIVE_CRASH,
        Kind.OOM_KILL,
        Kind.OUT_OF_MEMORY_LINE,
        Kind.REBOOTED,
        Kind.RENDERER_GONE,
        Kind.SYSTEM_KILL,
        Kind.TRANSPORT_LOST,
        Kind.UNSUPPORTED,
        Kind.V8_OOM,
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One observation, as a page shows it."""

    at_seconds: float
    source: str
    kind: Kind
    detail: str
    phase: str

    @property
    def is_end(self) -> bool:
        """Whether it tells how a load ended."""
        return self.kind in _ENDS

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        """A line of the timeline."""
        return cls(
            at_seconds=evidence.at_seconds,
            source=evidence.source,
            kind=evidence.kind,
            detail=", ".join(f"{key}: {value}" for key, value in evidence.detail.items()),
            phase=evidence.text("name") if evidence.kind is Kind.PHASE else "",
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """What is published of one trial.

    Attributes:
        address: of the evidence, from the root of the site; empty where there is none.
        memory_address: of the memory curve, in the same way.
        left_out: so many observations in the middle are not in the evidence.
    """

    address: str = ""
    memory_address: str = ""
    explanation: str = ""
    judgement_reason: str = ""
    lines: list[Line] = field(default_factory=list)
    left_out: int = 0
    curve: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Proofs:
    """The evidence files of a matrix.

    Attributes:
        folder: what the addresses in the matrix are relative to.
        data: the address of that folder, from the root of the site.
    """

    folder: Path
    data: str

    def of(self, cell: Cell) -> Proof:
        """The evidence of a cell; empty where there is none to be read."""
        trial = self._read(cell.evidence)
        if trial is None:
            return Proof()
        beside = posixpath.join(posixpath.dirname(cell.evidence), curve_name(trial.trial_id))
        curve = read_curve(self.folder / beside, inside=self.folder) if trial.memory_curve else []
        return Proof(
            address=self._address(cell.evidence),
            memory_address=self._address(beside) if curve else "",
            explanation=trial.explanation,
            judgement_reason=trial.judgement_reason,
            lines=[Line.of(item) for item in trial.evidence],
            left_out=trial.evidence_left_out,
            curve=thin(curve),
        )

    def _read(self, name: str) -> PublishedTrial | None:
        try:
            path = (self.folder / name).resolve(strict=True)
            if not path.is_relative_to(self.folder.resolve()):
                return None
            if path.stat().st_size > _LARGEST_FILE:
                return None
            return PublishedTrial.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            return None

    def _address(self, name: str) -> str:
        return f"{self.data}/{quote(name)}"
