"""One browser in which tiny models are loaded through the trial page, one tab after the other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from harness.devices.desktop import DesktopDevice
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.models import Workload
from harness.profiles import load_profiles
from harness.runtimes import find_runtime
from harness.runtimes.base import WebRuntime
from harness.trial import web_job
from harness.verdict import judge
from harness.web.server import serve
from harness.weights.tokenizer import text_of
from results.record import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.desktop_session import DesktopSession
    from harness.load import LoadLog
    from harness.verdict import Judged
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from results.record import Evidence

# Words of the synthetic vocabulary; longer than the window of 8 that tiny models with local layers
# have.
PROMPT = [279 + number * 7 % 700 for number in range(20)]
COUNT = 8


class Browser:
    """One browser and the local server.

    Args:
        runtime: Id of the engine that loads run on.
        folder: Where logs go.
        profile: The device profile; those with WebGPU mostly want `desktop-swiftshader`.
    """

    def __init__(self, runtime: str, folder: Path, profile: str) -> None:
        found = find_runtime(runtime)
        assert isinstance(found, WebRuntime)
        self.runtime: WebRuntime = found
        self._profile = load_profiles()[profile]
        self._folder = folder
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._session: DesktopSession
        self.server: Server

    def __enter__(self) -> Self:
        self._runner.run(self._open())
        return self

    async def _open(self) -> None:
        enter = self._stack.enter_async_context
        self.server = await enter(serve())
        device = await enter(DesktopDevice(self._profile))
        self._deaths = Timeline()
        self._session = await enter(device.session(self._deaths, self._folder))

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def job(self, artifact: Artifact, threads: int = 1, count: int = COUNT) -> dict[str, Any]:
        """What a trial tells the page, with this module's prompt."""
        base = self.server.publish(artifact.key, artifact.directory)
        workload = Workload("tiny", artifact.quantisation or "", self.runtime.id, 20, count)
        job = web_job(workload, self.runtime, artifact, base, threads)
        job["prompt"] = {"ids": PROMPT, "text": text_of(PROMPT)}
        return job

    def load(self, job: dict[str, Any], *, deadlines: Deadlines | None = None) -> Outcome:
        """A full load in a tab of its own."""
        return self._runner.run(self._load(job, deadlines or Deadlines(60, 60)))

    async def _load(self, job: dict[str, Any], deadlines: Deadlines) -> Outcome:
        timeline = Timeline()
        log = await full_load(
            self._session,
            timeline,
            url=f"{self.server.url}/page/trial.html",
            job=job,
            deadlines=deadlines,
            screenshot=self._folder / "screen.png",
            progress=lambda _: None,
        )
        return Outcome(log, (*self._deaths.items, *timeline.items))


class Outcome:
    """A finished load."""

    def __init__(self, log: LoadLog, evidence: tuple[Evidence, ...]) -> None:
        self.log = log
        self.evidence = evidence

    @property
    def judged(self) -> Judged:
        """The verdict."""
        return judge(self.evidence)

    @property
    def error(self) -> str:
        """The page's one error, in words."""
        [error] = [item for item in self.evidence if item.kind is Kind.ENGINE_ERROR]
        return f"{error.text('name')}: {error.text('message')}"
