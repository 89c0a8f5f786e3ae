"""How long tests will take: as they took before, or by the size of what they load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.models import find_model, find_quantisation
from results.fleet.suite_tests import general_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.fleet.units import Subject
    from harness.models import Workload

# What tests of no workload take together, most of it the start of a browser.
_WITHOUT_WORKLOAD: Final = 30.0
# A load and its probe: some of it is the same for all, the rest goes by the bytes.
_LEAST: Final = 60.0
_BYTES_PER_SECOND: Final = 20e6


class History:
    """Expected seconds of tests.

    Args:
        durations: measured seconds, by profile and general name of a test.
        workloads: by how ids of tests name them.
    """

    def __init__(
        self, durations: Mapping[tuple[str, str], float], workloads: Mapping[str, Workload]
    ) -> None:
        self._durations = durations
        self._workloads = workloads

    def seconds(self, subject: Subject, tests: Sequence[str]) -> float:
        """How long tests of one subject take together.

        Where any of them ran before, the others are taken for short: of the tests of a trial one
        waits for it, and the others read its record.
        """
        names = ((subject.profile, general_name(test)) for test in tests)
        known = [self._durations[name] for name in names if name in self._durations]
        return sum(known) if known else self._guess(subject)

    def _guess(self, subject: Subject) -> float:
        workload = self._workloads.get(subject.workload)
        if workload is None:
            return _WITHOUT_WORKLOAD
        stored = find_quantisation(workload.quantisation)
        return _LEAST + find_model(workload.model).weight_bytes(stored) / _BYTES_PER_SECOND
