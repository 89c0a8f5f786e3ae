"""What a probe report says of a workload, without a model file: nothing is made or loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.models import find_model, find_quantisation
from harness.probe.calibrated import shipped
from harness.probe.predict import predict
from harness.probe.terms import Demand
from harness.runtimes import find_runtime
from harness.runtimes.base import engine_on
from harness.weights.variants import varied
from results.record import Prediction
from results.tiers import Tier

if TYPE_CHECKING:
    from harness.models import Workload
    from harness.probe.predict import MemoryBudget
    from harness.probe.report import ProbeReport
    from results.calibration import Calibration


def foresee(report: ProbeReport, workload: Workload, budget: MemoryBudget) -> Prediction:
    """The prediction that a trial of `workload` would make before its load.

    The artifact is planned and not written: its size is known all the same. Of a model that the
    engine cannot take, the reason also says how much its weights would be.
    """
    return foresee_by(report, workload, budget, shipped())


def foresee_by(
    report: ProbeReport, workload: Workload, budget: MemoryBudget, calibration: Calibration | None
) -> Prediction:
    """As `foresee`, with the factors of that calibration; without one, the recipes' own."""
    runtime, model = find_runtime(workload.runtime), find_model(workload.model)
    quantisation = workload.quantisation
    reason = runtime.missing() or runtime.unsupported(model, quantisation, report)
    if reason is None:
        try:
            recipe = varied(runtime.recipe(model, quantisation, report), workload.variant)
            file_bytes = recipe.plan(model).artifact.stored_bytes
        except UserError as error:
            reason = error.problem
        else:
            demand = demand_of(workload, file_bytes, runtime.threads(report))
            engine = engine_on(runtime, quantisation, report)
            return predict(report, demand, engine, budget, calibration)
    weights = model.weight_bytes(find_quantisation(quantisation))
    return Prediction(
        verdict="unsupported",
        reason=f"{reason} (its weights alone: {weights / 1e9:.1f} GB)",
        tier=Tier.UNSUPPORTED,
    )


def demand_of(workload: Workload, file_bytes: int, threads: int) -> Demand:
    """What a workload asks of its engine.

    Raises:
        UserError: there is no such model or quantisation.
    """
    return Demand(
        model=find_model(workload.model),
        quantisation=find_quantisation(workload.quantisation),
        prompt_tokens=workload.prompt_tokens,
        output_tokens=workload.output_tokens,
        file_bytes=file_bytes,
        threads=threads,
    )
