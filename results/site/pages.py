"""The pages of the matrix: which there are, and what stands on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from results.matrix.summary import TIER_WORDS, VERDICT_WORDS
from results.memory_curve import thin
from results.record import Judgement, Verdict
from results.site import figures
from results.site.accuracy import confusion, coverage
from results.site.page import Block, Page, filled
from results.site.text import clean, name, slug
from results.site.view import (
    DECODE,
    JUDGEMENT_WORDS,
    METRICS,
    SECTIONS,
    by_section,
    grouped,
    holds,
)
from results.table import NOTHING, gigabytes, number
from results.tiers import TIERS, Tier, thresholds
from results.tiers import rows as threshold_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.site.context import Context
    from results.site.evidence import Proof
    from results.site.view import Row, SectionText

_GIBIBYTE: Final = 1 << 30
_TABLE_LINES: Final = 24
# Of one page; what is beyond them is in tables only.
_MOST_TREND_CHARTS: Final = 60
_MOST_LINES: Final = 500
_BELOW_THE_ROOT: Final = "../"

_VERDICT_LEGEND: Final = (
    ("oom", "out of memory", "the tab or the engine died for want of memory"),
    ("crash", "crash", "it died of something else"),
    ("hang", "hang", "it did not end in time"),
    ("unsupported", "cannot run", "the runtime, the browser or the device refused"),
)

OVERVIEW: Final = "index.md"
DEVICES: Final = "devices/index.md"
MODELS: Final = "models/index.md"
PREDICTIONS: Final = "predictions.md"
MEMORY: Final = "memory.md"
TRENDS: Final = "trends.md"
ABOUT: Final = "about.md"

_WORDS: Final = {
    "judgement_words": JUDGEMENT_WORDS,
    "verdict_words": VERDICT_WORDS,
    "metrics": METRICS,
    "speed": DECODE,
    "number": number,
    "gigabytes": gigabytes,
    "holds": holds,
}


def matrix_pages(context: Context) -> list[Page]:
    """All pages of the matrix."""
    devices = grouped(context.rows, lambda row: row.device_id)
    models = grouped(context.rows, lambda row: row.model)
    return [
        _overview(context),
        _device_list(context, devices),
        *(_device(context, device_id, rows) for device_id, rows in devices.items()),
        _model_list(models),
        *(_model(context, model, rows) for model, rows in sorted(models.items())),
        _predictions(context),
        _memory(context),
        _trends(context),
        _about(context),
    ]


def _legend() -> list[tuple[str, str, str]]:
    """Class, words and meaning of each outcome, the best first."""
    steps = zip(thresholds().decode, thresholds().prefill, strict=True)
    tiers = [
        (
            f"tier-{decode.tier}",
            TIER_WORDS[decode.tier],
            f"from {decode.tokens_per_s:g} tok/s decode and {prefill.tokens_per_s:g} prefill",
        )
        for decode, prefill in steps
    ]
    slow = (f"tier-{Tier.UNSUPPORTED}", TIER_WORDS[Tier.UNSUPPORTED], "it runs, and slower still")
    return [*reversed(tiers), slow, *_VERDICT_LEGEND]


def _filled(template: str, **values: object) -> Markup:
    return filled(template, **_WORDS, **values)


# ---- overview ----


def _overview(context: Context) -> Page:
    matrix = context.matrix
    filters = [
        ("model", "model", [(model, name(model)) for model in sorted(matrix.models)]),
        ("runtime", "runtime", [(runtime, name(runtime)) for runtime in sorted(matrix.runtimes)]),
        ("tier", "tier", [(str(tier), TIER_WORDS[tier]) for tier in reversed(TIERS)]),
        ("verdict", "verdict", _verdicts(context.rows)),
        ("section", "section", [(s.section, s.name) for s, _ in by_section(context.rows)]),
    ]
    top = _filled(
        "overview.html", matrix=matrix, rows=context.rows, filters=filters, legend=_legend()
    )
    return Page(
        path=OVERVIEW,
        blocks=[
            Block(1, "Which device runs which language model", "matrix", top),
            *(_grid(section, rows) for section, rows in by_section(context.rows)),
        ],
    )


def _verdicts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    found = {row.cell.verdict for row in rows}
    return [(str(verdict), VERDICT_WORDS[verdict]) for verdict in Verdict if verdict in found]


def _grid(section: SectionText, rows: Sequence[Row]) -> Block:
    lines = [
        {
            "device": cells[0].device,
            "page": cells[0].device_page,
            "detail": _device_detail(cells[0]),
            "search": _searched(cells[0]),
            "by_model": grouped(cells, lambda row: row.model),
        }
        for cells in grouped(rows, lambda row: row.device_id).values()
    ]
    models = sorted({row.model for row in rows})
    pages = {row.model: row.model_page for row in rows}
    return _section_block(
        section,
        _filled(
            "grid.html", section=section, lines=lines, models=models, model_page=pages.__getitem__
        ),
    )


def _device_detail(row: Row) -> str:
    """What tells devices of one name apart."""
    return ", ".join(part for part in (row.device.profile, row.device.hardware) if part)


def _searched(row: Row) -> str:
    device = row.device
    words = (device.name, device.profile, device.hardware, device.kind, row.device_id)
    return clean(" ".join(words)).lower()


def _section_block(section: SectionText, html: Markup, level: int = 2) -> Block:
    return Block(level, section.name, section.anchor, html)


# ---- devices ----


def _device_list(context: Context, devices: dict[str, list[Row]]) -> Page:
    blocks = [Block(1, "Devices", "devices", Markup())]
    for section, rows in by_section(context.rows):
        lines = []
        for device_id, cells in grouped(rows, lambda row: row.device_id).items():
            entry = devices[device_id][0].device
            lines.append(
                (
                    f"{slug(device_id)}.html#{section.anchor}",
                    [
                        name(entry.name),
                        name(entry.profile),
                        name(entry.hardware) if entry.hardware else NOTHING,
                        len(cells),
                        sum(row.cell.verdict is Verdict.OK for row in cells),
                        max(row.cell.last_trial_at for row in cells).date().isoformat(),
                    ],
                )
            )
        headings = ["device", "profile", "hardware", "cells", "run", "last trial"]
        blocks.append(_list(section, headings, lines, "devices", numbers=(3, 4)))
    return Page(path=DEVICES, blocks=blocks)


def _list(
    section: SectionText,
    headings: list[str],
    lines: Sequence[tuple[str, list[object]]],
    what: str,
    numbers: Sequence[int],
) -> Block:
    note = filled("section_note.html", section=section)
    table = _filled(
        "list.html",
        caption=f"{section.name}: {what}",
        headings=headings,
        lines=lines,
        numbers=numbers,
    )
    return _section_block(section, note + table)


def _device(context: Context, device_id: str, rows: list[Row]) -> Page:
    entry = rows[0].device
    top = _filled("device.html", device=entry, device_id=device_id, gibibytes=_gibibytes)
    blocks = [Block(1, entry.name, "device", top)]
    for section, cells in by_section(rows):
        figure = figures.forecast(
            context.draw,
            cells,
            [row.name for row in cells],
            f"Decode speed, predicted and measured: {entry.name}{_marked(section)}",
        )
        firsts = [those[0] for those in grouped(cells, lambda row: row.model).values()]
        html = _filled(
            "device_section.html",
            section=section,
            rows=cells,
            root=_BELOW_THE_ROOT,
            figure=figure,
            badges=[(row, badge) for row in firsts if (badge := context.badge(row))],
        )
        blocks.append(_section_block(section, html))
        blocks += [_cell(context, row) for row in cells]
    return Page(path=f"devices/{slug(device_id)}.md", blocks=blocks)


def _marked(section: SectionText) -> str:
    return f" ({section.mark})" if section.mark else ""


def _cell(context: Context, row: Row) -> Block:
    proof, memory = context.memory(row)
    kinds = figures.curve_kinds(proof.curve)
    html = _filled(
        "cell.html",
        row=row,
        proof=proof,
        memory=memory,
        curve_kinds=kinds,
        curve_lines=_curve_lines(proof, kinds),
        trend=context.trends.get(row.key, []),
        root=_BELOW_THE_ROOT,
    )
    return Block(3, row.name, row.anchor, html)


def _curve_lines(proof: Proof, kinds: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Some lines of the curve, its peaks among them; the file has the rest."""
    return [
        (
            f"{sample.at_seconds:.1f}",
            [gigabytes(figures.size_of(sample, kind)) for kind in kinds],
        )
        for sample in thin(proof.curve, _TABLE_LINES)
    ]


def _gibibytes(size: int) -> str:
    return f"{number(size / _GIBIBYTE)} GiB"


# ---- models ----


def _model_list(models: dict[str, list[Row]]) -> Page:
    blocks = [Block(1, "Models", "models", Markup())]
    for section, rows in by_section(row for cells in models.values() for row in cells):
        lines = []
        for model, cells in sorted(grouped(rows, lambda row: row.model).items()):
            runs = [row for row in cells if row.cell.verdict is Verdict.OK]
            fastest = max((row.measured(DECODE) or 0.0 for row in runs), default=None)
            lines.append(
                (
                    f"{slug(model)}.html#{section.anchor}",
                    [
                        name(model),
                        name(", ".join(sorted({row.quantisation for row in cells}))),
                        len({row.device_id for row in cells}),
                        len({row.device_id for row in runs}),
                        DECODE.bare(fastest),
                    ],
                )
            )
        headings = ["model", "weights", "devices", "run it", "fastest decode, tok/s"]
        blocks.append(_list(section, headings, lines, "models", numbers=(2, 3, 4)))
    return Page(path=MODELS, blocks=blocks)


def _model(context: Context, model: str, rows: list[Row]) -> Page:
    entry = context.matrix.models[model]
    top = _filled("model.html", model=model, quantisations=", ".join(entry.quantisations))
    blocks = [Block(1, entry.name, "model", top)]
    for section, cells in by_section(rows):
        figure = figures.forecast(
            context.draw,
            cells,
            [f"{row.device_label}, {row.workload}" for row in cells],
            f"Decode speed, predicted and measured: {entry.name}{_marked(section)}",
        )
        html = _filled(
            "model_section.html", section=section, rows=cells, root=_BELOW_THE_ROOT, figure=figure
        )
        blocks.append(_section_block(section, html))
    return Page(path=f"models/{slug(model)}.md", blocks=blocks)


# ---- over all cells ----


def _predictions(context: Context) -> Page:
    blocks = [
        Block(
            1,
            "Predicted and measured",
            "predictions",
            _filled("predictions_top.html", empty=not context.rows),
        )
    ]
    for section, rows in by_section(context.rows):
        charts = [
            figures.hits(
                context.draw, rows, metric, f"{section.name}: {metric.name}, predicted and measured"
            )
            for metric in METRICS
        ]
        wrong = {Judgement.OVER_PROMISE, Judgement.UNDER_PROMISE}
        html = _filled(
            "predictions.html",
            section=section,
            rows=rows[:_MOST_LINES],
            left_out=max(0, len(rows) - _MOST_LINES),
            matrix=confusion(rows),
            coverage=coverage(rows),
            figures=[figure for figure in charts if figure],
            wrong=[row for row in rows if row.judgement in wrong],
        )
        blocks.append(_section_block(section, html))
    return Page(path=PREDICTIONS, blocks=blocks)


def _memory(context: Context) -> Page:
    deaths = [row for row in context.rows if row.cell.verdict is Verdict.OOM]
    blocks = [
        Block(1, "Out of memory", "memory", _filled("memory_top.html", empty=not deaths)),
    ]
    for section, rows in by_section(deaths):
        shown = [(row, context.memory(row)[1]) for row in rows]
        html = _filled(
            "memory_section.html",
            section=section,
            figures=[(row, figure) for row, figure in shown if figure],
            without=[row for row, figure in shown if not figure],
        )
        blocks.append(_section_block(section, html))
    return Page(path=MEMORY, blocks=blocks)


def _trends(context: Context) -> Page:
    found = [row for row in context.rows if row.key in context.trends]
    charts = _MOST_TREND_CHARTS
    blocks = [
        Block(1, "Speed by browser version", "trends", _filled("trends_top.html", empty=not found)),
    ]
    for section, rows in by_section(found):
        lines = []
        for (_, device, model), those in grouped(
            rows, lambda row: (row.device_id, row.device_label, row.model)
        ).items():
            cells = [(row, context.trends[row.key]) for row in those]
            whose = f"{device}, {model}"
            figure = figures.trend(context.draw, cells, whose=whose) if charts > 0 else None
            charts -= figure is not None
            lines.append({"name": whose, "figure": figure, "rows": those})
        blocks.append(
            _section_block(section, _filled("trends_section.html", section=section, lines=lines))
        )
    return Page(path=TRENDS, blocks=blocks)


def _about(context: Context) -> Page:
    meta = context.matrix.meta
    units = [
        ("", [metric.name, metric.unit, meta.metrics.get(metric.key, "")]) for metric in METRICS
    ]
    metrics = _filled(
        "list.html",
        caption="What is measured",
        headings=["figure", "unit", "meaning"],
        lines=units,
        numbers=(),
    )
    tiers = _filled(
        "list.html",
        caption="Where the tiers begin, in tokens a second; a device's tier is the lower of both",
        headings=["phase", "tier", "tokens a second", "source"],
        lines=[
            ("", [phase, TIER_WORDS[tier], threshold, source])
            for phase, tier, threshold, source in threshold_rows()
        ],
        numbers=(),
    )
    return Page(
        path=ABOUT,
        blocks=[
            Block(1, "How to read this", "about", _filled("about.html", meta=meta)),
            Block(
                2, "Three sections", "sections", _filled("about_sections.html", sections=SECTIONS)
            ),
            Block(2, "Verdicts and tiers", "words", _filled("about_words.html", legend=_legend())),
            Block(2, "Where the tiers begin", "tiers", tiers),
            Block(2, "Figures", "figures", metrics),
            Block(2, "Predictions", "predictions", _filled("about_predictions.html")),
            Block(2, "The data", "data", _filled("about_data.html", data=context.data)),
        ],
        hide=("navigation",),
    )
