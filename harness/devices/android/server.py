"""The adb server: is one there, which one, and starting one where none is."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from typing import Final

from harness.devices.android.wire import NotAdbError, RefusedError, ServerLostError, connection
from harness.errors import UserError

PORT_VARIABLE: Final = "ANDROID_ADB_SERVER_PORT"
DEFAULT_PORT: Final = 5037
HIGHEST_PORT: Final = 65535
# adb 1.0.39 (platform-tools of 2017): `shell_v2` and `forward tcp:0`. Since then the protocol has
# only grown; a client of another number kills the server, so a foreign one is never replaced here.
OLDEST_VERSION: Final = 39
_ANSWER_SECONDS: Final = 5.0
_START_SECONDS: Final = 20.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SHOWN_CHARACTERS: Final = 600


def server_port() -> int:
    """The port that adb's own tools would use.

    Raises:
        UserError: the environment names none.
    """
    text = os.environ.get(PORT_VARIABLE, "")
    if not text:
        return DEFAULT_PORT
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise UserError(
            f"{PORT_VARIABLE} is {text!r}, which is no port", f"set a number of 1 to {HIGHEST_PORT}"
        )
    return int(text)


async def server_version(host: str, port: int) -> int:
    """The version of the server: 41 for `1.0.41`.

    Raises:
        ServerLostError: nothing listens there.
        NotAdbError: something listens, and it is no adb server.
    """
    async with connection(host, port) as stream:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await stream.request("host:version")
                return int(await stream.counted(), 16)
        except (RefusedError, ServerLostError, TimeoutError, ValueError) as error:
            raise NotAdbError("it does not answer as an adb server does") from error


async def ensure_server(host: str, port: int) -> None:
    """See to it that an adb server of a usable version listens; start one where none does.

    Raises:
        UserError: there is none and none can be started, or the port is another program's.
    """
    try:
        version = await server_version(host, port)
    except ServerLostError as error:
        if host not in _LOOPBACK:
            raise UserError(
                f"no adb server answers at {host}:{port}", "start one there, or use this machine's"
            ) from error
        version = await _start(host, port)
    except NotAdbError as error:
        raise _port_taken(port) from error
    if version < OLDEST_VERSION:
        raise UserError(
            f"the adb server on port {port} has version 1.0.{version}; at least "
            f"1.0.{OLDEST_VERSION} is needed",
            f"stop it with `adb -P {port} kill-server` and install newer platform-tools",
        )


async def adb_binary() -> str:
    """The adb program: the PATH's, as other tools use that one too, or the one of adbutils.

    Raises:
        UserError: there is none.
    """
    try:
        # An extra; a PATH with adb does without.
        from adbutils import adb_path  # noqa: PLC0415
        from adbutils.errors import AdbError  # noqa: PLC0415
    except ImportError:
        found = shutil.which("adb")
    else:
        try:
            found = await asyncio.to_thread(adb_path)
        except AdbError:
            found = None
    if not found:
        raise UserError(
            "there is no adb program on this machine",
            "install Android's platform-tools, or `pip install 'tierlab[android]'`, "
            "which brings one",
        )
    return found


async def _start(host: str, port: int) -> int:
    binary = await adb_binary()
    # To a file and not to a pipe: the server would inherit the pipe, and it would never end.
    with tempfile.TemporaryFile() as log:
        try:
            process = await asyncio.create_subprocess_exec(
                binary,
                "-P",
                str(port),
                "start-server",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError as error:
            raise UserError(
                f"{binary} cannot be started: {error.strerror}", "install platform-tools anew"
            ) from error
        try:
            async with asyncio.timeout(_START_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        log.seek(0)
        said = log.read(1 << 16).decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]
    try:
        return await server_version(host, port)
    except ServerLostError as error:
        raise UserError(
            f"{binary} could not start an adb server on port {port}; it said: {said or 'nothing'}",
            f"try `adb -P {port} start-server`, or set {PORT_VARIABLE} to another port",
        ) from error
    except NotAdbError as error:  # somebody was faster
        raise _port_taken(port) from error


def _port_taken(port: int) -> UserError:
    return UserError(
        f"port {port} is in use by a program that is no adb server",
        f"end that program, or set {PORT_VARIABLE} to a free port",
    )
