"""What LiteRT-LM's `litert_lm_main` and its like print after a run.

Formats: google-ai-edge/LiteRT-LM, runtime/engine/io_types.cc (`operator<<` of `BenchmarkInfo`,
whose headings have changed twice) and litert_lm_main.cc (peak memory). Durations are those of
Abseil (`absl::FormatDuration`): `372.565677ms`, `2.311920273s`, `1m12.5s`, `11.2us`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.devices.android.binary.figures import MOST_RUNS, Figures, count, number, rates

if TYPE_CHECKING:
    from pydantic import JsonValue

_INFO: Final = "BenchmarkInfo:"
_MOST_PHASES: Final = 32
_TURN: Final = re.compile(
    r"(?P<what>Prefill|Decode) Turn \d{1,6}:"
    r"(?:[^\n]*?Processed (?P<tokens>\d{1,9}) tokens in (?P<duration>[\w.]{1,40}) duration\.?)?"
    r"\s+(?P=what) Speed: (?P<rate>[\d.]{1,20}) tokens/s"
)
_PHASE: Final = re.compile(r"^ +- (?P<name>[^:\n]{1,80}): (?P<ms>[\d.]{1,20}) ms$", re.MULTILINE)
_TOTAL: Final = re.compile(
    r"^ +(?:- )?(?:Init Total|Total init time): (?P<ms>[\d.]{1,20}) ms", re.MULTILINE
)
_FIRST: Final = re.compile(r"Time to first token: +(?P<seconds>[\d.]{1,20}) s")
_PEAK: Final = re.compile(r"Peak system ram usage: (?P<mb>[\d.]{1,20}) ?MB")
_DURATION: Final = re.compile(r"(?P<value>\d[\d.]{0,19})(?P<unit>ns|us|µs|ms|s|m|h)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_litert_lm(text: str) -> Figures:
    """The figures of a run of LiteRT-LM's program. Never raises.

    Each repetition prints a block of its own. What comes before the first one is log, or text of
    the model.
    """
    at = re.search(rf"^(?:.*\] )?{_INFO}\s*$", text, re.MULTILINE)
    block = text[at.start() :] if at else ""
    turns = list(_TURN.finditer(block))[: 2 * MOST_RUNS]
    prefill = [turn for turn in turns if turn["what"] == "Prefill"]
    decode = [turn for turn in turns if turn["what"] == "Decode"]
    total, first, peak = _TOTAL.search(block), _FIRST.search(block), _PEAK.search(text)
    peak_mb = number(peak["mb"]) if peak else None
    return Figures(
        prefill=rates(_rate(turn) for turn in prefill),
        decode=rates(_rate(turn) for turn in decode),
        prompt_tokens=count(prefill[-1]["tokens"]) if prefill else None,
        output_tokens=count(decode[-1]["tokens"]) if decode else None,
        create_seconds=_seconds(total["ms"], 1000) if total else _sum_of_phases(block),
        first_token_seconds=_seconds(first["seconds"], 1) if first else None,
        peak_bytes=int(peak_mb * (1 << 20)) if peak_mb is not None and peak_mb < 1 << 30 else None,
        facts=_phases(block),
    )


def duration_seconds(text: str) -> float | None:
    """Seconds in a duration as Abseil prints it, or None where it is none."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    values = [number(part["value"]) for part in parts]
    if any(value is None for value in values):
        return None
    return sum(
        (value or 0.0) * _UNITS[part["unit"]] for value, part in zip(values, parts, strict=True)
    )


def _rate(turn: re.Match[str]) -> float | None:
    """Tokens a second: by count and duration, since the printed rate has two decimals only."""
    tokens, duration = count(turn["tokens"]), duration_seconds(turn["duration"] or "")
    return tokens / duration if tokens and duration else number(turn["rate"])


def _seconds(text: str, units: float) -> float | None:
    value = number(text)
    return None if value is None else value / units


def _sum_of_phases(block: str) -> float | None:
    ms = [value for phase in _PHASE.finditer(block) if (value := number(phase["ms"])) is not None]
    return sum(ms) / 1000 if ms else None


def _phases(block: str) -> dict[str, JsonValue]:
    """The phases of initialisation, in milliseconds."""
    phases: dict[str, JsonValue] = {}
    for phase in _PHASE.finditer(block):
        if len(phases) == _MOST_PHASES:
            break
        phases.setdefault(phase["name"], number(phase["ms"]))
    return {"init_ms": phases} if phases else {}
