"""From the store's figures to the matrix.

Only the newest trials of each cell are read, whatever the size of the store. The cells are put
together as plain values and validated all at once, which is several times as fast as building
each of their parts as an object.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from results.errors import StoreError
from results.figures import METRICS
from results.matrix.groups import groups
from results.matrix.model import BY_SEVERITY, Matrix, Section
from results.matrix.names import file_name_of, unique_slugs
from results.query import count_faults
from results.record import Verdict
from results.tiers import decode_tier, lower, prefill_tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from results.figures import CellKey, Figures
    from results.matrix.groups import Device, Group, Outcome
    from results.record import Record
    from results.store import Store

DEFAULT_EXPIRY_DAYS: Final = 90

METRIC_MEANINGS: Final = dict(
    zip(
        METRICS,
        (
            "seconds from the start of the download until the model can be asked",
            "seconds from the first prompt to its first token, first use included",
            "tokens of prompt a second",
            "tokens of answer a second, by the median step",
            "bytes: peak resident memory of the processes that hold the model",
        ),
        strict=True,
    )
)

Values = dict[str, Any]
ValueTree = dict[str, dict[str, dict[str, dict[str, list[Values]]]]]

_figures_of: Final = attrgetter(*METRICS)
_SEVERITY: Final = {str(verdict): rank for rank, verdict in enumerate(BY_SEVERITY)}


def build_matrix(store: Store, now: datetime, expiry_days: int = DEFAULT_EXPIRY_DAYS) -> Matrix:
    """The matrix of everything that a store holds.

    Args:
        store: where the records are.
        now: the time that goes into the matrix, with its zone.
        expiry_days: after so many days without a trial a cell's figures count as out of date.

    Raises:
        StoreError: the store cannot be read.
    """
    found = list(groups(store))
    newest_of = _newest_of_devices(found)
    ids = _device_ids(newest_of)
    trees: dict[Section, ValueTree] = {"support": {}, "limited": {}, "software_adapter": {}}
    for group in sorted(found, key=lambda group: _place(group, ids)):
        _cells_at(trees[group.section], group.key, ids[group.device]).append(
            _cell(group, now, expiry_days)
        )
    faults = count_faults(store)
    meta = {
        "generated_at": now,
        "generator": f"tierlab {_version()}",
        "trials": sum(len(group.trials) for group in found),
        "infra_trials": faults[Verdict.INFRA],
        "expiry_days": expiry_days,
        "metrics": METRIC_MEANINGS,
    }
    return Matrix.model_validate(
        {
            "__meta": meta,
            "devices": {
                ids[device]: _device_entry(store, device, newest)
                for device, newest in sorted(newest_of.items(), key=lambda item: ids[item[0]])
            },
            "models": _models(found),
            "runtimes": _runtimes(found),
            **trees,
        }
    )


def _version() -> str:
    try:
        return version("tierlab")
    except PackageNotFoundError:
        return "unreleased"


def _place(group: Group, ids: Mapping[Device, str]) -> tuple[object, ...]:
    """Where a cell stands; of several for one device, the plain artifact from the network first."""
    key = group.key
    return (
        key.model,
        key.quantisation,
        key.runtime,
        ids[group.device],
        key.variant,
        key.source != "network",
        key.source,
    )


def _cells_at(tree: ValueTree, key: CellKey, device: str) -> list[Values]:
    by_runtime = tree.setdefault(key.model, {}).setdefault(key.quantisation, {})
    return by_runtime.setdefault(key.runtime, {}).setdefault(device, [])


# ---- devices, models, runtimes ----


def _newest_of_devices(found: Iterable[Group]) -> dict[Device, Figures]:
    newest: dict[Device, Figures] = {}
    for group in found:
        known = newest.setdefault(group.device, group.newest)
        if group.newest.started_at > known.started_at:
            newest[group.device] = group.newest
    return newest


def _device_ids(devices: Iterable[Device]) -> dict[Device, str]:
    """Readable ids: the profile's, with the hardware where the profile says nothing of it.

    That a device is limited is part of the id only where there is one of that name that is not:
    the ids of profiles with limits say so themselves.
    """
    all_devices = list(devices)
    unlimited = {(device.profile, device.hardware) for device in all_devices if not device.limited}
    texts: dict[Device, str] = {}
    for device in all_devices:
        has_twin = device.limited and (device.profile, device.hardware) in unlimited
        words = (device.profile, device.hardware, "limited" if has_twin else "")
        texts[device] = " ".join(word for word in words if word)
    slugs = unique_slugs(texts.values())
    return {device: slugs[text] for device, text in texts.items()}


def _device_entry(store: Store, device: Device, newest: Figures) -> Values:
    """What is known of a device: the newest record says more than the figures do."""
    record: Record | None = None
    # A damaged record is found by `tierlab store check`; the figures beside it are whole.
    with contextlib.suppress(StoreError):
        record = store.record(newest.trial_id)
    entry: Values = {
        "name": device.profile,
        "profile": device.profile,
        "kind": "unknown",
        "hardware": device.hardware,
        "limited": device.limited,
    }
    if record is not None:
        cpus = record.device.cpu_limit
        entry |= {
            "name": record.device.name,
            "kind": record.device.kind,
            "memory_limit_bytes": record.device.memory_limit_bytes,
            "cpu_limit": cpus if cpus is not None and math.isfinite(cpus) else None,
        }
    return entry


def _models(found: Iterable[Group]) -> dict[str, Values]:
    quantisations: defaultdict[str, set[str]] = defaultdict(set)
    for group in found:
        quantisations[group.key.model].add(group.key.quantisation)
    return {
        model: {"name": model, "quantisations": tuple(sorted(found))}
        for model, found in sorted(quantisations.items())
    }


def _runtimes(found: Iterable[Group]) -> dict[str, Values]:
    last_seen: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for group in found:
        versions, newest = last_seen[group.key.runtime], group.newest
        seen = versions.get(newest.runtime_version, "")
        versions[newest.runtime_version] = max(seen, newest.started_at)
    entries: dict[str, Values] = {}
    for runtime, versions in sorted(last_seen.items()):
        engine, _, backend = runtime.partition("/")
        newest_first = sorted(versions, key=lambda name: (versions[name], name), reverse=True)
        entries[runtime] = {"engine": engine, "backend": backend, "versions": tuple(newest_first)}
    return entries


# ---- one cell ----


def _cell(group: Group, now: datetime, expiry_days: int) -> Values:
    key, trials, newest = group.key, group.trials, group.newest
    verdicts = Counter(trial.verdict for trial in trials)
    verdict = max(verdicts, key=lambda name: (verdicts[name], _SEVERITY[name]))
    such = [trial for trial in trials if trial.verdict == verdict]
    measured = _measured(such)
    temperatures = [t.temperature_celsius for t in trials if t.temperature_celsius is not None]
    return {
        "verdict": verdict,
        "verdicts": dict(verdicts),
        "cause": such[0].cause,
        "tier": _tier(verdict, measured) or such[0].tier,
        "predicted": {
            "verdict": newest.predicted_verdict,
            "tier": newest.predicted_tier,
            "metrics": _predicted(newest),
        },
        "judgements": dict(Counter(trial.judgement for trial in trials)),
        "n": len(trials),
        "measured": measured,
        "versions": {
            "browser": newest.browser,
            "browser_version": newest.browser_version,
            "runtime_version": newest.runtime_version,
            "harness_version": newest.harness_version,
        },
        "artifact": _artifact(newest),
        "conditions": {
            "prompt_tokens": newest.prompt_tokens,
            "output_tokens": newest.output_tokens,
            "source": key.source,
            "variant": key.variant,
            "operating_system": newest.operating_system,
            "adapter": newest.adapter,
            "threads": newest.threads,
            "at_rest": sum(trial.host_at_rest == 1 for trial in trials),
            "temperature_celsius": max(temperatures, default=None),
            "throttled": sum(bool(trial.throttled_seconds) for trial in trials),
        },
        "emulated": key.limited,
        "software_adapter": key.software_adapter,
        "first_trial_at": trials[-1].started_at,
        "last_trial_at": newest.started_at,
        "expires_at": _expiry(newest.started_at, now, expiry_days),
        "newest_trial": newest.trial_id,
        "evidence": f"evidence/{file_name_of(newest.trial_id)}.json",
    }


def _measured(trials: Sequence[Outcome]) -> dict[str, Values]:
    columns = zip(*map(_figures_of, trials), strict=True)
    spreads: dict[str, Values] = {}
    for metric, column in zip(METRICS, columns, strict=True):
        # Nothing that is measured can be below zero, whatever a page says.
        known = [value for value in column if value is not None and value >= 0]
        if known:
            spreads[metric] = {
                "n": len(known),
                "median": median(known),
                "low": min(known),
                "high": max(known),
            }
    return spreads


def _tier(verdict: str, measured: Mapping[str, Values]) -> str | None:
    """The tier of the median speeds, as of a single trial's; `None` where none is known."""
    if verdict != Verdict.OK:
        return None
    prefill, decode = measured.get("prefill_tokens_per_s"), measured.get("decode_tokens_per_s")
    known = [prefill_tier(prefill["median"])] if prefill else []
    known += [decode_tier(decode["median"])] if decode else []
    return lower(*known) if known else None


def _predicted(trial: Figures) -> dict[str, Values]:
    intervals: dict[str, Values] = {}
    for metric in METRICS:
        expected = getattr(trial, f"predicted_{metric}")
        low = getattr(trial, f"predicted_{metric}_low")
        high = getattr(trial, f"predicted_{metric}_high")
        if None not in {expected, low, high}:
            intervals[metric] = {"low": low, "expected": expected, "high": high}
    return intervals


def _artifact(trial: Figures) -> Values | None:
    if trial.artifact_key is None:
        return None
    return {
        "key": trial.artifact_key,
        "kind": trial.artifact_kind,
        "total_bytes": trial.artifact_bytes,
    }


def _expiry(last: str, now: datetime, expiry_days: int) -> datetime:
    """A clock that ran ahead does not make figures last longer."""
    began = datetime.fromisoformat(last)
    began = began if began.tzinfo else began.replace(tzinfo=UTC)
    return min(began, now) + timedelta(days=expiry_days)
