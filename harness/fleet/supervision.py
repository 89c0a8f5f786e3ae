"""A command that ends with whoever started it.

The worker's end is a signal to its job, and the job's end is one to pytest, which takes an
interrupt as a reason to put everything back. A run that goes on for nobody would hold its device.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.linux import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# The worker says who it is, so that a job that begins after its end does not begin.
WORKER_PID: Final = "TIERLAB_WORKER_PID"

# Closing a browser, a phone's forwards and a lease takes seconds; a stuck phone is not waited for.
_GRACE_SECONDS: Final = 30.0

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def end_with_worker() -> None:
    """Be told to end when the worker ends, and do not begin where it is gone already."""
    worker = os.environ.get(WORKER_PID)
    if worker is not None and sys.platform == "linux":
        die_with_parent(int(worker), signal.SIGTERM)


def supervise(command: list[str], *, grace: float = _GRACE_SECONDS) -> int:
    """Run a command that ends with this process; its exit code, or 128 and a signal's number.

    A signal to end is passed on as an interrupt, once; who does not end within `grace` seconds is
    killed, with all of its process group.
    """
    me = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        if sys.platform == "linux":
            die_with_parent(me, signal.SIGINT)

    # This process has one thread, and what runs before the exec takes no lock.
    process = subprocess.Popen(command, preexec_fn=prepare, start_new_session=True)  # noqa: PLW1509
    with _passed_on(process) as asked:
        while True:
            try:
                code = process.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if asked and time.monotonic() - asked[0] > grace:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[float]]:
    """Pass the first signal to end on; the times at which one came, as they come."""
    asked: list[float] = []

    def interrupt(_: int, __: FrameType | None) -> None:
        if not asked and process.poll() is None:
            process.send_signal(signal.SIGINT)
        asked.append(time.monotonic())

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
