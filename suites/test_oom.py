"""Out of memory on a limited device: foreseen by the probe, then real, then named as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from results.record import Kind, Source, Verdict

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.models import Workload
    from harness.profiles import Profile


def _limited(profile: Profile) -> bool:
    return profile.limits.memory is not None


@pytest.mark.devices(where=_limited)
def test_a_predicted_oom_happens_and_is_told_from_other_deaths(
    laboratory: Laboratory, profile: Profile, workload: Workload
) -> None:
    """Where an OOM is predicted, the kernel's own counter must name it within a second."""
    record = laboratory.trial(profile, workload)
    if record.prediction.verdict == "oom":
        assert record.verdict is Verdict.OOM, f"no OOM came: {record.explanation}"
    if record.verdict is not Verdict.OOM:
        assert record.prediction.verdict != "oom"
        return
    sources = {e.source for e in record.evidence if e.kind is Kind.OOM_KILL}
    if record.cause == "kernel-oom":
        assert Source.CGROUP in sources, "the limited group did not count the kill"
        assert record.measurement is not None
        latency = record.measurement.detection_seconds
        assert latency is not None
        assert latency <= 1.0, f"the death was noticed after {latency} s"
