"""The table at the end of a run: predicted beside measured, and what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.record import Judgement, Verdict, stand_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.record import Interval, Record

VERDICT_STYLE: Final = {
    Verdict.OK: "green",
    Verdict.OOM: "red",
    Verdict.CRASH: "red",
    Verdict.HANG: "red",
    Verdict.UNSUPPORTED: "yellow",
    Verdict.INFRA: "magenta",
    Verdict.CASCADE: "magenta",
}

NOTHING: Final = "-"
_THREE_DIGITS: Final = 100

_BREAKS = re.compile(r"[\t\n\r\u2028\u2029]+")
# C0 and C1 (a terminal obeys them), the marks that turn the direction of a line (they reach into
# the neighbouring cells), and halves of characters (they cannot be printed).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """One line of text of a device that cannot drive the terminal it is shown on."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", text))


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return NOTHING if value is None else f"{value:.3g}" if value < _THREE_DIGITS else f"{value:.0f}"


def gigabytes(value: float | None) -> str:
    """Bytes as GB (10^9), or a dash."""
    return NOTHING if value is None else f"{value / 1e9:.2f}"


def _expected(interval: Interval | None) -> float | None:
    return interval.expected if interval else None


def device_name(record: Record) -> str:
    """The profile, marked where its figures are not a device's own."""
    marks = [
        mark
        for mark, applies in (
            (stand_in(record.device.kind), record.device.emulated),
            (
                "software adapter",
                record.conditions.software_adapter and "webgpu" in record.workload.runtime,
            ),
        )
        if applies
    ]
    return record.device.profile + (f" ({', '.join(marks)})" if marks else "")


def next_step(record: Record) -> str:
    """One line of what to do with this result."""
    workload = record.workload
    if record.verdict is Verdict.INFRA:
        return f"no statement about the device; mend the lab and run again: {record.explanation}"
    if record.judgement is Judgement.OVER_PROMISE:
        return f"do not ship the prediction: {record.judgement_reason}"
    if record.judgement is Judgement.UNDER_PROMISE:
        return f"capable users would be refused: {record.judgement_reason}"
    match record.verdict:
        case Verdict.OK:
            tier = record.tiers.pair
            return {
                "high": "offer the model here",
                "medium": "offer the model here; keep prompts short",
                "low": "slow: offer it for short answers, or a smaller model",
                "unsupported": "it runs, but too slowly to offer: a smaller model, or a server",
            }.get(str(tier), f"it runs; the figures put it in tier {tier}")
        case Verdict.OOM:
            return f"do not offer {workload.weights} here: {record.explanation}"
        case _:
            return record.explanation


def table(records: Sequence[Record]) -> Table:
    """A block a trial: what was predicted, and below it what was measured. Fits 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("device and workload", overflow="fold")
    shown.add_column("")
    shown.add_column("tier", min_width=11)
    for heading in ("decode\ntok/s", "prefill\ntok/s", "peak\nGB"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("verdict")
    for number_of_record, record in enumerate(records):
        if number_of_record:
            shown.add_section()
        for row in _rows(record):
            shown.add_row(*row)
    return shown


def comparison(records: Sequence[Record], left_out: Sequence[tuple[str, str]] = ()) -> Table:
    """A line a load, for many engines side by side; what did not run, with the reason.

    Args:
        records: the trials.
        left_out: engines that were not run at all, and why.
    """
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("engine and workload", overflow="fold", min_width=20)
    for heading in ("load\ns", "first\ntoken s", "prefill\ntok/s", "decode\ntok/s", "peak\nGB"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("verdict, and why not", overflow="fold")
    for record in records:
        shown.add_row(*_line(record))
    for name, reason in left_out:
        shown.add_row(Text(plain(name)), *[NOTHING] * 5, Text(plain(f"not run: {reason}")))
    return shown


def _line(record: Record) -> list[Text]:
    """One load: what it was, its figures, and its verdict or why there are none."""
    measured, workload = record.measurement, record.workload
    marks = device_name(record).removeprefix(record.device.profile)
    ran = record.verdict is Verdict.OK
    load = (
        (measured.download_seconds or 0) + measured.create_seconds
        if measured and measured.create_seconds is not None
        else None
    )
    source = "" if workload.source == "network" else f" from {workload.source}"
    return [
        Text(
            plain(
                f"{workload.runtime} {workload.weights}{source} on {record.device.profile}{marks}"
            )
        ),
        *(
            Text(number(value))
            for value in (
                load,
                measured.first_token_seconds if measured else None,
                measured.prefill_tokens_per_s if measured else None,
                measured.decode_tokens_per_s if measured else None,
            )
        ),
        Text(gigabytes(measured.memory.engine_bytes if measured else None)),
        Text(
            plain(str(record.verdict) if ran else f"{record.verdict}: {record.explanation}"),
            style=VERDICT_STYLE[record.verdict],
        ),
    ]


def next_steps(records: Sequence[Record]) -> list[str]:
    """One line a trial: what happened, and what to do next."""
    return [plain(f"{device_name(r)}, {r.workload.weights}: {next_step(r)}") for r in records]


def _rows(record: Record) -> list[list[Text]]:
    prediction, measured, workload = record.prediction, record.measurement, record.workload
    right = record.judgement in {Judgement.RIGHT, Judgement.UNKNOWN}
    judged = "" if record.judgement is Judgement.RIGHT else f" ({record.judgement})"
    return [
        [
            Text(plain(device_name(record))),
            Text("predicted", style="dim"),
            Text(str(prediction.tier or NOTHING)),
            Text(number(_expected(prediction.decode_tokens_per_s))),
            Text(number(_expected(prediction.prefill_tokens_per_s))),
            Text(gigabytes(_expected(prediction.peak_memory_bytes))),
            Text(prediction.verdict),
        ],
        [
            Text(plain(workload.weights)),
            Text("measured", style="dim"),
            Text(str(record.tiers.pair or NOTHING)),
            Text(number(measured.decode_tokens_per_s if measured else None)),
            Text(number(measured.prefill_tokens_per_s if measured else None)),
            Text(gigabytes(measured.memory.engine_bytes if measured else None)),
            Text(
                record.verdict + judged,
                style=VERDICT_STYLE[record.verdict] if right else "bold red",
            ),
        ],
        [Text(plain(workload.runtime), style="dim")],
    ]
