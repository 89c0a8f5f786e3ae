"""Run a benchmark program on a phone, watched from all sides, and say what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.binary import death
from harness.devices.android.binary.kinds import RUN_SECONDS, BinarySpec
from harness.devices.android.binary.script import (
    ERR,
    OUT,
    Ended,
    Memory,
    Started,
    kill_script,
    read_line,
    run_script,
)
from harness.devices.android.binary.staging import Staged, staged
from harness.devices.android.logcat import Logcat
from harness.devices.base import MemorySample
from harness.evidence import Timeline
from harness.verdict import Judged, judge
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.android.binary.figures import Figures
    from harness.devices.android.binary.kinds import Parameters
    from harness.devices.android.logcat import LogLine

PROCESS: Final = "engine"
LOG_FILE: Final = "logcat.txt"
_LOG_SECONDS: Final = 3.0
_KILL_SECONDS: Final = 15.0
_READ_SECONDS: Final = 20.0
# A program's output is short; one that fills the storage is cut.
_MOST_OUTPUT: Final = 1 << 20
_CURVE_SAMPLES: Final = 20_000


@dataclass(frozen=True, slots=True)
class BinaryResult:
    """What came of one run.

    Attributes:
        parameters: how it was run.
        runtime: id of the runtime.
        linked: how the program is linked, in words.
        command: as it was called on the phone.
        figures: what it measured, as far as it said so.
        exit_code: of the program; None: it did not end by itself, or the phone was lost.
        curve: its memory over time.
        peak_bytes: the most that were resident at once, by the kernel's own mark.
        least_available_bytes: the least that the phone had left; None: not seen.
        wall_seconds: from its start to its end.
        timeline: all evidence.
    """

    parameters: Parameters
    runtime: str
    linked: str
    command: str
    figures: Figures
    exit_code: int | None
    curve: tuple[MemorySample, ...]
    peak_bytes: int
    least_available_bytes: int | None
    wall_seconds: float
    timeline: Timeline

    @property
    def judged(self) -> Judged:
        """The verdict that the evidence supports."""
        return judge(self.timeline.items)


@dataclass(slots=True)
class _Run:
    """What is known of a run while it goes on."""

    timeline: Timeline
    progress: Callable[[str], None]
    pid: int | None = None
    ended: Ended | None = None
    last: Memory | None = None
    peak: int = 0
    least: int | None = None
    curve: list[MemorySample] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Take one line of the script."""
        match read_line(line):
            case Started(pid):
                self.pid = pid
                self.timeline.add(Source.ENGINE, Kind.PHASE, name="run")
            case Memory() as memory:
                self._measure(memory)
            case Ended() as ended:
                self.ended = ended

    def _measure(self, memory: Memory) -> None:
        self.last = memory
        self.peak = max(self.peak, memory.peak)
        least = memory.available if self.least is None else self.least
        self.least = min(memory.available, least)
        if len(self.curve) < _CURVE_SAMPLES:
            at = round(self.timeline.now(), 3)
            self.curve.append(MemorySample(at, {PROCESS: memory.resident}))
        self.progress(
            f"running: {memory.resident >> 20} MiB, the phone has {memory.available >> 20} MiB left"
        )


async def run_binary(
    phone: Phone,
    spec: BinarySpec,
    parameters: Parameters,
    folder: Path,
    *,
    within: float = RUN_SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> BinaryResult:
    """Push a program and its model, run it once, and remove both.

    Args:
        phone: leased by the caller.
        spec: the user's files.
        parameters: how it is run.
        folder: for the raw evidence: output, errors, the phone's log; it exists.
        within: seconds that the program may take.
        progress: told in words what is going on.

    Raises:
        UserError: the files are not for this phone.
        TransportLostError: the phone was lost before the program was started; later it is
            evidence.
    """
    async with staged(phone, spec, progress) as stage:
        return await run_staged(phone, stage, parameters, folder, within=within, progress=progress)


async def run_staged(
    phone: Phone,
    stage: Staged,
    parameters: Parameters,
    folder: Path,
    *,
    within: float = RUN_SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> BinaryResult:
    """Run a program that is on the phone already; see `run_binary`."""
    words = [stage.program, *stage.kind.arguments(stage.model, parameters, stage.options)]
    memory_bytes = await _memory_bytes(phone)
    timeline = Timeline()
    run = _Run(timeline, progress)
    lines: list[LogLine] = []
    log = Logcat(phone, folder / LOG_FILE, lines.append)
    output = errors = ""
    wall = 0.0
    try:
        await log.start()
        began = timeline.now()
        try:
            await _follow(phone, run_script(stage.directory, words), run, within)
        finally:
            wall = timeline.now() - began
            # Whatever ended the wait: nothing may go on on the phone.
            await asyncio.shield(_kill(phone, stage.directory))
        output, errors = await _keep_output(phone, stage.directory, folder)
        if run.ended is None or run.ended.exit_code:
            await log.catch_up(within=_LOG_SECONDS)
    except TransportLostError as error:
        timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=str(error)[:400])
    finally:
        await log.stop()
    figures = stage.kind.parse(f"{output}\n{errors}")
    _conclude(run, figures, errors, lines, memory_bytes, parameters=parameters)
    return BinaryResult(
        parameters=parameters,
        runtime=stage.kind.runtime,
        linked=stage.linked,
        command=shlex.join(words),
        figures=figures,
        exit_code=run.ended.exit_code if run.ended else None,
        curve=tuple(run.curve),
        peak_bytes=max(run.peak, figures.peak_bytes or 0),
        least_available_bytes=run.least,
        wall_seconds=wall,
        timeline=timeline,
    )


async def _follow(phone: Phone, script: str, run: _Run, within: float) -> None:
    """Read what the script says until the program ends, or its time is over."""
    try:
        async with asyncio.timeout(within):
            async with contextlib.aclosing(phone.lines(script)) as lines:
                async for line in lines:
                    run.take(line)
                    if run.ended is not None:
                        return
    except TimeoutError:
        run.timeline.add(Source.WATCHDOG, Kind.DEADLINE, phase="run", seconds=round(within, 1))
    except CommandError as error:
        message = f"the script that runs the program failed: {error}"[:400]
        run.timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)


def _conclude(
    run: _Run,
    figures: Figures,
    errors: str,
    lines: list[LogLine],
    memory_bytes: int,
    *,
    parameters: Parameters,
) -> None:
    """Tell the timeline how it ended; nothing, where that is evidence already."""
    found: list[death.Finding] = []
    if run.pid is not None and run.ended is not None and run.ended.exit_code:
        found = death.read_all(lines, run.pid)
    told = any(finding.kind is Kind.LMK_KILL for finding in found)
    if run.ended is not None:
        found += death.findings(
            run.ended,
            errors,
            measured=figures.complete,
            last=run.last,
            memory_bytes=memory_bytes,
            told=told,
        )
    for finding in found:
        run.timeline.add(finding.source, finding.kind, **finding.detail)
    if run.ended is not None and not run.ended.exit_code and figures.complete:
        tokens = (figures.output_tokens or parameters.output_tokens) * len(figures.decode)
        run.timeline.add(Source.ENGINE, Kind.DONE, tokens=tokens, finite=None)


async def _keep_output(phone: Phone, directory: str, folder: Path) -> tuple[str, str]:
    """Both outputs, the last MiB of each, also as files in `folder`."""
    kept = []
    for name in (OUT, ERR):
        command = ["tail", "-c", str(_MOST_OUTPUT), f"{directory}/{name}"]
        try:
            data = await phone.output(command, within=_READ_SECONDS, check=False)
        except (CommandError, CommandTimeoutError):
            data = b""
        await asyncio.to_thread((folder / f"binary-{name}.txt").write_bytes, data)
        kept.append(data.decode(errors="replace"))
    return kept[0], kept[1]


async def _kill(phone: Phone, directory: str) -> None:
    with contextlib.suppress(CommandError, CommandTimeoutError, TransportLostError):
        await phone.run(kill_script(directory), within=_KILL_SECONDS)


async def _memory_bytes(phone: Phone) -> int:
    """All of the phone's memory; 0 where it does not say."""
    text = (await phone.run("cat /proc/meminfo", check=False)).text
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "MemTotal:" and words[1].isdecimal():
            return int(words[1][:18]) * 1024
    return 0
