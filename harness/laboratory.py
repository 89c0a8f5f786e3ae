"""The blocking face of the harness: what suites call. One laboratory a pytest process.

It owns the event loop, the store, the local server and the device that is open, and it remembers
the trials of this run, so that several tests can ask about one load without repeating it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from harness.ab import AS_INSTALLED, Setup
from harness.capabilities import (
    ask_library,
    refused_engines,
    refused_question,
    run_native_layer,
)
from harness.devices.base import BugReporter, DeviceLostError, TabLostError
from harness.devices.lease import lease
from harness.devices.places import Places, PlacesSettings
from harness.emulation.limits import sweep
from harness.errors import UserError
from harness.evidence import Timeline
from harness.foresight import foresee
from harness.models import find_model
from harness.packages import packages_from
from harness.probe.run import ProbeFailedError, run_probe
from harness.runtimes import find_runtime
from harness.trial import Probed, TrialSettings, memory_budget, probed, run_trial
from harness.verdict import judge
from harness.web.server import serve
from harness.weights.cache import ArtifactCache
from harness.weights.variants import varied
from results.record import Verdict
from results.regressions.ab import marked
from results.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from types import TracebackType

    from pydantic import JsonValue

    from harness.capability_questions import Question
    from harness.devices.android.binary.options import Asked, BinaryPlan
    from harness.devices.appium.asking import AskedApp
    from harness.devices.base import Device, HostFacts
    from harness.models import Workload
    from harness.probe.predict import MemoryBudget
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe
    from results.capability import Capability
    from results.claims import Outcome
    from results.record import Prediction, Record
    from results.response import Response

T = TypeVar("T")

# So many more tries for faults of the lab's own; they are no statement about the device.
INFRA_RETRIES: Final = 1

# After these a phone's own report may say more.
DEATHLY: Final = frozenset({Verdict.OOM, Verdict.CRASH, Verdict.HANG, Verdict.INFRA})

# What a disk answers when it takes no more evidence.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})


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
        self._trials: dict[tuple[str, Workload, int, bool, Setup], Record] = {}
        self._probes: dict[tuple[str, Path | None, str | None], ProbeReport] = {}
        self._apps: dict[tuple[str, AskedApp], Record] = {}
        self._binaries: dict[tuple[str, BinaryPlan], dict[Asked, Record]] = {}
        self._faults: dict[object, int] = {}
        self._references: dict[tuple[str, str], list[float]] = {}
        self._cache = ArtifactCache()
        self._places = Places(settings.places, say)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._runner)
            opened.callback(lambda: self._runner.run(self._places.close()))
            for line in sweep():
                self._say(f"cleared what a killed run left: {line}")
            self._cache.sweep()
            try:
                self._store = Store.open(self._settings.trial.results)
            except StoreError as error:
                raise UserError(str(error), "free the disk, or choose another --results") from error
            opened.callback(self._store.close)
            self._cleanup = opened.pop_all()
        return self

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
        key = (profile.id, setup.browser, runtime)
        while key not in self._probes:
            try:
                self._probes[key] = self._on_device(
                    profile, lambda device, server: self._probe(device, server, runtime), setup
                )
            except ProbeFailedError as error:
                # A lab that failed is nothing that the device did.
                if not error.infra or not self._once_more(key, str(error)):
                    raise
        return self._probes[key]

    def facts(self, profile: Profile) -> HostFacts:
        """What the harness can say of a device without a page."""

        async def facts(device: Device, _: Server) -> HostFacts:
            return await device.facts()

        return self._on_device(profile, facts)

    def _once_more(self, what: object, why: str) -> bool:
        """Whether the budget allows another try after a fault of the lab; if so, it is told."""
        self._faults[what] = self._faults.get(what, 0) + 1
        if self._faults[what] > self._settings.infra_retries:
            return False
        self._say(f"the lab failed ({why}); once more")
        return True

    async def _probe(self, device: Device, server: Server, runtime: str | None) -> ProbeReport:
        settings = self._settings.trial
        asked = probed(find_runtime(runtime)) if runtime else Probed(("wasm", "webgpu"), None)
        return await run_probe(
            device,
            server,
            settings.results / "probes" / settings.run_id / device.profile.id,
            budget_ms=settings.probe_budget_ms,
            seed=settings.seed,
            backends=asked.backends,
            kernels=asked.kernels,
            progress=self._say,
        )

    def foresee(self, profile: Profile, workload: Workload) -> Prediction:
        """What the probe says of a workload; nothing is made or loaded.

        Raises:
            ProbeFailedError: the probe gave no report.
        """

        async def budget(device: Device, _: Server) -> MemoryBudget:
            return memory_budget(profile, await device.facts())

        report = self.probe(profile, runtime=workload.runtime)
        return foresee(report, workload, self._on_device(profile, budget))

    def trials_of(self, profile: Profile, workload: Workload) -> list[Record]:
        """The trials of a workload so far in this run, its repeats too, oldest first."""
        mine = [
            r
            for (device, asked, *_), r in self._trials.items()
            if (device, asked) == (profile.id, workload)
        ]
        return sorted(mine, key=lambda record: record.started_at)

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

        Args:
            profile: the device.
            workload: what is asked of it.
            repeat: its number among several of the same.
            offline: whether a load without a network follows, also where the run asks for none.
            report: an earlier probe of the device; without one it is probed first.
            setup: what it is run with in place of what is installed.
        """
        offline = offline or self._settings.trial.offline
        key = (profile.id, workload, repeat, offline, setup)
        while key not in self._trials:
            record = self._on_device(
                profile,
                lambda device, server: self._trial(device, server, workload, offline, report),
                setup,
            )
            if setup.mark is not None:
                record = marked(record, setup.mark)
            self._keep(record)
            if record.verdict is Verdict.INFRA and self._once_more(key, record.explanation):
                continue
            self._trials[key] = record
        return self._trials[key]

    async def _trial(
        self,
        device: Device,
        server: Server,
        workload: Workload,
        offline: bool,
        report: ProbeReport | None,
    ) -> Record:
        def say(text: str) -> None:
            self._say(f"{device.profile.id}: {text}")

        record = await run_trial(
            device,
            workload,
            artifact_source=lambda recipe: self._artifact(workload, recipe),
            server=server,
            settings=replace(self._settings.trial, offline=offline),
            report=report,
            progress=say,
        )
        if self._settings.bug_reports and record.verdict in DEATHLY:
            await self._bug_report(device, record, say)
        return record

    async def _bug_report(self, device: Device, record: Record, say: Callable[[str], None]) -> None:
        """Have the device report its state: beside the records, since it holds personal data."""
        if not isinstance(device, BugReporter):
            return
        path = self._settings.trial.results / "bug-reports" / f"{record.trial_id}.zip"
        say("the phone makes a bug report, which can take minutes")
        problem = await device.bug_report(path, say)
        say(problem or f"bug report, with personal data in it: {path}")

    def ask_app(self, profile: Profile, asked: AskedApp) -> Record:
        """One prompt in a native app; run once, stored, and remembered for the rest of the run.

        Raises:
            UserError: the app is not on the phone, or something that Appium needs is missing.
        """
        from harness.devices.appium.native_app import run_native_app  # noqa: PLC0415 - an extra
        from harness.devices.ios.apps import IosApp  # noqa: PLC0415 - an extra
        from harness.devices.ios.native_app import run_ios_app  # noqa: PLC0415 - an extra

        async def ask(device: Device, _: Server) -> Record:
            if isinstance(asked.app, IosApp):
                record, _said = await run_ios_app(
                    device,
                    asked.app,
                    asked.question,
                    results=self._settings.trial.results,
                    run_id=self._settings.trial.run_id,
                    progress=lambda text: self._say(f"{profile.id}: {text}"),
                )
                return record
            result = await run_native_app(
                device,
                asked.app,
                asked.question,
                results=self._settings.trial.results,
                run_id=self._settings.trial.run_id,
                apk=asked.apk,
                progress=lambda text: self._say(f"{profile.id}: {text}"),
            )
            return result.record

        key = (profile.id, asked)
        while key not in self._apps:
            record = self._on_device(profile, ask)
            self._keep(record)
            if record.verdict is Verdict.INFRA and self._once_more(key, record.explanation):
                continue
            self._apps[key] = record
        return self._apps[key]

    def run_binary(self, profile: Profile, plan: BinaryPlan) -> dict[Asked, Record]:
        """The user's program on a phone, once for each case; stored, and remembered.

        Raises:
            UserError: the program is none for this phone.
        """
        from harness.devices.android.binary.trials import run_plan  # noqa: PLC0415 - an extra

        async def run(device: Device, _: Server) -> dict[Asked, Record]:
            return await run_plan(
                device,
                plan,
                run_id=self._settings.trial.run_id,
                results=self._settings.trial.results,
                keep=self._keep,
                retries=self._settings.infra_retries,
                say=lambda text: self._say(f"{profile.id}: {text}"),
            )

        key = (profile.id, plan)
        if key not in self._binaries:
            self._binaries[key] = self._on_device(profile, run)
        return self._binaries[key]

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

        async def work(device: Device, server: Server) -> JsonValue:
            if files is not None:
                server.publish("files", files)
            timeline = Timeline()
            folder = self._settings.trial.results / "pages" / self._settings.trial.run_id
            async with device.session(timeline, folder / device.profile.id) as session:
                tab = await session.open_tab(f"{server.url}/page/limits.html", lambda _: None)
                try:
                    return await tab.call(function, argument, within=within)
                except TabLostError as error:
                    await session.settle()
                    judged = judge(timeline.items)
                    raise TabLostError(f"{error} ({judged.explanation})") from error

        return self._on_device(profile, work)

    def _keep(self, record: Record) -> None:
        try:
            self._store.add(record)
        except StoreError as error:
            raise UserError(
                f"the record of trial {record.trial_id} cannot be stored: {error}",
                "free the disk; the trial must be run again",
            ) from error

    def keep(self, finding: Outcome | Response) -> None:
        """Store what follows from several trials; it is on disk when this returns."""
        try:
            self._store.add_finding(finding)
        except StoreError as error:
            raise UserError(
                f"a finding cannot be stored: {error}", "free the disk, and run again"
            ) from error

    def capability(self, profile: Profile, question: Question) -> Capability:
        """What a library can do on a device: asked, judged, and stored.

        Raises:
            UserError: an artifact cannot be made, or the store cannot be written.
        """
        artifact = question.artifact(self._cache)
        reference = self._reference(profile, question, artifact) if question.tolerance else []
        found, _ = self._on_device(
            profile,
            lambda device, server: ask_library(
                device,
                server,
                question,
                artifact=artifact,
                run_id=self._settings.trial.run_id,
                results=self._settings.trial.results,
                reference=reference,
            ),
        )
        self.keep_capability(found)
        return found

    def _reference(
        self, profile: Profile, question: Question, artifact: Artifact | None
    ) -> list[float]:
        """The output of the native engine, a capability of its own; once a device and artifact."""
        if artifact is None:
            return []
        key = (profile.id, artifact.key)
        if key not in self._references:
            found, self._references[key] = self._on_device(
                profile,
                lambda device, _: run_native_layer(
                    device, question, artifact, self._settings.trial.run_id
                ),
            )
            self.keep_capability(found)
        return self._references[key]

    def refused(self, profile: Profile, question: Question, reason: str) -> Capability:
        """A question that is not asked, since the browser lacks what it takes; stored."""
        found = self._on_device(
            profile,
            lambda device, _: refused_question(
                device, question, reason, self._settings.trial.run_id
            ),
        )
        self.keep_capability(found)
        return found

    def refusals(self, profile: Profile) -> list[Capability]:
        """The engines that the probe rules out on a device for every model, and why; stored."""
        report = self.probe(profile)
        found = self._on_device(
            profile,
            lambda device, _: refused_engines(device, report, self._settings.trial.run_id),
        )
        for capability in found:
            self.keep_capability(capability)
        return found

    def keep_capability(self, capability: Capability) -> None:
        """Store a capability; it is on disk when this returns."""
        try:
            self._store.add_capability(capability)
        except StoreError as error:
            raise UserError(
                f"a capability cannot be stored: {error}", "free the disk, and run again"
            ) from error

    def _artifact(self, workload: Workload, recipe: Recipe) -> Artifact:
        if self._settings.artifact is not None:
            if workload.variant:
                raise UserError(
                    f"--artifact is one file, and {workload} needs another", "leave it out"
                )
            return self._settings.artifact
        asked = varied(recipe, workload.variant)
        return self._cache.ensure(find_model(workload.model), asked, self._making())

    def _making(self) -> Callable[[int, int], None]:
        """Progress of a writer, told once every tenth."""
        told = -1

        def progress(done: int, total: int) -> None:
            nonlocal told
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The loop stands still while a file is written: Ctrl-C would have to wait for it.
                raise asyncio.CancelledError
            tenth = 10 * done // total if total else 10
            if tenth > told:
                told = tenth
                self._say(f"making the model file: {done >> 20} of {total >> 20} MiB")

        return progress

    def _on_device(
        self,
        profile: Profile,
        work: Callable[[Device, Server], Coroutine[Any, Any, T]],
        setup: Setup = AS_INSTALLED,
    ) -> T:
        """Find the device, lease it, open it, run `work`, close it.

        A device that is lost outside of a load says nothing: the work is done once more.
        """
        while True:
            try:
                return self._on_leased_device(profile, work, setup)
            except DeviceLostError as error:
                if not self._once_more((profile.id, work.__qualname__), str(error)):
                    raise
            except OSError as error:
                if error.errno not in _DISK:
                    raise
                raise UserError(
                    f"{error.filename or self._settings.trial.results}: {error.strerror}",
                    "free the disk, or choose another --results",
                ) from error

    def _on_leased_device(
        self,
        profile: Profile,
        work: Callable[[Device, Server], Coroutine[Any, Any, T]],
        setup: Setup,
    ) -> T:
        places = {
            place.resource: place for place in self._runner.run(self._places.of(profile, setup))
        }

        async def run(resource: str) -> T:
            with packages_from(setup.node_modules):
                async with serve() as server, places[resource].open() as device:
                    return await work(device, server)

        run_id = self._settings.trial.run_id
        owner = f"run {run_id}"
        with lease(*places, owner=owner, run_id=run_id, on_wait=self._say) as held:
            return self._runner.run(run(held.resource))
