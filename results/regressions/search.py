"""Regressions: what changed from one browser build, runtime, artifact or run to the next.

Trials that may be compared (`results.regressions.comparable`) are a *series*. Along it, version by
version, each figure is compared with what was good so far, and the first bad version has a name.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from results.figures import METRICS
from results.record import Part
from results.regressions.comparable import NAMED_BY, VERSIONS, Dimension, comparable, in_order
from results.regressions.comparison import (
    COMPARED,
    TOLERANCE,
    Change,
    Comparison,
    compare,
    value_of,
)
from results.regressions.versions import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from results.figures import Figures
    from results.query import Trial
    from results.regressions.comparable import Alike, Version


# What is told where it differs between the last good version and the first bad one.
_CIRCUMSTANCES: Final = (*VERSIONS, "adapter", "threads", "operating_system", "host")


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
    `steps` are the versions that decided something, and the newest.
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
    for key, artifact, rows in comparable(trials, by):
        versions = in_order(rows, by)
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


def _from(versions: list[Version], baseline: str, by: Dimension) -> list[Version]:
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
    key: Alike, artifact: str, versions: list[Version], tolerance: float, by: Dimension
) -> Series:
    cell = key.cell
    held = {"browser": key.browser, **{name: getattr(key, name) for name in VERSIONS}}
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


def _group(version: Version) -> Group:
    trials = version.trials
    return Group(
        version=version.name,
        n=len(trials),
        not_at_rest=sum(trial.host_at_rest == 0 for trial in trials),
        first_at=trials[-1].started_at,
        last_at=trials[0].started_at,
    )


def _trend(
    figure: str, versions: Sequence[Version], tolerance: float, by: Dimension
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
    first_bad: Version | None = None
    steps: list[Step] = []
    for version in later:
        found = compare(figure, reference.trials, version.trials, tolerance)
        if found.change is not Change.UNDECIDED or version is later[-1]:
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


def _standing(baseline: Version, reference: Version, last_good: Version, newest: Version) -> Change:
    """How a figure stands that did not regress."""
    if last_good.name != newest.name:
        return Change.UNDECIDED
    return Change.SAME if reference.name == baseline.name else Change.IMPROVED


def _changed(good: Sequence[Figures], bad: Sequence[Figures], by: Dimension) -> tuple[str, ...]:
    """What else differs between two groups of trials, in words."""
    found = []
    for name in _CIRCUMSTANCES:
        if name == NAMED_BY[by]:
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
