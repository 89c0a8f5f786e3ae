"""What was seen of an app, as a measurement. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from results.record import Kind, Measurement, MemoryUse, Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.devices.appium.app import FigureName
    from harness.devices.appium.driving import AppLog, Glimpse
    from harness.evidence import Timeline

# The app's own number, or what the harness saw from outside.
By = Literal["app", "seen"]

_MILLI: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement, and who says each figure of it."""

    measurement: Measurement
    told_by: dict[str, By]


def measure(
    log: AppLog,
    timeline: Timeline,
    peaks: Mapping[str, int],
    group_bytes: int | None,
    *,
    cpu_seconds: float | None = None,
) -> Measured:
    """What was seen and told, as far as it came.

    The app's own figures come first. What is seen from outside is coarser: a first token is noticed
    at the next look at the screen, so its time is an upper bound; decode is told by the app's
    running count of tokens, where it has one.
    """
    told = log.figures
    by: dict[str, By] = dict.fromkeys(told, "app")
    first = told.get("first_token_seconds")
    if first is None and log.first_at is not None and log.sent_at is not None:
        first, by["first_token_seconds"] = log.first_at - log.sent_at, "seen"
    create = told.get("create_seconds")
    if create is None and (create := log.seconds("create")) is not None:
        by["create_seconds"] = "seen"
    decode = _decode(told, log.glimpses)
    if decode is not None and "decode_tokens_per_s" not in told:
        by["decode_tokens_per_s"] = "seen"
    prefill, prompt = told.get("prefill_tokens_per_s"), told.get("prompt_tokens")
    if prefill is None and prompt and first:
        prefill, by["prefill_tokens_per_s"] = prompt / first, "seen"
    ended = timeline.now()
    death = timeline.first(Kind.CHILD_GONE, Kind.LMK_KILL)
    measurement = Measurement(
        create_seconds=_rounded(create),
        first_token_seconds=_rounded(first),
        prompt_tokens=int(prompt) if prompt is not None else None,
        prefill_tokens_per_s=prefill,
        decode_ms=decode,
        phases=tuple(log.phases),
        memory=MemoryUse(processes=dict(peaks), group_peak_bytes=group_bytes),
        cpu_seconds=cpu_seconds,
        wall_seconds=ended,
        detection_seconds=round(ended - death.at_seconds, 4) if death else None,
    )
    return Measured(measurement, by)


def _decode(told: Mapping[FigureName, float], glimpses: Sequence[Glimpse]) -> Spread | None:
    """Milliseconds a token: the app's own average, or between looks at its running count."""
    if rate := told.get("decode_tokens_per_s"):
        return Spread.of([_MILLI / rate])
    return Spread.of(between(glimpses))


def between(glimpses: Sequence[Glimpse]) -> list[float]:
    """Milliseconds a token from one change of the running count to the next."""
    counted = [(g.at_seconds, g.count) for g in glimpses if g.count is not None]
    steps: list[float] = []
    last: tuple[float, int] | None = None
    for at, count in counted:
        if last is None:
            last = (at, count)
        elif count != last[1]:
            steps.append(_MILLI * (at - last[0]) / abs(count - last[1]))
            last = (at, count)
    return steps


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(0.0, seconds), 4)
