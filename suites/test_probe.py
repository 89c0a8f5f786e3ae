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
    """A page can afford it: bounded memory, and no longer than a user waits."""
    report = laboratory.probe(profile)
    held = sum(
        side.memory_bytes
        for side in (report.backends.wasm, report.backends.webgpu)
        if side is not None and side.available
    )
    assert held <= 512 << 20, "the probe itself may not endanger the tab"
    assert report.total_ms <= 6 * report.budget_ms, "the probe took far longer than its budget"
