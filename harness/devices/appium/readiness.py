"""Whether an app and its model are on a phone, and how they get there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.devices.android.facts.packages import parse_package
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.appium.app import App, AppModel

INSTALL_SECONDS: Final = 300.0
_APK_ON_PHONE: Final = "/data/local/tmp/tierlab-app.apk"


async def ensure_ready(
    phone: Phone,
    app: App,
    model: AppModel,
    *,
    apk: Path | None,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """See to it that the app and its model are there; the app's version.

    Args:
        phone: where.
        app: the app.
        model: one of its models.
        apk: installed where the phone lacks the app. It stays: the app keeps its models in it.
        progress: told in words what is going on.

    Raises:
        UserError: the app or its model's file is not there, or the APK cannot be installed.
        TransportLostError: the phone is gone.
    """
    version = await installed_version(phone, app.package)
    if version is None and apk is not None:
        progress(f"installing {apk.name}")
        said = await _install(phone, apk)
        version = await installed_version(phone, app.package)
        if version is None:
            raise UserError(
                f"{apk} could not be installed as {app.package}: {said[:300]}",
                "check that it is the app's APK, built for this phone's processor",
            )
    if version is None:
        raise UserError(
            f"{app.name} ({app.package}) is not on the phone",
            f"give its APK with --app-apk, or install it with adb; it comes from {app.apk}",
        )
    if model.file and (await phone.run(["ls", model.file], check=False)).exit_code != 0:
        raise UserError(
            f"the file of {model.label} is not on the phone: {model.file}",
            f"adb push YOUR_MODEL_FILE {model.file}",
        )
    return version


async def installed_version(phone: Phone, package: str) -> str | None:
    """The version of an app, `None` where it is not installed."""
    text = (await phone.run(["dumpsys", "package", package], check=False)).text
    found = parse_package(text, package)
    return None if found is None else found.version


async def _install(phone: Phone, apk: Path) -> str:
    """Install an APK with the permissions that it asks for; what the phone says."""
    await phone.push(apk, _APK_ON_PHONE)
    try:
        command = ["pm", "install", "-r", "-t", "-g", _APK_ON_PHONE]
        done = await phone.run(command, within=INSTALL_SECONDS, check=False)
    finally:
        await phone.run(["rm", "-f", _APK_ON_PHONE], check=False)
    return f"{done.text} {done.errors}".strip()
