"""The zero-weight probe on its own: it must come back, with figures that can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.profiles import Profile


def test_the_probe_measures(laboratory: Laboratory, profile: Profile) -> None:
    """At least one backend can be measured, with rates above zero."""
    report = laboratory.probe(profile)
    wasm, webgpu = report.backends.wasm, report.backends.webgpu
    measured = [side for side in (wasm, webgpu) if side is not None and side.available]
    if not measured:
        reasons = [f"{side.reason}" for side in (wasm, webgpu) if side is not None]
        pytest.fail(f"nothing could be measured on {profile.id}: {'; '.join(reasons)}")
    if wasm is not None and wasm.available:
        for phase in wasm.phases:
            unmeasured = [name for name, kernel in phase.kernels.items() if not kernel.slices]
            assert not unmeasured, f"kernels without a figure at {phase.threads} threads"
            assert 0 < phase.duty <= 1


def test_the_probe_is_cheap(laboratory: Laboratory, profile: Profile) -> None:
    """A page can afford it: bounded memory, and no longer than a user waits.

    The wait for quiet, bounded by itself, is not counted: a busy device is what it waits for.
    """
    report = laboratory.probe(profile)
    # One side after the other: each gives back what it held.
    held = max(
        side.memory_bytes
        for side in (report.backends.wasm, report.backends.webgpu)
        if side is not None and side.available
    )
    assert held <= 256 << 20, "the probe itself may not endanger the tab"
    measuring = report.measure_ms or 0.0
    assert 0 < measuring <= 2 * report.budget_ms, "it measured far longer than its budget"
    waited = report.settle.wall_ms if report.settle else 0.0
    rest = report.total_ms - waited
    assert rest <= 10 * report.budget_ms, "what it does around measuring took far too long"
