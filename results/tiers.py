"""Tiers from measured or predicted speeds, by the thresholds in `tiers.toml`.

Prefill and decode have thresholds of their own, as a device may be good at one and poor at the
other; a device's tier is the lower of the two.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Phase = Literal["prefill", "decode"]


class Tier(StrEnum):
    """How well a device runs a workload, lowest first."""

    UNSUPPORTED = "unsupported"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


TIERS: tuple[Tier, ...] = tuple(Tier)
"""All tiers, lowest first."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """From `tokens_per_s` on it is this tier; `source` says where the number is from."""

    tier: Tier
    tokens_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of both phases, each in rising order."""

    prefill: tuple[Threshold, ...]
    decode: tuple[Threshold, ...]


def parse_thresholds(text: str) -> Thresholds:
    """The thresholds in a TOML text of the form of `tiers.toml`.

    Raises:
        ValueError: a phase does not give each of low, medium and high once, in rising order, each
            with a number above 0 and a source.
    """
    data: dict[str, Any] = tomllib.loads(text)
    return Thresholds(prefill=_phase(data, "prefill"), decode=_phase(data, "decode"))


def _phase(data: dict[str, Any], phase: Phase) -> tuple[Threshold, ...]:
    given = data.get(phase, [])
    entries = [
        Threshold(
            tier=tier,
            tokens_per_s=float(entry.get("tokens_per_s", math.nan)),
            source=str(entry.get("source", "")),
        )
        for tier, entry in zip(TIERS[1:], given, strict=False)
    ]
    if [entry.get("tier") for entry in given] != list(TIERS[1:]):
        raise ValueError(
            f"{phase}: needs the tiers {', '.join(TIERS[1:])}, each once, in this order"
        )
    floor = 0.0
    for entry in entries:
        if not entry.source:
            raise ValueError(f"{phase}, {entry.tier}: has no source")
        if not floor < entry.tokens_per_s < math.inf:
            raise ValueError(f"{phase}, {entry.tier}: {entry.tokens_per_s} is not above {floor}")
        floor = entry.tokens_per_s
    return tuple(entries)


@cache
def thresholds() -> Thresholds:
    """The project's own thresholds."""
    return parse_thresholds(files("results").joinpath("tiers.toml").read_text(encoding="utf-8"))


def _tier(tokens_per_s: float, steps: tuple[Threshold, ...]) -> Tier:
    if math.isnan(tokens_per_s) or tokens_per_s < 0:
        raise ValueError(f"{tokens_per_s} is not a speed")
    reached = Tier.UNSUPPORTED
    for step in steps:
        if tokens_per_s >= step.tokens_per_s:
            reached = step.tier
    return reached


def decode_tier(tokens_per_s: float, by: Thresholds | None = None) -> Tier:
    """The tier of a decode speed.

    Raises:
        ValueError: the speed is negative or not a number.
    """
    return _tier(tokens_per_s, (by or thresholds()).decode)


def prefill_tier(tokens_per_s: float, by: Thresholds | None = None) -> Tier:
    """The tier of a prefill speed; as `decode_tier`."""
    return _tier(tokens_per_s, (by or thresholds()).prefill)


def lower(*tiers: Tier) -> Tier:
    """The lowest of some tiers."""
    return min(tiers, key=TIERS.index)


def pair_tier(
    *, prefill_tokens_per_s: float, decode_tokens_per_s: float, by: Thresholds | None = None
) -> Tier:
    """The tier of a device for a workload: the lower of its prefill and its decode tier."""
    return lower(prefill_tier(prefill_tokens_per_s, by), decode_tier(decode_tokens_per_s, by))


def rows(by: Thresholds | None = None) -> list[tuple[str, str, str, str]]:
    """The thresholds as rows to print: phase, tier, "from x tokens/s", source."""
    current = by or thresholds()
    phases: tuple[tuple[Phase, tuple[Threshold, ...]], ...] = (
        ("prefill", current.prefill),
        ("decode", current.decode),
    )
    table: list[tuple[str, str, str, str]] = []
    for phase, steps in phases:
        lowest = steps[0]
        table.append(
            (phase, str(Tier.UNSUPPORTED), f"below {lowest.tokens_per_s:g}", lowest.source)
        )
        table += [(phase, str(s.tier), f"from {s.tokens_per_s:g}", s.source) for s in steps]
    return table
