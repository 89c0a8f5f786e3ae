"""Decode speed by browser version: what the store knows of each cell beyond its newest trials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Final

from results.query import figures
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from results.figures import CellKey, Figures
    from results.store import Store


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """The trials of a cell with one build of a browser and one version of the runtime.

    `median`, `low` and `high` are decode tokens a second of those that ran; `None` where none did.
    """

    browser: str
    browser_version: str
    runtime_version: str
    trials: int
    ran: int
    median: float | None
    low: float | None
    high: float | None
    first: str
    last: str


MOST_VERSIONS: Final = 24
"""So many of the newest versions are shown; a nightly browser has a new one every night."""


def trends(store: Store) -> dict[CellKey, list[VersionFigures]]:
    """The cells that were tried with two browser versions at least, the oldest version first.

    Only trials with the artifact and the lengths of the newest one are compared, and of many
    versions only the newest are kept.

    Raises:
        StoreError: the store cannot be read.
    """
    found: dict[CellKey, list[VersionFigures]] = {}
    for cell, trials in groupby(figures(store, of_device=True), key=lambda trial: trial.cell):
        by_version = _by_version(trial.figures for trial in trials)
        if len({(figure.browser, figure.browser_version) for figure in by_version}) > 1:
            found[cell] = by_version[-MOST_VERSIONS:]
    return found


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Sorts versions by their numbers: 9.1 before 10.0."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in _parts(version))


def _parts(version: str) -> list[str]:
    # A page may say anything: a number that is too long to be one stays text.
    return [part for part in re.split(r"(\d{1,9})", version) if part]


def _by_version(trials: Iterable[Figures]) -> list[VersionFigures]:
    newest_first = list(trials)
    wanted = _comparable(newest_first[0])
    groups: dict[tuple[str, str, str], list[Figures]] = {}
    for trial in newest_first:
        if _comparable(trial) == wanted:
            key = (trial.browser, trial.browser_version, trial.runtime_version)
            groups.setdefault(key, []).append(trial)
    return [
        _figures(groups[key])
        for key in sorted(
            groups, key=lambda key: (key[0], version_key(key[1]), version_key(key[2]))
        )
    ]


def _comparable(trial: Figures) -> tuple[object, ...]:
    return trial.artifact_key, trial.prompt_tokens, trial.output_tokens


def _figures(newest_first: list[Figures]) -> VersionFigures:
    newest = newest_first[0]
    speeds = [
        trial.decode_tokens_per_s
        for trial in newest_first
        if trial.verdict == Verdict.OK and trial.decode_tokens_per_s is not None
    ]
    return VersionFigures(
        browser=newest.browser,
        browser_version=newest.browser_version,
        runtime_version=newest.runtime_version,
        trials=len(newest_first),
        ran=sum(trial.verdict == Verdict.OK for trial in newest_first),
        median=median(speeds) if speeds else None,
        low=min(speeds, default=None),
        high=max(speeds, default=None),
        first=newest_first[-1].started_at,
        last=newest.started_at,
    )
