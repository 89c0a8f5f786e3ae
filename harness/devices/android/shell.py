"""Commands for a phone's shell, and what comes back from one.

adb reads a lost transport as the end of the output, with exit code 0. Each command is therefore
followed by a line with a random token and the exit code: output without that line is no output.

Formats: AOSP packages/modules/adb, shell_protocol.h (packets: one byte of kind, four bytes of
length, little endian, the data) and daemon/services.cpp (`exec:` is raw, and merges the streams).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.failures import TransportLostError
from harness.devices.android.wire import ServerLostError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from harness.devices.android.wire import Stream

# What one command may say. The longest honest answer is a screenshot or a whole log.
MOST_OUTPUT: Final = 128 << 20
LONGEST_LINE: Final = 1 << 16
STDOUT: Final = 1
STDERR: Final = 2
EXIT: Final = 3
_HEADER: Final = struct.Struct("<BI")
# After the sentinel comes the exit packet, or the end; a child left in the background delays both.
_GRACE_SECONDS: Final = 1.0
_SENTINEL_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended: its two streams (one, where the phone merges them) and code."""

    out: bytes
    err: bytes
    exit_code: int


def command_line(command: str | Sequence[str]) -> str:
    """One line for the phone's shell; the words of a sequence are quoted."""
    return command if isinstance(command, str) else shlex.join(command)


def new_token() -> str:
    """A word that no output holds by chance."""
    return f"tierlab-{secrets.token_hex(12)}"


def with_sentinel(command: str, token: str) -> str:
    """`command` so that the token and its exit code are the last line of its output.

    In a subshell, so that `exit` ends only the command, and by `eval`, so that its syntax errors
    are its own. It reads nothing: a command that waits for input would wait for ever.
    """
    return f"(eval {shlex.quote(command)}) </dev/null; echo {token}:$?"


def split_sentinel(output: bytes | bytearray, token: str) -> tuple[bytes, int] | None:
    """The output before the sentinel, and the exit code; None where there is none."""
    mark = token.encode() + b":"
    at = output.rfind(mark, max(0, len(output) - _SENTINEL_BYTES))
    code = re.fullmatch(rb"(\d{1,3})\r?\n", output[at + len(mark) :]) if at >= 0 else None
    return (bytes(output[:at]), int(code[1])) if code else None


async def packets(stream: Stream, *, protocol: bool) -> AsyncIterator[tuple[int, bytes]]:
    """What comes from a shell: the kind (stdout, stderr, exit) and the data, until its end.

    Args:
        stream: on which a shell service was opened.
        protocol: whether it speaks in packets (`shell,v2`); without it, everything is stdout.

    Raises:
        ServerLostError: the connection ended within a packet, or, with packets, without an exit.
        TransportLostError: the length of a packet is none that a phone sends.
    """
    if not protocol:
        while data := await stream.some():
            yield STDOUT, data
        return
    while True:
        kind, size = _HEADER.unpack(await stream.exactly(_HEADER.size))
        if size > MOST_OUTPUT:
            raise TransportLostError(f"the phone sends garbage: a packet of {size} bytes")
        data = await stream.exactly(size)
        yield kind, data
        if kind == EXIT:
            return


async def finish(stream: Stream, token: str, *, protocol: bool) -> Finished:
    """Read a command's output until its sentinel.

    Raises:
        TransportLostError: the output ended without its sentinel, or goes on for ever.
    """
    out, err = bytearray(), bytearray()
    code: int | None = None
    try:
        async with asyncio.timeout(None) as grace:
            async for kind, data in packets(stream, protocol=protocol):
                if kind == EXIT:
                    code = data[0] if data else None
                elif kind in {STDOUT, STDERR}:
                    (out if kind == STDOUT else err).extend(data)
                if len(out) + len(err) > MOST_OUTPUT:
                    raise TransportLostError(f"the phone said more than {MOST_OUTPUT} bytes")
                if grace.when() is None and split_sentinel(out[-_SENTINEL_BYTES:], token):
                    grace.reschedule(asyncio.get_running_loop().time() + _GRACE_SECONDS)
    except (ServerLostError, TimeoutError):
        pass  # the sentinel alone decides
    found = split_sentinel(out, token)
    if found:
        return Finished(found[0], bytes(err), found[1])
    if code:  # the shell itself was killed, and the phone lives to tell
        return Finished(bytes(out), bytes(err), code)
    raise TransportLostError("the connection to the phone ended in the middle of a command")


async def lines(stream: Stream, token: str, *, protocol: bool) -> AsyncGenerator[tuple[str, int]]:
    """The lines of a command's output as they come, each with -1; its exit code ends them.

    A line longer than `LONGEST_LINE` bytes is cut into several.

    Raises:
        TransportLostError: the output ended without its sentinel.
    """
    pending = b""
    try:
        async for kind, data in packets(stream, protocol=protocol):
            if kind == STDOUT:
                pending += data
            *complete, pending = pending.split(b"\n")
            for line in complete:
                found = split_sentinel(line + b"\n", token)
                for piece in _cut(found[0] if found else line):
                    if piece or not found:
                        yield _text(piece), -1
                if found:
                    yield "", found[1]
                    return
            *long, pending = _cut(pending)
            for piece in long:
                yield _text(piece), -1
            if kind == EXIT and data and data[0]:
                yield "", data[0]
                return
    except ServerLostError:
        pass
    raise TransportLostError("the connection to the phone ended in the middle of a stream")


def _cut(line: bytes) -> list[bytes]:
    """The line in pieces of at most `LONGEST_LINE` bytes, at least one."""
    starts = range(0, max(len(line), 1), LONGEST_LINE)
    return [line[start : start + LONGEST_LINE] for start in starts]


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
