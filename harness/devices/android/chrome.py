"""The life of a phone's browser: flags, start, DevTools socket, end, and everything put back.

Chrome on a phone that is not rooted reads its flags file only for the app that is set for debugging
(Chromium: base/android/java/src/org/chromium/base/CommandLineInitUtil.java), as chromedriver does
it. What was there before is written to a note on the phone first, so that a harness that was killed
can be cleaned up after by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.facts.packages import is_package_name
from harness.devices.cdp import Cdp, CdpLostError, browser_socket, fetch_json
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from harness.devices.android.adb import Phone

START_SECONDS: Final = 40.0
# How long a phone that was lost is waited for, to put everything back.
RETURN_SECONDS: Final = 30.0
FLAGS_FILE: Final = "/data/local/tmp/chrome-command-line"
NOTE_FILE: Final = "/data/local/tmp/tierlab-browser-before"
_LARGEST_NOTE: Final = 1 << 16
_POLL_SECONDS: Final = 0.1
# Reading a socket list or a process number; a phone that is short of memory takes its time.
_QUICK_SECONDS: Final = 5.0
_NOTIFICATIONS: Final = "android.permission.POST_NOTIFICATIONS"

# All Chrome packages have this activity; others are asked for theirs.
_MAIN: Final = "com.google.android.apps.chrome.Main"
_CHROMES: Final = frozenset(
    {
        "com.android.chrome",
        "com.chrome.beta",
        "com.chrome.canary",
        "com.chrome.dev",
        "org.chromium.chrome",
    }
)

# No first-run screens, nothing that loads or updates in the background.
FLAGS: Final = (
    "--disable-fre",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-quic",
    "--enable-precise-memory-info",
)

# /proc/net/unix: ... St Inode Path; an abstract name begins with @. A virtual phone that shares its
# host's list has names with an ending of its own there, and takes them without it.
_SOCKET: Final = re.compile(
    r"@(?P<name>(?P<webview>webview_)?(?:chrome_)?devtools_remote(?:_(?P<pid>\d{1,7}))?)"
    r"(?:\.[\w-]{1,80})?\s*$"
)


@dataclass(frozen=True, slots=True)
class DevtoolsSocket:
    """A socket on which a browser or a WebView of a phone speaks DevTools."""

    name: str
    webview: bool
    pid: int | None


def devtools_sockets(text: str) -> list[DevtoolsSocket]:
    """The DevTools sockets in `/proc/net/unix`, each once. Never raises."""
    found: dict[str, DevtoolsSocket] = {}
    for line in text.splitlines():
        if match := _SOCKET.search(line):
            pid = int(match["pid"]) if match["pid"] else None
            found[match["name"]] = DevtoolsSocket(match["name"], bool(match["webview"]), pid)
    return list(found.values())


async def read_sockets(phone: Phone) -> list[DevtoolsSocket]:
    """The DevTools sockets of a phone, now.

    Raises:
        TransportLostError: the phone is gone.
        CommandError, CommandTimeoutError: the phone does not tell.
    """
    done = await phone.run(["cat", "/proc/net/unix"], within=_QUICK_SECONDS)
    return devtools_sockets(done.text)


def flags_line(flags: Sequence[str]) -> str:
    """What the flags file holds; the first word stands for the program.

    Raises:
        UserError: a flag cannot be written on one line.
    """
    for flag in flags:
        if not flag.startswith("--") or re.search(r"[\x00-\x1f\"\\]", flag):
            raise UserError(
                f"{flag!r} cannot be a flag of a phone's browser",
                "flags begin with -- and hold neither quotation marks nor line breaks",
            )
    return " ".join(["_", *(f'"{flag}"' if " " in flag else flag for flag in flags)])


class Note(BaseModel):
    """What was there before: written before anything is changed, removed when it is put back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    package: str = Field(max_length=255)
    flags: str | None = Field(description="of the flags file; None: there was none")
    debug_app: str | None = Field(description="the app that was set for debugging")
    granted: bool = Field(description="whether a permission was granted that was not there before")


class Chrome:
    """The browser of one phone.

    Args:
        phone: where it runs.
        package: its package.
    """

    # What is shown first: an empty page.
    intent: ClassVar[tuple[str, ...]] = ("-a", "android.intent.action.VIEW", "-d", "about:blank")

    def __init__(self, phone: Phone, package: str) -> None:
        if not is_package_name(package):
            raise UserError(f"{package!r} is no name of an Android package", "mend the profile")
        self.phone = phone
        self.package = package
        #: Whether the phone was waited for in vain: the end does not wait for it once more.
        self.phone_is_gone = False

    @asynccontextmanager
    async def running(self, flags: Sequence[str] = ()) -> AsyncIterator[None]:
        """The browser, started fresh; stopped, and everything put back, when the block ends.

        Raises:
            TransportLostError: the phone is gone.
            UserError: the browser does not start.
        """
        async with self.set_up(flags):
            await self.start()
            yield

    @asynccontextmanager
    async def set_up(self, flags: Sequence[str] = ()) -> AsyncIterator[None]:
        """The browser stopped, and the phone ready for its start by somebody else.

        Everything is put back when the block ends.

        Raises:
            TransportLostError: the phone is gone.
        """
        line = flags_line([*FLAGS, *flags])
        self.phone_is_gone = False
        await self.stop()
        note = await self._note()
        try:
            await self._set_up(line)
            yield
        finally:
            await self._put_back_if_there(note)

    async def start(self) -> None:
        """Start it, with an empty page in front.

        Raises:
            TransportLostError: the phone is gone.
            UserError: it does not start; the message holds the phone's words.
        """
        command = ["am", "start", "-W", "-n", await self._activity(), *self.intent]
        try:
            said = (await self.phone.run(command, within=START_SECONDS)).text
        except (CommandError, CommandTimeoutError) as error:
            said = f"Error: {error}"
        if words := re.search(r"Error.*", said):
            raise UserError(
                f"{self.package} does not start on the phone: {words.group()[:300]}",
                "start it by hand once, and look whether it asks for something",
            )

    async def stop(self) -> None:
        """End it and all its processes. Does nothing where it does not run.

        Raises:
            TransportLostError: the phone is gone.
        """
        with contextlib.suppress(CommandError, CommandTimeoutError):
            await self.phone.run(["am", "force-stop", self.package])

    async def pid(self) -> int | None:
        """The process number of the browser itself; `None` where it does not run.

        Raises:
            TransportLostError: the phone is gone.
            CommandTimeoutError: the phone takes too long to say.
        """
        done = await self.phone.run(["pidof", self.package], within=_QUICK_SECONDS, check=False)
        found = re.match(r"\s*(\d{1,8})\b", done.text, re.ASCII)
        return int(found.group(1)) if found else None

    @asynccontextmanager
    async def devtools(self, *, within: float = START_SECONDS) -> AsyncIterator[tuple[Cdp, int]]:
        """A DevTools connection to it, and the local port that leads there.

        Raises:
            TransportLostError: the phone is gone.
            CdpLostError: it does not answer in time; the message says what was tried.
        """
        async with AsyncExitStack() as stack:
            tried = ["it opened no DevTools socket"]
            try:
                async with asyncio.timeout(within):
                    cdp, port = await self._find(stack, tried)
            except TimeoutError as error:
                raise CdpLostError(
                    f"{self.package} cannot be driven after {within:g} s: {tried[-1]}"
                ) from error
            yield cdp, port

    async def _find(self, stack: AsyncExitStack, tried: list[str]) -> tuple[Cdp, int]:
        """Try every socket again and again; what was entered into `stack` is the caller's."""
        while True:
            for name in await self._socket_names():
                async with AsyncExitStack() as attempt:
                    forward = self.phone.forward(f"localabstract:{name}")
                    port = await attempt.enter_async_context(forward)
                    try:
                        cdp = await attempt.enter_async_context(await self._connect(port))
                    except CdpLostError as error:
                        tried.append(str(error))
                        continue
                    stack.push_async_exit(attempt.pop_all())
                    return cdp, port
            await asyncio.sleep(_POLL_SECONDS)

    async def _socket_names(self) -> list[str]:
        try:
            sockets = await read_sockets(self.phone)
        except (CommandError, CommandTimeoutError):
            # Where the list cannot be read, the usual name is tried.
            return ["chrome_devtools_remote"]
        return [socket.name for socket in sockets if not socket.webview]

    async def _connect(self, port: int) -> Cdp:
        version = await fetch_json(port, "/json/version", within=_QUICK_SECONDS)
        package = version.get("Android-Package") if isinstance(version, dict) else None
        if package not in {None, self.package}:
            raise CdpLostError("another browser answers on the DevTools socket")
        return await Cdp.connect(browser_socket(port, version), within=_QUICK_SECONDS)

    async def _activity(self) -> str:
        if self.package in _CHROMES:
            return f"{self.package}/{_MAIN}"
        command = ["cmd", "package", "resolve-activity", "--brief"]
        category = ["-c", "android.intent.category.LAUNCHER"]
        try:
            done = await self.phone.run([*command, *category, self.package])
        except (CommandError, CommandTimeoutError) as error:
            raise UserError(f"{self.package} cannot be started: {error}") from error
        name = next(iter(reversed(done.text.split())), "")
        if not re.fullmatch(rf"{re.escape(self.package)}/[\w.$]{{1,255}}", name):
            raise UserError(
                f"{self.package} has no activity that can be started on this phone",
                "look with `adb shell pm list packages` whether it is installed",
            )
        return name

    async def _note(self) -> Note:
        """What was there before, written down on the phone; a killed run's note is still true."""
        left = await self._read_note()
        if left is not None:
            return left
        note = Note(
            package=self.package,
            flags=await self._said(f"[ -f {FLAGS_FILE} ] && cat {FLAGS_FILE}"),
            debug_app=_app(await self._said("settings get global debug_app")),
            granted=await self._lacks_notifications(),
        )
        text = shlex.quote(note.model_dump_json())
        await self._do(f"printf %s {text} > {NOTE_FILE}")
        return note

    async def _read_note(self) -> Note | None:
        text = await self._said(f"[ -f {NOTE_FILE} ] && head -c {_LARGEST_NOTE} {NOTE_FILE}")
        try:
            note = Note.model_validate_json(text) if text else None
        except ValidationError:
            return None
        return note if note and note.package == self.package else None

    async def _lacks_notifications(self) -> bool:
        """Whether Chrome would ask for the permission, which covers the page (Android 13 on)."""
        said = await self._said(f"dumpsys package {self.package} | grep -F {_NOTIFICATIONS}:")
        return "granted=false" in (said or "")

    async def _set_up(self, line: str) -> None:
        await self._do(f"printf %s {shlex.quote(line)} > {FLAGS_FILE}")
        await self._do(f"chmod 644 {FLAGS_FILE}")
        await self._do(f"am set-debug-app --persistent {self.package}")
        await self._do(f"pm grant {self.package} {_NOTIFICATIONS}")

    async def _put_back_if_there(self, note: Note) -> None:
        """Put back, also on a phone that was gone for a while; otherwise the note stays on it."""
        for last in (False, True):
            try:
                await self.put_back(note)
            except TransportLostError:
                if last or self.phone_is_gone:
                    return
                if not await self.phone.wait_until_back(within=RETURN_SECONDS):
                    return
            else:
                return

    async def put_back(self, note: Note) -> None:
        """Stop the browser, and put back what was there before it was started.

        Raises:
            TransportLostError: the phone is gone; the note is still on it.
        """
        await self.stop()
        if note.flags is None:
            await self._do(f"rm -f {FLAGS_FILE}")
        else:
            await self._do(f"printf %s {shlex.quote(note.flags)} > {FLAGS_FILE}")
        if note.debug_app and is_package_name(note.debug_app):
            await self._do(f"am set-debug-app --persistent {note.debug_app}")
        else:
            await self._do("am clear-debug-app")
        if note.granted:
            await self._do(f"pm revoke {self.package} {_NOTIFICATIONS}")
        await self._do(f"rm -f {NOTE_FILE}")

    async def put_back_what_was_left(self) -> bool:
        """Put back what a killed run left changed; whether there was any.

        Raises:
            TransportLostError: the phone is gone.
        """
        note = await self._read_note()
        if note is not None:
            await self.put_back(note)
        return note is not None

    async def _do(self, command: str) -> None:
        """A step that some phones do not know; the browser is tried without it."""
        with contextlib.suppress(CommandError, CommandTimeoutError):
            await self.phone.run(command)

    async def _said(self, command: str) -> str | None:
        try:
            return (await self.phone.run(command)).text[:_LARGEST_NOTE]
        except (CommandError, CommandTimeoutError):
            return None


def _app(text: str | None) -> str | None:
    word = (text or "").strip()
    return word if word != "null" and is_package_name(word) else None
