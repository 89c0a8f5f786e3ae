"""The tables of an evaluation, as headings and rows of text: for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from results.evaluation.bounds import bounds, percent, words
from results.evaluation.cases import PROBE
from results.evaluation.figures import EVERYTHING
from results.evaluation.folds import Split
from results.learning.fit import SPEEDS
from results.table import NOTHING, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from results.evaluation.figures import Errors, Evaluation

_ERRORS: Final = ("n", "median", "90th\npercentile", "bias", "coverage")
_GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: the first `words` columns are words, the rest are figures."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: int = 1
    notes: list[str] = field(default_factory=list)


def sheets(evaluation: Evaluation, groups: Callable[[str], bool]) -> list[Sheet]:
    """All tables that have a row, in the order they are to be read in.

    Args:
        evaluation: the figures.
        groups: which groups of errors to show.
    """
    every = [
        *(_errors(evaluation, split, groups) for split in Split),
        _tiers(evaluation),
        *(_confusion(evaluation, split) for split in (Split.DEVICE, Split.MODEL)),
        _feasibility(evaluation),
        _baselines(evaluation),
        _ablations(evaluation),
        _costs(evaluation),
        _history(evaluation),
        _bounds(evaluation),
    ]
    return [sheet for sheet in every if sheet.rows]


_LEFT_OUT: Final = {
    Split.DEVICE: "device class left out",
    Split.MODEL: "model left out",
    Split.GROUP: "all classes of as many cores left out",
}


def _errors(evaluation: Evaluation, split: Split, groups: Callable[[str], bool]) -> Sheet:
    found = [e for e in evaluation.errors if e.rule == PROBE and e.split is split]
    return Sheet(
        f"Errors, {_LEFT_OUT[split]}",
        ("quantity", "of", *_ERRORS),
        [
            (words(e.quantity), plain(e.group), *_figures(e))
            for e in found
            if e.group == EVERYTHING or groups(e.group)
        ],
        words=2,
        notes=[
            f"{words(e.quantity)}: nothing is foretold of {percent(1 - e.told)} of what was"
            " measured (too few trials remain, or a kernel was not measured)"
            for e in found
            if e.group == EVERYTHING and e.told < 1
        ],
    )


def _figures(errors: Errors) -> tuple[str, ...]:
    return (
        str(errors.n),
        percent(errors.median),
        percent(errors.p90),
        f"{100 * errors.bias:+.1f} %",
        percent(errors.coverage),
    )


def _tiers(evaluation: Evaluation) -> Sheet:
    return Sheet(
        "Tiers and whether it runs",
        ("left out", "judged", "right", "over-\npromise", "under-\npromise", "tiers agree", "of"),
        [
            (
                str(found.split),
                str(found.judged),
                percent(found.agree),
                percent(found.over_promise),
                percent(found.under_promise),
                percent(found.tiers_agree),
                str(found.ran),
            )
            for found in evaluation.tiers
        ],
        notes=[
            f"{found.split} left out: {found.near} of the tiers that do not agree are within 10 %"
            " of the threshold"
            for found in evaluation.tiers
            if found.near
        ],
    )


def _confusion(evaluation: Evaluation, split: Split) -> Sheet:
    found = next((one for one in evaluation.tiers if one.split is split), None)
    title = f"Predicted (down) and measured (across), {_LEFT_OUT[split]}"
    if found is None:
        return Sheet(title, (), [])
    return Sheet(
        title,
        ("predicted", *found.outcomes),
        [
            (name, *(str(count) if count else NOTHING for count in row))
            for name, row in zip(found.outcomes, found.counts, strict=True)
            if any(row)
        ],
    )


def _feasibility(evaluation: Evaluation) -> Sheet:
    shown = [f for f in evaluation.feasibility if f.split is Split.DEVICE]
    ours = [f for f in shown if f.rule == PROBE]
    return Sheet(
        "Whether it runs at all, device class left out",
        (
            "rule",
            "OOM\nrecall",
            "OOM\nprecision",
            "unsupported\nrecall",
            "GB in\nvain",
            "loads\nin vain",
            "capable\nrefused",
        ),
        [
            (
                f.rule,
                percent(f.oom_recall),
                percent(f.oom_precision),
                percent(f.unsupported_recall),
                f"{f.wasted_bytes / _GB:.1f}",
                str(f.in_vain),
                f"{f.capable_refused} of {f.capable}",
            )
            for f in shown
        ],
        notes=[
            note
            for f in ours
            for note in (
                (
                    f"{f.oom} of {f.n} ran out of memory, {f.unsupported} were unsupported;"
                    f" {f.unsure} may go either way by the interval of their peak, and of"
                    f" {f.unknown} nothing is foretold"
                ),
                *(f"missed: {plain(name)}" for name in f.missed),
                *(f"refused, and runs: {plain(name)}" for name in f.refused_wrongly),
            )
        ],
    )


def _baselines(evaluation: Evaluation) -> Sheet:
    found = {(e.rule, e.split, e.quantity): e for e in evaluation.errors if e.group == EVERYTHING}
    rules = list(dict.fromkeys(e.rule for e in evaluation.errors))
    quantities = sorted(SPEEDS)
    columns = [(q, s) for q in quantities for s in (Split.DEVICE, Split.MODEL)]

    def figure(rule: str, column: tuple[str, Split]) -> str:
        errors = next((e for (r, s, q), e in found.items() if r == rule and (q, s) == column), None)
        return f"{_short(errors.median)} / {_short(errors.p90)}" if errors else NOTHING

    return Sheet(
        "Errors of simpler rules: median / 90th percentile, %",
        ("rule", *(f"{words(q)},\n{s} left out" for q, s in columns)),
        [(rule, *(figure(rule, column) for column in columns)) for rule in rules],
        notes=_unbeaten(found.values()),
    )


def _unbeaten(found: Iterable[Errors]) -> list[str]:
    """Which simpler rules are as good as the probe at something, of all quantities."""
    every = list(found)
    ours = {(e.split, e.quantity): e for e in every if e.rule == PROBE}
    return [
        f"not beaten: {e.rule}, {words(e.quantity)}, {e.split} left out:"
        f" {_short(e.median)} / {_short(e.p90)} beside {_short(mine.median)} / {_short(mine.p90)}"
        for e in every
        if e.rule != PROBE
        and (mine := ours.get((e.split, e.quantity)))
        and (e.median <= mine.median or e.p90 <= mine.p90)
    ]


def _short(share: float) -> str:
    return percent(share).removesuffix(" %")


def _ablations(evaluation: Evaluation) -> Sheet:
    base = {(a.runtime, a.quantity): a for a in evaluation.ablations if not a.term and a.n}
    return Sheet(
        "Errors without a term, device class left out: median / 90th percentile, %",
        ("engine", "quantity", "without", "n", "error", "with it"),
        [
            (
                plain(a.runtime),
                words(a.quantity),
                a.term,
                str(a.n),
                f"{_short(a.median)} / {_short(a.p90)}",
                f"{_short(b.median)} / {_short(b.p90)}",
            )
            for a in evaluation.ablations
            if a.term and (b := base.get((a.runtime, a.quantity)))
        ],
        words=3,
    )


def _costs(evaluation: Evaluation) -> Sheet:
    notes = []
    if evaluation.probe_seconds and evaluation.load_seconds and evaluation.load_bytes:
        times = evaluation.load_seconds / evaluation.probe_seconds
        notes = [
            (
                f"the probe takes {evaluation.probe_seconds:.2f} s (median) and no bytes, a full"
                f" load {evaluation.load_seconds:.1f} s and {evaluation.load_bytes / _GB:.2f} GB:"
                f" {times:.0f} times as long"
            )
        ]
    return Sheet(
        "What it takes to know the speed of decode",
        ("rule", "seconds", "median error"),
        [(cost.rule, f"{cost.seconds:.3g}", percent(cost.median)) for cost in evaluation.costs],
        notes=notes,
    )


def _history(evaluation: Evaluation) -> Sheet:
    return Sheet(
        "With what was measured before: median / 90th percentile, %",
        ("left out", "quantity", "of", "n", "without", "with"),
        [
            (
                str(h.split),
                words(h.quantity),
                plain(h.runtime),
                str(h.n),
                f"{_short(h.median)} / {_short(h.p90)}",
                f"{_short(h.median_with)} / {_short(h.p90_with)}",
            )
            for h in evaluation.history
        ],
        words=3,
        notes=[
            "device: corrected by the nearest other devices; model: by other models on the same one"
        ]
        if evaluation.history
        else [],
    )


def _bounds(evaluation: Evaluation) -> Sheet:
    holds = {True: "yes", False: "NO", None: "not known"}
    return Sheet(
        "What must hold, device class left out",
        ("what", "found", "must be", "holds"),
        [(b.name, b.found, b.must, holds[b.holds]) for b in bounds(evaluation)],
        words=4,
    )


def summary(evaluation: Evaluation) -> list[str]:
    """What it all rests on, in sentences."""
    of = evaluation.training
    return [
        (
            f"{of.trials} trusted trials ({evaluation.untrusted} more are not) on {len(of.devices)}"
            f" device classes of {evaluation.hosts} machine{'s' if evaluation.hosts != 1 else ''},"
            f" {len(of.models)} models; the newest of {of.newest or 'an unknown day'}."
        ),
        (
            "Errors are of tokens a second for prefill and decode, of seconds or bytes for the"
            " rest; coverage is of intervals that should hold 9 times in 10."
        ),
    ]


def lines(sheets_: Iterable[Sheet]) -> Iterable[str]:
    """Markdown: a heading, a table and its notes for each sheet."""
    for sheet in sheets_:
        yield from (f"### {sheet.title}", "")
        yield _line(heading.replace("-\n", "-").replace("\n", " ") for heading in sheet.headings)
        yield _line("---" if place < sheet.words else "--:" for place in range(len(sheet.headings)))
        yield from (_line(row) for row in sheet.rows)
        yield ""
        if sheet.notes:
            yield from (*(f"- {escaped(note)}" for note in sheet.notes), "")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def escaped(text: str) -> str:
    """Text that a Markdown table shows as it is."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text
