"""Starting a virtual phone, and speaking to it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.emulation.phone.control import MAX_LINE, Order, Request
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import JsonValue

    from harness.profiles import Profile

_LOG = logging.getLogger(__name__)
#: The Android behind a phone: a module as `command.AndroidFactory` describes it.
ANDROID: Final = "harness.emulation.phone.android.system"
LOG_NAME: Final = "phone.log"
_ENVIRONMENT: Final = frozenset(
    ("DBUS_SESSION_BUS_ADDRESS", "HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH",
     "PLAYWRIGHT_BROWSERS_PATH", "TMPDIR", "TZ", "USER")
)  # fmt: skip
_START_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 30.0
_END_SECONDS: Final = 25.0


class VirtualPhone:
    """A running virtual phone."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[JsonValue]] = {}
        self._number = 0
        self.address: str = ready["address"]
        self.limited: bool = ready["limited"]
        self.missing: tuple[str, ...] = tuple(ready["missing"])
        self.isolation: str = ready["isolation"]
        self.restarts = 0
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The process on the host whose end is the phone's end."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process has not ended yet."""
        return self._process.returncode is None

    async def control(self, action: str, **arguments: JsonValue) -> JsonValue:
        """Do one control action: a fault (`faults.ACTIONS`), or one of Android's.

        Raises:
            UserError: there is no such action, its arguments are not right, or the phone is gone.
        """
        assert self._process.stdin is not None
        self._number += 1
        request = Request(id=self._number, action=action, arguments=arguments)
        answer: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            self._process.stdin.write(request.model_dump_json().encode() + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise UserError(
                f"the virtual phone did not answer {action} within {_ANSWER_SECONDS:.0f} s",
                f"see its log, {LOG_NAME}",
            ) from None
        except ConnectionError:
            raise _gone() from None
        finally:
            self._waiting.pop(request.id, None)

    async def unknown_commands(self) -> dict[str, int]:
        """What was asked for and nobody knew, and how often."""
        found = await self.control("unknown_commands")
        return (
            {str(name): int(str(n)) for name, n in found.items()} if isinstance(found, dict) else {}
        )

    async def ended(self) -> int:
        """Wait until the phone ends by itself; its exit code."""
        return await self._process.wait()

    async def _read(self) -> None:
        """Take what the phone says, to its end."""
        assert self._process.stdout is not None
        async for said in _lines(self._process.stdout):
            if said.get("event") == "restarted":
                self.restarts += 1
                self._fail(UserError("the virtual phone crashed and starts again", "ask once more"))
            elif said.get("event") == "failed":
                self._fail(_failure(said))
            answer = self._waiting.get(said.get("id", -1))
            if answer is None or answer.done():
                continue
            if "error" in said:
                answer.set_exception(_failure(said["error"]))
            else:
                answer.set_result(said.get("result"))
        self._fail(_gone())

    def _fail(self, error: UserError) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)

    async def _end(self) -> None:
        """Close the channel, and wait for the end of everything."""
        await _end(self._process)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def virtual_phone(
    profile: Profile,
    *,
    work: Path,
    memory_bytes: int | None = None,
    android: str = ANDROID,
    isolate: bool = True,
) -> AsyncIterator[VirtualPhone]:
    """Run a virtual phone as the profile describes it, until the context ends.

    Its files are in a folder of its own below `work`, which goes with it; its log is appended to
    `phone.log` there, and stays. `memory_bytes` limits the browser, by default to what the profile
    says one app may use. With `isolate` false it gets no namespaces, whatever the host permits.

    Raises:
        UserError: this host cannot run one at all, and why. What it cannot do of it is no error:
            it is in `missing`.
    """
    if sys.platform != "linux":
        raise UserError("a virtual phone needs Linux", "use a real phone, or a Linux machine")
    work = await asyncio.to_thread(_prepare, work)
    with await asyncio.to_thread((work / LOG_NAME).open, "ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working directory is no place for modules
            "-m",
            "harness.emulation.phone",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the harness, which then ends the phone
            limit=MAX_LINE,
            env=_environment(),
        )
    order = Order(
        profile=profile,
        work=str(work),
        memory_bytes=memory_bytes,
        android=android,
        isolate=isolate,
    )
    try:
        phone = VirtualPhone(process, await _started(process, order, work / LOG_NAME))
        try:
            yield phone
        finally:
            await phone._end()  # noqa: SLF001 - of the same module
    finally:
        await _end(process)


def _prepare(work: Path) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    return work.absolute()


def _environment() -> dict[str, str]:
    """What the phone may know of the harness's environment; tokens and keys are not among it."""
    project = Path(__file__).resolve().parents[3]
    paths = [str(project), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {name: value for name, value in os.environ.items() if _is_plain(name)}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _is_plain(name: str) -> bool:
    if name.startswith("TIERLAB_"):
        return not name.startswith("TIERLAB_INFLUX_")
    return name in _ENVIRONMENT or name.startswith(("LC_", "XDG_"))


async def _started(process: asyncio.subprocess.Process, order: Order, log: Path) -> dict[str, Any]:
    """Give the order, and wait for the phone to be there."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
    try:
        async with asyncio.timeout(_START_SECONDS):
            async for said in _lines(process.stdout):
                if said.get("event") == "ready":
                    return said
                if said.get("event") == "failed":
                    raise _failure(said)
    except TimeoutError:
        raise UserError(
            f"the virtual phone did not start within {_START_SECONDS:.0f} s", f"see {log}"
        ) from None
    raise UserError("the virtual phone ended while it started", f"see {log}")


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The objects that a phone writes, a line each; what a killed daemon left half is no line."""
    while line := await reader.readline():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        _LOG.warning("the virtual phone %d does not end: it is killed", process.pid)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _failure(said: dict[str, Any]) -> UserError:
    return UserError(
        str(said.get("problem", "the virtual phone failed")), str(said.get("next_step", ""))
    )


def _gone() -> UserError:
    return UserError("the virtual phone has ended", f"see its log, {LOG_NAME}")
