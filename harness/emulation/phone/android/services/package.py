"""`dumpsys package`, `webviewupdate`.

Sources: Settings.java of the package manager and WebViewUpdateServiceImpl2.java of AOSP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.intents import full_component

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.android.state import Package

WEBVIEW: Final = "com.google.android.webview"
_INSTALL: Final = ("android.permission.INTERNET", "android.permission.WAKE_LOCK")
#: A runtime permission that every app asks for since Android 13.
_NOTIFICATIONS: Final = "android.permission.POST_NOTIFICATIONS"
_NOTIFICATIONS_API: Final = 33


def package(phone: Phone, words: Sequence[str]) -> str:
    """`dumpsys package [NAME]`."""
    wanted = [word for word in words if not word.startswith("-")]
    installed = phone.state.packages
    if wanted[:1] in (["packages"], ["p"], []):
        chosen = list(installed.values())
    elif wanted[0] in installed:
        chosen = [installed[wanted[0]]]
    else:
        return f"Unable to find package: {wanted[0]}\n"
    resolver = "".join(_activities(item) for item in chosen)
    return f"{resolver}Packages:\n{''.join(_package(phone, item) for item in chosen)}"


def _activities(item: Package) -> str:
    if not item.component:
        return ""
    name = full_component(item.component)
    return (
        "Activity Resolver Table:\n  Non-Data Actions:\n      android.intent.action.MAIN:\n"
        f"        1a2b3c4 {name} filter 5d6e7f8\n"
        '          Action: "android.intent.action.MAIN"\n'
        '          Category: "android.intent.category.LAUNCHER"\n\n'
    )


def _package(phone: Phone, item: Package) -> str:
    flags = "SYSTEM HAS_CODE ALLOW_CLEAR_USER_DATA" if item.system else "HAS_CODE ALLOW_BACKUP"
    given = phone.state.permissions.get(item.name, set())
    asked = {_NOTIFICATIONS} if phone.state.api >= _NOTIFICATIONS_API else set()
    runtime = {name: name in given for name in sorted(given | asked)}
    installed = "".join(f"        {name}: granted=true\n" for name in _INSTALL)
    rows = "".join(
        f"        {name}: granted={str(granted).lower()}, flags=[ USER_SET ]\n"
        for name, granted in runtime.items()
    )
    requested = "".join(f"      {name}\n" for name in (*_INSTALL, *runtime))
    return (
        f"  Package [{item.name}] (7a8b9c0):\n"
        f"    userId={item.uid}\n    appId={item.uid}\n"
        f"    codePath={item.path.rpartition('/')[0]}\n"
        f"    versionCode={item.version_code} minSdk=26 targetSdk={phone.state.api}\n"
        f"    versionName={item.version}\n"
        f"    flags=[ {flags} ]\n"
        f"    requested permissions:\n{requested}"
        f"    install permissions:\n{installed}"
        "    User 0: ceDataInode=1 installed=true hidden=false suspended=false stopped=false\n"
        f"      runtime permissions:\n{rows}"
    )


def account(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys account`: a virtual phone has no accounts."""
    del phone
    return "User UserInfo{0:Owner:4c13}:\n  Accounts: 0\n\n  RegisteredServicesCache: 0 services\n"


def webviewupdate(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys webviewupdate`."""
    item = phone.state.packages.get(WEBVIEW)
    if item is None:
        return "Current WebView Update Service state\n  Current WebView package is null\n"
    return (
        "Current WebView Update Service state\n"
        f"  Current WebView package (name, version): ({item.name}, {item.version})\n"
        f"  Minimum targetSdkVersion: 33\n"
        f"  Minimum WebView version code: {item.version_code}\n"
    )
