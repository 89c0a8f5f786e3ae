"""Regressions: what changed from one browser build, runtime, artifact or run to the next.

Trials are comparable when everything but the one dimension is equal: the cell of the matrix, the
lengths of prompt and output, and the other versions. Such trials are a *series*; along it, version
by version, each figure is compared with the last one that was good, and the first bad version has a
name.

Runs are another matter: whatever else changed between two of them is what one wants to hear of, so
that only the artifact is held equal, and the differences are told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from results.comparison import COMPARED, TOLERANCE, Change, Comparison, compare, value_of
from results.figures import METRICS, CellKey
from results.record import Part
from results.versions import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from results.figures import Figures
    from results.query import Trial


class Dimension(StrEnum):
    """Along what trials are compared."""

    BROWSER = "browser"
    RUNTIME = "runtime"
    ARTIFACT = "artifact"
    HARNESS = "harness"
    RUN = "run"


# The column that names the version of each, and the columns that must be equal for each.
_NAMED_BY: Final = {
    Dimension.BROWSER: "browser_version",
    Dimension.RUNTIME: "runtime_version",
    Dimension.ARTIFACT: "artifact_key",
    Dimension.HARNESS: "harness_version",
    Dimension.RUN: "run_id",
}
_VERSIONS: Final = ("browser_version", "runtime_version", "harness_version")
# An engine outside of a browser.
_NATIVE: Final = "/native"
# What is told where it differs between the last good version and the first bad one.
_CIRCUMSTANCES: Final = (*_VERSIONS, "adapter", "threads", "operating_system", "host")


class UnknownBaselineError(Exception):
    """The baseline that was asked for is in no series.

    Attributes:
        known: the names that there are.
    """

    def __init__(self, baseline: str, known: Iterable[str]) -> None:
        self.baseline = baseline
        self.known = sorted(known, key=version_key)
        super().__init__(f"there is no {baseline!r}")


class Group(Part):
    """The trials of one version within a series. Times are UTC."""

    version: str
    n: int
    not_at_rest: int = 0
    first_at: str
    last_at: str


class Step(Part):
    """One version held against the one that it is measured by."""

    version: str
    against: str
    comparison: Comparison


class Trend(Part):
    """One figure along a series.

    `change` is how it stands with the newest version. Where it regressed, `first_bad` is the first
    version from which on it is worse, and `last_good` the newest before it that was not;
    `undecided` are versions between the two whose trials do not decide it, `untested` those that
    were run elsewhere but have no trial here; `changed` tells what else differs between the two.
    """

    figure: str
    change: Change
    baseline: str
    last_good: str
    first_bad: str | None = None
    undecided: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    steps: tuple[Step, ...]

    @property
    def telling(self) -> Step:
        """The step that says most: the first bad one, the improvement, or else the newest."""
        if self.first_bad is not None:
            return next(step for step in self.steps if step.version == self.first_bad)
        if self.change is Change.IMPROVED:
            return [s for s in self.steps if s.comparison.change is Change.IMPROVED][-1]
        return self.steps[-1]


@dataclass(frozen=True, slots=True)
class _Key:
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
        # A run is told as a whole; an engine outside of a browser does not depend on one.
        native = cell.runtime.endswith(_NATIVE)
        loose = {_NAMED_BY[by], *(_VERSIONS if by is Dimension.RUN else ())}
        held = {name: "" if name in loose else getattr(trial, name) for name in _VERSIONS}
        if native:
            held["browser_version"] = ""
        browser = "" if native else trial.browser
        return cls(cell, trial.prompt_tokens, trial.output_tokens, browser, **held)


class Series(Part):
    """Trials that differ in one dimension only, version by version.

    `held` is what is equal in all of them: versions and artifact.
    """

    profile: str
    hardware: str
    limited: bool
    model: str
    quantisation: str
    variant: str
    runtime: str
    source: str
    prompt_tokens: int
    output_tokens: int
    held: dict[str, str]
    groups: tuple[Group, ...]
    trends: tuple[Trend, ...]


class Regressions(Part):
    """All series along one dimension. `alone` counts those with nothing to compare with."""

    by: Dimension
    tolerance: float
    baseline: str | None
    series: tuple[Series, ...]
    alone: int

    def count(self, change: Change) -> int:
        """How many figures ended so."""
        return sum(trend.change is change for one in self.series for trend in one.trends)


class _Version(NamedTuple):
    """A version and its trials, the newest first."""

    name: str
    trials: list[Figures]


def find_regressions(
    trials: Iterable[Trial],
    by: Dimension,
    *,
    baseline: str | None = None,
    tolerance: float = TOLERANCE,
) -> Regressions:
    """Compare trials along a dimension.

    Args:
        trials: cell by cell; without those that say nothing of a device.
        by: the dimension.
        baseline: the version that the others are measured by; what is older is left out. Without
            one it is the earliest of each series. Of a run's id the beginning is enough.
        tolerance: how large a difference is of no interest, as a share.

    Raises:
        UnknownBaselineError: no series has that baseline.
    """
    series: list[Series] = []
    alone = 0
    known: dict[str, set[str]] = defaultdict(set)
    found = baseline is None
    for key, artifact, rows in _comparable(trials, by):
        versions = _versions(rows, by)
        known[_scope(by, key.cell.runtime, key.browser)].update(v.name for v in versions)
        if baseline is not None:
            versions = _from(versions, baseline, by)
            found = found or bool(versions)
        if len(versions) > 1:
            series.append(_series(key, artifact, versions, tolerance, by))
        elif rows:
            alone += 1
    if not found:
        raise UnknownBaselineError(baseline or "", set().union(*known.values()))
    return Regressions(
        by=by,
        tolerance=tolerance,
        baseline=baseline,
        series=tuple(
            _with_untested(one, known[_scope(by, one.runtime, one.held["browser"])], by)
            for one in series
        ),
        alone=alone,
    )


def _comparable(
    trials: Iterable[Trial], by: Dimension
) -> Iterator[tuple[_Key, str, list[Figures]]]:
    """Trials that may be compared, with what is equal in them and their artifact."""
    for cell, rows in _by_cell(trials):
        if by is Dimension.BROWSER and cell.runtime.endswith(_NATIVE):
            continue
        alike: dict[_Key, list[Figures]] = defaultdict(list)
        for row in rows:
            alike[_Key.of(cell, row, by)].append(row)
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


def _versions(rows: Sequence[Figures], by: Dimension) -> list[_Version]:
    """The trials version by version, in their order: by number, or by time."""
    name_of = _run_names(rows) if by is Dimension.RUN else {}
    groups: dict[str, list[Figures]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.started_at, reverse=True):
        groups[name_of.get(_build(row)) or getattr(row, _NAMED_BY[by])].append(row)
    versions = [_Version(name, trials) for name, trials in groups.items()]
    if by in {Dimension.RUN, Dimension.ARTIFACT}:
        return sorted(versions, key=lambda version: version.trials[-1].started_at)
    return sorted(versions, key=lambda version: version_key(version.name))


def _build(row: Figures) -> tuple[str, ...]:
    return (row.run_id, *(getattr(row, name) for name in _VERSIONS))


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


def _from(versions: list[_Version], baseline: str, by: Dimension) -> list[_Version]:
    """The versions from the baseline on; none where it is not among them."""
    for place, version in enumerate(versions):
        if version.name == baseline or (
            by is Dimension.RUN and baseline and version.name.startswith(baseline)
        ):
            return versions[place:]
    return []


def _scope(by: Dimension, runtime: str, browser: str) -> str:
    """Whose versions these are: a version of one browser is none of another."""
    return {Dimension.BROWSER: browser, Dimension.RUNTIME: runtime}.get(by, "")


def _series(
    key: _Key, artifact: str, versions: list[_Version], tolerance: float, by: Dimension
) -> Series:
    cell = key.cell
    held = {"browser": key.browser, **{name: getattr(key, name) for name in _VERSIONS}}
    trends = (_trend(figure, versions, tolerance, by) for figure in COMPARED)
    return Series(
        profile=cell.profile,
        hardware=cell.hardware,
        limited=cell.limited,
        model=cell.model,
        quantisation=cell.quantisation,
        variant=cell.variant,
        runtime=cell.runtime,
        source=cell.source,
        prompt_tokens=key.prompt_tokens,
        output_tokens=key.output_tokens,
        held={**held, "artifact": artifact},
        groups=tuple(_group(version) for version in versions),
        trends=tuple(trend for trend in trends if trend is not None),
    )


def _group(version: _Version) -> Group:
    trials = version.trials
    return Group(
        version=version.name,
        n=len(trials),
        not_at_rest=sum(trial.host_at_rest == 0 for trial in trials),
        first_at=trials[-1].started_at,
        last_at=trials[0].started_at,
    )


def _trend(
    figure: str, versions: Sequence[_Version], tolerance: float, by: Dimension
) -> Trend | None:
    """Walk along the versions; `None` where fewer than two gave the figure.

    What is compared with moves on when a version is better, and not when it is the same: many small
    steps, each within the tolerance, would otherwise never be a large one.
    """
    names = [version.name for version in versions]
    if figure in METRICS:
        versions = [v for v in versions if any(value_of(t, figure) for t in v.trials)]
    if len(versions) < 2:  # noqa: PLR2004
        return None
    baseline, *later = versions
    reference = last_good = baseline
    first_bad: _Version | None = None
    steps: list[Step] = []
    for version in later:
        found = compare(figure, reference.trials, version.trials, tolerance)
        steps.append(Step(version=version.name, against=reference.name, comparison=found))
        if found.change is Change.REGRESSED:
            first_bad = first_bad or version
        elif found.change is not Change.UNDECIDED:
            last_good, first_bad = version, None
            reference = version if found.change is Change.IMPROVED else reference
    trend = Trend(
        figure=figure,
        change=_standing(baseline, reference, last_good, later[-1]),
        baseline=baseline.name,
        last_good=last_good.name,
        steps=tuple(steps),
    )
    if first_bad is None:
        return trend
    between = names[names.index(last_good.name) + 1 : names.index(first_bad.name)]
    return trend.model_copy(
        update={
            "change": Change.REGRESSED,
            "first_bad": first_bad.name,
            "undecided": tuple(between),
            "changed": _changed(last_good.trials, first_bad.trials, by),
        }
    )


def _standing(
    baseline: _Version, reference: _Version, last_good: _Version, newest: _Version
) -> Change:
    """How a figure stands that did not regress."""
    if last_good.name != newest.name:
        return Change.UNDECIDED
    return Change.SAME if reference.name == baseline.name else Change.IMPROVED


def _changed(good: Sequence[Figures], bad: Sequence[Figures], by: Dimension) -> tuple[str, ...]:
    """What else differs between two groups of trials, in words."""
    found = []
    for name in _CIRCUMSTANCES:
        if name == _NAMED_BY[by]:
            continue
        before, after = (sorted({str(getattr(t, name)) for t in trials}) for trials in (good, bad))
        if before != after:
            found.append(f"{name.replace('_', ' ')}: {', '.join(before)}, then {', '.join(after)}")
    return tuple(found)


def _with_untested(series: Series, known: set[str], by: Dimension) -> Series:
    """The series, and for each regression the versions between good and bad it has no trial of."""
    if by in {Dimension.RUN, Dimension.ARTIFACT}:
        return series  # most runs are of other devices, and an artifact is of one model
    missing = known - {group.version for group in series.groups}

    def with_untested(trend: Trend) -> Trend:
        if trend.first_bad is None:
            return trend
        low, high = version_key(trend.last_good), version_key(trend.first_bad)
        between = [name for name in missing if low < version_key(name) < high]
        return trend.model_copy(update={"untested": tuple(sorted(between, key=version_key))})

    return series.model_copy(
        update={"trends": tuple(with_untested(trend) for trend in series.trends)}
    )
