"""Simpler ways to foretell whether a model runs, each with one factor fitted on the same folds.

A rule is a ratio of what is needed to what there is, and refuses where the ratio times its factor
is above 1. The factor is the one that makes the fewest mistakes on the trials that were not left
out, where those that ran and those that did not count the same as a whole.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Final

from results.evaluation.outcomes import Outcome, measured_tier
from results.observation import Quantity
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from results.evaluation.folds import Fold
    from results.observation import Observation

    Ratio = Callable[[Observation], float | None]

ALWAYS: Final = "always load"
ADAPTER: Final = "adapter limits"
DEVICE_MEMORY: Final = "deviceMemory"
GALLERY: Final = "gallery's minimum memory"
CHROME: Final = "Chrome's thresholds"
FILE: Final = "file against memory"

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20

# google-ai-edge/gallery: model_allowlists/1_0_20.json, minDeviceMemoryInGb beside the size of the
# file. For models that are not in it: the entry with the next larger file.
_GALLERY: Final = (
    (1_833_451_520, 6),
    (3_655_827_456, 8),
    (math.inf, 12),
)
# chromium: services/on_device_model/ml/performance_class.cc@11b873f
_CHROME_LEAST_MIB: Final = 3000
_CHROME_LEAST_TOKENS_PER_S: Final = 5.0
# Of the model that Chrome's own rates are about; the factor makes up for what it really is.
_CHROME_MODEL_BYTES: Final = 1.8e9

_BITS = re.compile(r"(\d+)")


def _adapter(observation: Observation) -> float | None:
    facts = observation.facts
    if not observation.runtime.endswith("/webgpu"):
        return None
    if not facts.max_buffer_bytes or not facts.max_binding_bytes:
        return math.inf
    largest = _largest_tensor(observation)
    return max(observation.file_bytes / facts.max_buffer_bytes, largest / facts.max_binding_bytes)


def _largest_tensor(observation: Observation) -> float:
    found = _BITS.search(observation.quantisation)
    bits = int(found[1]) if found else 16
    in_fp32 = observation.terms.get(Quantity.MEMORY, {}).get("largest", 0.0)
    return in_fp32 * bits / 32


def _device_memory(observation: Observation) -> float | None:
    memory = observation.facts.device_memory_gib
    return observation.file_bytes / (memory * _GIB) if memory else None


def _true_memory(observation: Observation) -> float | None:
    """What the device really has, which an app can read; more than a page is told."""
    if observation.memory_limit_bytes is not None:
        return float(observation.memory_limit_bytes)
    memory = observation.facts.device_memory_gib
    return memory * _GIB if memory else None


def _gallery(observation: Observation) -> float | None:
    memory = _true_memory(observation)
    if memory is None or not observation.file_bytes:
        return None
    least = next(gib for size, gib in _GALLERY if observation.file_bytes <= size)
    return least * _GIB / memory


def _chrome(observation: Observation) -> float | None:
    memory, stream = _true_memory(observation), observation.facts.stream_bytes_per_s
    if memory is not None and memory < _CHROME_LEAST_MIB * _MIB:
        return math.inf
    if not stream:
        return None
    return _CHROME_LEAST_TOKENS_PER_S / (stream / _CHROME_MODEL_BYTES)


def _file(observation: Observation) -> float | None:
    memory = _true_memory(observation)
    return observation.file_bytes / memory if memory else None


RULES: Final[Mapping[str, Ratio]] = {
    ALWAYS: lambda _: None,
    ADAPTER: _adapter,
    DEVICE_MEMORY: _device_memory,
    GALLERY: _gallery,
    CHROME: _chrome,
    FILE: _file,
}


def baseline_outcomes(fold: Fold) -> Iterator[Outcome]:
    """What the simpler rules foretell of what the fold left out."""
    for rule, ratio in RULES.items():
        least = _least_refused(fold.training, ratio)
        for observation in fold.tested:
            if observation.verdict in {Verdict.INFRA, Verdict.CASCADE}:
                continue
            value = ratio(observation)
            refused = value is not None and value >= least
            yield Outcome(
                rule,
                fold.split,
                observation,
                "oom" if refused else "ok",
                None,
                measured_tier(observation),
            )


def _least_refused(training: Sequence[Observation], ratio: Ratio) -> float:
    """The ratio from which on to refuse."""
    known = [(value, o.verdict) for o in training if (value := ratio(o)) is not None]
    ran = [value for value, verdict in known if verdict is Verdict.OK]
    died = [v for v, verdict in known if verdict in {Verdict.OOM, Verdict.CRASH, Verdict.HANG}]
    if not died:
        return math.inf
    places = sorted({*ran, *died} - {math.inf}) or [1.0]
    between = (math.sqrt(low * high) for low, high in itertools.pairwise(places))
    bounds = [places[0] / 2, *between, places[-1] * 2]

    def mistakes(least: float) -> float:
        refused = sum(value >= least for value in ran) / max(1, len(ran))
        missed = sum(value < least for value in died) / len(died)
        return round(refused + missed, 9)

    return min(bounds, key=mistakes)
