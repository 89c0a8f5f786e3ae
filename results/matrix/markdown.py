"""The matrix as Markdown, for a repository: an overview, then every cell of every device.

It is written for GitHub-flavoured Markdown (https://github.github.com/gfm/). Everything that comes
from a device or a record passes through `text`: no character of it can end a cell, begin markup or
HTML, make a link, or mention anybody.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from results.matrix.model import SECTIONS
from results.matrix.summary import best_of_each, entries, outcome_words
from results.table import NOTHING, gigabytes, number, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from results.matrix.model import Matrix, Section, Spreading
    from results.matrix.summary import Entry
    from results.record import Interval

    Link = Callable[[str], str | None]

_HEADINGS: Final[dict[Section, str]] = {
    "support": "Measured on the device itself",
    "limited": "Limited and emulated devices",
    "software_adapter": "Software adapters",
}
_LABELS: Final[dict[Section, str]] = {
    "support": "",
    "limited": (
        "**Not the figures of any product**: measured under limits of memory or processor time that"
        " stand for a smaller device, or on an emulated one."
    ),
    "software_adapter": (
        "**Not the figures of any GPU**: WebGPU ran on the processor. It shows that the workload"
        " runs there; the speed says nothing about a device with a GPU."
    ),
}

_LONGEST_TEXT: Final = 200
_BREAK: Final = "\N{ZERO WIDTH SPACE}"
# As numeric entities these characters are text and never structure (CommonMark 0.31, section 2.5).
_MARKUP = re.compile(r"[\\`*\[\]<>&|~$!^{}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# GitHub makes links of these without any markup: mentions, issues, addresses. A space of no width
# here keeps their parts apart. (A host's name may hold one: an address is cut before its host.)
_LINKS = re.compile(r"(?<=[@#])|(?<=\bGH-)|(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)


def text(value: str) -> str:
    """A text from outside as Markdown that shows it and does nothing else."""
    shown = plain(value)
    if len(shown) > _LONGEST_TEXT:
        shown = f"{shown[:_LONGEST_TEXT]}…"
    shown = _LINKS.sub(_BREAK, shown)
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", shown).strip()


def _same(address: str) -> str:
    return address


def to_markdown(matrix: Matrix, link: Link = _same) -> str:
    """The whole matrix.

    Args:
        matrix: what to write.
        link: makes of an address inside the matrix's folder one that holds where the text will
            stand; `None` leaves the link out.
    """
    parts = [_introduction(matrix)]
    parts += [_section(matrix, section, link) for section in SECTIONS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(matrix: Matrix) -> str:
    meta = matrix.meta
    faults = f", and {meta.infra_trials} more that failed by the lab's own fault"
    origin = (
        f"From {meta.trials} trials{faults if meta.infra_trials else ''};"
        f" {_day(meta.generated_at)}, {text(meta.generator)}."
    )
    words = (
        "Speeds are tokens a second, medians of the newest trials that are alike; of answers unless"
        " it says *prefill*. *Too slow*: it runs, but slower than anybody would read."
        f" *Out of date*: no trial for {meta.expiry_days} days."
    )
    return f"# Which device runs which model\n\n{origin}\n\n{words}"


def _section(matrix: Matrix, section: Section, link: Link) -> str:
    found = list(entries(matrix, section))
    if not found:
        return "" if _LABELS[section] else f"## {_HEADINGS[section]}\n\nNothing was measured yet."
    by_device = sorted(found, key=lambda entry: (entry.device.name, entry.device_id))
    at = matrix.meta.generated_at
    parts = [f"## {_HEADINGS[section]}", _LABELS[section], _overview(by_device, at)]
    for _, of_device in groupby(by_device, key=lambda entry: entry.device_id):
        parts += _details(list(of_device), at, link)
    return "\n\n".join(part for part in parts if part)


def _overview(found: Sequence[Entry], at: datetime) -> str:
    """Devices by models: the best of their cells."""
    best = best_of_each(found, at)
    models = sorted({entry.model for entry in found})
    names = {entry.device_id: entry.device_name for entry in found}
    rows = [
        [
            text(name),
            *(
                _overview_cell(best[device_id, model], at) if (device_id, model) in best else ""
                for model in models
            ),
        ]
        for device_id, name in names.items()
    ]
    return _table(["device", *map(text, models)], rows)


def _overview_cell(entry: Entry, at: datetime) -> str:
    late = " *out of date*" if entry.cell.expired(at) else ""
    return f"**{text(entry.outcome)}** ({text(entry.workload)}){late}"


def _details(found: Sequence[Entry], at: datetime, link: Link) -> list[str]:
    """One device: what it is, and all of its cells."""
    device = found[0].device
    facts = [f"kind {device.kind}", f"profile {device.profile}"]
    if device.memory_limit_bytes is not None:
        facts.append(f"{gigabytes(device.memory_limit_bytes)} GB of memory")
    if device.cpu_limit is not None:
        facts.append(f"{number(device.cpu_limit)} cores")
    heading = f"### {text(found[0].device_name)}"
    by_place = sorted(found, key=lambda entry: (entry.model, entry.workload))
    rows = [_row(entry, at, link) for entry in by_place]
    # A line must not begin with a text from outside: `- ` would make a list of it.
    return [heading, f"Device of {text(', '.join(facts))}.", _table(_HEADS, rows)]


_HEADS: Final = (
    "model and runtime",
    "result",
    "decode tok/s",
    "prefill tok/s",
    "peak GB",
    "predicted",
    "n",
    "versions",
    "last trial",
    "evidence",
)


def _row(entry: Entry, at: datetime, link: Link) -> list[str]:
    cell, versions = entry.cell, entry.cell.versions
    address = link(cell.evidence)
    late = " *out of date*" if cell.expired(at) else ""
    return [
        f"{text(entry.model)}, {text(entry.workload)}",
        f"**{text(outcome_words(cell.verdict, cell.tier))}**",
        _figure(entry, "decode_tokens_per_s", number),
        _figure(entry, "prefill_tokens_per_s", number),
        _figure(entry, "peak_bytes", gigabytes),
        text(outcome_words(cell.predicted.verdict, cell.predicted.tier)),
        str(cell.n),
        text(f"{versions.browser} {versions.browser_version}, runtime {versions.runtime_version}"),
        _day(cell.last_trial_at) + late,
        f"[{text(cell.cause)}]({_address(address)})" if address else text(cell.cause),
    ]


def _figure(entry: Entry, metric: str, shown: Callable[[float | None], str]) -> str:
    """Measured, with lowest and highest of several, and what was predicted."""
    measured = entry.cell.measured.get(metric)
    predicted = entry.cell.predicted.metrics.get(metric)
    words = [_measured(measured, shown)] if measured else []
    words += [_predicted(predicted, shown)] if predicted else []
    return ", ".join(words) or NOTHING


def _measured(measured: Spreading, shown: Callable[[float | None], str]) -> str:
    median = f"**{shown(measured.median)}**"
    if measured.n == 1:
        return median
    return f"{median} ({shown(measured.low)} to {shown(measured.high)})"


def _predicted(predicted: Interval, shown: Callable[[float | None], str]) -> str:
    return (
        f"predicted {shown(predicted.expected)} ({shown(predicted.low)} to {shown(predicted.high)})"
    )


def _address(address: str) -> str:
    """A relative address inside of `[](...)`: no character of it can end that, or be a scheme."""
    return quote(address, safe="/._-~")


def _day(time: datetime) -> str:
    return time.date().isoformat()


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
