"""Pages inside apps: a WebView is driven like the browser, over its own DevTools socket.

An app lets its WebViews be debugged by `WebView.setWebContentsDebuggingEnabled(true)`, or because
it is debuggable itself; then it listens on `webview_devtools_remote_PID` (Chromium,
android_webview/browser/aw_devtools_server.cc). The page is the app's: it is led to the trial page
and back, and never opened or closed. An app that targets Android 9 or newer must permit cleartext
traffic to 127.0.0.1 in its network security configuration, or WebView refuses the page
(`net::ERR_CLEARTEXT_NOT_PERMITTED`).
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.chrome import START_SECONDS, Chrome, read_sockets
from harness.devices.android.facts.packages import is_package_name, parse_webview
from harness.devices.android.session import AndroidSession
from harness.devices.android.settings import wake
from harness.devices.base import DeviceLostError
from harness.devices.cdp import CdpError, CdpLostError, CdpTimeoutError
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.cdp import Cdp
    from harness.evidence import Timeline

_QUICK_SECONDS: Final = 5.0
_ROW: Final = re.compile(r"^\s*(?P<pid>\d{1,7})\s+(?P<name>\S{1,300})\s*$", re.MULTILINE)
_ENABLE: Final = (
    "the app must call WebView.setWebContentsDebuggingEnabled(true), or be a debuggable build"
)


@dataclass(frozen=True, slots=True)
class WebView:
    """An app that runs now and whose WebViews can be driven."""

    package: str
    pid: int
    socket: str


async def find_webviews(phone: Phone) -> list[WebView]:
    """The apps of a phone whose WebViews can be driven, now.

    Raises:
        TransportLostError: the phone is gone.
        CommandError, CommandTimeoutError: the phone does not tell.
    """
    sockets = [socket for socket in await read_sockets(phone) if socket.webview and socket.pid]
    if not sockets:
        return []
    rows = await phone.run("ps -A -o PID,NAME", within=_QUICK_SECONDS)
    names = {int(row["pid"]): row["name"] for row in _ROW.finditer(rows.text)}
    return [
        WebView(package, socket.pid, socket.name)
        for socket in sockets
        if socket.pid is not None
        # A process of an app is named PACKAGE, or PACKAGE:SERVICE.
        and is_package_name(package := names.get(socket.pid, "").partition(":")[0])
    ]


class WebViewApp(Chrome):
    """An app around a WebView, in the place of the browser: without flags, and never cleaned."""

    # The app's own first screen.
    intent: ClassVar[tuple[str, ...]] = ()

    async def _socket_names(self) -> list[str]:
        try:
            found = await find_webviews(self.phone)
        except (CommandError, CommandTimeoutError):
            return []
        return [webview.socket for webview in found if webview.package == self.package]


@asynccontextmanager
async def webview_session(
    phone: Phone, package: str, timeline: Timeline, folder: Path, *, within: float = START_SECONDS
) -> AsyncIterator[AndroidSession]:
    """An app, started fresh, whose WebView opens what the session opens; stopped at the end.

    Args:
        phone: where it is installed.
        package: the app's.
        timeline: where deaths go.
        folder: for raw logs; made when missing.
        within: how many seconds the app may take until it has a WebView.

    Raises:
        DeviceLostError: the phone is gone before the session stands.
        UserError: the app does not start, or has no WebView that can be driven.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a local folder
    app = WebViewApp(phone, package)
    async with AsyncExitStack() as stack:
        try:
            await wake(phone)
            await app.stop()
            stack.push_async_callback(_stop, app)
            await app.start()
            cdp, port = await stack.enter_async_context(app.devtools(within=within))
            session = AndroidSession(
                app,
                cdp,
                port,
                timeline,
                folder,
                packages=(package, *await _provider(phone)),
                page=await _page(cdp, package),
            )
            stack.push_async_callback(session.close)
            await session.start()
        except TransportLostError as error:
            raise DeviceLostError(f"the phone cannot be reached: {error}") from error
        except (CdpError, CdpLostError, CdpTimeoutError) as error:
            raise UserError(f"{error}", _ENABLE) from error
        yield session


async def _stop(app: WebViewApp) -> None:
    try:
        await app.stop()
    except TransportLostError:
        return  # it ends with the phone, or stays as an app does


async def _provider(phone: Phone) -> tuple[str, ...]:
    """The package whose processes render the pages of WebViews."""
    try:
        done = await phone.run(["dumpsys", "webviewupdate"], within=_QUICK_SECONDS)
    except (CommandError, CommandTimeoutError):
        return ()
    found = parse_webview(done.text)
    return (found.name,) if found and is_package_name(found.name) else ()


async def _page(cdp: Cdp, package: str) -> str:
    """The first page of an app's WebViews.

    Raises:
        UserError: it has none.
    """
    try:
        answer = await cdp.send("Target.getTargets")
    except (CdpError, CdpTimeoutError) as error:
        raise UserError(f"{package} does not tell its pages: {error}") from error
    for info in answer.get("targetInfos", []):
        if isinstance(info, dict) and info.get("type") == "page" and info.get("targetId"):
            return str(info["targetId"])
    raise UserError(
        f"{package} shows no WebView on its first screen",
        "name an app that does, or lead it there by Appium (docs/appium.md)",
    )
