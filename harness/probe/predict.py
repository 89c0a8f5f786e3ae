"""From a probe report to a prediction for one workload. Pure: no clock, no file, no device.

Every quantity is a sum of terms (`harness.probe.terms`), each a base times the engine's factor. The
factors, and the interval around the sum, are those of a fit where the calibration has one, and the
recipe's own otherwise. Feasibility is structure first (what the engine loads, binding limits, its
address space), then memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from harness.probe.recipe import is_for
from harness.probe.terms import Speeds, bases, heap_need
from results.calibration import Fit
from results.observation import Quantity
from results.record import Interval, Prediction, Term
from results.tiers import Tier, pair_tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.probe.terms import Demand
    from results.calibration import Calibration

Feasible = Literal["yes", "no", "unknown"]

STEADY_DRIFT: Final = 1.1
"""First and last third of a probe may differ by so much."""
UNSETTLED: Final = 1.5
"""Errors of a probe on a device that had not come to rest were as much larger (90th percentile)."""
MOST_UNSTEADY: Final = 3.0


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """How much memory the engine's process may use; `None` is unknown.

    `source` names where the number is from (a cgroup's limit, a device profile).
    """

    limit_bytes: int | None
    source: str = ""


UNKNOWN_BUDGET: Final = MemoryBudget(None)


class _Known(Protocol):
    """What a fit and a recipe's defaults have in common."""

    @property
    def factors(self) -> Mapping[str, float]: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _Sum:
    """One quantity: its terms, their sum, and the bounds around it."""

    terms: Mapping[str, Term]
    interval: Interval
    calibrated: bool
    margin: float | None = None


def feasible(prediction: Prediction) -> Feasible:
    """Whether the workload is predicted to run at all; the prediction's reason says why not."""
    if prediction.verdict == "unknown":
        return "unknown"
    return "yes" if prediction.verdict == "ok" else "no"


def predict(
    report: ProbeReport,
    demand: Demand,
    recipe: EngineRecipe,
    budget: MemoryBudget = UNKNOWN_BUDGET,
    calibration: Calibration | None = None,
) -> Prediction:
    """What an engine will make of `demand` on the device of `report`.

    The verdict: "unsupported" when something structural is missing or too small; "oom" when even
    the low end of the memory interval exceeds the budget, or the need the engine's address space;
    "unknown" when the interval straddles the budget, or a kernel that is needed was not measured.
    A fit of memory says itself from where on to refuse (`margin`), and leaves nothing unknown;
    else "ok", also with an unknown budget (the reason then says so). Each quantity is given
    wherever it can be computed; a tier only for "ok" (the tier of its expected speeds), and
    "unsupported" for what cannot run.

    Args:
        report: what the probe measured.
        demand: what is asked of the engine.
        recipe: the engine on the adapter of that report.
        budget: how much memory there is.
        calibration: the factors of fits; without one all are the recipe's own.
    """
    if missing := structural(report, demand, recipe):
        return Prediction(verdict="unsupported", reason=missing, tier=Tier.UNSUPPORTED)
    sums = sums_of(report, demand, recipe, calibration)
    memory = sums.get(Quantity.MEMORY)
    prefill = _rate(demand.prompt_tokens, _interval(sums, Quantity.PREFILL))
    decode = _rate(1, _interval(sums, Quantity.DECODE))
    verdict: Literal["ok", "oom", "unknown"]
    heap_bytes = heap_need(recipe, demand)
    if objection := _too_much(recipe, budget, heap_bytes=heap_bytes, memory=memory):
        verdict, reason = objection
    elif prefill is None or decode is None:
        verdict, reason = "unknown", _unpredicted(recipe, demand)
    else:
        verdict, reason = "ok", _no_objection(budget)
    tier = Tier.UNSUPPORTED if verdict == "oom" else None
    if verdict == "ok" and prefill and decode:
        tier = pair_tier(prefill_tokens_per_s=prefill.expected, decode_tokens_per_s=decode.expected)
    return Prediction(
        verdict=verdict,
        reason=reason,
        tier=tier,
        load_seconds=_interval(sums, Quantity.LOAD),
        first_token_seconds=_interval(sums, Quantity.FIRST_TOKEN),
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        peak_memory_bytes=memory.interval if memory else None,
        terms={str(quantity): dict(found.terms) for quantity, found in sums.items()},
        calibrated=bool(sums) and all(found.calibrated for found in sums.values()),
    )


def structural(report: ProbeReport, demand: Demand, recipe: EngineRecipe) -> str | None:
    """Why the engine cannot load this at all, whatever its speed; `None` when it may."""
    name = demand.quantisation.name
    if name not in recipe.kernels:
        return f"{recipe.name} does not load {name} weights"
    here, webgpu = report.environment, report.backends.webgpu
    result = report.backends.wasm if recipe.backend == "wasm" else webgpu
    if result is None:
        # Not asked for is not the same as not there: the environment still knows.
        present = here.wasm_simd if recipe.backend == "wasm" else here.webgpu
        return None if present else f"the browser has no {recipe.backend}"
    if not result.available:
        # A probe that failed on a present backend says nothing about the device.
        adapter = webgpu is not None and webgpu.adapter is not None
        present = here.wasm_simd if recipe.backend == "wasm" else adapter
        return None if present else f"{recipe.backend}: {result.reason}"
    if recipe.binds_whole_tensors and webgpu is not None and webgpu.available:
        limit = webgpu.adapter.limit("maxStorageBufferBindingSize")
        # The payload is bound apart from its scales.
        largest = demand.model.largest_tensor_parameters * demand.quantisation.bits // 8
        if limit is not None and largest > limit:
            return f"its largest tensor has {largest} bytes, the adapter binds at most {limit}"
    return None


def sums_of(
    report: ProbeReport, demand: Demand, recipe: EngineRecipe, calibration: Calibration | None
) -> dict[Quantity, _Sum]:
    """Every quantity that can be computed, with its terms."""
    speeds = Speeds.of(report, recipe.backend, demand.threads)
    wider = unsteadiness(report, recipe, demand.threads)
    sums: dict[Quantity, _Sum] = {}
    for quantity in (
        Quantity.LOAD,
        Quantity.PREFILL,
        Quantity.FIRST_TOKEN,
        Quantity.DECODE,
        Quantity.MEMORY,
    ):
        known, calibrated = _factors(recipe, quantity, demand.quantisation.name, calibration)
        if known is None:
            continue
        used = {name: factor for name, factor in known.factors.items() if factor > 0}
        prefill = _interval(sums, Quantity.PREFILL)
        found = bases(
            quantity,
            used,
            speeds,
            recipe,
            demand,
            prefill_seconds=prefill.expected if prefill else None,
        )
        if any(base is None for base in found.values()):
            continue
        terms = {
            name: Term(base=base, factor=used[name])
            for name, base in found.items()
            if base is not None
        }
        expected = sum(term.factor * term.base for term in terms.values())
        widened = 1.0 if quantity is Quantity.MEMORY else wider
        if not (math.isfinite(expected) and expected > 0):
            continue
        sums[quantity] = _Sum(
            terms,
            Interval(
                low=expected * known.low / widened,
                expected=expected,
                high=expected * known.high * widened,
            ),
            calibrated,
            known.margin if isinstance(known, Fit) else None,
        )
    return sums


def unsteadiness(report: ProbeReport, recipe: EngineRecipe, threads: int) -> float:
    """By what the intervals of times are widened for a probe that was not steady; 1 is not at all.

    - Its device had not come to rest before: `UNSETTLED`.
    - First and last third of it differ by more than a tenth: by as much as they differ beyond it.
    """
    steady, drift = True, 1.0
    wasm, webgpu = report.backends.wasm, report.backends.webgpu
    if recipe.backend == "wasm":
        if wasm is None or not wasm.available:
            return 1.0
        steady = wasm.settle.steady
        drift = wasm.phase(threads).drift or 1.0
    elif webgpu is not None and webgpu.available:
        steady = webgpu.settle is None or webgpu.settle.steady
        drift = webgpu.drift or 1.0
    wider = max(1.0, max(drift, 1 / drift) / STEADY_DRIFT)
    return min(MOST_UNSTEADY, wider if steady else wider * UNSETTLED)


def _factors(
    recipe: EngineRecipe, quantity: Quantity, quantisation: str, calibration: Calibration | None
) -> tuple[_Known | None, bool]:
    """The factors of a fit, or the recipe's own; and which of these they are.

    A fit that saw no weights stored in this way has no factor for their matrices, but for others':
    then it says nothing, where the sum without them would promise far too much.
    """
    default = recipe.defaults.get(quantity)
    fit = calibration.fit(recipe.key, quantity) if calibration else None
    if fit is None:
        return default, False
    unseen = any(
        factor > 0 and f"{name.partition('.')[0]}.{quantisation}" not in fit.factors
        for name, factor in fit.factors.items()
        if not is_for(name, quantisation)
    )
    return (default, False) if unseen else (fit, True)


def _interval(sums: Mapping[Quantity, _Sum], quantity: Quantity) -> Interval | None:
    found = sums.get(quantity)
    return found.interval if found else None


def _rate(tokens: int, seconds: Interval | None) -> Interval | None:
    """Tokens a second from an interval of seconds."""
    if seconds is None:
        return None
    return Interval(
        low=tokens / seconds.high, expected=tokens / seconds.expected, high=tokens / seconds.low
    )


def _too_much(
    recipe: EngineRecipe, budget: MemoryBudget, *, heap_bytes: float, memory: _Sum | None
) -> tuple[Literal["oom", "unknown"], str] | None:
    """Why memory does not suffice, or may not; `None` when it does or when no limit is known."""
    if recipe.heap_bytes is not None and heap_bytes > recipe.heap_bytes:
        return "oom", (
            f"needs {heap_bytes / 1e9:.2f} GB of {recipe.name}'s address space of "
            f"{recipe.heap_bytes / 1e9:.2f} GB"
        )
    if budget.limit_bytes is None or memory is None:
        return None
    where = f" ({budget.source})" if budget.source else ""
    return _above(budget.limit_bytes, f"{budget.limit_bytes / 1e9:.2f} GB{where}", memory)


def _above(limit: int, words: str, memory: _Sum) -> tuple[Literal["oom", "unknown"], str] | None:
    """Whether a peak exceeds a limit: by a fit's margin, or else by the interval."""
    peak = memory.interval
    need = f"peaks at {peak.low / 1e9:.2f} to {peak.high / 1e9:.2f} GB"
    if memory.margin is not None:
        wanted = peak.expected * memory.margin
        refusal = f"{need} and wants {wanted / 1e9:.2f} GB, above the limit of {words}"
        return ("oom", refusal) if wanted > limit else None
    if peak.low > limit:
        return "oom", f"{need}, above the limit of {words}"
    if peak.high > limit:
        return "unknown", f"{need}, which the limit of {words} may or may not hold"
    return None


def _unpredicted(recipe: EngineRecipe, demand: Demand) -> str:
    if recipe.kernels[demand.quantisation.name] is None:
        return f"the speed of {recipe.name} is not predicted"
    return "a kernel that is needed was not measured"


def _no_objection(budget: MemoryBudget) -> str:
    if budget.limit_bytes is None:
        return "nothing speaks against it; the memory limit is not known"
    return f"expected to fit {budget.source or 'the memory limit'}"
