"""Requests of a lab, for tests."""

from __future__ import annotations

from results.fleet.requests import Request
from results.record import WorkloadRecord


def request(run_id: str = "run-1", *, profile: str = "pixel7", model: str = "gemma-2b") -> Request:
    """A request for one trial."""
    workload = WorkloadRecord(
        model=model,
        quantisation="int4",
        runtime="mediapipe/webgpu",
        prompt_tokens=16,
        output_tokens=8,
    )
    return Request.of(run_id, profile, workload)
