"""From the store's figures to the matrix.

Only the newest trials of each cell are read, whatever the size of the store. The cells are put
together as plain values and validated all at once, which is several times as fast as building
each of their parts as an object.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from results.errors import StoreError
from results.figures import METRICS
from results.matrix.groups import Outcome, groups
from results.matrix.model import BY_SEVERITY, Matrix, Section
from results.matrix.names import file_name_of, unique_slugs
from results.query import count_faults
from results.record import Verdict
from results.tiers import decode_tier, lower, prefill_tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from results.figures import CellKey, Figures
    from results.matrix.groups import Group
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
            "tokens of answer a second, by the mean of its steps",
            "bytes: peak resident memory of the processes that hold the model",
        ),
        strict=True,
    )
)

Values = dict[str, Any]
ValueTree = dict[str, dict[str, dict[str, dict[str, list[Values]]]]]

_figures_of: Final = attrgetter(*METRICS)
_SEVERITY: Final = {str(verdict): rank for rank, verdict in enumerate(BY_SEVERITY)}


class _Device(NamedTuple):
    """What makes a device of the matrix."""

    profile: str
    hardware: str
    limited: bool


@dataclass(frozen=True, slots=True)
class _Placed:
    """A finished cell, and what says where it belongs."""

    key: CellKey
    newest: Figures
    cell: Values

    @property
    def device(self) -> _Device:
        return _Device(self.key.profile, self.key.hardware, self.key.limited)

    @property
    def section(self) -> Section:
        """A limited device with a GPU in software is said to be in software, which weighs more."""
        if self.key.software_adapter:
            return "software_adapter"
        return "limited" if self.key.limited else "support"


def build_matrix(store: Store, now: datetime, expiry_days: int = DEFAULT_EXPIRY_DAYS) -> Matrix:
    """The matrix of everything that a store holds.

    Args:
        store: where the records are.
        now: the time that goes into the matrix, with its zone.
        expiry_days: after so many days without a trial a cell's figures count as out of date.

    Raises:
        StoreError: the store cannot be read.
    """
    with _collector_at_rest():
        return _build(store, now, expiry_days)


@contextlib.contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No search for garbage: of half a million new objects all stay, and it would walk them all.

    With 5,000 cells it would take a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _build(store: Store, now: datetime, expiry_days: int) -> Matrix:
    # Cell by cell, so that the trials of one are gone before those of the next are read.
    placed = [_placed(group, now, expiry_days) for group in groups(store)]
    newest_of = _newest_of_devices(placed)
    ids = _device_ids(newest_of)
    trees: dict[Section, ValueTree] = {"support": {}, "limited": {}, "software_adapter": {}}
    for item in sorted(placed, key=lambda item: _place(item, ids)):
        _cells_at(trees[item.section], item.key, ids[item.device]).append(item.cell)
    faults = count_faults(store)
    meta = {
        "generated_at": now,
        "generator": f"tierlab {_version()}",
        "trials": sum(item.cell["n"] for item in placed),
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
            "models": _models(placed),
            "runtimes": _runtimes(placed),
            **trees,
        }
    )


def _version() -> str:
    try:
        return version("tierlab")
    except PackageNotFoundError:
        return "unreleased"


def _placed(group: Group, now: datetime, expiry_days: int) -> _Placed:
    return _Placed(group.key, group.newest, _cell(group, now, expiry_days))


def _place(item: _Placed, ids: Mapping[_Device, str]) -> tuple[object, ...]:
    """Where a cell stands; of several for one device, the plain artifact from the network first."""
    key = item.key
    return (
        key.model,
        key.quantisation,
        key.runtime,
        ids[item.device],
        key.variant,
        key.source != "network",
        key.source,
    )


def _cells_at(tree: ValueTree, key: CellKey, device: str) -> list[Values]:
    by_runtime = tree.setdefault(key.model, {}).setdefault(key.quantisation, {})
    return by_runtime.setdefault(key.runtime, {}).setdefault(device, [])


# ---- devices, models, runtimes ----


def _newest_of_devices(placed: Iterable[_Placed]) -> dict[_Device, Figures]:
    newest: dict[_Device, Figures] = {}
    for item in placed:
        known = newest.setdefault(item.device, item.newest)
        if item.newest.started_at > known.started_at:
            newest[item.device] = item.newest
    return newest


def _device_ids(devices: Iterable[_Device]) -> dict[_Device, str]:
    """Readable ids: the profile's, with the hardware where the profile says nothing of it.

    That a device is limited is part of the id only where there is one of that name that is not:
    the ids of profiles with limits say so themselves.
    """
    all_devices = list(devices)
    unlimited = {(device.profile, device.hardware) for device in all_devices if not device.limited}
    texts: dict[_Device, str] = {}
    for device in all_devices:
        has_twin = device.limited and (device.profile, device.hardware) in unlimited
        words = (device.profile, device.hardware, "limited" if has_twin else "")
        texts[device] = " ".join(word for word in words if word)
    slugs = unique_slugs(texts.values())
    return {device: slugs[text] for device, text in texts.items()}


def _device_entry(store: Store, device: _Device, newest: Figures) -> Values:
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


def _models(placed: Iterable[_Placed]) -> dict[str, Values]:
    quantisations: defaultdict[str, set[str]] = defaultdict(set)
    for item in placed:
        quantisations[item.key.model].add(item.key.quantisation)
    return {
        model: {"name": model, "quantisations": tuple(sorted(found))}
        for model, found in sorted(quantisations.items())
    }


def _runtimes(placed: Iterable[_Placed]) -> dict[str, Values]:
    last_seen: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for item in placed:
        versions, newest = last_seen[item.key.runtime], item.newest
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
    key, newest, trials = group.key, group.newest, group.trials
    of_all = dict(zip(Outcome._fields, zip(*trials, strict=True), strict=True))
    verdicts = Counter(of_all["verdict"])
    verdict = max(verdicts, key=lambda name: (verdicts[name], _SEVERITY[name]))
    such = [trial for trial in trials if trial.verdict == verdict]
    measured = _measured(such)
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
        "judgements": dict(Counter(of_all["judgement"])),
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
            "at_rest": of_all["host_at_rest"].count(1),
            "temperature_celsius": max(_known(of_all["temperature_celsius"]), default=None),
            "throttled": sum(seconds > 0 for seconds in _known(of_all["throttled_seconds"])),
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
        values = sorted(value for value in _known(column) if value >= 0)
        if values:
            spreads[metric] = {
                "n": len(values),
                "median": median(values),
                "low": values[0],
                "high": values[-1],
            }
    return spreads


def _known(column: Iterable[float | None]) -> list[float]:
    return [value for value in column if value is not None]


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
