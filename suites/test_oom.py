"""Out of memory on a limited device: foreseen by the probe, then real, then named as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.devices.android.session import SETTLE_SECONDS
from results.record import Kind, Source, Verdict

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.models import Workload
    from harness.profiles import Profile


def _limited(profile: Profile) -> bool:
    return profile.limits.memory is not None or profile.app_memory is not None


@pytest.mark.devices(where=_limited)
def test_a_predicted_oom_happens_and_is_told_from_other_deaths(
    laboratory: Laboratory, profile: Profile, workload: Workload
) -> None:
    """Where an OOM is predicted, the system itself must name it, and soon.

    On a desktop that is the kernel's counter, within a second; on a phone lmkd's line in the log or
    the exit record, together with the browser's word that the page is gone.
    """
    record = laboratory.trial(profile, workload)
    if record.prediction.verdict == "oom":
        assert record.verdict is Verdict.OOM, f"no OOM came: {record.explanation}"
    if record.verdict is not Verdict.OOM:
        assert record.prediction.verdict != "oom"
        return
    assert record.measurement is not None
    latency = record.measurement.detection_seconds
    sources = {e.source for e in record.evidence}
    if record.cause == "kernel-oom":
        killers = {e.source for e in record.evidence if e.kind is Kind.OOM_KILL}
        assert Source.CGROUP in killers, "the limited group did not count the kill"
        assert latency is not None
        assert latency <= 1.0, f"the death was noticed after {latency} s"
    if record.cause == "low-memory-killer":
        assert sources & {Source.LOGCAT, Source.EXIT_INFO}, "the phone did not say why"
        assert Source.CDP in sources, "the browser did not say that the page is gone"
        assert latency is not None
        assert latency <= SETTLE_SECONDS + 1.0, f"the death was judged after {latency} s"
