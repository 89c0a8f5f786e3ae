"""The state of a phone that was just switched on, from its profile."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.state import (
    FIRST_APP_UID,
    SYSTEM_UID,
    Package,
    Screen,
    State,
    Storage,
)
from harness.emulation.phone.hardware import available_bytes, cores, total_bytes

if TYPE_CHECKING:
    from harness.profiles import Profile

MARK: Final = "ro.tierlab.virtual"
CHROME_ACTIVITY: Final = "com.google.android.apps.chrome.Main"
_CHROME_UID: Final = FIRST_APP_UID + 152

#: API levels by release (source.android.com, "Codenames, tags, and build numbers").
_API: Final = {9: 28, 10: 29, 11: 30, 12: 31, 13: 33, 14: 34, 15: 35, 16: 36, 17: 37}
DEFAULT_RELEASE: Final = "14"
#: What a GPU's drivers are called (`ro.hardware.vulkan`).
_DRIVERS: Final = (("Mali", "mali"), ("Immortalis", "mali"), ("Adreno", "adreno"))


def properties_of(profile: Profile) -> dict[str, str]:
    """The system properties: those of every phone, then the profile's own, then the mark.

    The serial number is made from the profile's id: no phone has it.
    """
    android = profile.android
    assert android is not None, "only android profiles become virtual phones"
    release = android.release or DEFAULT_RELEASE
    api = _API.get(int(release.split(".")[0]), max(_API.values()))
    serial = "TLAB" + hashlib.sha256(profile.id.encode()).hexdigest()[:10].upper()
    density = profile.screen.density if profile.screen else Screen().density
    given = android.properties
    made = {
        "dalvik.vm.heapgrowthlimit": "256m",
        "dalvik.vm.heapsize": "512m",
        "debug.sf.nobootanimation": "0",
        "dev.bootcomplete": "1",
        "gsm.sim.state": "ABSENT",
        "init.svc.adbd": "running",
        "init.svc.bootanim": "stopped",
        "net.bt.name": "Android",
        "persist.sys.locale": "en-US",
        "persist.sys.timezone": "UTC",
        "persist.sys.usb.config": "adb",
        "ro.adb.secure": "1",
        "ro.boot.serialno": serial,
        "ro.bootmode": "unknown",
        "ro.build.characteristics": "tablet" if _is_tablet(profile) else "nosdcard",
        "ro.build.tags": "release-keys",
        "ro.build.type": "user",
        "ro.build.version.codename": "REL",
        "ro.build.version.release": release,
        "ro.build.version.release_or_codename": release,
        "ro.build.version.sdk": str(api),
        "ro.build.version.security_patch": "2025-02-05",
        "ro.crypto.state": "encrypted",
        "ro.debuggable": "0",
        "ro.opengles.version": "196610",
        "ro.product.cpu.abi": "arm64-v8a",
        "ro.product.cpu.abilist": "arm64-v8a",
        "ro.product.cpu.abilist64": "arm64-v8a",
        "ro.product.locale": "en-US",
        "ro.secure": "1",
        "ro.serialno": serial,
        "ro.sf.lcd_density": str(density),
        "ro.zygote": "zygote64",
        "service.adb.root": "0",
        "sys.boot_completed": "1",
        "sys.usb.state": "adb",
    }
    driver = next((name for start, name in _DRIVERS if start in (profile.hardware.gpu or "")), None)
    if driver is not None:
        made |= {"ro.hardware.egl": driver, "ro.hardware.vulkan": driver}
    # What a phone is recognised by, it must have: the first value that is no pattern.
    matched = {
        name: plain[0]
        for name, values in android.match.items()
        if (plain := [value for value in values if not set(value) & set("*?[")])
    }
    return {
        **made,
        **matched,
        **_of_build(given.get("ro.build.fingerprint", "")),
        **given,
        MARK: "1",
    }


def _of_build(fingerprint: str) -> dict[str, str]:
    """What a build's fingerprint, BRAND/NAME/DEVICE:RELEASE/ID/INCREMENTAL:TYPE/TAGS, says."""
    said = re.fullmatch(r"[^/]+/[^/]+/[^/:]+:[^/]+/([^/]+)/([^/:]+):([^/]+)/([^/]+)", fingerprint)
    keys = ("id", "version.incremental", "type", "tags")
    return {f"ro.build.{k}": v for k, v in zip(keys, said.groups(), strict=True)} if said else {}


def _is_tablet(profile: Profile) -> bool:
    screen = profile.screen
    return screen is not None and min(screen.width, screen.height) * 160 / screen.density >= 600  # noqa: PLR2004


def is_tablet(screen: Screen) -> bool:
    """Whether Android counts the screen as a tablet's: 600 dp across or more (`sw600dp`)."""
    return min(screen.size) * 160 / screen.dots >= 600  # noqa: PLR2004


def chrome_package(name: str, version: str, release: int) -> Package:
    """Chrome as it is installed; the version is that of the Chromium which stands in for it."""
    parts = [int(part) for part in version.split(".") if part.isdecimal()]
    build, patch = (parts[2], parts[3]) if len(parts) > 3 else (0, 0)  # noqa: PLR2004
    return Package(
        name=name,
        uid=_CHROME_UID,
        version=version or "0",
        # Chrome's scheme: build, patch, then the kind of package (33: Trichrome, 64 bit).
        version_code=build * 100_000 + patch * 100 + (33 if release >= 10 else 23),  # noqa: PLR2004
        activity=CHROME_ACTIVITY,
        system=True,
        path=f"/data/app/~~tierlab==/{name}-virtual==/base.apk",
    )


def first_state(profile: Profile, *, memory_bytes: int | None, browser_version: str) -> State:
    """The state at the first boot.

    Args:
        profile: what the phone is.
        memory_bytes: what one app may use; `None`: as the profile says.
        browser_version: of the Chromium that stands in for Chrome.
    """
    android = profile.android
    assert android is not None
    properties = properties_of(profile)
    screen = (
        Screen(profile.screen.width, profile.screen.height, profile.screen.density)
        if profile.screen
        else Screen()
    )
    state = State(
        properties=properties,
        cores=cores(profile),
        memory_total=total_bytes(profile),
        app_memory=memory_bytes or available_bytes(profile, 0),
        screen=screen,
        storage=Storage(),
        gpu=profile.hardware.gpu or "unknown",
    )
    chrome = chrome_package(android.package, browser_version, state.release)
    webview = "com.google.android.webview"
    state.packages = {
        chrome.name: chrome,
        webview: Package(
            webview,
            FIRST_APP_UID + 153,
            chrome.version,
            chrome.version_code,
            system=True,
            path="/data/app/~~tierlab==/webview-virtual==/base.apk",
        ),
        "android": Package(
            "android",
            SYSTEM_UID,
            properties["ro.build.version.release"],
            state.api,
            system=True,
            path="/system/framework/framework-res.apk",
        ),
        "com.android.shell": Package(
            "com.android.shell",
            2000,
            "1",
            state.api,
            system=True,
            path="/system/priv-app/Shell/Shell.apk",
        ),
        "com.android.settings": Package(
            "com.android.settings",
            SYSTEM_UID,
            "1",
            state.api,
            activity=".Settings",
            system=True,
            path="/system/priv-app/Settings/Settings.apk",
        ),
    }
    state.settings["global"].update(
        adb_enabled="1",
        airplane_mode_on="0",
        animator_duration_scale="1.0",
        development_settings_enabled="1",
        device_name=profile.name,
        stay_on_while_plugged_in="0",
        transition_animation_scale="1.0",
        window_animation_scale="1.0",
    )
    state.settings["system"].update(
        accelerometer_rotation="0",
        screen_brightness="120",
        screen_brightness_mode="1",
        screen_off_timeout="30000",
        user_rotation="0",
    )
    state.settings["secure"].update(
        android_id=hashlib.sha256(profile.id.encode()).hexdigest()[:16],
        default_input_method="com.google.android.inputmethod.latin/"
        "com.android.inputmethod.latin.LatinIME",
    )
    return state
