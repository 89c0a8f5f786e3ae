"""A phone that answers from a script, for tests without adb."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harness.devices.android.adb import (
    CommandError,
    CommandTimeoutError,
    Output,
    TransportLostError,
)
from harness.devices.android.shell import command_line

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Phone

Answer = str | int | type[Exception] | Callable[[str], str]


class ScriptedPhone:
    """Answers a command by the longest beginning that the script knows; text is its output.

    A number is an exit code, an exception is raised. Commands of no script fail as in a shell.
    """

    serial = "scripted"
    taken: str | None = None

    def __init__(self, script: Mapping[str, Answer] | None = None) -> None:
        self.script: dict[str, Answer] = dict(script or {})
        self.asked: list[str] = []
        self.log: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.comes_back = False
        self.ports: list[str] = []
        self.pushed: dict[str, str] = {}
        self.marks_arrive = True

    def as_phone(self) -> Phone:
        return self  # type: ignore[return-value]

    async def run(
        self, command: str | Sequence[str], *, within: float = 20.0, check: bool = True
    ) -> Output:
        line = command_line(command)
        self.asked.append(line)
        if line.startswith("log -t tierlab "):
            token = line.rpartition(" ")[2]
            if self.marks_arrive:
                self.say(f"01-02 03:04:05.678  2000  2000 I tierlab : {token}")
            return Output("", 0)
        known = [key for key in self.script if line.startswith(key)]
        answer = self.script[max(known, key=len)] if known else 127
        if callable(answer) and not isinstance(answer, type):
            answer = answer(line)
        if answer is TransportLostError:
            raise TransportLostError("gone")
        if answer is CommandTimeoutError:
            raise CommandTimeoutError(line, within)
        if isinstance(answer, int):
            if answer and check:
                raise CommandError(line, answer, "")
            return Output("", answer)
        return Output(str(answer), 0)

    async def lines(self, command: str | Sequence[str]) -> AsyncGenerator[str]:
        self.asked.append(command_line(command))
        while (item := await self.log.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def say(self, *lines: str | Exception | None) -> None:
        for line in lines:
            self.log.put_nowait(line)

    @asynccontextmanager
    async def reverse(self, remote: str, local: str) -> AsyncIterator[None]:
        self.ports.append(f"{remote} {local}")
        try:
            yield
        finally:
            self.ports.remove(f"{remote} {local}")

    async def push(self, local: Path, remote: str) -> None:
        self.pushed[remote] = local.name

    async def wait_until_back(self, *, within: float) -> bool:
        assert within > 0
        return self.comes_back
