"""A device that plays a script instead of starting a browser."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.devices.base import Gate, HostFacts, MemorySample, TabLostError
from harness.models import MODELS
from harness.profiles import load_profiles
from harness.weights.artifact import Artifact, ArtifactFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pydantic import JsonValue

    from harness.devices.base import OnEvent, PageEvent
    from harness.evidence import Timeline
    from harness.profiles import Profile

    # What happens when the page is called: events go to the first, evidence to the second.
    Script = Callable[[OnEvent, Timeline], None]

REPORT: dict[str, Any] = json.loads(
    (Path(__file__).parent / "probe" / "data" / "chromium_wasm.json").read_text("utf-8")
)

OPEN_GATE = Gate(name="free memory", passed=True, observed="9 GiB", limit="at least 1 GiB")


def probe_well(emit: OnEvent, _: Timeline) -> None:
    emit({"type": "probe-progress", "progress": {"backend": "wasm", "step": "measure"}})
    emit({"type": "probe-report", "report": REPORT})


def load_well(emit: OnEvent, _: Timeline) -> None:
    """A prefill of 100 tokens/s at 16 tokens, and a decode of 25 tokens/s."""
    events: list[PageEvent] = [
        {"type": "phase", "name": "download", "at_ms": 0},
        {"type": "progress", "done": 5, "total": 10},
        {"type": "progress", "done": 10, "total": 10},
        {"type": "phase", "name": "create", "at_ms": 1000},
        {"type": "phase", "name": "first-token", "at_ms": 3000},
        {"type": "tokens", "ids": [5], "ms": 160, "finite": True},
        {"type": "phase", "name": "decode", "at_ms": 3160},
        {"type": "tokens", "ids": [6], "ms": 90, "finite": True},
        {"type": "tokens", "ids": [7], "ms": 40, "finite": True},
        {"type": "tokens", "ids": [8], "ms": 40, "finite": True},
        {"type": "done", "at_ms": 3330, "tokens": 4, "finite": True},
    ]
    for event in events:
        emit(event)


class FakeTab:
    def __init__(self, script: Script, emit: OnEvent, timeline: Timeline) -> None:
        self._script, self._emit, self._timeline = script, emit, timeline
        self.calls: list[tuple[str, Any]] = []

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        assert within > 0
        self.calls.append((function, argument))
        if function == "tierlabAnswer":  # the health check's page plays no script
            return argument
        self._script(self._emit, self._timeline)
        return None

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:
        self.calls.append((selector, list(paths)))

    async def screenshot(self, path: Path) -> bool:
        path.write_bytes(b"a picture")  # noqa: ASYNC240
        return True

    async def close(self) -> None:
        pass


class FakeSession:
    def __init__(self, script: Script, timeline: Timeline) -> None:
        self._script, self._timeline = script, timeline
        self.tabs: list[FakeTab] = []
        self.settled = 0

    async def open_tab(self, url: str, on_event: OnEvent) -> FakeTab:
        assert url.endswith(("/page/trial.html", "/page/blank.html"))
        self.tabs.append(FakeTab(self._script, on_event, self._timeline))
        return self.tabs[-1]

    def memory_curve(self) -> list[MemorySample]:
        return [MemorySample(at_seconds=0.5, processes={"renderer": 7}, group_bytes=9)]

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        return {"renderer": 7, "gpu": 1}, 9

    def cpu_seconds(self) -> float | None:
        return 1.5

    def throttled_seconds(self) -> float | None:
        return 0.25

    async def renew(self, timeline: Timeline) -> None:
        self._timeline = timeline

    async def settle(self) -> None:
        self.settled += 1


class FakeChild(FakeSession):
    """A process that plays a script when it is started."""

    def __init__(self, script: Script, timeline: Timeline) -> None:
        super().__init__(script, timeline)
        self.started: list[tuple[str, dict[str, Any]]] = []

    async def start(self, module: str, job: dict[str, Any], on_event: OnEvent) -> None:
        self.started.append((module, job))
        self._script(on_event, self._timeline)


class FakeDevice:
    """Each session plays the next script."""

    def __init__(self, *scripts: Script, profile: Profile | None = None) -> None:
        self.profile = profile or load_profiles()["desktop"]
        self.scripts = list(scripts)
        self.sessions: list[FakeSession] = []
        self.gate = OPEN_GATE
        self.version = "140.0.1"
        self.persistent: Path | None = None
        self.children: list[FakeChild] = []
        self.taken_by: str | None = None

    async def facts(self) -> HostFacts:
        return HostFacts(
            host="a host",
            operating_system="Linux",
            cpu="a processor",
            cores=2,
            memory_bytes=16 << 30,
            browser="chromium",
            browser_version=self.version,
            emulated=self.profile.limits.memory is not None,
        )

    async def gates(self) -> list[Gate]:
        return [OPEN_GATE, self.gate]

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[FakeSession]:
        self.persistent = persistent
        folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240
        (folder / "browser-stderr.log").write_text("words\n")
        self.sessions.append(FakeSession(self.scripts.pop(0), timeline))
        yield self.sessions[-1]

    @asynccontextmanager
    async def child(self, timeline: Timeline, folder: Path) -> AsyncIterator[FakeChild]:
        assert folder.is_dir()  # noqa: ASYNC240
        self.children.append(FakeChild(self.scripts.pop(0), timeline))
        yield self.children[-1]

    async def rest(self) -> bool:
        return True

    async def recover(self) -> None:
        pass

    async def overtaken(self) -> str | None:
        return self.taken_by


class LostDevice(FakeDevice):
    """Its pages cannot be opened."""

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[FakeSession]:
        async with super().session(timeline, folder, persistent=persistent) as session:

            async def refuse(url: str, on_event: OnEvent) -> FakeTab:  # noqa: ARG001
                raise TabLostError(f"{url} could not be opened")

            session.open_tab = refuse  # type: ignore[method-assign]
            yield session


def artifact(model_id: str = "gemma-3-270m") -> Artifact:
    """The description of a model file that nobody reads."""
    model = MODELS[model_id]
    return Artifact(
        key=f"{model.id}-int4",
        kind="synthetic",
        model=model.id,
        quantisation="int4",
        float_type="fp32",
        directory=Path("nowhere"),
        entry="model.onnx",
        files=(ArtifactFile(name="model.onnx", bytes=10),),
        total_bytes=200_000_000,
        stored_bytes=200_000_000,
        shape={
            "layers": model.layers,
            "kv_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "vocabulary": model.vocabulary,
        },
    )
