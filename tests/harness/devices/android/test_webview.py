from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness.devices.android import chrome
from harness.devices.android.adb import TransportLostError
from harness.devices.android.webview import WebView, WebViewApp, find_webviews, webview_session
from harness.devices.base import DeviceLostError
from harness.errors import UserError
from harness.evidence import Timeline
from tests.harness.devices.android.scripted import ScriptedPhone

if TYPE_CHECKING:
    from pathlib import Path

UNIX = "\n".join(
    f"0000: 00000002 00000000 00010000 0001 01 1 @{name}"
    for name in (
        "chrome_devtools_remote",
        "webview_devtools_remote_815",
        "webview_devtools_remote_816",
        "webview_devtools_remote_817",
    )
)
PS = "  PID NAME\n  815 org.example.app\n  816 org.other:service\n  817 ;reboot\n"


def test_apps_by_their_sockets() -> None:
    phone = ScriptedPhone({"cat /proc/net/unix": UNIX, "ps": PS})
    assert asyncio.run(find_webviews(phone.as_phone())) == [
        WebView("org.example.app", 815, "webview_devtools_remote_815"),
        WebView("org.other", 816, "webview_devtools_remote_816"),
    ]


def test_no_webview_runs() -> None:
    phone = ScriptedPhone({"cat /proc/net/unix": "Num\n"})
    assert asyncio.run(find_webviews(phone.as_phone())) == []


def test_an_app_is_started_at_its_own_screen_and_without_flags() -> None:
    found = "priority=0\norg.example.app/.Main\n"
    phone = ScriptedPhone({"cmd package": found, "am start": "Status: ok\n"})
    asyncio.run(WebViewApp(phone.as_phone(), "org.example.app").start())
    assert phone.asked[-1] == "am start -W -n org.example.app/.Main"


def test_an_app_whose_webviews_cannot_be_driven_is_said_so_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chrome, "_POLL_SECONDS", 0.01)
    phone = ScriptedPhone(
        {
            "input": "",
            "wm": "",
            "am": "",
            "cmd package": "org.example.app/.Main\n",
            "cat /proc/net/unix": "Num\n",
        }
    )

    async def main() -> None:
        async with webview_session(
            phone.as_phone(), "org.example.app", Timeline(), tmp_path, within=0.1
        ):
            raise AssertionError

    with pytest.raises(UserError, match="setWebContentsDebuggingEnabled"):
        asyncio.run(main())
    assert phone.asked[-1] == "am force-stop org.example.app"


def test_a_phone_that_is_gone(tmp_path: Path) -> None:
    phone = ScriptedPhone(dict.fromkeys(("am", "input", "wm"), TransportLostError))

    async def main() -> None:
        async with webview_session(phone.as_phone(), "org.example.app", Timeline(), tmp_path):
            raise AssertionError

    with pytest.raises(DeviceLostError):
        asyncio.run(main())
