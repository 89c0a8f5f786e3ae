"""A program is run, watched and ended for real: in this machine's shell in place of a phone's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.devices.android.adb import TransportLostError
from harness.devices.android.binary import staging
from harness.devices.android.binary.kinds import BinarySpec, Parameters
from harness.devices.android.binary.run import run_binary
from harness.devices.android.binary.script import ERR, OUT
from harness.devices.android.binary.staging import remove, staged, sweep
from harness.errors import UserError
from results.record import Verdict
from tests.harness.devices.android.binary.local_phone import SHELLS, LocalPhone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from harness.devices.android.binary.run import BinaryResult

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc as a phone has it"),
]
DATA = Path(__file__).parent / "data"
PARAMETERS = Parameters(prompt_tokens=16, output_tokens=8, threads=2)
FIGURES = f"cat {DATA / 'llama-bench.jsonl'}"


@pytest.fixture(params=SHELLS)
def phone(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalPhone:
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setattr(staging, "ROOT", str(root))
    return LocalPhone(request.param)


def program(folder: Path, body: str, *, name: str = "llama-bench") -> BinarySpec:
    """A program that does `body`, or lists what it knows."""
    path = folder / name
    path.write_text(
        "#!/bin/sh\n"
        'case "$1" in --help*) echo "-m -p -n -t -r -o -b -ub -d -ngl"; exit 0;; esac\n'
        f"{body}\n"
    )
    model = folder / "my model$(x).gguf"
    model.write_bytes(b"GGUF")
    return BinarySpec(path, model)


def run(phone: LocalPhone, folder: Path, body: str, *, within: float = 20.0) -> BinaryResult:
    out = folder / "out"
    out.mkdir()

    def told(text: str) -> None:
        if text.startswith("running"):
            (folder / "seen").touch()

    spec = program(folder, body)
    result = asyncio.run(run_binary(phone, spec, PARAMETERS, out, within=within, progress=told))
    assert not list(Path(staging.ROOT).iterdir()), "the phone was not left clean"
    return result


def until_written(path: Path) -> None:
    end = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only its parent has not noticed the end of does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_run_that_measures(phone: LocalPhone, tmp_path: Path) -> None:
    # It lives until its memory was looked at.
    body = f'echo "$@" >&2; until [ -e {tmp_path}/seen ]; do sleep 0.05; done; {FIGURES}'
    result = run(phone, tmp_path, body)
    assert result.judged.verdict is Verdict.OK, result.judged
    assert result.exit_code == 0
    assert result.figures.complete
    assert result.peak_bytes > 0
    assert result.curve[0].processes["engine"] > 0
    assert result.least_available_bytes
    errors = (tmp_path / "out" / f"binary-{ERR}.txt").read_text()
    assert errors == "-m my_model__x_.gguf -p 16 -n 8 -t 2 -r 3 -o jsonl -ngl 0\n"
    assert (tmp_path / "out" / f"binary-{OUT}.txt").read_text().startswith("{")


@pytest.mark.parametrize(
    ("body", "ended", "words"),
    [
        ("echo nothing of use", (Verdict.INFRA, "lab"), "no figures"),
        ("exit 127", (Verdict.INFRA, "lab"), "does not run the program"),
        ("kill -ILL $$", (Verdict.UNSUPPORTED, "not-possible"), "SIGILL"),
        ("kill -SEGV $$", (Verdict.CRASH, "segfault"), "signal 11"),
        ("kill -KILL $$", (Verdict.CRASH, "killed"), "signal 9"),
        ("echo 'error: it broke' >&2; exit 3", (Verdict.CRASH, "engine-error"), "it broke"),
        (
            "echo 'alloc_buffer: failed to allocate buffer of size 9' >&2; exit 1",
            (Verdict.OOM, "allocation-refused"),
            "failed to allocate buffer of size 9",
        ),
        (
            "echo \"error loading model: unknown model architecture: 'x'\" >&2; exit 1",
            (Verdict.INFRA, "artifact"),
            "unknown model architecture",
        ),
    ],
)
def test_ends_are_told_apart(
    phone: LocalPhone, tmp_path: Path, body: str, ended: tuple[Verdict, str], words: str
) -> None:
    result = run(phone, tmp_path, body)
    assert (result.judged.verdict, result.judged.cause) == ended, result.judged
    assert words in result.judged.explanation


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(
    phone: LocalPhone, tmp_path: Path
) -> None:
    result = run(phone, tmp_path, "sleep 1000 & echo $! >&2; wait", within=1.0)
    assert result.judged.verdict is Verdict.HANG
    child = int((tmp_path / "out" / f"binary-{ERR}.txt").read_text())
    assert not lives(child)


def test_a_cancelled_run_leaves_nothing(phone: LocalPhone, tmp_path: Path) -> None:
    async def cancel() -> int:
        spec = program(tmp_path, f"echo $$ >{tmp_path}/pid; while :; do sleep 1; done")
        task = asyncio.create_task(run_binary(phone, spec, PARAMETERS, tmp_path))
        await asyncio.to_thread(until_written, tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int((tmp_path / "pid").read_text())

    async def bounded() -> int:
        async with asyncio.timeout(30):
            return await cancel()

    assert not lives(asyncio.run(bounded()))
    assert not list(Path(staging.ROOT).iterdir())


@pytest.mark.parametrize("ignores_pipes", [False, True])
def test_a_phone_that_is_lost_is_no_statement_about_it(
    phone: LocalPhone, tmp_path: Path, *, ignores_pipes: bool
) -> None:
    class Unplugged(LocalPhone):
        async def lines(self, command: str | Sequence[str]) -> AsyncGenerator[str]:
            async with contextlib.aclosing(super().lines(command)) as lines:
                async for line in lines:
                    yield line
                    if line.startswith("@ pid"):
                        self.lost = True

    other = Unplugged(phone._shell_path)
    other.ignores_pipes = ignores_pipes
    out = tmp_path / "out"
    out.mkdir()
    spec = program(tmp_path, "sleep 1000")
    result = asyncio.run(run_binary(other, spec, PARAMETERS, out))
    assert (result.judged.verdict, result.judged.cause) == (Verdict.INFRA, "transport-lost")
    left = list(Path(staging.ROOT).iterdir())
    assert len(left) == 1, "a phone that is gone cannot be cleaned"
    # The script found out that nobody reads, and ended the program.
    pid = int((left[0] / "pid").read_text())
    assert not lives(pid)
    # The next run cleans it.
    other.lost = False
    assert asyncio.run(sweep(other)) == [str(left[0])]
    assert not left[0].exists()


def test_a_program_that_the_phone_cannot_run_is_refused_before_the_model_is_pushed(
    phone: LocalPhone, tmp_path: Path
) -> None:
    spec = program(tmp_path, "")
    spec.binary.write_text("#!/system/bin/sh\n")
    spec.model.write_bytes(b"big")

    async def stage() -> None:
        async with staged(phone, spec):
            pytest.fail("it must not get so far")

    if Path("/system/bin/sh").exists():
        pytest.skip("this machine has Android's shell")
    with pytest.raises(UserError, match="does not run llama-bench"):
        asyncio.run(stage())
    assert not list(Path(staging.ROOT).iterdir())


def test_what_a_killed_harness_left_is_ended_and_removed(phone: LocalPhone, tmp_path: Path) -> None:
    directory = Path(staging.ROOT) / "tierlab-binary-00ff00ff"
    directory.mkdir()
    ready = tmp_path / "ready"
    command = f"echo 1 >{ready}; while :; do sleep 1; done"
    with subprocess.Popen(["/bin/sh", "-c", command], cwd=directory) as process:
        try:
            until_written(ready)
            assert asyncio.run(sweep(phone)) == [str(directory)]
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()
    assert not directory.exists()


def test_only_what_is_ours_is_removed(phone: LocalPhone) -> None:
    for directory in ("/data/local/tmp", "/", f"{staging.ROOT}/other", f"{staging.ROOT}/../x"):
        with pytest.raises(ValueError, match="none of ours"):
            asyncio.run(remove(phone, directory))
    other = Path(staging.ROOT) / "tierlab-binary-$(touch x)"
    other.mkdir()
    assert asyncio.run(sweep(phone)) == []
    assert other.exists()
    assert not os.path.exists("x")  # noqa: PTH110


def test_a_phone_that_is_gone_before_the_start_is_an_error(
    phone: LocalPhone, tmp_path: Path
) -> None:
    phone.lost = True
    with pytest.raises(TransportLostError):
        asyncio.run(run_binary(phone, program(tmp_path, ""), PARAMETERS, tmp_path))


def test_files_that_are_missing_are_named(phone: LocalPhone, tmp_path: Path) -> None:
    spec = program(tmp_path, "")
    spec.model.unlink()
    with pytest.raises(UserError, match="there is no such file"):
        asyncio.run(run_binary(phone, spec, PARAMETERS, tmp_path))
