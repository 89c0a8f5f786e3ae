"""What a host may ask a phone for: the service names of an OPEN, and who answers each.

Names: AOSP `packages/modules/adb/{SERVICES.TXT,daemon/services.cpp}`. A service that is not known
is refused (CLSE from stream 0, which is what adb waits for) and counted.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.phone import sockets
from harness.emulation.phone.sync import serve_sync
from harness.emulation.phone.sync_messages import SyncError
from harness.emulation.phone.terminal import FramedIO, PlainIO, run_terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.emulation.phone.shell import Shell
    from harness.emulation.phone.streams import Stream, Streams
    from harness.emulation.phone.sync_messages import Files

_LOG = logging.getLogger(__name__)

#: What a phone that is not rooted answers (`daemon/restart_service.cpp`).
_NOT_ROOT: Final = b"adbd cannot run as root in production builds\n"
_ANSWERS: Final = {
    "root": _NOT_ROOT,
    "unroot": b"adbd not running as root\n",
    "remount": b"remount failed\n",
}
#: The daemon starts anew in this mode (`daemon/restart_service.cpp`).
_RESTARTS: Final = {
    "usb": b"restarting in USB mode",
    "tcpip": b"restarting in TCP mode port: ",
}


@dataclass(frozen=True, slots=True)
class Phone:
    """What services are made of."""

    shell: Shell
    files: Files
    names: sockets.Names
    reboot: Callable[[str], Awaitable[None]]
    restart: Callable[[], None]
    unknown: Callable[[str], None]


class Services:
    """The services of one transport."""

    def __init__(self, phone: Phone, streams: Streams) -> None:
        self._phone = phone
        self._streams = streams
        self._reverses = sockets.Reverses(phone.names, streams.open, streams.close)

    async def serve(self, stream: Stream, service: str) -> None:
        """Answer one OPEN, to the end of its stream."""
        try:
            await self._answer(stream, service)
        except (ConnectionError, EOFError):
            pass
        except SyncError as error:
            _LOG.warning("%s: %s", service, error)
        except OSError:
            _LOG.exception("%s", service)
        finally:
            with suppress(ConnectionError):
                await self._streams.close(stream)

    async def _answer(self, stream: Stream, service: str) -> None:
        head, _, argument = service.partition(":")
        kind, *options = head.split(",")
        if kind == "shell":
            await self._shell(stream, argument, options)
        elif kind == "exec":
            await stream.accept()
            await self._phone.shell.run(argument, PlainIO(stream), None)
        elif kind == "sync":
            await stream.accept()
            await serve_sync(stream, self._phone.files)
        elif kind == "tcp" or kind in sockets.UNIX_KINDS:
            await self._forward(stream, kind, argument)
        elif kind == "reverse":
            await stream.accept()
            await stream.write(await self._reverses.answer(argument))
        elif kind == "reboot":
            await stream.accept()
            await self._phone.reboot(argument)
        elif kind in _RESTARTS:
            await stream.accept()
            await stream.write(_RESTARTS[kind] + argument.encode() + b"\n")
            self._phone.restart()
        elif kind in _ANSWERS:
            await stream.accept()
            await stream.write(_ANSWERS[kind])
        elif kind in ("jdwp", "track-jdwp"):
            await self._no_debuggable_apps(stream, track=kind.startswith("track"))
        else:
            self._phone.unknown(f"service {service[:100]}")

    async def _shell(self, stream: Stream, line: str, options: list[str]) -> None:
        await stream.accept()
        io = FramedIO(stream) if "v2" in options else PlainIO(stream)
        term = next((one[5:] for one in options if one.startswith("TERM=")), "")
        if "pty" in options or not (line or "raw" in options):
            code = await run_terminal(self._phone.shell, line, io, stream.closed, term)
        else:
            code = await self._phone.shell.run(line, io, stream.closed)
        await io.exit(code)

    async def _forward(self, stream: Stream, kind: str, address: str) -> None:
        try:
            reader, writer = await sockets.connect(self._phone.names, kind, address)
        except (OSError, ValueError) as error:
            _LOG.info("%s:%s refused: %s", kind, address, error)
            return
        try:
            await stream.accept()
        except BaseException:
            writer.close()
            raise
        await sockets.join(stream, reader, writer)

    async def _no_debuggable_apps(self, stream: Stream, *, track: bool) -> None:
        """An empty list of processes, which `track-jdwp` keeps open for changes."""
        await stream.accept()
        if track:
            await stream.write(b"0000")
            await stream.closed.wait()

    def lose(self) -> None:
        """The transport is gone."""
        self._reverses.lose()
