"""The trials of a run: each is run once, and remembered for as long as the run lasts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from harness.devices.base import BugReporter
from harness.requested import Wanted
from harness.trial import run_trial
from results.record import Verdict, WorkloadRecord
from results.regressions.ab import marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.ab import Setup
    from harness.devices.base import Device
    from harness.leasing import Leased
    from harness.model_files import ModelFiles
    from harness.models import Workload
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.requested import Requested
    from harness.trial import TrialSettings
    from results.record import Record

# After these a phone's own report may say more.
DEATHLY: Final = frozenset({Verdict.OOM, Verdict.CRASH, Verdict.HANG, Verdict.INFRA})


class Trials:
    """Runs the trials of one laboratory.

    Args:
        settings: of the run.
        requested: tries again what the lab spoiled, and stores.
        files: gives model files.
        bug_reports: whether phones report their state after a trial that ended badly.
        say: told in words.
    """

    def __init__(
        self,
        settings: TrialSettings,
        requested: Requested,
        files: ModelFiles,
        *,
        bug_reports: bool,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._requested = requested
        self._files = files
        self._bug_reports = bug_reports
        self._say = say
        self._records: dict[tuple[str, Workload, int, bool, Setup], Record] = {}

    def of(self, profile: Profile, workload: Workload) -> list[Record]:
        """The trials of a workload so far, its repeats too, oldest first."""
        mine = [
            r
            for (device, asked, *_), r in self._records.items()
            if (device, asked) == (profile.id, workload)
        ]
        return sorted(mine, key=lambda record: record.started_at)

    def one(
        self,
        profile: Profile,
        workload: Workload,
        *,
        repeat: int,
        offline: bool,
        report: ProbeReport | None,
        setup: Setup,
    ) -> Record:
        """One trial; see `Laboratory.trial`."""
        offline = offline or self._settings.offline
        key = (profile.id, workload, repeat, offline, setup)
        if key not in self._records:
            wanted = Wanted(
                profile,
                WorkloadRecord(**asdict(workload)),
                setup,
                repeat=repeat,
                mark=setup.label,
                offline=offline,
            )

            async def run(at: Leased) -> Record:
                record = await self._run(at, workload, offline, report)
                return record if setup.mark is None else marked(record, setup.mark)

            self._records[key] = self._requested.fulfil(wanted, run)
        return self._records[key]

    async def _run(
        self, at: Leased, workload: Workload, offline: bool, report: ProbeReport | None
    ) -> Record:
        device = at.device

        def say(text: str) -> None:
            self._say(f"{device.profile.id}: {text}")

        record = await run_trial(
            device,
            workload,
            artifact_source=lambda recipe: self._files.of(workload, recipe),
            server=at.server,
            settings=replace(self._settings, offline=offline),
            report=report,
            progress=say,
        )
        if self._bug_reports and record.verdict in DEATHLY:
            await self._bug_report(device, record, say)
        return record

    async def _bug_report(self, device: Device, record: Record, say: Callable[[str], None]) -> None:
        """Have the device report its state: beside the records, since it holds personal data."""
        if not isinstance(device, BugReporter):
            return
        path = self._settings.results / "bug-reports" / f"{record.trial_id}.zip"
        say("the phone makes a bug report, which can take minutes")
        problem = await device.bug_report(path, say)
        say(problem or f"bug report, with personal data in it: {path}")
