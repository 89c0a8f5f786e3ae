"""The figures of an evaluation, as JSON has them; shares and errors are fractions, not percent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from results.calibration import Training  # noqa: TC001 - pydantic reads annotations at run time
from results.evaluation.folds import Split  # noqa: TC001 - as above
from results.observation import Quantity  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.evaluation.cases import Case

EVERYTHING: Final = "all"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Errors(_Part):
    """How far a rule was off: `median` and `p90` of the absolute error, `bias` its median.

    `coverage` is the share of measured values inside of the predicted interval. `group` is a
    runtime, a device or a model, or `all`. `cells` are device, model, quantisation and threads;
    `told` is the share of the figures measured of which anything was predicted.
    """

    rule: str
    split: Split
    quantity: Quantity
    group: str
    n: int
    cells: int
    devices: int
    told: float
    median: float
    p90: float
    bias: float
    coverage: float | None


class Confusion(_Part):
    """Outcomes as predicted (rows) and as they were (columns); a tier, or why it did not run.

    `near`: how many of the tiers that do not agree would, had the speeds been 10 % other.
    """

    split: Split
    outcomes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    judged: int
    agree: float | None
    over_promise: float | None
    under_promise: float | None
    unknown: int
    ran: int
    tiers_agree: float | None
    near: int


class Feasibility(_Part):
    """How well a rule foretold what would not run.

    Recall: of those that died so, the share refused. Precision: of those refused for that reason,
    the share that did not run. `unsure` are those whose predicted peak may or may not fit.
    `wasted_bytes`: downloads that were promised to run and did not; `capable_refused`: of
    `capable` that ran.
    """

    rule: str
    split: Split
    n: int
    oom: int
    oom_recall: float | None
    oom_precision: float | None
    unsupported: int
    unsupported_recall: float | None
    unsupported_precision: float | None
    unsure: int
    unknown: int
    missed: tuple[str, ...]
    refused_wrongly: tuple[str, ...]
    wasted_bytes: int
    in_vain: int
    capable_refused: int
    capable: int


class Ablation(_Part):
    """The error on devices left out when a term is taken away; `term` is empty for all terms."""

    term: str
    runtime: str
    quantity: Quantity
    n: int
    median: float
    p90: float


class Cost(_Part):
    """What it takes to know, and how far off one is then (decode, device left out)."""

    rule: str
    seconds: float
    median: float


class History(_Part):
    """The error without and with what was measured before, on the same cases."""

    split: Split
    quantity: Quantity
    runtime: str
    n: int
    median: float
    p90: float
    median_with: float
    p90_with: float


class Evaluation(_Part):
    """Everything that `tierlab accuracy` tells."""

    version: int = 1
    training: Training
    untrusted: int
    hosts: int
    errors: tuple[Errors, ...]
    tiers: tuple[Confusion, ...]
    feasibility: tuple[Feasibility, ...]
    ablations: tuple[Ablation, ...]
    costs: tuple[Cost, ...]
    probe_seconds: float | None
    load_seconds: float | None
    load_bytes: float | None
    history: tuple[History, ...] = ()


def errors_of(cases: Sequence[Case], group: str, measured: int) -> Errors:
    """The figures of some cases of one rule, split and quantity.

    Args:
        cases: at least one.
        group: what they have in common.
        measured: how many figures there were to predict.
    """
    signed = np.array([case.error for case in cases])
    inside = [case.inside for case in cases if case.inside is not None]
    median, p90 = spread(signed)
    return Errors(
        rule=cases[0].rule,
        split=cases[0].split,
        quantity=cases[0].quantity,
        group=group,
        n=len(cases),
        cells=len({_cell(case) for case in cases}),
        devices=len({case.observation.device for case in cases}),
        told=len(cases) / max(measured, len(cases)),
        median=median,
        p90=p90,
        bias=float(np.median(signed)),
        coverage=sum(inside) / len(inside) if inside else None,
    )


def spread(signed: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """The median and the 90th percentile of absolute errors."""
    size = np.abs(signed)
    return float(np.median(size)), float(np.percentile(size, 90))


def _cell(case: Case) -> tuple[str, str, str, str, int]:
    o = case.observation
    return o.recipe, o.device, o.model, o.quantisation, o.threads
