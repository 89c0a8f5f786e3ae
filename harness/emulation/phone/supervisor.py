"""The phone's process on the host: owns what must outlive the daemon, and tidies up.

It starts the daemon closed in, starts it again when it was killed (a phone whose system crashed
boots again), and ends when the harness closes the channel. It never reads the channel.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import select
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from harness.emulation import limits
from harness.emulation.phone import hardware, inside, isolation, linux, records, root
from harness.emulation.phone.control import Channel, Order
from harness.emulation.phone.peers import Peers
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.emulation.limits import Scope
    from harness.emulation.phone.command import AndroidFactory

_LOG = logging.getLogger(__name__)
#: What the daemon may take to end once the harness is gone.
_GRACE_SECONDS: Final = 15.0
#: The exit code of a daemon that was killed, as a shell tells it.
_KILLED: Final = 137
#: A daemon that ends so soon after its start is no crash of a phone but a fault of this program.
_TOO_SOON_SECONDS: Final = 3.0
_MOST_TOO_SOON: Final = 3
_MOST_STORAGE: Final = 64 << 30
_SYSTEMD_RUN: Final = "systemd-run"
_LOOPBACK: Final = "127.0.0.1"


def main() -> int:
    """Be a phone until the standard input closes; the exit code."""
    channel = Channel()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        order = channel.order()
        with ExitStack() as stack:
            return _Supervisor(order, channel, stack).run()
    except UserError as error:
        channel.say({"event": "failed", "problem": error.problem, "next_step": error.next_step})
        return 1
    except Exception as error:  # noqa: BLE001 - told to the harness
        _LOG.exception("the phone ends")
        problem = f"the virtual phone does not start: {type(error).__name__}: {error}"
        channel.say({"event": "failed", "problem": problem, "next_step": "see its log"})
        return 1


class _Supervisor:
    def __init__(self, order: Order, channel: Channel, stack: ExitStack) -> None:
        self._order = order
        self._channel = channel
        self._missing: list[str] = []
        self._refused: list[str] = []
        records.sweep()
        profile = order.profile
        self._identity = f"{profile.id}-{secrets.token_hex(4)}"
        claim = records.claim(self._identity, Path(order.work))
        stack.callback(claim.release)
        self._folder = claim.folder
        stack.callback(self._end_strays)
        self._listener = stack.enter_context(_listener())
        self._scope = self._make_scope()
        if self._scope is not None:
            stack.callback(self._scope.close)
        self._peers = Peers()
        if not self._peers.known:
            self._missing.append("users: this host does not say who connects: any local user may")
        self._unknown = os.open(
            self._folder / "unknown", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600
        )
        data = self._folder / "data"
        root.make_data(data)
        (self._folder / "root").mkdir()
        factory = cast("AndroidFactory", importlib.import_module(order.android))
        self._plan = root.RootPlan(
            root=self._folder / "root",
            data=data,
            shown=[
                *root.python_paths(),
                *factory.host_paths(profile),
                *_systemd_sockets(self._scope),
            ],
            groups=_group_folders(self._scope),
            memory_bytes=self._memory_bytes() or hardware.total_bytes(profile),
            files={"meminfo": hardware.meminfo(profile, 0), "cpuinfo": hardware.cpuinfo(profile)},
            own_processes=True,
        )
        self._ways = self._possible_ways()
        self._wake = _wake_descriptor()

    def _memory_bytes(self) -> int | None:
        if self._order.memory_bytes is not None:
            return self._order.memory_bytes
        app = self._order.profile.app_memory
        return app.available if app else None

    def _make_scope(self) -> Scope | None:
        wanted = replace(self._order.profile.resource_limits, memory_bytes=self._memory_bytes())
        try:
            return limits.find_limiter().scope(self._identity, wanted)
        except UserError as error:
            self._missing.append(f"limits: {error.problem}")
            return None

    def _possible_ways(self) -> list[isolation.Way]:
        if not self._order.isolate:
            self._missing.append("isolation: not wanted")
            return [isolation.OPEN]
        # systemd-run tells its own PID to systemd, which must know it.
        host_pids = self._scope is not None and self._scope.limiter == _SYSTEMD_RUN
        return isolation.ways(root=os.getuid() == 0, host_pids=host_pids)

    def run(self) -> int:
        """Keep the phone running until the harness goes away."""
        too_soon = 0
        while True:
            started = time.monotonic()
            keeper = self._start()
            code = self._wait(keeper)
            if code is None or code == 0:
                return 0
            if code == inside.NEVER_READY:
                return 1
            soon = code != _KILLED and time.monotonic() - started < _TOO_SOON_SECONDS
            too_soon = too_soon + 1 if soon else 0
            if too_soon > _MOST_TOO_SOON:
                raise UserError(
                    f"the phone's daemon ends at once, again and again (exit code {code})",
                    "see the log of the phone for the reason",
                )
            _LOG.warning("the daemon ended with %d: the phone starts again", code)
            self._end_strays()
            self._channel.say({"event": "restarted", "code": code})

    def _start(self) -> int:
        """Start the daemon in the first way that this host permits; the keeper's PID."""
        while True:
            way = self._ways[0]
            if not way.isolated:
                root.make_open_root(self._plan)
            inner = isolation.Inner(
                root=replace(self._plan, own_processes=way.processes),
                storage_bytes=_MOST_STORAGE,
                run=partial(self._inside, way),
            )
            keeper, pipe = isolation.start(way, inner)
            with os.fdopen(pipe, "rb") as told:
                reason = told.read().decode(errors="replace")
            if not reason:
                return keeper
            os.waitpid(keeper, 0)
            self._refused.append(f"isolation: {way}: {reason}")
            del self._ways[0]

    def _inside(self, way: isolation.Way) -> int:
        host, port = self._listener.getsockname()
        return inside.run(
            inside.Outfit(
                profile=self._order.profile,
                identity=self._identity,
                android=self._order.android,
                way=way,
                folder=self._folder,
                scope=self._scope,
                groups=tuple(self._plan.groups),
                listener=self._listener,
                address=f"{host}:{port}",
                peers=self._peers,
                incoming=self._channel.incoming,
                outgoing=self._channel.outgoing,
                unknown=self._unknown,
                storage_bytes=_MOST_STORAGE,
                missing=(*self._missing, *([] if way.complete else self._refused)),
            )
        )

    def _wait(self, keeper: int) -> int | None:
        """Wait for the daemon's end, its exit code; None where the harness went first."""
        poll = select.poll()
        poll.register(self._channel.incoming, select.POLLRDHUP)
        poll.register(self._wake, select.POLLIN)
        deadline: float | None = None
        while True:
            code = _ended(keeper)
            if code is not None:
                return None if deadline is not None else code
            if deadline is not None and time.monotonic() > deadline:
                _LOG.warning("the daemon does not end: it is killed")
                linux.kill_descendants(keeper)
                os.kill(keeper, signal.SIGKILL)
            for descriptor, events in poll.poll(200 if deadline else None):
                if descriptor == self._wake:
                    if signal.SIGTERM in os.read(self._wake, 4096):
                        deadline = 0.0
                elif events & (select.POLLHUP | select.POLLRDHUP | select.POLLERR):
                    poll.unregister(self._channel.incoming)
                    deadline = time.monotonic() + _GRACE_SECONDS

    def _end_strays(self) -> None:
        """Kill and reap what this process has adopted."""
        while linux.kill_descendants(os.getpid()):
            with suppress(ChildProcessError):
                while True:
                    os.wait()


def _listener() -> socket.socket:
    """A socket bound to a free port of the loopback, not listening yet.

    Linux lets a socket keep its port while it does not listen only where the port was named, so a
    first socket finds one, and the second names it.
    """
    with socket.socket() as finder:
        finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        finder.bind((_LOOPBACK, 0))
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(finder.getsockname())
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _ended(pid: int) -> int | None:
    """The exit code of a child, reaping every other one that has ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == pid:
                code = os.waitstatus_to_exitcode(found[1])
                return code if code >= 0 else 128 - code
    return None


def _wake_descriptor() -> int:
    """A pipe that gets a byte for every signal, so that a poll ends."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing)
    linux.adopt_orphans()
    return reading


def _group_folders(scope: Scope | None) -> list[Path]:
    """The folders of a scope's groups, which its prefix names."""
    if scope is None:
        return []
    files = (Path(word) for word in scope.prefix)
    folders = [file.parent for file in files if file.name == "cgroup.procs"]
    return folders or [Path("/sys/fs/cgroup")]


def _systemd_sockets(scope: Scope | None) -> list[Path]:
    """Where systemd-run, which a scope's prefix may be, reaches the manager."""
    if scope is None or scope.limiter != _SYSTEMD_RUN:
        return []
    own = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    return [own / "bus", own / "systemd/private", Path("/run/systemd/private")]
