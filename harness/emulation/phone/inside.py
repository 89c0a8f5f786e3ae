"""The daemon's program: everything from the closed-in process to the running phone."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from harness.emulation.phone import faults, hardware, landlock, linux, shim
from harness.emulation.phone.command import Android, AndroidFactory, CommandIO, Place
from harness.emulation.phone.control import serve_control, write_line
from harness.emulation.phone.daemon import Cable, Daemon
from harness.emulation.phone.records import MARK
from harness.emulation.phone.registry import Registry
from harness.emulation.phone.root import lock_root
from harness.emulation.phone.services import Phone
from harness.emulation.phone.shell import Shell
from harness.emulation.phone.sockets import Names
from harness.emulation.phone.storage import Storage
from harness.emulation.phone.sync_messages import Files
from harness.emulation.phone.tools import install_tools, own_commands, shell_plan
from harness.emulation.phone.transport import Greeting
from harness.errors import UserError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from harness.emulation.limits import Scope
    from harness.emulation.phone.command import Command
    from harness.emulation.phone.isolation import Way
    from harness.emulation.phone.peers import Peers
    from harness.profiles import Profile

_LOG = logging.getLogger(__name__)
#: The exit code of a daemon that could not start, and has said so.
NEVER_READY: Final = 71
_MEMINFO_SECONDS: Final = 0.5
_RESTART_SECONDS: Final = 0.1
#: Different unknown commands that are remembered; a host that makes up names shall not fill memory.
_MOST_UNKNOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Outfit:
    """What the supervisor gives the daemon; made before it was forked."""

    profile: Profile
    identity: str
    android: str
    way: Way
    folder: Path
    scope: Scope | None
    groups: tuple[Path, ...]
    listener: socket.socket
    address: str
    peers: Peers
    incoming: int
    outgoing: int
    unknown: int
    storage_bytes: int
    missing: tuple[str, ...]


def run(outfit: Outfit) -> int:
    """Be the daemon; the exit code."""
    return asyncio.run(_run(outfit))


async def _run(outfit: Outfit) -> int:
    async with AsyncExitStack() as stack:
        try:
            inside = Inside(outfit)
            await inside.start(stack)
        except Exception as error:  # noqa: BLE001 - told to the harness
            _LOG.exception("the phone does not start")
            said = (
                error.problem
                if isinstance(error, UserError)
                else f"{type(error).__name__}: {error}"
            )
            failed: dict[str, JsonValue] = {
                "event": "failed",
                "problem": f"the virtual phone does not start: {said}",
                "next_step": error.next_step if isinstance(error, UserError) else "see its log",
            }
            write_line(outfit.outgoing, failed)
            return NEVER_READY
        await serve_control(outfit.incoming, outfit.outgoing, inside.do)
    return 0


class Inside:
    """One running phone."""

    def __init__(self, outfit: Outfit) -> None:
        self._outfit = outfit
        self._unknown: Counter[str] = Counter()
        self._read_unknown()
        isolated = outfit.way.isolated
        self.place = Place(
            profile=outfit.profile,
            identity=outfit.identity,
            root=Path("/") if isolated else outfit.folder / "root",
            private_network=isolated,
            browser_sandbox=isolated and os.getuid() != 0,
            scope=outfit.scope,
            unknown=self._count_unknown,
        )
        data = self.place.path("/data")
        self._storage = Storage(data, outfit.storage_bytes, self._kill_rest)
        factory = cast("AndroidFactory", importlib.import_module(outfit.android))
        self._android: Android = factory.create(self.place)
        self._registry = Registry(lambda: self._commands)
        self._commands: Mapping[str, Command] = {
            **own_commands(outfit.profile),
            **self._android.commands,
            "reboot": self._reboot_command,
        }
        self._missing = list(outfit.missing)
        self._daemon: Daemon

    async def start(self, stack: AsyncExitStack) -> None:
        """Put everything in its place, lock it, boot."""
        outfit = self._outfit
        self._missing += install_tools(
            self.place, self._commands, Path(shim.__file__), isolated=outfit.way.isolated
        )
        if outfit.way.isolated:
            lock_root()
            linux.drop_privileges()
            os.environ["TMPDIR"] = "/tmp"  # noqa: S108 - the phone's own
        else:
            self._close_in_by_landlock()
        os.environ[MARK] = outfit.identity
        plan = shell_plan(self.place, outfit.profile)
        shell = Shell(plan, self._registry, self._count_unknown)
        phone = Phone(
            shell=shell,
            files=Files(self.place.path, self._storage.free_bytes),
            names=Names(self.place.path, self.place.abstract),
            reboot=self._reboot_service,
            restart=self._restart_service,
            unknown=self._count_unknown,
        )
        cable = Cable(outfit.listener, outfit.peers)
        self._daemon = Daemon(cable, self._android, phone, self._kill_rest)
        socket_path = self.place.path("/dev/socket/tierlab")
        await stack.enter_async_context(self._registry.served(socket_path))
        for work in (self._keep_meminfo(), self._storage.watch()):
            stack.callback(asyncio.create_task(work).cancel)
        stack.push_async_callback(self._daemon.stop)
        await self._daemon.start()
        write_line(
            outfit.outgoing,
            {
                "event": "ready",
                "address": outfit.address,
                "limited": outfit.scope is not None
                and outfit.scope.limits.memory_bytes is not None,
                "missing": list(self._missing),
                "isolation": str(outfit.way),
            },
        )

    def _close_in_by_landlock(self) -> None:
        """Without namespaces: at least leave the host's files and processes alone."""
        os.environ["TMPDIR"] = str(self.place.root / "tmp")
        allowed = {
            self._outfit.folder: landlock.ALL,
            Path("/dev"): landlock.WRITE,
            Path("/dev/shm"): landlock.ALL,  # noqa: S108 - shared memory of browsers
            Path("/proc"): landlock.WRITE,  # a browser's own oom_score_adj
            **dict.fromkeys(self._outfit.groups, landlock.WRITE),
        }
        told = (
            "isolation: none: the shell sees the host's files, and the phone's own only where a"
            " command line names them; it has harmless tools only"
        )
        try:
            landlock.restrict(allowed)
        except OSError as error:
            told += f"; it may change the host's files ({error.filename}: {error.strerror})"
        self._missing.append(told)

    async def do(self, action: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """One control action: the daemon's own, or Android's."""
        if action == "unknown_commands":
            return dict(self._unknown)
        if action not in faults.ACTIONS:
            return await self._android.control(action, arguments)
        self._do_fault(action, faults.amounts(action, arguments))
        return None

    def _do_fault(self, action: str, amounts: Mapping[str, float]) -> None:
        seconds = amounts.get("seconds", 0.0)
        if action == "unplug":
            self._daemon.unplug(seconds)
        elif action == "plug":
            self._daemon.plug()
        elif action == "offline":
            self._daemon.greet(Greeting.SILENT, seconds)
        elif action == "unauthorized":
            self._daemon.greet(Greeting.UNAUTHORIZED, seconds)
        elif action == "slow":
            self._daemon.slow(amounts["bytes_per_second"], seconds)
        elif action == "reboot":
            self._daemon.reboot(seconds)
        elif action == "garbage_transport":
            self._daemon.garbage(int(amounts["seed"]))
        elif action == "kill_daemon":
            # After the answer is out, and with nothing tidied up, as a kill would.
            asyncio.get_running_loop().call_later(0.02, os._exit, 137)

    async def _reboot_service(self, _argument: str) -> None:
        self._daemon.reboot(faults.ACTIONS["reboot"]["seconds"].default)

    def _restart_service(self) -> None:
        # After the answer is out; the real one waits for its init to notice.
        asyncio.get_running_loop().call_later(_RESTART_SECONDS, self._daemon.restart)

    async def _reboot_command(self, _argv: Sequence[str], _io: CommandIO) -> int:
        await self._reboot_service("")
        return 0

    def _kill_rest(self) -> None:
        """Kill every process of the phone but init and this one."""
        linux.kill_descendants(os.getppid(), spare=os.getpid())

    async def _keep_meminfo(self) -> None:
        """Let `/proc/meminfo` follow the browser's memory."""
        if not self._outfit.way.isolated:
            return
        scope = self._outfit.scope
        file = os.open("/dev/.meminfo", os.O_WRONLY | os.O_CLOEXEC)
        while True:
            used = scope.memory().unreclaimable if scope else 0
            limit = scope.limits.memory_bytes if scope else None
            text = hardware.meminfo(self._outfit.profile, used, limit)
            os.pwrite(file, text.encode("ascii"), 0)
            await asyncio.sleep(_MEMINFO_SECONDS)

    def _count_unknown(self, name: str) -> None:
        name = " ".join(name.split())[:200]
        if name not in self._unknown and len(self._unknown) >= _MOST_UNKNOWN:
            name = "(others)"
        self._unknown[name] += 1
        _LOG.warning("not known: %s", name)
        if self._unknown[name] > _MOST_UNKNOWN:
            return
        with suppress(OSError):
            os.write(self._outfit.unknown, name.encode(errors="replace") + b"\n")

    def _read_unknown(self) -> None:
        """What a daemon before this one has counted."""
        size = os.fstat(self._outfit.unknown).st_size
        told = os.pread(self._outfit.unknown, min(size, 1 << 20), 0)
        self._unknown.update(told.decode(errors="replace").splitlines())
