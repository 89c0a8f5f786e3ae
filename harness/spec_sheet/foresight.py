"""What a spec sheet says of a model on an engine: feasibility first, then speeds and memory.

The order of feasibility is that of what can be known: structure (what the engine takes, what the
device has, what an address space holds), and only then memory. Nothing that a sheet does not say is
guessed: the quantity is unknown then, with the reason and the next step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from harness.models import find_quantisation
from harness.spec_sheet.engines import PROCESSORS, kv_bytes
from harness.spec_sheet.model import (
    Load,
    Storage,
    band,
    decode_bases,
    memory_bases,
    prefill_bases,
    speed,
    terms_of,
    total,
)
from results.observation import Quantity
from results.record import Interval, Prediction, Term
from results.tiers import Tier, pair_tier

if TYPE_CHECKING:
    from harness.spec_sheet.engines import Engine
    from harness.spec_sheet.model import Coefficient, Coefficients, SheetQuantity, Terms
    from harness.spec_sheet.shapes import Shape
    from harness.spec_sheet.sheet import Sheet

Outcome = Literal["ok", "no", "unknown"]
Verdict = Literal["ok", "oom", "unsupported", "unknown"]

# LiteRT's engines hold, and read for each token, so many tokens' keys and values.
CONTEXT_TOKENS: Final = 1280
# From this iOS on Safari has WebGPU.
_IOS_WITH_WEBGPU: Final = 26
_GB: Final = 1e9

NOT_ON_A_SHEET: Final = "a spec sheet does not say how fast storage and compilers are"


@dataclass(frozen=True, slots=True)
class Asked:
    """A model, how its weights are stored, and the tokens of prompt and output."""

    shape: Shape
    quantisation: str
    prompt: int
    output: int


@dataclass(frozen=True, slots=True)
class Step:
    """One question of feasibility, and its answer."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Foresight:
    """A prediction, and what it stands on.

    Attributes:
        runtime, quantisation: the engine, and how it stores the weights.
        prediction: the numbers.
        steps: of feasibility, in their order; the last is the one that decided, if any did.
        factors: where those of each quantity are from.
        unknown: why a quantity has no number.
        calibrated: the quantities whose factors are fitted ones, and not beliefs.
    """

    runtime: str
    quantisation: str
    prediction: Prediction
    steps: tuple[Step, ...] = ()
    factors: dict[Quantity, str] = field(default_factory=dict)
    unknown: dict[Quantity, str] = field(default_factory=dict)
    calibrated: frozenset[Quantity] = frozenset()


def foresee_sheet(
    sheet: Sheet, asked: Asked, engine: Engine, coefficients: Coefficients
) -> Foresight:
    """What an engine will make of it on the device of that sheet.

    Raises:
        UserError: the quantisation is unknown.
    """
    name = engine.quantisation(asked.quantisation, asked.shape)
    storage = Storage.of(find_quantisation(name))
    allocated = engine.family in {"xnnpack/cpu", "litert/gpu", "mediapipe/webgpu"}
    load = Load(
        shape=asked.shape,
        storage=storage,
        prompt=asked.prompt,
        context=max(asked.prompt + asked.output, CONTEXT_TOKENS if allocated else 0),
        kv_bytes=kv_bytes(engine.family),
    )
    steps = list(_structure(sheet, load, engine, name))
    if steps[-1].outcome == "no":
        return _refused(engine, name, steps)
    told = _Told(sheet, engine, coefficients)
    peak = told.memory(load)
    steps.append(_memory(sheet, peak))
    decode = told.decode(load)
    prefill = told.prefill(load)
    verdict: Verdict = {"ok": "ok", "no": "oom", "unknown": "unknown"}[steps[-1].outcome]  # type: ignore[assignment]
    reason = steps[-1].detail
    tier = Tier.UNSUPPORTED if verdict == "oom" else None
    if verdict == "ok" and (decode is None or prefill is None):
        verdict = "unknown" if decode is None else "ok"
        reason = "; ".join(dict.fromkeys(told.unknown[q] for q in _SPEEDS if q in told.unknown))
    elif verdict == "ok" and decode and prefill:
        tier = pair_tier(prefill_tokens_per_s=prefill.expected, decode_tokens_per_s=decode.expected)
    return Foresight(
        runtime=engine.id,
        quantisation=name,
        prediction=Prediction(
            verdict=verdict,
            reason=reason,
            tier=tier,
            prefill_tokens_per_s=prefill,
            decode_tokens_per_s=decode,
            peak_memory_bytes=peak,
            terms={str(quantity): terms for quantity, terms in told.terms.items()},
            calibrated=told.calibrated >= {Quantity.DECODE, Quantity.PREFILL},
        ),
        steps=tuple(steps),
        factors=told.factors,
        unknown={
            **told.unknown,
            Quantity.LOAD: NOT_ON_A_SHEET,
            Quantity.FIRST_TOKEN: NOT_ON_A_SHEET,
        },
        calibrated=frozenset(told.calibrated),
    )


_SPEEDS: Final = (Quantity.DECODE, Quantity.PREFILL)


def _refused(engine: Engine, quantisation: str, steps: list[Step]) -> Foresight:
    return Foresight(
        runtime=engine.id,
        quantisation=quantisation,
        prediction=Prediction(
            verdict="unsupported", reason=steps[-1].detail, tier=Tier.UNSUPPORTED
        ),
        steps=tuple(steps),
    )


def _structure(sheet: Sheet, load: Load, engine: Engine, quantisation: str) -> list[Step]:
    """What does not depend on speed or memory; ends with the first objection."""
    asked = (
        (
            "engine",
            engine.unsupported(load.shape, quantisation),
            f"{engine.id} takes {load.shape.id} in {quantisation}",
        ),
        ("device", _absent(sheet, engine), f"{engine.id} exists for such a device"),
        (
            "address space",
            _too_large(load, engine),
            f"{load.storage.file_bytes(load.shape) / _GB:.2f} GB of weights fit"
            if engine.heap_bytes
            else "has no narrow one",
        ),
    )
    steps: list[Step] = []
    for name, objection, fine in asked:
        steps.append(Step(name, "no" if objection else "ok", objection or fine))
        if objection:
            break
    return steps


def _absent(sheet: Sheet, engine: Engine) -> str | None:
    """What the device lacks for the engine."""
    if sheet.kind not in engine.kinds:
        return f"{engine.id} is for {' and '.join(engine.kinds)}, not for {sheet.kind}"
    if engine.processor == "gpu" and engine.web:
        if sheet.webgpu is False:
            return "the profile says that its browser has no WebGPU"
        release = (sheet.release or "").partition(".")[0]
        if release.isdecimal() and int(release) < _IOS_WITH_WEBGPU:
            return f"iOS {sheet.release} has no WebGPU: from {_IOS_WITH_WEBGPU} on it has"
    return None


def _too_large(load: Load, engine: Engine) -> str | None:
    if engine.heap_bytes is None:
        return None
    need = engine.heap_copies * load.storage.file_bytes(load.shape) + load.cache_bytes
    if need <= engine.heap_bytes:
        return None
    return (
        f"needs {need / _GB:.2f} GB of {engine.id}'s address space of"
        f" {engine.heap_bytes / _GB:.2f} GB"
    )


def _memory(sheet: Sheet, peak: Interval | None) -> Step:
    if peak is None:
        return Step("memory", "ok", "how much it needs is not known")
    need = f"{peak.low / _GB:.2f} to {peak.high / _GB:.2f} GB"
    if sheet.budget is None:
        return Step("memory", "ok", f"peaks at {need}; the profile does not say what there is")
    have = f"{sheet.budget / _GB:.2f} GB ({sheet.budget_source})"
    if peak.low > sheet.budget:
        return Step("memory", "no", f"peaks at {need}, above {have}")
    if peak.high > sheet.budget:
        return Step("memory", "unknown", f"peaks at {need}, which {have} may or may not hold")
    return Step("memory", "ok", f"peaks at {need}, within {have}")


class _Told:
    """The quantities of one engine on one sheet, and what was told of them on the way."""

    def __init__(self, sheet: Sheet, engine: Engine, coefficients: Coefficients) -> None:
        self._sheet = sheet
        self._engine = engine
        self._coefficients = coefficients
        self.terms: dict[Quantity, Terms] = {}
        self.factors: dict[Quantity, str] = {}
        self.unknown: dict[Quantity, str] = {}
        self.calibrated: set[Quantity] = set()

    def decode(self, load: Load) -> Interval | None:
        """Tokens a second."""
        if (bandwidth := self._sheet.bandwidth) is None:
            self._missing(Quantity.DECODE, "bandwidth_gb_s")
            return None
        slowdown = self._engine.slowdown
        return self._speed(
            "decode", Quantity.DECODE, decode_bases(load, bandwidth), 1,
            slowdown.decode if slowdown else 1,
        )  # fmt: skip

    def prefill(self, load: Load) -> Interval | None:
        """Tokens of the prompt a second."""
        engine, sheet = self._engine, self._sheet
        flops = sheet.cpu_flops if engine.processor == "cpu" else sheet.gpu_flops
        if sheet.bandwidth is None:
            self._missing(Quantity.PREFILL, "bandwidth_gb_s")
            return None
        if flops is None:
            self._missing(Quantity.PREFILL, f"{engine.processor}_gflops_f32")
            return None
        bases = prefill_bases(load, sheet.bandwidth, flops, engine.processor)
        times = engine.slowdown.prefill if engine.slowdown else 1
        return self._speed("prefill", Quantity.PREFILL, bases, load.prompt, times)

    def memory(self, load: Load) -> Interval | None:
        """Bytes at the peak."""
        engine, bases = self._engine, memory_bases(load)
        if engine.copies is not None and engine.base is not None:
            copies, base = engine.copies, engine.base
            self.terms[Quantity.MEMORY] = terms_of(
                bases, {"file": copies.expected, "kv": 1, "fixed": base.expected / _GB}
            )
            self.factors[Quantity.MEMORY] = "measured in this lab: harness/runtimes, its cost"
            self.calibrated.add(Quantity.MEMORY)
            held = bases["kv"]
            return Interval(
                low=copies.low * bases["file"] + held + base.low,
                expected=total(self.terms[Quantity.MEMORY]),
                high=copies.high * bases["file"] + held + base.high,
            )
        found = self._fit("memory", Quantity.MEMORY)
        if found is None:
            return None
        self.terms[Quantity.MEMORY] = terms_of(bases, found.factors)
        return band(self.terms[Quantity.MEMORY], found.low, found.high)

    def _speed(
        self,
        name: SheetQuantity,
        quantity: Quantity,
        bases: dict[str, float],
        tokens: int,
        times: float,
    ) -> Interval | None:
        found = self._fit(name, quantity)
        if found is None:
            return None
        terms: dict[str, Term] = terms_of(bases, found.factors, times)
        self.terms[quantity] = terms
        spread = self._engine.slowdown.spread if self._engine.slowdown else 1
        return speed(tokens, band(terms, found.low / spread, found.high * spread))

    def _fit(self, name: SheetQuantity, quantity: Quantity) -> Coefficient | None:
        engine = self._engine
        scope = self._coefficients.of((engine.family, engine.processor), name)
        if scope is None:
            self.unknown[quantity] = f"no {name} is published of engines on the {engine.processor}"
            return None
        found = self._coefficients.fits[scope][name]
        own = scope in PROCESSORS and engine.slowdown is None
        self.factors[quantity] = _origin(engine, scope, found, own=own, quantity=quantity)
        if own:
            self.calibrated.add(quantity)
        return found

    def _missing(self, quantity: Quantity, key: str) -> None:
        self.unknown[quantity] = f"the profile has no {key}"


def _origin(
    engine: Engine, scope: str, found: Coefficient, *, own: bool, quantity: Quantity
) -> str:
    """Where factors are from, in words."""
    left = found.device_left_out
    off = f"; devices left out: median {left[0]:.0%}, p90 {left[1]:.0%}" if left else ""
    figures = f"{found.n} published figures of {found.devices} devices, {found.models} models{off}"
    if own:
        return f"calibrated: fitted to {figures} ({scope})"
    slow = engine.slowdown
    if slow and quantity in _SPEEDS:
        times = slow.decode if quantity is Quantity.DECODE else slow.prefill
        return (
            f"belief: {times:g} times slower than native engines on the {scope} ({slow.source});"
            f" those are fitted to {figures}"
        )
    return f"belief: as all engines on the {scope} together, fitted to {figures}"
