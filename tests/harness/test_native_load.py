"""Every kind of death of a native engine, caused for real and judged from what the harness saw."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from harness.devices.desktop import DesktopDevice
from harness.emulation.limits import find_limiter
from harness.errors import UserError
from harness.evidence import Timeline
from harness.load import Deadlines, LoadLog
from harness.models import Workload
from harness.native_load import native_load
from harness.profiles import Profile
from harness.recording import measurement_of
from harness.verdict import Judged, judge
from results.record import Evidence, Kind, Measurement, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.child import ChildSession

    Attack = Callable[[ChildSession], None]

DATA: Final = Path(__file__).parent / "data"
PATIENT: Final = Deadlines(load_seconds=60, token_seconds=60)
SHORT: Final = Deadlines(load_seconds=2, token_seconds=1)


@dataclass
class Outcome:
    """What one load left behind."""

    judged: Judged
    evidence: tuple[Evidence, ...]
    log: LoadLog
    measured: Measurement
    remains: list[str]
    progress: list[str]

    @property
    def verdict(self) -> tuple[Verdict, str]:
        return self.judged.verdict, self.judged.cause

    def of(self, kind: Kind) -> list[Evidence]:
        return [item for item in self.evidence if item.kind is kind]


class Lab:
    """A device whose browser is only a program that says its version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0

    def device(self, **limits: Any) -> DesktopDevice:
        if limits:
            try:
                find_limiter()
            except UserError as error:
                pytest.skip(f"NOT TESTED, limits cannot be set here: {error.problem}")
        return DesktopDevice(
            Profile.model_validate(
                {
                    "id": "native",
                    "name": "This machine, without its browser",
                    "kind": "desktop",
                    "browser": {"channels": ["chromium"]},
                    "limits": limits,
                }
            )
        )

    def load(
        self,
        *,
        device: DesktopDevice | None = None,
        attack: Attack | None = None,
        deadlines: Deadlines = PATIENT,
        module: str = "native_child",
        says: list[dict[str, Any]] | None = None,
        **config: Any,
    ) -> Outcome:
        """One load; `attack` begins when the engine says that it is ready for it."""
        self._runs += 1
        folder = self._folder / str(self._runs)

        async def run() -> Outcome:
            timeline = Timeline()
            said: list[str] = []
            seen: set[int] = set()
            async with (device or self.device()).child(timeline, folder) as child:

                def progress(words: str) -> None:
                    said.append(words)
                    seen.update(child.watch.pids())
                    if attack and words == "create: 0 of 0 MiB" and said.count(words) == 1:
                        attack(child)

                log = await native_load(
                    child,
                    timeline,
                    module=module,
                    job={
                        "config": config,
                        "says": says or [],
                        "prompt": {"ids": [5, 6], "text": " a b"},
                        "outputTokens": 3,
                        "warmLimitMs": 60_000,
                    },
                    deadlines=deadlines,
                    progress=progress,
                )
                measured = measurement_of(child, timeline, log, WORKLOAD)
                evidence = timeline.items
            remains = [str(note) for note in self._folder.glob("state/groups/*/*.json")]
            remains += [str(pid) for pid in seen if _alive(pid)]
            return Outcome(judge(evidence), evidence, log, measured, remains, said)

        return asyncio.run(run())


WORKLOAD: Final = Workload(
    model="gemma-2b",
    quantisation="q4_k",
    runtime="llama.cpp/native",
    prompt_tokens=2,
    output_tokens=3,
)


def _alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho Chromium 150.0.1.2\n")
    browser.chmod(0o755)
    monkeypatch.setenv("TIERLAB_BROWSER", str(browser))
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(DATA))
    return Lab(tmp_path)


def send(number: signal.Signals) -> Attack:
    def attack(child: ChildSession) -> None:
        assert child.pid is not None
        os.kill(child.pid, number)

    return attack


pytestmark = pytest.mark.integration


def test_a_good_end(lab: Lab) -> None:
    outcome = lab.load()
    assert outcome.verdict == (Verdict.OK, "tokens")
    assert {item.kind for item in outcome.evidence} <= {Kind.PHASE, Kind.DONE, Kind.PROCESS_EXIT}
    assert {item.source for item in outcome.of(Kind.PHASE)} == {Source.ENGINE}
    assert (outcome.log.tokens, outcome.log.prompt_tokens) == ([300, 301, 302], 3)
    assert outcome.log.warm_ms is not None
    assert outcome.measured.memory.engine_bytes > 5 << 20
    assert outcome.measured.create_seconds is not None
    assert outcome.measured.prompt_tokens == 3
    assert outcome.remains == []


def test_what_a_library_prints_is_no_word_of_the_engine(lab: Lab) -> None:
    """It prints what would be an event, and even the end."""
    outcome = lab.load(act="noise", phase="first-token")
    assert outcome.verdict == (Verdict.OK, "tokens")
    assert outcome.log.tokens == [300, 301, 302]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGKILL, "killed"),
        (signal.SIGTERM, "killed"),
        (signal.SIGSEGV, "segfault"),
        (signal.SIGBUS, "segfault"),
        (signal.SIGABRT, "trap"),
        (signal.SIGILL, "trap"),
    ],
)
def test_a_process_that_a_signal_ends(lab: Lab, number: signal.Signals, cause: str) -> None:
    outcome = lab.load(act="wait", attack=send(number))
    assert outcome.verdict == (Verdict.CRASH, cause)
    (told,) = outcome.of(Kind.CHILD_GONE)
    assert (told.source, told.detail["signal"]) == (Source.PROCESS, number)
    assert "the engine's process" in outcome.judged.explanation
    assert "during create" in outcome.judged.explanation
    assert f"signal {int(number)}" in outcome.judged.explanation
    assert outcome.measured.detection_seconds is not None
    assert outcome.remains == []


@pytest.mark.parametrize("phase", ["start", "decode", "warm"])
def test_a_crash_is_one_of_its_phase(lab: Lab, phase: str) -> None:
    outcome = lab.load(act="signal", number=int(signal.SIGSEGV), phase=phase)
    assert outcome.verdict == (Verdict.CRASH, "segfault")
    assert f"during {phase}" in outcome.judged.explanation


def test_a_crash_after_the_tokens_is_none_of_the_load(lab: Lab) -> None:
    outcome = lab.load(act="signal", number=int(signal.SIGSEGV), phase="dispose")
    assert outcome.verdict == (Verdict.OK, "tokens")


@pytest.mark.parametrize("code", [0, 1, 125])
def test_a_process_that_ends_without_a_word(lab: Lab, code: int) -> None:
    outcome = lab.load(act="exit", code=code)
    assert outcome.verdict == (Verdict.CRASH, "engine-error")
    assert f"exit code {code}" in outcome.judged.explanation


@pytest.mark.parametrize(
    ("act", "verdict", "words"),
    [
        ("raise", (Verdict.CRASH, "engine-error"), "RuntimeError: the engine gave up"),
        ("memory", (Verdict.OOM, "allocation-refused"), "MemoryError"),
        ("huge", (Verdict.OOM, "allocation-refused"), "MemoryError"),
        ("refuse", (Verdict.INFRA, "artifact"), "tensor 'x' is missing"),
        ("unsupported", (Verdict.UNSUPPORTED, "not-possible"), "no such operator"),
    ],
)
def test_what_an_engine_says_of_its_end(
    lab: Lab, act: str, verdict: tuple[Verdict, str], words: str
) -> None:
    outcome = lab.load(act=act)
    assert outcome.verdict == verdict
    assert words in outcome.judged.explanation
    assert outcome.of(Kind.CHILD_GONE) == []


def test_an_engine_that_is_not_installed(lab: Lab) -> None:
    outcome = lab.load(module="no_such_engine")
    assert outcome.verdict == (Verdict.CRASH, "engine-error")
    assert "No module named no_such_engine" in outcome.judged.explanation


@pytest.mark.parametrize("phase", ["create", "decode"])
def test_silence_is_a_hang_and_the_process_does_not_stay(lab: Lab, phase: str) -> None:
    outcome = lab.load(act="wait", phase=phase, deadlines=SHORT)
    assert outcome.verdict == (Verdict.HANG, "deadline")
    assert outcome.of(Kind.DEADLINE)[0].detail["phase"] == phase
    assert outcome.remains == []


@pytest.mark.parametrize("group", [True, False])
def test_a_stopped_process_is_a_hang_and_does_not_stay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, group: bool
) -> None:
    if not group:
        monkeypatch.setattr("harness.devices.desktop.observe", lambda _: None)
    outcome = lab.load(act="wait", attack=send(signal.SIGSTOP), deadlines=SHORT)
    assert outcome.verdict == (Verdict.HANG, "deadline")
    assert outcome.remains == []


@pytest.mark.parametrize(
    "text",
    [
        "words\n",
        "[]\n",
        "{}\n",
        '{"type": "no-such-event"}\n',
        '{"type": "tokens", "ids": "many"}\n',
        '{"type": "done", "tokens": 3, "finite": true, "at_ms": 1}\n',
    ],
)
def test_a_process_that_says_what_makes_no_sense(lab: Lab, text: str) -> None:
    outcome = lab.load(module="native_words", says=[{"text": text}])
    assert outcome.verdict == (Verdict.INFRA, "lab")


def test_a_process_that_never_ends_a_line(lab: Lab) -> None:
    outcome = lab.load(module="native_words", says=[{"text": "x" * 1024, "times": 4 << 10}])
    assert outcome.verdict == (Verdict.INFRA, "lab")
    assert all(len(str(item)) < 6000 for item in outcome.evidence)


def test_a_program_that_cannot_be_started(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    monkeypatch.setattr("harness.devices.desktop.observe", lambda _: None)
    outcome = lab.load()
    assert outcome.verdict == (Verdict.INFRA, "lab")
    assert "/no/such/python" in outcome.judged.explanation


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["create", "decode"])
def test_the_kernel_kills_the_engine_for_memory(lab: Lab, phase: str) -> None:
    outcome = lab.load(device=lab.device(memory="256MiB"), act="touch", phase=phase)
    assert outcome.verdict == (Verdict.OOM, "kernel-oom")
    words = f"the kernel killed the engine's process for memory during {phase}"
    assert words in outcome.judged.explanation
    assert outcome.of(Kind.OOM_KILL)[0].source is Source.CGROUP
    # Sampled while it grew: how far is the poll's luck, but never beyond the limit and its margin.
    assert 0 < outcome.measured.memory.engine_bytes <= 280 << 20
    # The kernel's own high-water mark of the group owes nothing to luck.
    group_peak = outcome.measured.memory.group_peak_bytes
    assert group_peak is not None
    assert 200 << 20 < group_peak <= 280 << 20
    assert outcome.remains == []


def test_a_kill_is_no_oom_in_a_limited_group_either(lab: Lab) -> None:
    outcome = lab.load(device=lab.device(memory="256MiB"), act="wait", attack=send(signal.SIGKILL))
    assert outcome.verdict == (Verdict.CRASH, "killed")
    assert outcome.of(Kind.OOM_KILL) == []


def test_a_limit_of_processors_holds_the_engine_back(lab: Lab) -> None:
    outcome = lab.load(device=lab.device(cpus=0.2), act="burn", seconds=0.5)
    assert outcome.verdict == (Verdict.OK, "tokens")
    assert outcome.measured.throttled_seconds is not None
    assert outcome.measured.throttled_seconds > 0.2


# --- from outside --------------------------------------------------------------------------------

INTERRUPTED: Final = """
import asyncio, signal, sys
from pathlib import Path
from harness.devices.desktop import DesktopDevice
from harness.evidence import Timeline
from harness.load import Deadlines
from harness.native_load import native_load
from harness.profiles import Profile

signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    device = DesktopDevice(Profile.model_validate({
        "id": "native", "name": "n", "kind": "desktop", "browser": {"channels": ["chromium"]},
    }))
    timeline = Timeline()
    async with device.child(timeline, Path(sys.argv[1])) as child:
        await native_load(
            child, timeline, module="native_child", deadlines=Deadlines(),
            job={
                "config": {"act": "wait"}, "outputTokens": 1, "warmLimitMs": 1,
                "prompt": {"ids": [], "text": ""},
            },
            progress=lambda words: print(child.pid, words, flush=True),
        )

asyncio.run(main())
"""


def test_an_interrupt_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    assert lab
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "raw")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if "create:" in line:
            break
    child = psutil.Process(int(line.split()[0]))
    assert child.is_running()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to all that are in the foreground
    _, errors = run.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone
    assert list(tmp_path.glob("state/groups/*/*.json")) == []
