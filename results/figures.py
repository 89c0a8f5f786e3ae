"""The figures of a record, flat: what is compared, plotted and published without reading bodies.

The store keeps a row of them beside each record, in the same transaction. They follow from the
record alone, so that they can be made again at any time (`tierlab store check`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from results.record import Interval, Measurement, Record

_GIBIBYTE: Final = 1 << 30

METRICS: Final = (
    "load_seconds",
    "first_token_seconds",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "peak_bytes",
)
"""What is measured of a load and predicted, where each has `_low` and `_high` beside it."""


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """Which cell of the matrix a trial belongs to: all that makes its figures comparable.

    Attributes:
        hardware: of a desktop, whose profile says nothing about it: processor, cores and memory;
            empty for a device whose profile names one product.
        limited: whether limits stand for a smaller device (`emulated` of the record).
        software_adapter: whether WebGPU ran on the processor; false for engines without WebGPU.
    """

    profile: str
    hardware: str
    limited: bool
    software_adapter: bool
    model: str
    quantisation: str
    variant: str
    runtime: str
    source: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """The cell of a record."""
        workload = record.workload
        return cls(
            profile=record.device.profile,
            hardware=_hardware(record) if record.device.kind == "desktop" else "",
            limited=record.device.emulated,
            software_adapter=bool(record.conditions.software_adapter)
            and "webgpu" in workload.runtime,
            model=workload.model,
            quantisation=workload.quantisation,
            variant=workload.variant,
            runtime=workload.runtime,
            source=workload.source,
        )


def _hardware(record: Record) -> str:
    conditions = record.conditions
    cores = "1 core" if conditions.cores == 1 else f"{conditions.cores} cores"
    return f"{conditions.cpu}, {cores}, {conditions.memory_bytes / _GIBIBYTE:.0f} GiB"


class Figures(NamedTuple):
    """One trial in scalars. Units are in the names; `None` is "not known".

    A named tuple because the matrix makes some 100,000 of them: a row of the store is one already.

    `load_seconds` is download and create together. `peak_bytes` is that of the processes that hold
    the model. Verdicts, tiers and judgements are the texts of the record's enumerations. JSON has
    no infinity and SQLite no NaN: figures that are not finite are `None`.
    """

    trial_id: str
    run_id: str
    started_at: str
    host: str
    verdict: str
    cause: str
    tier: str | None
    predicted_verdict: str
    predicted_tier: str | None
    judgement: str
    prompt_tokens: int
    output_tokens: int
    artifact_key: str | None
    artifact_kind: str | None
    artifact_bytes: int | None
    harness_version: str
    browser: str
    browser_version: str
    runtime_version: str
    operating_system: str
    adapter: str | None
    threads: int | None
    load_average: float | None
    host_at_rest: int | None
    temperature_celsius: float | None
    throttled_seconds: float | None
    load_seconds: float | None
    first_token_seconds: float | None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    peak_bytes: float | None
    predicted_load_seconds: float | None
    predicted_load_seconds_low: float | None
    predicted_load_seconds_high: float | None
    predicted_first_token_seconds: float | None
    predicted_first_token_seconds_low: float | None
    predicted_first_token_seconds_high: float | None
    predicted_prefill_tokens_per_s: float | None
    predicted_prefill_tokens_per_s_low: float | None
    predicted_prefill_tokens_per_s_high: float | None
    predicted_decode_tokens_per_s: float | None
    predicted_decode_tokens_per_s_low: float | None
    predicted_decode_tokens_per_s_high: float | None
    predicted_peak_bytes: float | None
    predicted_peak_bytes_low: float | None
    predicted_peak_bytes_high: float | None

    @classmethod
    def of(cls, record: Record) -> Self:
        """The figures of a record."""
        workload, conditions, artifact = record.workload, record.conditions, record.artifact
        prediction = record.prediction
        rest = conditions.host_at_rest
        return cls(
            trial_id=record.trial_id,
            run_id=record.run_id,
            started_at=moment(record.started_at),
            host=record.device.host,
            verdict=str(record.verdict),
            cause=record.cause,
            tier=_text(record.tiers.pair),
            predicted_verdict=prediction.verdict,
            predicted_tier=_text(prediction.tier),
            judgement=str(record.judgement),
            prompt_tokens=workload.prompt_tokens,
            output_tokens=workload.output_tokens,
            artifact_key=artifact.key if artifact else None,
            artifact_kind=artifact.kind if artifact else None,
            artifact_bytes=artifact.total_bytes if artifact else None,
            harness_version=conditions.harness_version,
            browser=conditions.browser,
            browser_version=conditions.browser_version,
            runtime_version=conditions.runtime_version,
            operating_system=conditions.operating_system,
            adapter=conditions.adapter,
            threads=conditions.threads,
            load_average=_finite(conditions.load_average),
            host_at_rest=None if rest is None else int(rest),
            temperature_celsius=_finite(conditions.temperature_celsius),
            throttled_seconds=_finite(
                record.measurement.throttled_seconds if record.measurement else None
            ),
            **_measured(record.measurement),
            **_predicted("load_seconds", prediction.load_seconds),
            **_predicted("first_token_seconds", prediction.first_token_seconds),
            **_predicted("prefill_tokens_per_s", prediction.prefill_tokens_per_s),
            **_predicted("decode_tokens_per_s", prediction.decode_tokens_per_s),
            **_predicted("peak_bytes", prediction.peak_memory_bytes),
        )


def moment(time: datetime) -> str:
    """A time as the store's columns hold it, so that texts compare as times do: in UTC.

    A time without a zone is one in UTC.
    """
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


COLUMNS: Final = Figures._fields
"""The columns of the store's table `figures`, but for its `cell_id`."""


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _measured(measured: Measurement | None) -> dict[str, float | None]:
    if measured is None:
        return dict.fromkeys(METRICS)
    create = measured.create_seconds
    return {
        "load_seconds": None
        if create is None
        else _finite(create + (measured.download_seconds or 0.0)),
        "first_token_seconds": _finite(measured.first_token_seconds),
        "prefill_tokens_per_s": _finite(measured.prefill_tokens_per_s),
        "decode_tokens_per_s": _finite(measured.decode_tokens_per_s),
        "peak_bytes": float(measured.memory.engine_bytes),
    }


def _predicted(metric: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"predicted_{metric}": _finite(interval.expected) if interval else None,
        f"predicted_{metric}_low": _finite(interval.low) if interval else None,
        f"predicted_{metric}_high": _finite(interval.high) if interval else None,
    }


_CELL_COLUMNS: Final = tuple(field.name for field in fields(CellKey))


def cell_text(cell: CellKey) -> str:
    """The key as one text that tells any two apart; what the store looks cells up by."""
    return json.dumps([getattr(cell, name) for name in _CELL_COLUMNS], ensure_ascii=False)


def parse_cell(text: str) -> CellKey:
    """The key that `cell_text` made the text of.

    Raises:
        ValueError: it did not.
    """
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    kinds = [bool if field.type == "bool" else str for field in fields(CellKey)]
    if not isinstance(values, list) or [type(value) for value in values] != kinds:
        raise ValueError(f"{text} is no key of a cell")
    return CellKey(*values)
