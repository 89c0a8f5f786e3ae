"""The blocking face of the harness: what suites call. One laboratory a pytest process.

It owns the event loop and the store. Which device does the work, and whether that one is well, is
`harness.leasing`; what is tried again, and what is not, is `harness.requested`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from harness.ab import AS_INSTALLED, Setup
from harness.devices import lease
from harness.devices.base import TabLostError
from harness.devices.places import Places, PlacesSettings
from harness.emulation.phone.records import sweep
from harness.errors import UserError
from harness.evidence import Timeline
from harness.foresight import foresee
from harness.health_book import HealthBook
from harness.keeping import Keeper
from harness.leasing import Leasing
from harness.model_files import ModelFiles
from harness.native_work import NativeWork
from harness.probing import Probing
from harness.questions import Questions
from harness.requested import Requested
from harness.trial import TrialSettings, memory_budget
from harness.trials import Trials
from harness.verdict import judge
from harness.weights.cache import ArtifactCache
from results.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from pydantic import JsonValue

    from harness.capability_questions import Question
    from harness.devices.android.binary.options import Asked, BinaryPlan
    from harness.devices.appium.asking import AskedApp
    from harness.devices.base import HostFacts
    from harness.leasing import Leased
    from harness.models import Workload
    from harness.probe.predict import MemoryBudget
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.weights.artifact import Artifact
    from results.capability import Capability
    from results.claims import Outcome
    from results.record import Prediction, Record
    from results.response import Response

# So many more tries for faults of the lab's own; they are no statement about the device.
INFRA_RETRIES: Final = 1


@dataclass(frozen=True, slots=True)
class LaboratorySettings:
    """What a run is asked for, beside devices and workloads.

    Attributes:
        trial: what is the same for all trials.
        artifact: the user's own model file.
        places: how live devices are found.
        infra_retries: how often a trial, or a probe, is tried once more after a fault of the lab's.
        failure_retries: how often a load that crashed or hung is run again, as another request.
        bug_reports: whether phones report their state after a trial that ended badly.
    """

    trial: TrialSettings
    artifact: Artifact | None = None
    places: PlacesSettings = field(default_factory=PlacesSettings)
    infra_retries: int = INFRA_RETRIES
    failure_retries: int = 0
    bug_reports: bool = False


class Laboratory:
    """Runs probes and trials on leased devices, and stores what comes out."""

    def __init__(
        self, settings: LaboratorySettings, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._say = say
        self._runner = asyncio.Runner()
        self._cleanup = contextlib.ExitStack()
        self._cache = ArtifactCache()
        self._files = ModelFiles(self._cache, settings.artifact, self.say)
        self._places = Places(settings.places, self.say)
        self._keeper: Keeper
        self._leasing: Leasing
        self._trials: Trials
        self._probing: Probing
        self._questions: Questions
        self._native: NativeWork

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._runner)
            opened.callback(lambda: self._runner.run(self._places.close()))
            for line in sweep():
                self._say(f"cleared what a killed run left: {line}")
            lease.sweep()
            self._cache.sweep()
            try:
                store = Store.open(self._settings.trial.results)
            except StoreError as error:
                raise UserError(str(error), "free the disk, or choose another --results") from error
            opened.callback(store.close)
            self._equip(store)
            self._cleanup = opened.pop_all()
        return self

    def _equip(self, store: Store) -> None:
        settings, trial = self._settings, self._settings.trial
        self._keeper = Keeper(store)
        book = HealthBook(trial.run_id, trial.attempt_id, self._keeper.event, self.say)
        self._leasing = Leasing(
            self._runner,
            self._places,
            trial,
            book,
            infra_retries=settings.infra_retries,
            say=self.say,
        )
        requested = Requested(
            trial,
            self._leasing,
            self._keeper,
            failure_retries=settings.failure_retries,
            say=self.say,
        )
        self._trials = Trials(
            trial, requested, self._files, bug_reports=settings.bug_reports, say=self.say
        )
        self._probing = Probing(trial, self._leasing, self.say)
        self._questions = Questions(trial, self._leasing, self._keeper, self._cache)
        self._native = NativeWork(
            trial, self._leasing, requested, infra_retries=settings.infra_retries, say=self.say
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def say(self, text: str) -> None:
        """Tell the user how far long work has come."""
        self._say(text)

    @property
    def run_id(self) -> str:
        """The run that everything here belongs to."""
        return self._settings.trial.run_id

    def probe(
        self, profile: Profile, *, runtime: str | None = None, setup: Setup = AS_INSTALLED
    ) -> ProbeReport:
        """The probe report of a device; measured once a run, browser and engine.

        Args:
            profile: the device.
            runtime: the engine that it is to speak for, in the time that there is; without one all
                is measured, and each kernel less well.
            setup: what it is run with in place of what is installed.

        Raises:
            ProbeFailedError: the probe gave no report.
        """
        return self._probing.report(profile, runtime, setup)

    def facts(self, profile: Profile) -> HostFacts:
        """What the harness can say of a device without a page."""
        return self._leasing.insist(("facts", profile.id), profile, lambda at: at.device.facts())

    def foresee(self, profile: Profile, workload: Workload) -> Prediction:
        """What the probe says of a workload; nothing is made or loaded.

        Raises:
            ProbeFailedError: the probe gave no report.
        """

        async def budget(at: Leased) -> MemoryBudget:
            return memory_budget(profile, await at.device.facts())

        report = self.probe(profile, runtime=workload.runtime)
        found = self._leasing.insist(("budget", profile.id), profile, budget)
        return foresee(report, workload, found)

    def trials_of(self, profile: Profile, workload: Workload) -> list[Record]:
        """The trials of a workload so far in this run, its repeats too, oldest first."""
        return self._trials.of(profile, workload)

    def trial(
        self,
        profile: Profile,
        workload: Workload,
        *,
        repeat: int = 0,
        offline: bool = False,
        report: ProbeReport | None = None,
        setup: Setup = AS_INSTALLED,
    ) -> Record:
        """One trial; run once, stored, and remembered for the rest of the run.

        Where an earlier attempt of the run has its record already, that is the answer.

        Args:
            profile: the device.
            workload: what is asked of it.
            repeat: its number among several of the same.
            offline: whether a load without a network follows, also where the run asks for none.
            report: an earlier probe of the device; without one it is probed first.
            setup: what it is run with in place of what is installed.
        """
        return self._trials.one(
            profile, workload, repeat=repeat, offline=offline, report=report, setup=setup
        )

    def ask_app(self, profile: Profile, asked: AskedApp) -> Record:
        """One prompt in a native app; run once, stored, and remembered for the rest of the run.

        Raises:
            UserError: the app is not on the phone, or something that Appium needs is missing.
        """
        return self._native.ask_app(profile, asked)

    def run_binary(self, profile: Profile, plan: BinaryPlan) -> dict[Asked, Record]:
        """The user's program on a phone, once for each case; stored, and remembered.

        Raises:
            UserError: the program is none for this phone.
        """
        return self._native.run_binary(profile, plan)

    def ask(
        self,
        profile: Profile,
        function: str,
        argument: JsonValue,
        *,
        within: float = 60.0,
        files: Path | None = None,
    ) -> JsonValue:
        """Call one function of the page `limits.html` in a fresh browser; its answer.

        Args:
            profile: the device.
            function: a global function of that page.
            argument: what it is called with.
            within: seconds that it may take.
            files: a directory that the page finds below `/artifacts/files/`.

        Raises:
            TabLostError: the page died or did not answer; the message says which.
        """

        async def work(at: Leased) -> JsonValue:
            if files is not None:
                at.server.publish("files", files)
            timeline = Timeline()
            folder = self._leasing.folder("pages", at.held)
            async with at.device.session(timeline, folder) as session:
                tab = await session.open_tab(f"{at.server.url}/page/limits.html", lambda _: None)
                try:
                    return await tab.call(function, argument, within=within)
                except TabLostError as error:
                    await session.settle()
                    judged = judge(timeline.items)
                    raise TabLostError(f"{error} ({judged.explanation})") from error

        return self._leasing.insist(("ask", profile.id, function), profile, work)

    def keep(self, finding: Outcome | Response) -> None:
        """Store what follows from several trials; it is on disk when this returns."""
        self._keeper.finding(finding)

    def capability(self, profile: Profile, question: Question) -> Capability:
        """What a library can do on a device: asked, judged, and stored.

        Raises:
            UserError: an artifact cannot be made, or the store cannot be written.
        """
        return self._questions.ask(profile, question)

    def refused(self, profile: Profile, question: Question, reason: str) -> Capability:
        """A question that is not asked, since the browser lacks what it takes; stored."""
        return self._questions.refused(profile, question, reason)

    def refusals(self, profile: Profile) -> list[Capability]:
        """The engines that the probe rules out on a device for every model, and why; stored."""
        return self._questions.refusals(profile, self.probe(profile))
