"""A capability for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from results.capability import Capability, Figure
from results.record import Spread, Verdict
from tests.results.records import record


def capability(
    capability_id: str = "capability-1", run_id: str = "run-1", **changes: Any
) -> Capability:
    whole = Capability(
        capability_id=capability_id,
        run_id=run_id,
        started_at=datetime(2026, 11, 25, tzinfo=UTC),
        device=record().device.model_copy(update={"emulated": False}),
        library="tensorflow.js",
        backend="webgl",
        ability="multiplies matrices",
        verdict=Verdict.OK,
        reason="it did, with the right result",
        figures=(
            Figure(
                name="1x8 by 8x8", unit="GFLOP/s", spread=Spread(n=5, median=1.5, p10=1.0, p90=2.0)
            ),
        ),
        conditions=record().conditions.model_copy(update={"software_adapter": None}),
    )
    return whole.model_copy(update=changes)
