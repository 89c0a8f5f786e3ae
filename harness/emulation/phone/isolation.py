"""Closing a phone in: which ways there are on this host, and the processes that they need.

    supervisor (the host's)          owns the port, the memory group, the folder
      `- keeper                      leaves the host's namespaces
           `- init (PID 1 inside)    mounts the root; adopts and reaps orphans
                `- daemon            what the harness speaks to; parent of shell and browser

Each is killed when the one above it ends, however that ends; when PID 1 ends the kernel kills every
process inside, and with the last one go mounts and sockets. Without a PID namespace, keeper and
init are one process, which adopts orphans and kills them at the end.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from harness.emulation.phone import linux
from harness.emulation.phone.root import RootPlan, enter_root, make_root

if TYPE_CHECKING:
    from collections.abc import Callable

#: The keeper's exit code where the isolation is refused; the reason is in its pipe.
REFUSED: Final = 113
_HOST_NAME: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to close a phone in.

    `user`: in a user namespace, for who is not root. `processes`: with processes of its own.
    """

    isolated: bool = True
    user: bool = False
    processes: bool = True

    @property
    def complete(self) -> bool:
        """Whether nothing is left open; a user namespace is as good as none."""
        return self.isolated and self.processes

    def __str__(self) -> str:
        if not self.isolated:
            return "no isolation"
        parts = (["user"] if self.user else []) + (["PID"] if self.processes else [])
        return f"{', '.join([*parts, 'mount, network, IPC and UTS'])} namespaces"


@dataclass(frozen=True, slots=True)
class Inner:
    """What is started inside: its root, the largest file it may write, its program."""

    root: RootPlan
    storage_bytes: int
    run: Callable[[], int]


OPEN: Final = Way(isolated=False, processes=False)


def ways(*, root: bool, host_pids: bool) -> list[Way]:
    """The ways to try, the best first; with `host_pids`, PIDs must be those of the host."""
    users = (False, True) if root else (True,)
    processes = (False,) if host_pids else (True, False)
    return [Way(user=user, processes=own) for own in processes for user in users] + [OPEN]


def start(way: Way, inner: Inner) -> tuple[int, int]:
    """Fork the processes of one way.

    Returns the keeper's PID and a pipe: empty at its end when the phone is closed in, else the
    reason why it is not, and the keeper exits with `REFUSED`.
    """
    reading, writing = os.pipe()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _exit_with(lambda: _keep(way, inner, supervisor, writing))
    os.close(writing)
    return pid, reading


def _exit_with(work: Callable[[], int]) -> NoReturn:
    """End a forked process with what `work` returns, without anything that `exit` would undo."""
    code = 70  # EX_SOFTWARE
    try:
        code = work()
    except BaseException:  # noqa: BLE001 - a forked process must never return into its caller
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _keep(way: Way, inner: Inner, supervisor: int, refused: int) -> int:
    signal.set_wakeup_fd(-1)
    # SIGHUP: under nohup it is ignored, and a shell cannot trap what was ignored at its start.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    linux.die_with_parent(supervisor)
    linux.adopt_orphans()
    uid, gid = os.getuid(), os.getgid()
    try:
        if way.isolated:
            _leave(way)
            if way.user:
                linux.map_own_user(uid, gid)
                linux.die_with_parent(supervisor)  # forgotten with the old credentials
        if not way.processes:
            return _init(way, inner, refused)
        keeper = os.getpid()
        init = os.fork()
    except OSError as error:
        return _tell(refused, error)
    if init == 0:
        linux.die_with_parent(keeper)
        _exit_with(lambda: _init(way, inner, refused))
    os.close(refused)
    return _code(os.waitpid(init, 0)[1])


def _leave(way: Way) -> None:
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET
    flags |= linux.CLONE_NEWUSER if way.user else 0
    flags |= linux.CLONE_NEWPID if way.processes else 0
    linux.unshare(flags)


def _init(way: Way, inner: Inner, refused: int) -> int:
    try:
        if way.isolated:
            linux.loopback_up()
            socket.sethostname(_HOST_NAME)
            make_root(inner.root)
            enter_root(inner.root.root)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, inner.storage_bytes)
    except OSError as error:
        return _tell(refused, error)
    os.close(refused)
    init = os.getpid()
    daemon = os.fork()
    if daemon == 0:
        linux.name_process("adbd")
        linux.die_with_parent(init)
        _exit_with(inner.run)
    linux.name_process("init")
    if way.isolated:
        linux.drop_privileges()
    code = _reap(daemon)
    while linux.kill_descendants(init):
        _reap_all()
    return code


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _reap(wanted: int) -> int:
    """Reap whatever ends, until the wanted one does; its exit code."""
    while True:
        pid, status = os.wait()
        if pid == wanted:
            return _code(status)


def _reap_all() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _tell(pipe: int, error: OSError) -> int:
    reason = f"{error.filename or 'isolation'}: {error.strerror}"
    os.write(pipe, reason.encode(errors="replace")[:4096])
    os.close(pipe)
    return REFUSED
