"""Pages on a phone through Appium: in Chrome, and in the WebViews of apps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from harness.devices.android.chrome import Chrome
from harness.devices.android.facts.packages import major_version, parse_webview
from harness.devices.appium import capabilities
from harness.devices.appium.installation import find_chromedriver
from harness.devices.appium.ports import free_ports
from harness.devices.appium.readiness import installed_version
from harness.devices.appium.session import AppiumError, appium_session
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.devices.android.adb import Phone
    from harness.devices.appium.server import AppiumServer
    from harness.devices.appium.session import AppiumSession

WEBVIEW_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.5


@asynccontextmanager
async def chrome_session(
    phone: Phone, server: AppiumServer, *, package: str = "com.android.chrome"
) -> AsyncIterator[AppiumSession]:
    """A session in the phone's Chrome, with an empty page in front.

    What chromedriver changes on the phone (flags file, app for debugging, a permission) is put back
    at the end. The user's browser data are kept.

    Raises:
        UserError: the browser is not on the phone, or there is no chromedriver for its version.
        AppiumError: the session could not be opened.
        TransportLostError: the phone is gone.
    """
    version = await installed_version(phone, package)
    if version is None:
        raise UserError(f"{package} is not on the phone", "install it, or mend the profile")
    wanted = capabilities.chrome(
        phone.serial,
        server.adb_port,
        capabilities.Ports(*free_ports(2)),
        package=package,
        chromedriver=await find_chromedriver(major_version(version)),
    )
    async with Chrome(phone, package).set_up(), appium_session(server.url, wanted) as session:
        yield session


@asynccontextmanager
async def webview_session(
    phone: Phone, server: AppiumServer, *, package: str, activity: str
) -> AsyncIterator[AppiumSession]:
    """A session in an app's first WebView. The app is started anew, and ended.

    Raises:
        UserError: the app is not on the phone, or there is no chromedriver for its WebView.
        AppiumError: the session could not be opened, or the app shows no WebView that can be
            entered (its developer must allow that: `setWebContentsDebuggingEnabled`).
        TransportLostError: the phone is gone.
    """
    if await installed_version(phone, package) is None:
        raise UserError(f"{package} is not on the phone", "install it with adb")
    said = (await phone.run(["dumpsys", "webviewupdate"], check=False)).text
    webview = parse_webview(said)
    wanted = capabilities.native(
        phone.serial,
        server.adb_port,
        capabilities.Ports(*free_ports(2)),
        package=package,
        activity=activity,
        chromedriver=await find_chromedriver(major_version(webview.version) if webview else None),
    )
    async with appium_session(server.url, wanted) as session:
        await session.enter(await _webview(session, package))
        yield session


async def _webview(session: AppiumSession, package: str) -> str:
    """The context of the app's WebView, once it has one."""
    try:
        async with asyncio.timeout(WEBVIEW_SECONDS):
            while True:
                found = [name for name in await session.contexts() if name.startswith("WEBVIEW_")]
                if found:
                    return found[0]
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise AppiumError(
            f"{package} shows no WebView within {WEBVIEW_SECONDS:g} s that can be entered"
        ) from error
