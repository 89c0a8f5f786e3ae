"""Runs a command as long as its own stdin is open, and leaves none of its processes.

    python guard.py FOLDER COMMAND [ARGUMENT...]

Appium starts chromedriver, adb and more; if its owner is killed, nothing else would end them. The
guard must be started in a session of its own: at the end it removes the folder, which is the
command's own, and kills its whole process group, itself included.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Final

# How long the command may take to end by itself: Appium closes its sessions on SIGTERM.
GRACE_SECONDS: Final = 5.0


def main(folder: str, command: list[str]) -> None:
    """Run the command to its end, or to the end of stdin. Does not return."""
    if os.getpgrp() != os.getpid():
        raise SystemExit("the guard would kill those who started it: it needs its own session")
    # Only the end of stdin counts. Not SIG_IGN, which the command would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        threading.Thread(target=_end_with_stdin, args=(process,), daemon=True).start()
        code = process.wait()
    print(f"guard: the command ended with {code}", flush=True)  # noqa: T201 - goes to the log
    shutil.rmtree(folder, ignore_errors=True)
    # What the command left is in the same group, and so is the guard.
    os.killpg(0, signal.SIGKILL)


def _end_with_stdin(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1 << 12):
            pass
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
