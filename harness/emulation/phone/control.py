"""The channel between harness and phone: lines of JSON on the process's standard streams.

    harness -> phone   {"id": 7, "action": "unplug", "arguments": {"seconds": 3}}
    phone -> harness   {"id": 7, "result": null}
                       {"id": 7, "error": {"problem": "...", "next_step": "..."}}
                       {"event": "ready", ...}, {"event": "restarted"}, {"event": "failed", ...}

The first line that the harness writes is the `Order`. When its end of the channel closes, the phone
ends: a harness that was killed leaves no phone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from harness.errors import UserError
from harness.profiles import Profile  # noqa: TC001 - pydantic reads annotations at run time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_LOG = logging.getLogger(__name__)
#: The longest line that is read.
MAX_LINE: Final = 16 << 20


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(_Line):
    """What phone to be."""

    profile: Profile
    work: str
    memory_bytes: int | None
    android: str
    isolate: bool


class Request(_Line):
    """Something to do."""

    id: int
    action: str
    arguments: dict[str, JsonValue] = {}


def write_line(descriptor: int, value: Mapping[str, JsonValue]) -> None:
    """Write one line, whole; nobody reading any more is no error."""
    rest = memoryview(json.dumps(value, separators=(",", ":")).encode() + b"\n")
    try:
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                os.set_blocking(descriptor, True)
    except OSError as error:
        _LOG.warning("nobody reads what the phone says: %s", error.strerror)


class Channel:
    """The standard streams, kept for the channel alone; prints go to the standard error."""

    def __init__(self) -> None:
        self.incoming = os.dup(0)
        self.outgoing = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)

    def order(self) -> Order:
        """The first line, and not a byte more.

        Raises:
            UserError: it is no order.
        """
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < MAX_LINE:
            byte = os.read(self.incoming, 1)
            if not byte:
                break
            line += byte
        try:
            return Order.model_validate_json(bytes(line))
        except ValidationError as error:
            raise UserError(
                f"the first line is no order for a phone: {error}",
                "start a phone with `tierlab phone start PROFILE`",
            ) from error

    def say(self, value: Mapping[str, JsonValue]) -> None:
        """Write one line."""
        write_line(self.outgoing, value)


async def serve_control(
    incoming: int,
    outgoing: int,
    do: Callable[[str, Mapping[str, JsonValue]], Awaitable[JsonValue]],
) -> None:
    """Answer requests, one after the other, until the harness closes its end."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    pipe = os.fdopen(os.dup(incoming), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than the limit
                continue
            if not line:
                return
            try:
                request = Request.model_validate_json(line)
            except ValidationError:
                _LOG.warning("a control line that is none: %r", line[:200])
                continue
            write_line(outgoing, await _answer(request, do))
    finally:
        transport.close()


async def _answer(
    request: Request, do: Callable[[str, Mapping[str, JsonValue]], Awaitable[JsonValue]]
) -> dict[str, JsonValue]:
    try:
        return {"id": request.id, "result": await do(request.action, request.arguments)}
    except UserError as error:
        return _error(request.id, error.problem, error.next_step)
    except Exception as error:  # noqa: BLE001 - told to the one who asked
        _LOG.exception("%s", request.action)
        return _error(request.id, f"{request.action}: {type(error).__name__}: {error}", "")


def _error(number: int, problem: str, next_step: str) -> dict[str, JsonValue]:
    return {"id": number, "error": {"problem": problem, "next_step": next_step}}
