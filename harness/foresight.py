"""What a probe report says of a workload, without a model file: nothing is made or loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.models import find_model, find_quantisation
from harness.probe.predict import predict
from harness.runtimes import find_runtime
from harness.weights.variants import varied
from results.record import Prediction
from results.tiers import Tier

if TYPE_CHECKING:
    from harness.models import Workload
    from harness.probe.predict import MemoryBudget
    from harness.probe.report import ProbeReport


def foresee(report: ProbeReport, workload: Workload, budget: MemoryBudget) -> Prediction:
    """The prediction that a trial of `workload` would make before its load.

    The artifact is planned and not written: its size is known all the same. Of a model that the
    engine cannot take, the reason also says how much its weights would be.
    """
    runtime, model = find_runtime(workload.runtime), find_model(workload.model)
    quantisation = workload.quantisation
    reason = runtime.missing() or runtime.unsupported(model, quantisation, report)
    if reason is None:
        try:
            recipe = varied(runtime.recipe(model, quantisation, report), workload.variant)
            artifact = recipe.plan(model).artifact
        except UserError as error:
            reason = error.problem
        else:
            cost = runtime.cost(model, quantisation, artifact, report)
            return predict(report, model, workload, cost, budget)
    weights = model.weight_bytes(find_quantisation(quantisation))
    return Prediction(
        verdict="unsupported",
        reason=f"{reason} (its weights alone: {weights / 1e9:.1f} GB)",
        tier=Tier.UNSUPPORTED,
    )
