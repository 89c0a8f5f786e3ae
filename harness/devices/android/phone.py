"""One phone: its shell, its files, its ports."""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android import shell, states
from harness.devices.android.facts.properties import parse_properties
from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    PhoneTakenError,
    TransportLostError,
)
from harness.devices.android.transfer import pull, push
from harness.devices.android.wire import RefusedError
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from pathlib import Path

    from harness.devices.android.adb import Adb
    from harness.devices.android.wire import Stream

RUN_SECONDS: Final = 20.0
OPEN_SECONDS: Final = 10.0
# How long a phone may take to say that it is there at all.
PING_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.2
_TCP_SERIAL: Final = re.compile(r".+:[0-9]{1,5}")
_GONE: Final = "the connection to the phone is gone"


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote and how it ended.

    `errors` is its standard error, where the phone keeps it apart (Android 7 and later); elsewhere
    it is part of `text`.
    """

    text: str
    exit_code: int
    errors: str = ""


class Phone:
    """A phone behind an adb server. It may be gone at any moment: then `TransportLostError`.

    Args:
        adb: the server.
        serial: as the server names it.

    Attributes:
        taken: why it is not this process's any more: then nothing is done on it, not even tidying.
    """

    def __init__(self, adb: Adb, serial: str) -> None:
        self.adb = adb
        self.serial = serial
        self.taken: str | None = None
        self._features: frozenset[str] | None = None

    async def run(
        self, command: str | Sequence[str], *, within: float = RUN_SECONDS, check: bool = True
    ) -> Output:
        """Run a command in the phone's shell. It gets no input.

        Args:
            command: a line for the shell, or words that are quoted for it.
            within: seconds that it may take. Whether a phone is gone or only slow is found out
                after that, which takes up to `PING_SECONDS` more.
            check: whether an exit code other than 0 is an error.

        Raises:
            TransportLostError: the phone is gone.
            CommandTimeoutError: it did not end in time.
            CommandError: it ended with another exit code than 0.
        """
        done = await self._execute(shell.command_line(command), within=within, check=check)
        return Output(
            done.out.decode(errors="replace"), done.exit_code, done.err.decode(errors="replace")
        )

    async def output(
        self, command: str | Sequence[str], *, within: float = RUN_SECONDS, check: bool = True
    ) -> bytes:
        """What a command writes, byte for byte; otherwise as `run`."""
        return (await self._execute(shell.command_line(command), within=within, check=check)).out

    async def lines(self, command: str | Sequence[str]) -> AsyncGenerator[str]:
        """The lines of a command as it writes them, for as long as it runs.

        Close the iterator (`contextlib.aclosing`) to end the command early.

        Raises:
            TransportLostError: the phone is gone.
            CommandError: it ended with another exit code than 0.
        """
        line = shell.command_line(command)
        token = shell.new_token()
        async with (
            self._shell(line, token) as (stream, protocol),
            contextlib.aclosing(shell.lines(stream, token, protocol=protocol)) as produced,
        ):
            async for text, code in produced:
                if code > 0:
                    raise CommandError(line, code, "")
                if code < 0:
                    yield text

    async def properties(self) -> dict[str, str]:
        """All system properties."""
        return parse_properties((await self.run(["getprop"])).text)

    async def features(self) -> frozenset[str]:
        """What the phone's daemon and the server can do together, such as `shell_v2`."""
        if self._features is None:
            text = await self._query("features")
            self._features = frozenset(word for word in text.split(",") if word)
        return self._features

    async def push(
        self,
        local: Path,
        remote: str,
        progress: Callable[[int, int], None] = lambda _sent, _of: None,
    ) -> None:
        """Send a file to the path `remote`, whole or not at all, and verify it.

        Args:
            local: the file.
            remote: the path of the new file; what stands there is replaced.
            progress: told the bytes sent, and how many there are.

        Raises:
            UserError: `local` cannot be read, or the phone has not enough free storage.
            CommandError: the phone refused it, or has another content now.
            TransportLostError: the phone is gone.
        """
        await push(self, local, remote, progress)

    async def pull(self, remote: str, local: Path) -> None:
        """Fetch a file, whole or not at all.

        Raises:
            UserError: `local` cannot be written.
            CommandError: the phone does not give it.
            TransportLostError: the phone is gone.
        """
        await pull(self, remote, local)

    @asynccontextmanager
    async def forward(self, remote: str) -> AsyncIterator[int]:
        """A port of this machine that leads to `remote` on the phone, while the block runs.

        A transport that is lost takes it along: after `wait_until_back` ask for another one.

        Args:
            remote: such as `localabstract:chrome_devtools_remote` or `tcp:8080`.
        """
        async with self._request(f"host-serial:{self.serial}:forward:tcp:0;{remote}") as stream:
            await self._status(stream)
            text = await stream.counted()
        if not text.isdecimal():
            raise TransportLostError(f"the adb server answered {text[:40]!r} for a port")
        try:
            yield int(text)
        finally:
            with contextlib.suppress(TransportLostError):
                async with self._request(f"host-serial:{self.serial}:killforward:tcp:{text}") as s:
                    await self._status(s)

    @asynccontextmanager
    async def reverse(self, remote: str, local: str) -> AsyncIterator[None]:
        """`remote` on the phone leads to `local` on this machine, while the block runs.

        A transport that is lost takes it along. What led there before is replaced.

        Args:
            remote: such as `tcp:8000`, on the phone's loopback.
            local: such as `tcp:8000`.
        """
        await self._reverse(f"forward:{remote};{local}")
        try:
            yield
        finally:
            with contextlib.suppress(TransportLostError):
                await self._reverse(f"killforward:{remote}")

    async def wait_until_back(self, *, within: float) -> bool:
        """Wait until the phone is attached, answers and has booted; whether that came.

        A phone over TCP is connected again; one on USB is waited for. An adb server that is gone
        is started again.
        """
        if self.taken is not None:
            return False
        try:
            async with asyncio.timeout(within):
                while not await self._ready():  # noqa: ASYNC110 - adb tells nothing of TCP
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _ready(self) -> bool:
        try:
            state = await self.adb.state_of(self.serial)
            if state == states.READY:
                booted = await self._finish("getprop sys.boot_completed", within=PING_SECONDS)
                return booted.out.strip() == b"1"
            # One that asks its user whether to trust this computer must not be asked again.
            if _TCP_SERIAL.fullmatch(self.serial) and state in {None, "offline"}:
                if state is not None:
                    await self.adb.disconnect(self.serial)
                await self.adb.connect(self.serial)
        except (TransportLostError, TimeoutError):
            with contextlib.suppress(UserError):
                await self.adb.ensure_server()
        except UserError:
            pass  # adb cannot connect to it yet
        return False

    async def _execute(self, command: str, *, within: float, check: bool) -> shell.Finished:
        try:
            done = await self._finish(command, within=within)
        except TimeoutError as error:
            if not await self._answers():
                raise TransportLostError("the phone does not answer any more") from error
            raise CommandTimeoutError(command, within) from error
        if check and done.exit_code:
            said = (done.out[-4096:] + done.err[-4096:]).decode(errors="replace")
            raise CommandError(command, done.exit_code, said)
        return done

    async def _finish(self, command: str, *, within: float) -> shell.Finished:
        token = shell.new_token()
        async with asyncio.timeout(within), self._shell(command, token) as (stream, protocol):
            return await shell.finish(stream, token, protocol=protocol)

    async def _answers(self) -> bool:
        try:
            return (await self._finish("echo", within=PING_SECONDS)).exit_code == 0
        except (TransportLostError, TimeoutError):
            return False

    @asynccontextmanager
    async def _shell(self, command: str, token: str) -> AsyncIterator[tuple[Stream, bool]]:
        protocol = "shell_v2" in await self.features()
        service = "shell,v2,raw:" if protocol else "exec:"
        async with self.service(service + shell.with_sentinel(command, token)) as stream:
            yield stream, protocol

    @asynccontextmanager
    async def service(self, name: str) -> AsyncIterator[Stream]:
        """A connection to a service of the phone's daemon, such as `sync:`.

        Raises:
            TransportLostError: the phone is gone, or refuses.
        """
        async with self._request(f"host:transport:{self.serial}") as stream:
            async with self._opening():
                await stream.request(name)
            yield stream

    async def _reverse(self, command: str) -> None:
        async with self.service(f"reverse:{command}") as stream:
            await self._status(stream)

    async def _query(self, name: str) -> str:
        request = f"host-serial:{self.serial}:{name}"
        async with self._request(request) as stream, self._opening():
            return await stream.counted()

    @asynccontextmanager
    async def _request(self, request: str) -> AsyncIterator[Stream]:
        if self.taken is not None:
            raise PhoneTakenError(self.taken)
        try:
            async with self.adb.stream() as stream:
                async with self._opening():
                    await stream.request(request)
                yield stream
        except TransportLostError:
            self._features = None  # another one may come back
            raise

    async def _status(self, stream: Stream) -> None:
        async with self._opening():
            await stream.status()

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        """Bound what the server is asked, and say a refusal without the serial."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                yield
        except RefusedError as error:
            reason = str(error).partition("\n")[0].replace(self.serial, "")
            raise TransportLostError(f"{_GONE}: {reason[:200]}") from error
        except TimeoutError as error:
            raise TransportLostError(f"{_GONE}: no answer in {OPEN_SECONDS:g} s") from error
