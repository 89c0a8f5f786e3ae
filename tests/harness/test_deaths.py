"""Every kind of death, caused for real in Chromium, and judged from what the harness saw of it."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from playwright.async_api import Error as PlaywrightError

from harness.devices import processes
from harness.devices.desktop import DesktopDevice
from harness.emulation.limits import find_limiter
from harness.errors import UserError
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.probe.run import ProbeFailedError, run_probe
from harness.profiles import Profile
from harness.verdict import Judged, judge
from harness.web.server import Server, serve
from results.record import Evidence, Kind, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from harness.devices.desktop_session import DesktopSession

    Attack = Callable[[DesktopSession], Awaitable[None]]

pytestmark = pytest.mark.integration

ROOT: Final = Path(__file__).parents[2]
DATA: Final = Path(__file__).parent / "data"
SWIFTSHADER: Final = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)
PATIENT: Final = Deadlines(load_seconds=30, token_seconds=30)
SHORT: Final = Deadlines(load_seconds=1, token_seconds=1)
SMALL: Final = "450MiB"


@dataclass
class Outcome:
    """What one load left behind."""

    judged: Judged
    evidence: tuple[Evidence, ...]
    remains: list[str]
    folder: Path

    def of(self, kind: Kind) -> list[Evidence]:
        return [item for item in self.evidence if item.kind is kind]


class Lab:
    """One event loop, one server, and a device for each way to start the browser."""

    def __init__(self, runner: asyncio.Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._stack = AsyncExitStack()
        self._devices: dict[tuple[str, tuple[str, ...]], DesktopDevice] = {}
        self._count = 0
        self.server: Server = runner.run(
            self._stack.enter_async_context(serve(extra={"/deaths/": DATA}))
        )

    def close(self) -> None:
        self._runner.run(self._stack.aclose())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    def folder(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def device(self, memory: str = "", args: tuple[str, ...] = ()) -> DesktopDevice:
        if memory:
            try:
                find_limiter()
            except UserError as error:
                pytest.skip(f"NOT TESTED, memory limits cannot be set here: {error.problem}")
        key = (memory, args)
        if key not in self._devices:
            device = DesktopDevice(
                Profile.model_validate(
                    {
                        "id": "deaths",
                        "name": "This machine's browser, about to die",
                        "kind": "desktop",
                        "browser": {"channels": ["chromium", "chrome", "msedge"], "args": args},
                        "limits": {"memory": memory} if memory else {},
                    }
                )
            )
            self._devices[key] = self.run(self._stack.enter_async_context(device))
        return self._devices[key]

    def load(self, device: DesktopDevice, *, attack: Attack | None = None, **job: Any) -> Outcome:
        outcome: Outcome = self.run(self.load_async(device, attack=attack, **job))
        return outcome

    async def load_async(
        self,
        device: DesktopDevice,
        *,
        attack: Attack | None = None,
        deadlines: Deadlines = PATIENT,
        adapter: str = "/deaths/deaths.js",
        **config: Any,
    ) -> Outcome:
        """One full load; `attack` begins when the engine says that it is ready for it."""
        timeline, folder = Timeline(), self.folder()
        attacks: list[asyncio.Task[None]] = []
        async with device.session(timeline, folder) as session:

            def progress(words: str) -> None:
                if attack and not attacks and words.startswith("download: "):
                    attacks.append(asyncio.ensure_future(attack(session)))

            seen = session._watch.pids()
            await full_load(
                session,
                timeline,
                url=f"{self.server.url}/page/trial.html",
                job={
                    "workload": "death",
                    "adapter": adapter,
                    "config": config,
                    "prompt": {"ids": [1, 2], "text": "words"},
                    "outputTokens": 3,
                    "warmLimitMs": 0,
                    "source": {"kind": "network", "files": []},
                },
                deadlines=deadlines,
                screenshot=folder / "screenshot.png",
                progress=progress,
            )
            seen |= session._watch.pids() | session._watch._living.keys()
            scope = session._watch._scope
            await asyncio.gather(*attacks)
        groups = scope.record.groups if scope else ()  # type: ignore[attr-defined]
        remains = [str(group) for group in groups if group.exists()]
        remains += [name for pid in seen if (name := alive(pid))]
        return Outcome(judge(timeline.items), timeline.items, remains, folder)


def alive(pid: int) -> str:
    """What a process is, "" when it is dead; a zombie waits for a parent that is not ours."""
    try:
        process = psutil.Process(pid)
        status, words = process.status(), process.cmdline()
    except psutil.NoSuchProcess:
        return ""
    return "" if status == psutil.STATUS_ZOMBIE else f"{pid} {status} {' '.join(words)[:80]}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    patch = pytest.MonkeyPatch()
    patch.setenv("TIERLAB_STATE", str(tmp_path_factory.mktemp("state")))
    with asyncio.Runner() as runner:
        lab = Lab(runner, tmp_path_factory.mktemp("deaths"))
        yield lab
        lab.close()
    patch.undo()


def pids(session: DesktopSession, kind: str) -> list[int]:
    found = processes.sample(session._watch.pids())
    return [item.pid for item in found if item.kind == kind]


def kill(kind: str, number: int = signal.SIGKILL) -> Attack:
    async def attack(session: DesktopSession) -> None:
        victims = pids(session, kind)
        assert victims
        for pid in victims:
            os.kill(pid, number)

    return attack


def go_to(url: str) -> Attack:
    async def attack(session: DesktopSession) -> None:
        page = session._browser.contexts[-1].pages[-1]
        try:
            await page.goto(url, timeout=10_000)
        except PlaywrightError:
            # Chromium's own pages for crashing end before they are there.
            if not url.startswith("chrome://"):
                raise

    return attack


async def close_page(session: DesktopSession) -> None:
    await session._browser.contexts[-1].pages[-1].close()


# --- a process goes away ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "cause", "status"),
    [
        (signal.SIGKILL, "killed", "killed"),
        (signal.SIGTERM, "killed", "killed"),
        (signal.SIGSEGV, "segfault", "crashed"),
        (signal.SIGBUS, "segfault", "crashed"),
        (signal.SIGTRAP, "trap", "crashed"),
    ],
)
def test_a_renderer_that_a_signal_ends(lab: Lab, number: int, cause: str, status: str) -> None:
    device = lab.device()
    outcome = lab.load(device, act="wait", phase="download", attack=kill("renderer", number))
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, cause)
    (told,) = [item for item in outcome.of(Kind.RENDERER_GONE) if item.source is Source.CDP]
    assert told.detail == {"status": status, "code": number}
    assert "during download" in outcome.judged.explanation
    assert not outcome.of(Kind.OOM_KILL)
    assert not outcome.remains


@pytest.mark.parametrize(
    ("page", "cause", "code"),
    [("crash", "segfault", 11), ("kill", "killed", 15), ("memory-exhaust", "trap", 5)],
)
def test_chromiums_own_ways_to_die(lab: Lab, page: str, cause: str, code: int) -> None:
    device = lab.device()
    outcome = lab.load(device, act="wait", phase="download", attack=go_to(f"chrome://{page}"))
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, cause)
    assert any(item.detail.get("code") == code for item in outcome.of(Kind.RENDERER_GONE))
    # The allocator of this version ends itself without a word on stderr.
    assert not outcome.of(Kind.OUT_OF_MEMORY_LINE)
    assert not outcome.remains


def test_a_killed_browser(lab: Lab) -> None:
    outcome = lab.load(lab.device(), act="wait", phase="download", attack=kill("browser"))
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, "browser-gone")
    assert not outcome.of(Kind.LAB_ERROR)
    assert not outcome.remains


def test_a_killed_gpu_process_that_holds_the_model(lab: Lab) -> None:
    device = lab.device(args=SWIFTSHADER)
    outcome = lab.load(device, act="hold", phase="download", attack=kill("gpu"))
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, "gpu-lost")
    (line,) = outcome.of(Kind.GPU_PROCESS_GONE)
    assert line.detail["exit_code"] == signal.SIGKILL
    assert line.text("line") in outcome.judged.explanation
    assert outcome.of(Kind.DEVICE_LOST)[0].detail["reason"] == "unknown"
    assert not outcome.of(Kind.RENDERER_GONE)
    assert not outcome.remains


@pytest.mark.parametrize("kind", ["gpu", "utility", "zygote"])
def test_a_process_that_the_load_does_not_need(lab: Lab, tmp_path: Path, kind: str) -> None:
    """The load goes on and ends well, unless the browser cannot do without that process."""

    async def attack(session: DesktopSession) -> None:
        await kill(kind)(session)
        (tmp_path / "open").touch()

    gate = lab.server.publish(f"gate-{kind}", tmp_path) + "open"
    outcome = lab.load(lab.device(), act="gate", phase="download", gate=gate, attack=attack)
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OK, "tokens")
    assert not outcome.of(Kind.RENDERER_GONE)
    assert not outcome.remains


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["download", "create", "decode"])
def test_the_kernel_kills_the_renderer_for_memory(lab: Lab, phase: str) -> None:
    outcome = lab.load(lab.device(SMALL), act="touch", phase=phase)
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "kernel-oom")
    assert f"the kernel killed the renderer for memory during {phase}" in outcome.judged.explanation
    assert outcome.of(Kind.OOM_KILL)[0].source is Source.CGROUP
    assert "oom_kill" in outcome.of(Kind.OOM_KILL)[0].text("counter")
    assert not outcome.remains


def test_the_kernel_kills_the_gpu_process_for_memory(lab: Lab) -> None:
    outcome = lab.load(lab.device("600MiB", SWIFTSHADER), act="buffers", phase="create")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "kernel-oom")
    assert "killed the GPU process for memory during create" in outcome.judged.explanation
    assert outcome.of(Kind.OOM_KILL)
    assert outcome.of(Kind.DEVICE_LOST)
    assert not outcome.of(Kind.RENDERER_GONE)
    assert not outcome.remains


def test_a_kill_is_no_oom_in_a_limited_group_either(lab: Lab) -> None:
    device = lab.device(SMALL)
    outcome = lab.load(device, act="wait", phase="download", attack=kill("renderer"))
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, "killed")
    assert not outcome.of(Kind.OOM_KILL)
    assert not outcome.remains


def test_v8_reaches_its_heap_limit(lab: Lab) -> None:
    device = lab.device(args=("--js-flags=--max-old-space-size=64",))
    outcome = lab.load(device, act="heap", phase="create")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "v8-heap")
    assert outcome.of(Kind.V8_OOM)[0].source is Source.STDERR
    assert outcome.of(Kind.RENDERER_GONE)
    assert not outcome.of(Kind.OOM_KILL)
    assert not outcome.remains


def test_an_array_that_cannot_be_had(lab: Lab) -> None:
    outcome = lab.load(lab.device(), act="refused", phase="create")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "allocation-refused")
    assert outcome.of(Kind.ENGINE_ERROR)[0].detail["name"] == "RangeError"
    assert not outcome.of(Kind.RENDERER_GONE)
    assert (outcome.folder / "screenshot.png").stat().st_size > 1000
    assert not outcome.remains


def test_an_engine_whose_memory_does_not_suffice(lab: Lab, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["large"])],
        "large",
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("large", TensorProto.FLOAT, None)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), tmp_path / "large.onnx")
    dist = "/npm/onnxruntime-web/dist/"
    outcome = lab.load(
        lab.device(),
        act="engine",
        phase="create",
        bundle=dist + "ort.wasm.min.mjs",
        wasmPaths=dist,
        graph=lab.server.publish("large", tmp_path) + "large.onnx",
        elements=(1 << 30) - 100_000,  # 400 kB less than a 32-bit memory
    )
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "allocation-refused")
    assert "std::bad_alloc" in outcome.judged.explanation
    assert not outcome.of(Kind.RENDERER_GONE)
    assert not outcome.remains


# --- alive, and no result ----------------------------------------------------------------------


def test_a_device_without_an_adapter(lab: Lab) -> None:
    device = lab.device(args=("--disable-gpu", "--disable-features=WebGPU"))
    adapter = "/adapters/onnxruntime_web.js"
    outcome = lab.load(device, adapter=adapter, backend="webgpu")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.UNSUPPORTED, "not-possible")
    assert "WebGPU" in outcome.judged.explanation
    assert not outcome.remains


@pytest.mark.parametrize("phase", ["start", "create", "first-token", "decode"])
def test_an_engine_that_never_answers(lab: Lab, phase: str) -> None:
    outcome = lab.load(lab.device(), act="spin", phase=phase, deadlines=SHORT)
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.HANG, "deadline")
    assert outcome.of(Kind.DEADLINE)[0].detail["phase"] == phase
    assert outcome.of(Kind.DEADLINE)[0].source is Source.WATCHDOG
    assert (outcome.folder / "screenshot.png").stat().st_size > 1000
    assert not outcome.remains


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("kind", ["renderer", "browser"])
def test_a_stopped_process_is_a_hang_and_does_not_stay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, *, group: bool
) -> None:
    monkeypatch.setattr("harness.devices.desktop.CLOSE_SECONDS", 1)
    monkeypatch.setattr("harness.devices.desktop_session.CLOSE_SECONDS", 1)
    monkeypatch.setattr("harness.devices.desktop_session.SCREENSHOT_SECONDS", 1)
    if not group:
        monkeypatch.setattr("harness.devices.desktop.observe", lambda _: None)
    outcome = lab.load(
        lab.device(),
        act="wait",
        phase="download",
        attack=kill(kind, signal.SIGSTOP),
        deadlines=SHORT,
    )
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.HANG, "deadline")
    assert not outcome.remains


@pytest.mark.parametrize(
    ("attack", "words"),
    [(go_to("about:blank"), "the trial page went to about:blank"), (close_page, "was closed")],
)
def test_a_page_that_is_left_is_no_word_about_the_device(
    lab: Lab, attack: Attack, words: str
) -> None:
    outcome = lab.load(lab.device(), act="wait", phase="download", attack=attack)
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.INFRA, "lab")
    assert words in outcome.judged.explanation
    assert not outcome.remains


def test_an_error_that_the_engine_does_not_handle(lab: Lab) -> None:
    outcome = lab.load(lab.device(), act="stray", phase="create")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, "engine-error")
    assert "TypeError: stray" in outcome.judged.explanation
    assert not outcome.remains


def test_an_adapter_that_is_not_there(lab: Lab) -> None:
    outcome = lab.load(lab.device(), adapter="/deaths/no-such-adapter.js")
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, "engine-error")
    assert "no-such-adapter.js" in outcome.judged.explanation


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"tokens": 0}, "no-tokens"),
        ({"finite": False}, "not-finite"),
        ({"act": "invalid", "phase": "create"}, "validation"),
    ],
)
def test_an_end_without_a_meaning(lab: Lab, config: dict[str, Any], cause: str) -> None:
    outcome = lab.load(lab.device(args=SWIFTSHADER), **config)
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.CRASH, cause)
    assert outcome.of(Kind.DONE)
    assert not outcome.remains


def test_a_good_end(lab: Lab) -> None:
    outcome = lab.load(lab.device())
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OK, "tokens")
    # A renderer that the navigation replaced may end; nothing else may.
    assert {item.kind for item in outcome.evidence} <= {Kind.PHASE, Kind.DONE, Kind.PROCESS_EXIT}
    assert not outcome.remains


# --- around the load -----------------------------------------------------------------------------


def test_two_browsers_do_not_see_each_others_deaths(lab: Lab, tmp_path: Path) -> None:
    gate = lab.server.publish("two", tmp_path) + "open"
    first, second = lab.device(SMALL), lab.device()

    async def both() -> tuple[Outcome, Outcome]:
        async def dies() -> Outcome:
            outcome = await lab.load_async(first, act="touch", phase="create")
            (tmp_path / "open").touch()
            return outcome

        return await asyncio.gather(
            dies(), lab.load_async(second, act="gate", phase="create", gate=gate)
        )

    dead, well = lab.run(both())
    assert dead.judged.cause == "kernel-oom"
    assert well.judged.verdict is Verdict.OK
    assert not well.of(Kind.OOM_KILL)
    assert not [*dead.remains, *well.remains]


def test_an_unlimited_browser_is_counted_in_a_group_of_its_own(lab: Lab) -> None:
    lab.device(SMALL)  # skips where no group can be had

    async def counter() -> tuple[str, Source]:
        async with lab.device().session(Timeline(), lab.folder()) as session:
            return session._watch._oom.name, session._watch._oom.source

    name, source = lab.run(counter())
    assert source is Source.CGROUP
    assert not name.startswith("machine-wide")


class Watched:
    """A device that hands out the session it made."""

    def __init__(self, device: DesktopDevice) -> None:
        self._device = device
        self.profile = device.profile
        self.session_made: DesktopSession | None = None

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[DesktopSession]:
        made = self._device.session(timeline, folder, persistent=persistent)
        async with made as self.session_made:
            yield self.session_made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


@pytest.mark.parametrize(
    ("kind", "reason"), [("renderer", "renderer-gone"), ("browser", "browser-gone")]
)
def test_a_death_during_the_probe_is_its_reason(lab: Lab, kind: str, reason: str) -> None:
    device = Watched(lab.device())

    def progress(_: str) -> None:
        assert device.session_made is not None
        for pid in pids(device.session_made, kind):
            os.kill(pid, signal.SIGKILL)

    probe = run_probe(device, lab.server, lab.folder(), budget_ms=500, seed=1, progress=progress)
    with pytest.raises(ProbeFailedError, match=reason):
        lab.run(probe)


def fake_browser(folder: Path, script: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o700)
    return path


def test_a_browser_that_does_not_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lab.folder()
    path = fake_browser(folder, "echo first >&2; echo 'no such display' >&2; exit 1")
    monkeypatch.setenv("TIERLAB_BROWSER", str(path))

    async def start() -> None:
        profile = lab.device().profile
        async with DesktopDevice(profile) as device, device.session(Timeline(), folder / "raw"):
            raise AssertionError("it started")

    with pytest.raises(UserError, match=f"{path} does not start: no such display"):
        lab.run(start())
    left = {file.name for file in (folder / "raw").iterdir()}
    assert left == {"browser-stderr.log"}


UNPRIVILEGED: Final = """
import asyncio, os, sys
from pathlib import Path
from harness.devices.desktop import DesktopDevice
from harness.errors import UserError
from harness.evidence import Timeline
from harness.profiles import Profile

os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))

async def main():
    profile = Profile.model_validate({
        "id": "d", "name": "d", "kind": "desktop",
        "browser": {"channels": ["chromium", "chrome"]}, "limits": {"memory": "512MiB"},
    })
    try:
        async with DesktopDevice(profile).session(Timeline(), Path(sys.argv[3])):
            print("limits were granted")
    except UserError as error:
        print("refused:", error)

asyncio.run(main())
"""


def test_limits_that_are_not_permitted_are_refused(lab: Lab, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED, only root can become a user without permissions")
    nobody = pwd.getpwnam("nobody")
    folder = tmp_path / "nobody"
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    for above in folder.parents:
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(nobody.pw_uid), str(nobody.pw_gid), str(folder)],
        env={**os.environ, "TIERLAB_STATE": str(folder), "HOME": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("refused: memory and CPU limits cannot be set here"), done.stderr
    assert "Permission denied" in done.stdout
    assert lab.server.url
