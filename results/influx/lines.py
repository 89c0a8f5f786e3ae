"""Records as InfluxDB line protocol: the same record gives the same bytes, whenever it is sent.

Sending twice is therefore harmless: InfluxDB overwrites a point of the same measurement, tags and
time with itself. The time is that of the trial, with up to 999 ns that follow from its id, so that
two trials which began in the same microsecond do not overwrite each other.

`influxdb_client.Point` escapes, and is given nothing that it is known to get wrong: it drops empty
tags and figures that are not finite, writes newlines into strings as they are, and escapes no
backslash in a tag. Importing this module imports that client, which takes a third of a second: not
for the start of a program.

The syntax: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from influxdb_client.client.write.point import Point

from results.figures import METRICS, CellKey, Figures
from results.influx.probe_figures import probe_points
from results.influx.schema import HEALTH, MEMORY, OUTBOX, PROBE, TRIAL, Type
from results.memory_curve import OTHER, PROCESSES, curve_of, thin
from results.record import Judgement, Verdict
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from results.influx.schema import Measurement
    from results.record import Record

NOTHING: Final = "none"
"""The value of a tag that says nothing: InfluxDB has no empty ones."""

TAG_LENGTH: Final = 128
STRING_LENGTH: Final = 512
"""Most characters of a tag's value, and of a string field. InfluxDB takes 64 KiB a line's key."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# InfluxDB's times are 64-bit nanoseconds. A year less is left for what follows from a start.
_LATEST: Final = 2**63 - 1 - 366 * 86_400 * 10**9
_EARLIEST: Final = -(2**63) + 2


def lines_of(record: Record, results: Path | None) -> list[str]:
    """The lines of a record, of the measurements `trial`, `health`, `probe` and `memory`.

    Args:
        record: what is written. Everything in it is somebody's word, and cleaned.
        results: where its memory curve is; without it, or where the curve cannot be read, there
            are no `memory` lines.
    """
    at = time_of(record)
    return [
        _trial_line(record, at),
        _health_line(record, at),
        *_probe_lines(record, at),
        *(_memory_lines(record, at, results) if results else ()),
    ]


def outbox_line(
    *, host: str, at: datetime, waiting: int, parked: int, oldest_seconds: float | None = None
) -> str:
    """What a host still has to send, as a line of the measurement `outbox`.

    Args:
        host: the lab host.
        at: when it was counted.
        waiting: records that wait to be sent.
        parked: lines that the database refused.
        oldest_seconds: age of the record that waits longest, if one does.
    """
    values = {"waiting": waiting, "parked": parked, "oldest_seconds": oldest_seconds}
    return line(OUTBOX, tags_of(OUTBOX, {"host": host}), values, _nanoseconds(at))


def time_of(record: Record) -> int:
    """The time of a record's points, nanoseconds since 1970."""
    digest = hashlib.sha256(record.trial_id.encode(errors="replace")).digest()
    return _nanoseconds(record.started_at) + int.from_bytes(digest[:8], "big") % 1000


def tags_of(measurement: Measurement, values: Mapping[str, object]) -> dict[str, str]:
    """Every tag of the measurement; one that is missing or says nothing becomes "none".

    Raises:
        KeyError: a value is of no tag of the measurement.
    """
    if unknown := values.keys() - measurement.tag_names:
        raise KeyError(f"{measurement.name} has no tags {sorted(unknown)}")
    return {tag.name: tag_value(values.get(tag.name)) for tag in measurement.tags}


def line(
    measurement: Measurement, tags: Mapping[str, str], values: Mapping[str, object], at: int
) -> str:
    """One line, with those values that are of their field's type.

    Args:
        measurement: what the line is of.
        tags: from `tags_of`.
        values: field values by name.
        at: nanoseconds since 1970.

    Raises:
        KeyError: a value is of no field of the measurement.
    """
    point = Point(measurement.name).time(at)  # type: ignore[no-untyped-call]
    for name, tag in tags.items():
        point.tag(name, tag)
    for name, value in values.items():
        point.field(name, _typed(measurement.field_types[name], value))
    return str(point.to_line_protocol())


def tag_value(value: object) -> str:
    """A tag's value: one line, bounded, not empty, without backslashes.

    Line protocol cannot write every backslash in a tag: before a comma it would be an escape.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "" if value is None else plain(str(value)).replace("\\", "/").strip()
    return text[:TAG_LENGTH].rstrip() or NOTHING


def string_value(value: str) -> str:
    """A string field's value: one line, bounded."""
    return plain(value)[:STRING_LENGTH]


def _typed(kind: Type, value: object) -> float | int | bool | str | None:
    """The value as that type; `None` where it is not one, so that types never conflict."""
    match kind, value:
        case Type.STRING, str():
            return string_value(value)
        case Type.BOOLEAN, bool():
            return value
        case Type.INTEGER, int() if not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
        case Type.FLOAT, int() | float() if not isinstance(value, bool):
            return _finite(value)
    return None


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970, exactly; a moment that InfluxDB has no number for is moved to one."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((known - _EPOCH) // _MICROSECOND * 1000, _EARLIEST), _LATEST)


# ---- the measurements ----


def _device_tags(record: Record) -> dict[str, object]:
    cell = CellKey.of(record)
    return {
        "profile": cell.profile,
        "kind": record.device.kind,
        "hardware": cell.hardware,
        "host": record.device.host,
        "emulated": cell.limited,
    }


def _cell_tags(record: Record) -> dict[str, object]:
    cell = CellKey.of(record)
    return {
        **_device_tags(record),
        "software_adapter": cell.software_adapter,
        "browser": record.conditions.browser,
        "model": cell.model,
        "quantisation": cell.quantisation,
        "variant": cell.variant,
        "runtime": cell.runtime,
        "source": cell.source,
        "verdict": record.verdict,
    }


def _ids(record: Record) -> dict[str, object]:
    return {"trial_id": record.trial_id, "run_id": record.run_id}


def _trial_line(record: Record, at: int) -> str:
    figures = Figures.of(record)
    tags = {
        **_cell_tags(record),
        "browser_version": figures.browser_version,
        "runtime_version": figures.runtime_version,
        "artifact_kind": figures.artifact_kind,
        "cause": figures.cause,
        "tier": figures.tier,
        "predicted_verdict": figures.predicted_verdict,
        "predicted_tier": figures.predicted_tier,
        "judgement": figures.judgement,
    }
    values = {
        **_ids(record),
        **_compared(figures),
        **_judged(record),
        **_measured(record),
        "prompt_tokens": figures.prompt_tokens,
        "output_tokens": figures.output_tokens,
        "threads": figures.threads,
        "artifact_bytes": figures.artifact_bytes,
        "artifact_key": figures.artifact_key,
        "memory_limit_bytes": record.device.memory_limit_bytes,
        "cpu_limit": record.device.cpu_limit,
        "cross_origin_isolated": record.conditions.cross_origin_isolated,
        "adapter": figures.adapter,
        "cpu": record.conditions.cpu,
        "operating_system": figures.operating_system,
        "harness_version": figures.harness_version,
        "explanation": record.explanation,
        "judgement_reason": record.judgement_reason,
        "prediction_reason": record.prediction.reason,
        "schema_version": record.schema_version,
    }
    return line(TRIAL, tags_of(TRIAL, tags), values, at)


def _compared(figures: Figures) -> dict[str, object]:
    """Each metric measured and predicted, and how the one compares with the other."""
    values: dict[str, object] = {}
    for metric in METRICS:
        measured: float | None = getattr(figures, metric)
        expected, low, high = (
            getattr(figures, f"predicted_{metric}{bound}") for bound in ("", "_low", "_high")
        )
        values[metric] = measured
        values[f"predicted_{metric}"] = expected
        values[f"predicted_{metric}_low"] = low
        values[f"predicted_{metric}_high"] = high
        values[f"{metric}_ratio"] = _over(measured, expected)
        if measured is not None and low is not None and high is not None:
            values[f"{metric}_within"] = float(low <= measured <= high)
    return values


def _over(value: float | None, by: float | None) -> float | None:
    """The quotient; `None` where one is not known, or it is no number."""
    if value is None or not by:
        return None
    try:
        return value / by
    except OverflowError:
        return None


def _judged(record: Record) -> dict[str, object]:
    """Shares; left out where the trial says nothing of the device or of the prediction."""
    values: dict[str, object] = {}
    if record.judgement is not Judgement.UNKNOWN:
        values["prediction_right"] = float(record.judgement is Judgement.RIGHT)
        values["over_promise"] = float(record.judgement is Judgement.OVER_PROMISE)
        values["under_promise"] = float(record.judgement is Judgement.UNDER_PROMISE)
    if record.verdict not in {Verdict.INFRA, Verdict.CASCADE}:
        values["ok"] = float(record.verdict is Verdict.OK)
        values["oom"] = float(record.verdict is Verdict.OOM)
    return values


def _measured(record: Record) -> dict[str, object]:
    measured = record.measurement
    if measured is None:
        return {}
    decode, gpu, offline = measured.decode_ms, measured.gpu, measured.offline
    return {
        "download_seconds": measured.download_seconds,
        "create_seconds": measured.create_seconds,
        "warm_first_token_seconds": measured.warm_first_token_seconds,
        "first_use_seconds": measured.first_use_seconds,
        "decode_ms_p10": decode.p10 if decode else None,
        "decode_ms_p90": decode.p90 if decode else None,
        "decode_steps": decode.n if decode else None,
        "wall_seconds": measured.wall_seconds,
        "cpu_seconds": measured.cpu_seconds,
        "throttled_seconds": measured.throttled_seconds,
        "detection_seconds": measured.detection_seconds,
        "group_peak_bytes": measured.memory.group_peak_bytes,
        "gpu_peak_bytes": gpu.peak_bytes if gpu else None,
        "bytes_loaded": measured.bytes_loaded,
        "tokens": len(measured.tokens),
        "offline_worked": offline.worked if offline else None,
    }


def _health_line(record: Record, at: int) -> str:
    conditions, measured = record.conditions, record.measurement
    load, rest = conditions.load_average, conditions.host_at_rest
    values = {
        **_ids(record),
        "load_average": load,
        "load_per_core": _over(load, conditions.cores),
        "at_rest": None if rest is None else float(rest),
        "temperature_celsius": conditions.temperature_celsius,
        "throttled_seconds": measured.throttled_seconds if measured else None,
        "infra": float(record.verdict is Verdict.INFRA),
        "cores": conditions.cores,
        "memory_bytes": conditions.memory_bytes,
        "operating_system": conditions.operating_system,
        "harness_version": conditions.harness_version,
    }
    return line(HEALTH, tags_of(HEALTH, _device_tags(record)), values, at)


def _probe_lines(record: Record, at: int) -> Iterator[str]:
    tags = {
        **_device_tags(record),
        "browser": record.conditions.browser,
        "browser_version": record.conditions.browser_version,
    }
    for point in probe_points(record.probe):
        of_point = {
            "backend": point.backend,
            "threads": point.threads,
            "software_adapter": point.software_adapter,
        }
        of_all = tags_of(PROBE, tags | of_point)
        yield line(PROBE, of_all, _ids(record) | point.values, at)


def _memory_lines(record: Record, at: int, results: Path) -> Iterator[str]:
    tags = tags_of(MEMORY, _cell_tags(record))
    for sample in thin(curve_of(record, results)):
        values = {
            **_ids(record),
            "at_seconds": sample.at_seconds,
            "model_bytes": sample.model_bytes,
            **{f"{kind}_bytes": sample.processes.get(kind) for kind in (*PROCESSES, OTHER)},
            "group_bytes": sample.group_bytes,
        }
        yield line(MEMORY, tags, values, at + round(sample.at_seconds * 1e9))
