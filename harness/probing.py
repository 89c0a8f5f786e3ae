"""Probe reports of devices, each made once a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.probe.run import ProbeFailedError, run_probe
from harness.runtimes import find_runtime
from harness.trial import Probed, probed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.ab import Setup
    from harness.leasing import Leased, Leasing
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.trial import TrialSettings


class Probing:
    """Probes the devices of one laboratory.

    Args:
        settings: of the run.
        leasing: gives devices.
        say: told in words.
    """

    def __init__(
        self, settings: TrialSettings, leasing: Leasing, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._leasing = leasing
        self._say = say
        self._reports: dict[tuple[str, Path | None, str | None], ProbeReport] = {}

    def report(self, profile: Profile, runtime: str | None, setup: Setup) -> ProbeReport:
        """The report of a device for an engine, or for all; measured once.

        Raises:
            ProbeFailedError: the probe gave no report.
        """
        key = (profile.id, setup.browser, runtime)
        while key not in self._reports:
            try:
                self._reports[key] = self._leasing.insist(
                    key, profile, lambda at: self._probe(at, runtime), setup
                )
            except ProbeFailedError as error:
                # A lab that failed is nothing that the device did.
                if not error.infra or not self._leasing.once_more(key, str(error)):
                    raise
        return self._reports[key]

    async def _probe(self, at: Leased, runtime: str | None) -> ProbeReport:
        settings = self._settings
        asked = probed(find_runtime(runtime)) if runtime else Probed(("wasm", "webgpu"), None)
        try:
            return await run_probe(
                at.device,
                at.server,
                self._leasing.folder("probes", at.held),
                budget_ms=settings.probe_budget_ms,
                seed=settings.seed,
                backends=asked.backends,
                kernels=asked.kernels,
                progress=self._say,
            )
        except ProbeFailedError as error:
            if error.infra:
                self._leasing.fault(at, str(error))
            raise
