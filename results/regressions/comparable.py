"""Which trials may be compared with which, and in which order.

Trials are comparable when everything but one dimension is equal: the cell of the matrix, the
lengths of prompt and output, and the other versions. Along that dimension they have an order.

Runs are another matter: whatever else changed between two of them is what one wants to hear of, so
that only the artifact is held equal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from results.regressions.versions import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from results.figures import CellKey, Figures
    from results.query import Trial


class Dimension(StrEnum):
    """Along what trials are compared."""

    BROWSER = "browser"
    RUNTIME = "runtime"
    ARTIFACT = "artifact"
    HARNESS = "harness"
    RUN = "run"


NAMED_BY: Final = {
    Dimension.BROWSER: "browser_version",
    Dimension.RUNTIME: "runtime_version",
    Dimension.ARTIFACT: "artifact_key",
    Dimension.HARNESS: "harness_version",
    Dimension.RUN: "run_id",
}
"""Which column of the figures names a version."""

VERSIONS: Final = ("browser_version", "runtime_version", "harness_version")
"""The columns of which all but the one that is compared must be equal."""

# An engine outside of a browser.
_NATIVE: Final = "/native"


@dataclass(frozen=True, slots=True)
class Alike:
    """What is equal in a series; empty texts are what is not held equal."""

    cell: CellKey
    prompt_tokens: int
    output_tokens: int
    browser: str
    browser_version: str
    runtime_version: str
    harness_version: str

    @classmethod
    def of(cls, cell: CellKey, trial: Figures, by: Dimension) -> Self:
        """What must be equal: not what is compared, and not the browser of a native engine."""
        native = cell.runtime.endswith(_NATIVE)
        loose = {NAMED_BY[by], *(VERSIONS if by is Dimension.RUN else ())}
        held = {name: "" if name in loose else getattr(trial, name) for name in VERSIONS}
        if native:
            held["browser_version"] = ""
        browser = "" if native else trial.browser
        return cls(cell, trial.prompt_tokens, trial.output_tokens, browser, **held)


class Version(NamedTuple):
    """A version and its trials, the newest first."""

    name: str
    trials: list[Figures]


def comparable(
    trials: Iterable[Trial], by: Dimension
) -> Iterator[tuple[Alike, str, list[Figures]]]:
    """Trials that may be compared, with what is equal in them and their artifact."""
    for cell, rows in _by_cell(trials):
        if by is Dimension.BROWSER and cell.runtime.endswith(_NATIVE):
            continue
        alike: dict[Alike, list[Figures]] = defaultdict(list)
        for row in rows:
            alike[Alike.of(cell, row, by)].append(row)
        for key, group in alike.items():
            if by is Dimension.ARTIFACT:
                yield key, "", [row for row in group if row.artifact_key]
                continue
            # What is refused before a file is made is refused of every file.
            artifacts: set[str | None] = {row.artifact_key for row in group if row.artifact_key}
            for artifact in sorted(artifacts or {None}, key=str):
                yield (
                    key,
                    artifact or "",
                    [row for row in group if row.artifact_key in {artifact, None}],
                )


def _by_cell(trials: Iterable[Trial]) -> Iterator[tuple[CellKey, list[Figures]]]:
    """The trials of one cell after another.

    A browser that loses the GPU puts its trials into another cell of the matrix, which is just what
    a comparison must not overlook: of engines on WebGPU the cells with and without one are joined.
    """
    joined: dict[CellKey, list[Figures]] = defaultdict(list)
    for cell, group in groupby(trials, key=lambda trial: trial.cell):
        rows = [trial.figures for trial in group]
        if cell.runtime.endswith("/webgpu"):
            joined[replace(cell, software_adapter=False)] += rows
        else:
            yield cell, rows
    yield from joined.items()


def in_order(rows: Sequence[Figures], by: Dimension) -> list[Version]:
    """The trials version by version, in their order: by number, or by time."""
    name_of = _run_names(rows) if by is Dimension.RUN else {}
    groups: dict[str, list[Figures]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.started_at, reverse=True):
        groups[name_of.get(_build(row)) or getattr(row, NAMED_BY[by])].append(row)
    versions = [Version(name, trials) for name, trials in groups.items()]
    if by in {Dimension.RUN, Dimension.ARTIFACT}:
        return sorted(versions, key=lambda version: version.trials[-1].started_at)
    return sorted(versions, key=lambda version: version_key(version.name))


def _build(row: Figures) -> tuple[str, ...]:
    return (row.run_id, *(getattr(row, name) for name in VERSIONS))


def _run_names(rows: Sequence[Figures]) -> dict[tuple[str, ...], str]:
    """A name for what each run tested: its id, and the versions where it tested several."""
    builds: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for row in rows:
        builds[row.run_id].add(_build(row))
    return {
        build: run_id if len(several) == 1 else f"{run_id} ({', '.join(build[1:])})"
        for run_id, several in builds.items()
        for build in several
    }
